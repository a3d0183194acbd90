//! What a simulated disk holds: of each file and folder what is seen, what is durable, and what lies between.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use rand::{Rng, RngExt};

/// Bytes that the disk writes as one.
const SECTOR: u64 = 512;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    CreateDir(PathBuf),
    Create(PathBuf),
    Write(usize, u64, Vec<u8>),
    SetLength(usize, u64),
    Sync(usize),
    /// A sync that failed: what it was for is seen until the next start, and is never written.
    SyncLost(usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    RemoveDir(PathBuf),
    SyncDir(usize),
}

impl Op {
    /// What is left of it when it fails.
    pub fn failed(self) -> Option<Self> {
        match self {
            Self::Write(inode, offset, mut bytes) => {
                bytes.truncate(bytes.len() / 2);
                Some(Self::Write(inode, offset, bytes))
            }
            Self::Sync(inode) => Some(Self::SyncLost(inode)),
            _ => None,
        }
    }
}

/// What a crash keeps of what is not durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    /// Everything.
    All,
    /// Nothing.
    Nothing,
    /// Any changes of names, and of each write any sectors.
    Sectors,
    /// Any changes of names, and of each write any first part.
    Prefix,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    File(usize),
    Folder(usize),
}

#[derive(Clone, Default)]
struct Inode {
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// Writes, and cuts: `None` with the length.
    dirty: Vec<(u64, Option<Vec<u8>>)>,
}

#[derive(Clone, Default)]
struct Folder {
    seen: BTreeMap<String, Node>,
    durable: BTreeMap<String, Node>,
    dirty: Vec<(String, Option<Node>)>,
}

/// All files and folders; the folder 0 is the root.
#[derive(Clone)]
pub struct State {
    inodes: Vec<Inode>,
    folders: Vec<Folder>,
}

impl Default for State {
    fn default() -> Self {
        Self { inodes: Vec::new(), folders: vec![Folder::default()] }
    }
}

fn write(bytes: &mut Vec<u8>, offset: u64, new: &[u8]) {
    let start = usize::try_from(offset).unwrap();
    if bytes.len() < start + new.len() {
        bytes.resize(start + new.len(), 0);
    }
    bytes[start..start + new.len()].copy_from_slice(new);
}

