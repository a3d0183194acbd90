//! Erasing blobs: the entry that says so, then the bytes, and nothing in between that a stop could leave undecided.
//!
//! An erasure is planned durably, its entry (`Erase`, `redaction`) is appended, the journal's segments that held the
//! blobs are dropped, the packs are written anew, and the plan goes away. Readers of other processes may hold the old
//! files open until they open the log again.
//!
//! | Stops | Left behind | Next start |
//! |---|---|---|
//! | before the entry is durable | the plan | drops it: nothing was erased |
//! | after it | the plan, the entry, some packs or segments as before, an index of the pack before | erases the rest |
//! | before the plan is gone | the plan | finds nothing more to erase, drops it |
//!
//! While a plan is there, closed packs are read by their own records, since an index may be of the pack before.

use std::{
    collections::{HashMap, HashSet},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::{
    blob::index_bytes,
    durable::replace_file,
    entry::erased_blobs,
    error::LogError,
    fs::Fs,
    hex,
    log::{Log, Shared},
    tree::Hash,
    writer::drop_covered,
};

/// The plan's name in `journal/`: one of those that files have before they are whole, which the auditor knows.
pub(crate) const PLAN: &str = "tmp.erasing";

/// Prefix of the names of an erasure's files before they are whole; the projection's has no such ending.
const TEMPORARY: &str = "tmp.erase";

/// Who waits for whom.
#[derive(Default)]
pub(crate) struct Locks {
    /// One erasure at a time.
    erasing: Mutex<()>,
    /// One thread at a time takes segments off the list and removes their files.
    pub dropping: Mutex<()>,
}

/// What is to be erased, once an entry of this index or a later one says so.
struct Plan {
    from: u64,
    blobs: HashSet<Hash>,
}

impl Plan {
    fn text(&self) -> String {
        let mut lines: Vec<String> = self.blobs.iter().map(|hash| hex::encode(hash)).collect();
        lines.sort_unstable();
        format!("{}\n{}\n", self.from, lines.join("\n"))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.lines();
        let from = lines.next()?.parse().ok()?;
        Some(Self { from, blobs: lines.map(hex::decode::<32>).collect::<Option<_>>()? })
    }
}

fn plan_path(dir: &Path) -> PathBuf {
    dir.join("journal").join(PLAN)
}

/// Whether a plan lies in a log's folder.
pub(crate) fn is_under_way(fs: &dyn Fs, dir: &Path) -> Result<bool, LogError> {
    match fs.open(&plan_path(dir)) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(LogError::io("open", &plan_path(dir), &error)),
    }
}

fn read_plan(fs: &dyn Fs, dir: &Path) -> Result<Option<Plan>, LogError> {
    if !is_under_way(fs, dir)? {
        return Ok(None);
    }
    let path = plan_path(dir);
    let bytes = fs.read(&path).map_err(|error| LogError::io("read", &path, &error))?;
    let plan = std::str::from_utf8(&bytes).ok().and_then(Plan::parse);
    plan.map(Some).ok_or_else(|| LogError::corrupt(format!("journal/{PLAN}"), "it is no plan of an erasure"))
}

/// The blobs that an erasure under way takes out; none when there is no readable plan.
pub(crate) fn planned(fs: &dyn Fs, dir: &Path) -> HashSet<Hash> {
    read_plan(fs, dir).ok().flatten().map(|plan| plan.blobs).unwrap_or_default()
}

/// Whether an index file is of a pack with these records before or after an erasure of `erased`: the same blobs in the
/// same order, but for those.
pub(crate) fn is_index_of(index: &[u8], records: &HashMap<Hash, u64>, erased: &HashSet<Hash>) -> bool {
    let record = |part: &[u8]| {
        let (hash, offset) = part.split_first_chunk::<32>()?;
        Some((*hash, u64::from_be_bytes(offset.try_into().ok()?)))
    };
    let Some(indexed) = index.chunks(40).map(record).collect::<Option<Vec<(Hash, u64)>>>() else { return false };
    let order = |mut records: Vec<(Hash, u64)>| {
        records.retain(|(hash, _)| !erased.contains(hash));
        records.sort_unstable_by_key(|(_, offset)| *offset);
        records.into_iter().map(|(hash, _)| hash).collect::<Vec<_>>()
    };
    index_bytes(indexed.iter().copied()) == index
        && order(indexed) == order(records.iter().map(|(hash, offset)| (*hash, *offset)).collect())
}

impl Log {
    /// Erases stored blobs, named by their lower-case hex SHA-256, from packs and journal. `append` appends, and waits
    /// for, the entries that say so (`Erase`, `redaction`): only what one of them names is erased, and killed at any
    /// moment the next start finishes what they say. Until this returns no entry that names one of the blobs is taken.
    ///
    /// Every entry that names a blob must be excused by those that `append` adds, else the auditor misses it.
    ///
    /// # Errors
    /// A blob is not stored, `append` failed, or the log stopped: then the next start finishes it.
    pub fn erase<T, E>(&self, blobs: &[String], append: impl FnOnce() -> Result<T, E>) -> Result<T, E>
    where
        E: From<LogError>,
    {
        let _alone = self.shared.locks.erasing.lock().unwrap_or_else(PoisonError::into_inner);
        self.plan(blobs)?;
        let appended = append();
        // Whatever became of the append, the log says what is erased.
        let settled = self.settle();
        let appended = appended?;
        settled?;
        Ok(appended)
    }

