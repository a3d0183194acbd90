//! A simulated disk under the `Fs` trait: what a process sees and what is durable are two things, every change is on
//! record, any call can fail, and a crash keeps what chance or the test chooses of whatever no sync had made durable.

mod state;

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use epiledger_ledger::{Fs, FsDir, FsFile};
pub use state::{Op, State, Survival};

/// Linux's number for a disk that cannot read or write.
pub const EIO: i32 = 5;

/// Linux's number for a full disk.
pub const ENOSPC: i32 = 28;

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing of it took effect, or half of a write; a failed sync loses what it should have made durable.
    Failed,
    /// It took effect, and says that it did not.
    Persisted,
}

/// What the calls of all handles share.
#[derive(Default)]
struct Inner {
    state: State,
    trace: Vec<Op>,
    held: BTreeSet<PathBuf>,
    calls: u64,
    fail: Option<(u64, Failure, i32)>,
    failed: Option<Call>,
}

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Read,
    Change(Op),
}

/// A disk; clones are handles of the same one.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<Inner>>);

impl Disk {
    /// The disk after a crash or a kill, with a new record.
    pub fn of(state: State) -> Self {
        Self(Arc::new(Mutex::new(Inner { state, ..Inner::default() })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// What it holds now.
    pub fn state(&self) -> State {
        self.inner().state.clone()
    }

    /// Changes so far, in order.
    pub fn trace(&self) -> Vec<Op> {
        self.inner().trace.clone()
    }

    /// How many changes there are so far.
    pub fn position(&self) -> usize {
        self.inner().trace.len()
    }

    /// Makes one call fail with a number of the system's, [`EIO`] or [`ENOSPC`]: the `call`-th from now on (1 is the next).
    pub fn fail(&self, call: u64, failure: Failure, error: i32) {
        let mut inner = self.inner();
        inner.fail = Some((inner.calls + call, failure, error));
    }

    /// The call that failed, when it came to that; none will fail later.
    pub fn failed(&self) -> Option<Call> {
        let mut inner = self.inner();
        inner.fail = None;
        inner.failed.clone()
    }
}

impl Inner {
    /// Counts a call; how it must fail, if it must.
    fn call(&mut self, call: impl FnOnce() -> Call) -> Option<(Failure, io::Error)> {
        self.calls += 1;
        let (_, failure, error) = self.fail.take_if(|(call, ..)| *call == self.calls)?;
        self.failed = Some(call());
        Some((failure, io::Error::from_raw_os_error(error)))
    }

    fn read<T>(&mut self, run: impl FnOnce(&State) -> io::Result<T>) -> io::Result<T> {
        self.call(|| Call::Read).map_or_else(|| run(&self.state), |(_, error)| Err(error))
    }

    fn change(&mut self, op: Op) -> io::Result<()> {
        let (op, result) = match self.call(|| Call::Change(op.clone())) {
            None => (Some(op), Ok(())),
            Some((Failure::Persisted, error)) => (Some(op), Err(error)),
            Some((Failure::Failed, error)) => (op.failed(), Err(error)),
        };
        if let Some(op) = op {
            self.state.apply(&op)?;
            self.trace.push(op);
        }
        result
    }
}

struct File {
    disk: Disk,
    inode: usize,
}

struct Folder {
    disk: Disk,
    id: usize,
}

struct Held {
    disk: Disk,
    path: PathBuf,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.disk.inner().held.remove(&self.path);
    }
}

impl Disk {
    fn file(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        let inode = self.inner().state.file(path)?;
        Ok(Arc::new(File { disk: self.clone(), inode }))
    }
}

impl Fs for Disk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        if inner.state.folder(dir).is_ok() {
            return inner.read(|_| Ok(()));
        }
        inner.change(Op::CreateDir(dir.to_owned()))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, bool)>> {
        self.inner().read(|state| state.list(dir))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        self.inner().read(|_| Ok(()))?;
        self.file(path)
    }

    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        self.open(path)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        self.inner().change(Op::Create(path.to_owned()))?;
        self.file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner().change(Op::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner().change(Op::Remove(path.to_owned()))
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner().change(Op::RemoveDir(dir.to_owned()))
    }

    fn open_dir(&self, dir: &Path) -> io::Result<Box<dyn FsDir>> {
        let id = self.inner().read(|state| state.folder(dir))?;
        Ok(Box::new(Folder { disk: self.clone(), id }))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let mut inner = self.inner();
        if inner.state.file(path).is_err() {
            inner.change(Op::Create(path.to_owned()))?;
        }
        if !inner.held.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Held { disk: self.clone(), path: path.to_owned() }))
    }
}

impl FsFile for File {
    fn length(&self) -> io::Result<u64> {
        self.disk.inner().read(|state| Ok(state.bytes(self.inode).len() as u64))
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.inner().read(|state| {
            let start = usize::try_from(offset).unwrap();
            let bytes = state.bytes(self.inode).get(start..start + buffer.len());
            buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.inner().change(Op::Write(self.inode, offset, bytes.to_vec()))
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.disk.inner().change(Op::SetLength(self.inode, length))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.inner().change(Op::Sync(self.inode))
    }
}

impl FsDir for Folder {
    fn sync_dir(&self) -> io::Result<()> {
        self.disk.inner().change(Op::SyncDir(self.id))
    }
}