fn change(bytes: &mut Vec<u8>, (offset, new): &(u64, Option<Vec<u8>>)) {
    match new {
        Some(new) => write(bytes, *offset, new),
        None => bytes.resize(usize::try_from(*offset).unwrap(), 0),
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

impl State {
    fn node(&self, path: &Path) -> io::Result<Node> {
        let mut node = Node::Folder(0);
        for part in path.components().filter(|part| matches!(part, std::path::Component::Normal(_))) {
            let Node::Folder(id) = node else { return Err(io::ErrorKind::NotADirectory.into()) };
            let name = part.as_os_str().to_str().unwrap();
            node = *self.folders[id].seen.get(name).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(node)
    }

    pub fn file(&self, path: &Path) -> io::Result<usize> {
        if let Node::File(inode) = self.node(path)? { Ok(inode) } else { Err(io::ErrorKind::IsADirectory.into()) }
    }

    pub fn folder(&self, path: &Path) -> io::Result<usize> {
        if let Node::Folder(id) = self.node(path)? { Ok(id) } else { Err(io::ErrorKind::NotADirectory.into()) }
    }

    pub fn list(&self, dir: &Path) -> io::Result<Vec<(String, bool)>> {
        let seen = &self.folders[self.folder(dir)?].seen;
        Ok(seen.iter().map(|(name, node)| (name.clone(), matches!(node, Node::Folder(_)))).collect())
    }

    pub fn bytes(&self, inode: usize) -> &[u8] {
        &self.inodes[inode].seen
    }

    fn set(&mut self, path: &Path, node: Option<Node>) -> io::Result<()> {
        let id = self.folder(path.parent().unwrap())?;
        let folder = &mut self.folders[id];
        match node {
            Some(node) => folder.seen.insert(name(path), node),
            None => folder.seen.remove(&name(path)),
        };
        folder.dirty.push((name(path), node));
        Ok(())
    }

    /// Makes one change.
    pub fn apply(&mut self, op: &Op) -> io::Result<()> {
        match op {
            Op::CreateDir(path) => {
                self.set(path, Some(Node::Folder(self.folders.len())))?;
                self.folders.push(Folder::default());
                Ok(())
            }
            Op::Create(path) => match self.file(path) {
                Ok(inode) => self.apply(&Op::SetLength(inode, 0)),
                Err(_) => {
                    self.set(path, Some(Node::File(self.inodes.len())))?;
                    self.inodes.push(Inode::default());
                    Ok(())
                }
            },
            Op::Write(inode, offset, bytes) => {
                let inode = &mut self.inodes[*inode];
                write(&mut inode.seen, *offset, bytes);
                inode.dirty.push((*offset, Some(bytes.clone())));
                Ok(())
            }
            Op::SetLength(inode, length) => {
                let inode = &mut self.inodes[*inode];
                change(&mut inode.seen, &(*length, None));
                inode.dirty.push((*length, None));
                Ok(())
            }
            Op::Sync(inode) => {
                let inode = &mut self.inodes[*inode];
                let Inode { durable, dirty, .. } = inode;
                dirty.drain(..).for_each(|dirty| change(durable, &dirty));
                Ok(())
            }
            Op::SyncLost(inode) => {
                self.inodes[*inode].dirty.clear();
                Ok(())
            }
            Op::Rename(from, to) => {
                let node = self.node(from)?;
                self.set(to, Some(node))?;
                self.set(from, None)
            }
            Op::Remove(path) => self.file(path).and_then(|_| self.set(path, None)),
            Op::RemoveDir(path) => {
                if !self.list(path)?.is_empty() {
                    return Err(io::ErrorKind::DirectoryNotEmpty.into());
                }
                self.set(path, None)
            }
            Op::SyncDir(id) => {
                let Folder { durable, dirty, .. } = &mut self.folders[*id];
                for (name, node) in dirty.drain(..) {
                    match node {
                        Some(node) => durable.insert(name, node),
                        None => durable.remove(&name),
                    };
                }
                Ok(())
            }
        }
    }

    /// What is there after the power failed.
    pub fn crash(&self, survival: Survival, random: &mut impl Rng) -> Self {
        let keeps = |random: &mut dyn Rng| match survival {
            Survival::All => true,
            Survival::Nothing => false,
            Survival::Sectors | Survival::Prefix => random.random_bool(0.5),
        };
        let mut after = Self { inodes: Vec::new(), folders: Vec::new() };
        for inode in &self.inodes {
            let mut bytes = inode.durable.clone();
            for dirty in &inode.dirty {
                match (dirty, survival) {
                    ((_, _), Survival::All) => change(&mut bytes, dirty),
                    ((_, _), Survival::Nothing) => {}
                    ((_, None), _) => {
                        if keeps(random) {
                            change(&mut bytes, dirty);
                        }
                    }
                    ((offset, Some(new)), Survival::Prefix) => {
                        write(&mut bytes, *offset, &new[..random.random_range(0..=new.len())]);
                    }
                    ((offset, Some(new)), Survival::Sectors) => tear(&mut bytes, *offset, new, random),
                }
            }
            after.inodes.push(Inode { seen: bytes.clone(), durable: bytes, dirty: Vec::new() });
        }
        for folder in &self.folders {
            let mut names = folder.durable.clone();
            for (name, node) in &folder.dirty {
                if keeps(random) {
                    match node {
                        Some(node) => names.insert(name.clone(), *node),
                        None => names.remove(name),
                    };
                }
            }
            after.folders.push(Folder { seen: names.clone(), durable: names, dirty: Vec::new() });
        }
        after
    }

    /// Writes what is seen below a folder into a real one.
    pub fn copy_to(&self, dir: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for (name, node) in &self.folders[self.folder(dir).unwrap()].seen {
            match node {
                Node::File(inode) => fs::write(to.join(name), self.bytes(*inode)).unwrap(),
                Node::Folder(_) => self.copy_to(&dir.join(name), &to.join(name)),
            }
        }
    }
}

/// Keeps some sectors of a write. The length may be durable without the bytes.
fn tear(bytes: &mut Vec<u8>, offset: u64, new: &[u8], random: &mut impl Rng) {
    let end = offset + new.len() as u64;
    if random.random_bool(0.5) && (bytes.len() as u64) < end {
        bytes.resize(usize::try_from(end).unwrap(), 0);
    }
    let mut at = offset;
    while at < end {
        let next = (at - at % SECTOR + SECTOR).min(end);
        if random.random_bool(0.5) {
            let (from, to) = (usize::try_from(at - offset).unwrap(), usize::try_from(next - offset).unwrap());
            write(bytes, at, &new[from..to]);
        }
        at = next;
    }
}