    fn plan(&self, blobs: &[String]) -> Result<(), LogError> {
        let unknown = |name: &String| LogError::BlobUnknown(name.clone());
        let hashes: Vec<Hash> =
            blobs.iter().map(|name| hex::decode(name).ok_or_else(|| unknown(name))).collect::<Result<_, _>>()?;
        let plan = {
            let mut state = self.shared.state()?;
            if let Some(error) = &state.poison {
                return Err(error.clone());
            }
            for (hash, name) in hashes.iter().zip(blobs) {
                if !state.waiting_blobs.contains_key(hash) && !self.shared.blobs.contains(hash)? {
                    return Err(unknown(name));
                }
            }
            state.erasing.extend(&hashes);
            Plan { from: state.durable.size, blobs: hashes.into_iter().collect() }
        };
        let shared = &self.shared;
        replace_file(shared.fs.as_ref(), &plan_path(&shared.dir), &temporary(&shared.dir), plan.text().as_bytes())
            .inspect_err(|error| shared.poison(error))
    }

    /// Brings an erasure that is planned to its end, if there is one: what the log says is erased, and nothing else.
    pub(crate) fn settle(&self) -> Result<(), LogError> {
        self.finish().inspect_err(|error| self.shared.poison(error))
    }

    fn finish(&self) -> Result<(), LogError> {
        let shared = &self.shared;
        if let Some(error) = self.failure() {
            return Err(error);
        }
        let Some(plan) = read_plan(shared.fs.as_ref(), &shared.dir)? else { return Ok(()) };
        let mut erased = HashSet::new();
        // The plan counts within this log; entries are read by an index that counts on through the logs before it.
        for index in plan.from..self.checkpoint().size {
            erased.extend(
                erased_blobs(&self.read(self.first() + index)?).into_iter().filter(|hash| plan.blobs.contains(hash)),
            );
        }
        if !erased.is_empty() {
            drop_journal(shared)?;
        }
        shared.blobs.erase(&erased, &temporary(&shared.dir))?;
        let path = plan_path(&shared.dir);
        shared.fs.remove(&path).map_err(|error| LogError::io("remove", &path, &error))?;
        sync_journal(shared)?;
        shared.state()?.erasing.clear();
        Ok(())
    }
}

fn temporary(dir: &Path) -> PathBuf {
    dir.join("journal").join(TEMPORARY)
}

/// Begins a new segment and waits until every earlier one is published and gone, durably.
fn drop_journal(shared: &Shared) -> Result<(), LogError> {
    let mut state = shared.state()?;
    state.roll = true;
    shared.work.notify_all();
    while state.roll || state.segments.back().is_some_and(|first| *first > state.published.size) {
        if let Some(error) = &state.poison {
            return Err(error.clone());
        }
        state.wanted = state.wanted.max(state.segments.back().copied().unwrap_or(0));
        shared.gathered.notify_one();
        state = shared.progress.wait(state).map_err(|_| LogError::Closed)?;
    }
    drop(state);
    drop_covered(shared)?;
    sync_journal(shared)
}

fn sync_journal(shared: &Shared) -> Result<(), LogError> {
    let dir = shared.dir.join("journal");
    let synced = shared.fs.open_dir(&dir).and_then(|handle| handle.sync_dir());
    synced.map_err(|error| LogError::io("sync", &dir, &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::sha256;

    #[test]
    fn a_plan_reads_back() {
        let plan = Plan { from: 7, blobs: HashSet::from([sha256(b"a"), sha256(b"b")]) };
        let read = Plan::parse(&plan.text()).unwrap();
        assert_eq!((read.from, read.blobs), (7, plan.blobs));
        assert!(Plan::parse("7\nxx\n").is_none() && Plan::parse("").is_none());
    }

    #[test]
    fn an_index_is_of_the_pack_before_or_after_and_of_no_other() {
        let [a, b, c] = [b"a", b"b", b"c"].map(|blob| sha256(blob));
        let before = [(a, 0), (b, 50), (c, 90)];
        let after = [(a, 0), (c, 50)];
        let erased = HashSet::from([b]);
        let records = |of: &[(Hash, u64)]| of.iter().copied().collect::<HashMap<_, _>>();
        let index = |of: &[(Hash, u64)]| index_bytes(of.iter().copied());
        for one in [before.as_slice(), &after] {
            for other in [before.as_slice(), &after] {
                assert!(is_index_of(&index(one), &records(other), &erased));
            }
        }
        assert!(!is_index_of(&index(&before), &records(&after), &HashSet::from([a])));
        assert!(!is_index_of(&index(&[(a, 60), (c, 50)]), &records(&after), &erased), "another order");
        assert!(!is_index_of(&index(&before)[1..], &records(&before), &erased));
    }
}
