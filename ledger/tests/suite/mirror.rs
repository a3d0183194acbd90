//! A mirror takes what the log's key signed, whole, and nothing else: not from a bad server, and not in part.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use epiledger_ledger::{
    FolderSource, FollowError, LogReader, Mirror, MirrorError, NoteKey, Source, SourceError, StdFs, VerifierKey,
    entry::key::Party,
    verify::{AuditOptions, Fault, audit},
};

use crate::folder::{TestClock, copy, create, files, grant, key, record, register};

const ORIGIN: &str = "test.example/ledger";

type Change = Box<dyn Fn(&str, Result<Vec<u8>, SourceError>) -> Result<Vec<u8>, SourceError> + Send + Sync>;

/// A log's folder as a server gives it, with whatever the server does to it.
pub struct Served {
    dir: PathBuf,
    change: Change,
    fetches: AtomicU64,
}

impl Served {
    pub fn plain(dir: &Path) -> Self {
        Self::changed(dir, |_, result| result)
    }

    fn changed(
        dir: &Path,
        change: impl Fn(&str, Result<Vec<u8>, SourceError>) -> Result<Vec<u8>, SourceError> + Send + Sync + 'static,
    ) -> Self {
        Self { dir: dir.to_owned(), change: Box::new(change), fetches: AtomicU64::new(0) }
    }
}

impl Source for Served {
    fn fetch(&self, path: &str, limit: usize) -> Result<Vec<u8>, SourceError> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        let bytes = match path.strip_prefix("blob/") {
            Some(hash) => {
                let found = LogReader::open(&self.dir).unwrap().blob(hash).unwrap();
                found.ok_or_else(|| SourceError::Missing(path.to_owned()))
            }
            None => FolderSource::new(&self.dir).fetch(path, limit),
        };
        let bytes = (self.change)(path, bytes)?;
        if bytes.len() > limit { Err(SourceError::TooLong(path.to_owned(), limit)) } else { Ok(bytes) }
    }
}

/// Copies of one log's folder, each a published head later; `fork` changes an entry of the second step.
pub fn steps(root: &Path, fork: bool) -> Vec<PathBuf> {
    let dir = root.join(if fork { "forked" } else { "log" });
    let log = create(&dir, ORIGIN, Arc::new(TestClock::default()));
    let registered = vec![
        register(Party::Registrar, "r", 1, 1),
        register(Party::Hospital, "h", 2, 1),
        register(Party::Patient, "p", 3, 2),
    ];
    log.append(registered).unwrap();
    let mut copies = Vec::new();
    for (step, count) in [1_usize, 30, 300, 1, 260].into_iter().enumerate() {
        let name = |n: usize| format!("{step}-{n}{}", if fork && step == 1 && n == 7 { "-other" } else { "" });
        let entries = (0..count).map(|n| record(&name(n), "p", format!("rows {step} {}", n % 9).as_bytes(), 2));
        log.append(entries.chain([grant("p", 3)]).collect()).unwrap();
        log.flush().unwrap();
        let copied = root.join(format!("{}{step}", if fork { "fork" } else { "step" }));
        copy(&dir, &copied);
        copies.push(copied);
    }
    copies
}

fn open(dir: &Path) -> Mirror {
    Mirror::open(Arc::new(StdFs), dir, &key(ORIGIN).verifier_key(), true).unwrap()
}

fn sync(dir: &Path, source: &dyn Source) -> Result<u64, MirrorError> {
    open(dir).sync(source, &|_, _| {}).map(|synced| synced.to)
}

fn fault(error: MirrorError) -> Fault {
    let MirrorError::Follow(FollowError::Fault(fault)) = error else {
        unreachable!("no fault of the log: {error}");
    };
    fault
}

fn assert_same(mirror: &Path, log: &Path) {
    let report = audit(mirror, AuditOptions::default());
    assert_eq!(report.fault, None);
    let (ours, theirs) = (LogReader::open(mirror).unwrap(), LogReader::open(log).unwrap());
    assert_eq!(ours.checkpoint(), theirs.checkpoint());
    let all = |reader: &LogReader| reader.entries(0).map(|item| item.unwrap()).collect::<Vec<_>>();
    assert_eq!(all(&ours), all(&theirs), "entries and blobs");
}

/// Every file but the lock and what waits in `incoming/`.
fn kept(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let all = files(dir).into_iter().filter(|path| !path.ends_with("lock") && !path.starts_with(dir.join("incoming")));
    all.map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
}

#[test]
fn a_mirror_follows_a_log_from_any_head_to_any_later_one() {
    let root = tempfile::tempdir().unwrap();
    let steps = steps(root.path(), false);
    for first in 0..steps.len() {
        let mirror = root.path().join(format!("mirror{first}"));
        for step in steps.iter().skip(first) {
            let source = Served::plain(step);
            let to = sync(&mirror, &source).unwrap();
            assert_eq!(to, LogReader::open(step).unwrap().size());
            assert_same(&mirror, step);
            let before = source.fetches.load(Ordering::SeqCst);
            assert_eq!(sync(&mirror, &source).unwrap(), to);
            assert_eq!(source.fetches.load(Ordering::SeqCst), before + 1, "an unchanged log costs one fetch");
        }
    }
}

#[test]
fn a_mirror_stopped_at_any_fetch_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let steps = steps(root.path(), false);
    let (old, new) = (&steps[1], &steps[4]);
    let start = root.path().join("start");
    sync(&start, &Served::plain(old)).unwrap();
    let before = kept(&start);
    for stop in 0.. {
        let mirror = root.path().join("mirror");
        copy(&start, &mirror);
        let left = AtomicU64::new(stop);
        let stalls = Served::changed(new, move |_, result| {
            match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
                Ok(_) => result,
                Err(_) => Err(SourceError::Temporary("no answer in time".into())),
            }
        });
        let result = sync(&mirror, &stalls);
        if result.is_ok() {
            assert!(stop > 20, "{stop} fetches are too few to mean anything");
            break;
        }
        assert!(matches!(result, Err(MirrorError::Follow(FollowError::Source(SourceError::Temporary(_))))));
        let tree = |files: Vec<(PathBuf, Vec<u8>)>, dir: &Path| -> Vec<(PathBuf, Vec<u8>)> {
            let name = |path: &Path| path.strip_prefix(dir).unwrap().to_owned();
            files
                .into_iter()
                .map(|(path, bytes)| (name(&path), bytes))
                .filter(|(path, _)| !path.starts_with("blobs"))
                .collect()
        };
        assert_eq!(tree(kept(&mirror), &mirror), tree(before.clone(), &start), "stopped at fetch {stop}");
        assert_eq!(LogReader::open(&mirror).unwrap().size(), LogReader::open(old).unwrap().size());
        let report = audit(&mirror, AuditOptions::default());
        assert_eq!(
            (report.fault, report.size),
            (None, LogReader::open(old).unwrap().size()),
            "stopped at fetch {stop}"
        );
        let staged = files(&mirror).iter().any(|path| path.starts_with(mirror.join("incoming")));
        assert!(report.checked.unfinished_bytes > 0 || !staged, "stopped at fetch {stop}");
        sync(&mirror, &Served::plain(new)).unwrap();
        assert_same(&mirror, new);
        fs::remove_dir_all(&mirror).unwrap();
    }
}

#[test]
fn a_mirror_that_is_not_whole_yet_is_no_broken_log() {
    let root = tempfile::tempdir().unwrap();
    let steps = steps(root.path(), false);
    let stalls = |after: u64| {
        let left = AtomicU64::new(after);
        Served::changed(&steps[4], move |_, result| {
            match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
                Ok(_) => result,
                Err(_) => Err(SourceError::Temporary("no answer in time".into())),
            }
        })
    };
    // The first run: nothing is there to be judged.
    for after in [0, 1, 5, 20] {
        let mirror = root.path().join(format!("first-{after}"));
        assert!(sync(&mirror, &stalls(after)).is_err());
        let fault = audit(&mirror, AuditOptions::default()).fault.unwrap();
        assert!(fault.is_busy(), "{after}: {fault}");
    }
    // A later run, stopped between two renames: new tiles beside the old head, the rest still staged.
    let (mirror, whole) = (root.path().join("mirror"), root.path().join("whole"));
    sync(&mirror, &Served::plain(&steps[1])).unwrap();
    sync(&whole, &Served::plain(&steps[4])).unwrap();
    let old = LogReader::open(&mirror).unwrap().size();
    copy(&whole.join("tile"), &mirror.join("tile"));
    copy(&whole.join("blobs"), &mirror.join("blobs"));
    let wider = audit(&mirror, AuditOptions::default()).fault.unwrap();
    assert!(wider.layer == "files" && wider.what.starts_with("tile/"), "with no run under way: {wider}");
    fs::create_dir(mirror.join("incoming")).unwrap();
    fs::write(mirror.join("incoming/tile_0_002.p_9"), [0; 288]).unwrap();
    let report = audit(&mirror, AuditOptions::default());
    assert_eq!((report.fault, report.size), (None, old));
    assert!(report.checked.unfinished_bytes > 10_000, "{}", report.checked.unfinished_bytes);
    // What is under the head is judged all the same, in a tile that has grown too.
    for (path, at) in [("tile/0/000", 33), ("tile/entries/000", 9), ("blobs/000000.pack", 45), ("checkpoint", 3)] {
        let path = mirror.join(path);
        let bytes = fs::read(&path).unwrap();
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        fs::write(&path, changed).unwrap();
        assert!(
            audit(&mirror, AuditOptions::default()).fault.is_some_and(|fault| !fault.is_busy()),
            "{}",
            path.display()
        );
        fs::write(&path, bytes).unwrap();
    }
    fs::write(mirror.join("incoming/notes.txt"), b"x").unwrap();
    assert_eq!(audit(&mirror, AuditOptions::default()).fault.unwrap().what, "incoming/notes.txt");
    fs::remove_file(mirror.join("incoming/notes.txt")).unwrap();
    sync(&mirror, &Served::plain(&steps[4])).unwrap();
    assert_same(&mirror, &steps[4]);
    // A head that is gone is no beginning.
    fs::remove_file(mirror.join("checkpoint")).unwrap();
    assert!(audit(&mirror, AuditOptions::default()).fault.is_some_and(|fault| !fault.is_busy()));
}

/// Changes one file that a server gives, in every way; the mirror names it and keeps its old head.
#[test]
fn nothing_changed_on_the_way_is_accepted() {
    let root = tempfile::tempdir().unwrap();
    let steps = steps(root.path(), false);
    let mirror = root.path().join("mirror");
    sync(&mirror, &Served::plain(&steps[0])).unwrap();
    let before = kept(&mirror);
    let names: Vec<String> = {
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let record = Arc::clone(&seen);
        let source = Served::changed(&steps[2], move |path, result| {
            record.lock().unwrap().push(path.to_owned());
            result
        });
        let other = root.path().join("other");
        copy(&mirror, &other);
        sync(&other, &source).unwrap();
        let mut names = seen.lock().unwrap().clone();
        names.sort();
        names.dedup();
        names
    };
    assert!(names.len() > 10, "{names:?}");
    let flip = |at: usize| {
        move |mut bytes: Vec<u8>| {
            let length = bytes.len();
            bytes[at % length] ^= 1 << (at % 8);
            bytes
        }
    };
    type Edit = Box<dyn Fn(Vec<u8>) -> Vec<u8> + Send + Sync>;
    let changes: Vec<Edit> = vec![
        Box::new(flip(0)),
        Box::new(flip(1)),
        Box::new(flip(40)),
        Box::new(flip(1000)),
        Box::new(|bytes| bytes[..bytes.len() - 1].to_vec()),
        Box::new(|bytes| bytes[..bytes.len() / 2].to_vec()),
        Box::new(|_| Vec::new()),
        Box::new(|bytes| [&bytes[..], &[0]].concat()),
        Box::new(|bytes| [&bytes[..], &bytes[..]].concat()),
        Box::new(|_| b"<html>sign in</html>".to_vec()),
        Box::new(|_| vec![0; 70_000]),
    ];
    let changes: Vec<_> = changes.into_iter().map(Arc::new).collect();
    for name in &names {
        for (number, change) in changes.iter().enumerate() {
            let (target, change) = (name.clone(), Arc::clone(change));
            let source =
                Served::changed(
                    &steps[2],
                    move |path, result| {
                        if path == target { result.map(|bytes| change(bytes)) } else { result }
                    },
                );
            // A copy each time: a blob that an attempt before fetched whole is kept, and not asked for again.
            let trial = root.path().join(format!("trial-{number}"));
            let _ = std::fs::remove_dir_all(&trial);
            copy(&mirror, &trial);
            let found = fault(sync(&trial, &source).expect_err(&format!("change {number} of {name} is taken")));
            assert!(!found.what.is_empty());
            let tree = |kept: Vec<(PathBuf, Vec<u8>)>, of: &Path| -> Vec<_> {
                let inside =
                    kept.into_iter().filter_map(|(path, bytes)| Some((path.strip_prefix(of).ok()?.to_owned(), bytes)));
                inside.filter(|(path, _)| !path.starts_with("blobs")).collect()
            };
            assert_eq!(tree(kept(&trial), &trial), tree(before.clone(), &mirror), "change {number} of {name}");
        }
    }
    // What it keeps of blobs fetched before the fault is right, and in order.
    sync(&mirror, &Served::plain(&steps[2])).unwrap();
    assert_same(&mirror, &steps[2]);
}

#[test]
fn a_missing_tile_is_a_fault_and_a_missing_blob_is_left_to_the_auditor() {
    let root = tempfile::tempdir().unwrap();
    let steps = steps(root.path(), false);
    let without = |gone: &'static str| {
        Served::changed(&steps[2], move |path, result| {
            if path.starts_with(gone) { Err(SourceError::Missing(path.to_owned())) } else { result }
        })
    };
    let mirror = root.path().join("mirror");
    for gone in ["tile/0/000", "tile/1/000.p/1", "tile/entries/001"] {
        let found = fault(sync(&mirror, &without(gone)).unwrap_err());
        assert!(found.what.starts_with(gone) && found.message.contains("missing"), "{found}");
    }
    let bare = root.path().join("bare");
    sync(&bare, &without("blob/")).unwrap();
    let found = audit(&bare, AuditOptions::default()).fault.unwrap();
    assert!(found.layer == "blob" && found.what == "entry 4", "{found}");
}

#[test]
fn another_log_an_old_head_and_a_fork_are_named() {
    let root = tempfile::tempdir().unwrap();
    let (steps, forks) = (steps(root.path(), false), self::steps(root.path(), true));
    let mirror = root.path().join("mirror");
    sync(&mirror, &Served::plain(&steps[2])).unwrap();
    let before = kept(&mirror);
    let say = |source: &Path| fault(sync(&mirror, &Served::plain(source)).unwrap_err()).to_string();
    assert!(say(&steps[1]).contains("goes backwards"), "{}", say(&steps[1]));
    assert!(say(&forks[2]).contains("a fork"), "as long: {}", say(&forks[2]));
    assert!(say(&forks[3]).contains("a fork"), "longer: {}", say(&forks[3]));
    // Before the fork the two are one log.
    let early = root.path().join("early");
    sync(&early, &Served::plain(&steps[0])).unwrap();
    sync(&early, &Served::plain(&forks[4])).unwrap();
    assert_same(&early, &forks[4]);

    let other = root.path().join("audit");
    crate::folder::small_audit(&other);
    let text = say(&other);
    assert!(text.contains("not of the log `test.example/ledger`") && text.contains("test.example/audit"), "{text}");
    let stranger = Served::changed(&steps[3], |path, result| match path {
        "checkpoint" => {
            Ok(format!("{ORIGIN}\n400\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n\u{2014} {ORIGIN} AAAAAAAA\n")
                .into())
        }
        _ => result,
    });
    let text = fault(sync(&mirror, &stranger).unwrap_err()).to_string();
    assert!(text.contains("no checkpoint that the key of `test.example/ledger` signed"), "{text}");
    let hostile = Served::changed(&steps[3], |path, result| match path {
        "checkpoint" => Ok(b"\x1b[2Jgone\n1\n\n".to_vec()),
        _ => result,
    });
    let text = fault(sync(&mirror, &hostile).unwrap_err()).to_string();
    assert!(!text.contains('\u{1b}') && text.contains("\\u{1b}"), "{text}");
    assert_eq!(kept(&mirror), before);
}

#[test]
fn a_folder_is_the_mirror_of_one_log_and_of_one_process() {
    let root = tempfile::tempdir().unwrap();
    let steps = steps(root.path(), false);
    let mirror = root.path().join("mirror");
    let mut held = open(&mirror);
    assert!(held.head().is_none());
    let again =
        |key: &VerifierKey, dir: &Path, blobs| Mirror::open(Arc::new(StdFs), dir, key, blobs).unwrap_err().to_string();
    let own = key(ORIGIN).verifier_key();
    assert!(again(&own, &mirror, true).contains("in use by another process"));
    held.sync(&Served::plain(&steps[0]), &|_, _| {}).unwrap();
    drop(held);
    assert!(again(&own, &mirror, false).contains("a mirror with blobs"));
    let other = NoteKey::from_seed(ORIGIN, &[9; 32]).unwrap().verifier_key();
    assert!(again(&other, &mirror, true).contains("another log, or of another key"));
    assert!(again(&own, &steps[0], true).contains("no mirror"), "a log's own folder");
    let full = root.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("thesis.txt"), b"x").unwrap();
    assert!(again(&own, &full, true).contains("no mirror"));
    assert_eq!(fs::read_dir(&full).unwrap().filter(|item| item.as_ref().unwrap().file_name() != "lock").count(), 1);
}

#[test]
fn every_flipped_byte_of_a_mirror_is_a_fault_and_the_report_says_what_it_lacks() {
    let root = tempfile::tempdir().unwrap();
    let log = root.path().join("log");
    crate::folder::small_audit(&log);
    let bare = root.path().join("bare");
    let key = key("test.example/audit").verifier_key();
    let mut mirror = Mirror::open(Arc::new(StdFs), &bare, &key, false).unwrap();
    mirror.sync(&Served::plain(&log), &|_, _| {}).unwrap();
    drop(mirror);
    let report = audit(&bare, AuditOptions::default());
    assert_eq!((report.fault.as_ref(), report.checked.unchecked_blobs), (None, 6));
    assert!(report.to_string().contains("6 blobs unchecked"), "{report}");
    assert_eq!(report.audit, audit(&log, AuditOptions::default()).audit, "the budget is recomputed all the same");
    for file in files(&bare).iter().filter(|file| !file.ends_with("lock")) {
        let bytes = fs::read(file).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            fs::write(file, &changed).unwrap();
            assert!(audit(&bare, AuditOptions::default()).fault.is_some(), "byte {at} of {}", file.display());
        }
        fs::remove_file(file).unwrap();
        assert!(audit(&bare, AuditOptions::default()).fault.is_some(), "without {}", file.display());
        fs::write(file, &bytes).unwrap();
    }
    for stray in ["journal/x", "blobs/000000.pack", "incoming/tile", "x"] {
        fs::create_dir_all(bare.join(stray).parent().unwrap()).unwrap();
        fs::write(bare.join(stray), b"x").unwrap();
        assert!(audit(&bare, AuditOptions::default()).fault.is_some(), "{stray}");
        fs::remove_file(bare.join(stray)).unwrap();
        let _ = fs::remove_dir(bare.join(stray).parent().unwrap());
    }
    assert_eq!(audit(&bare, AuditOptions::default()).fault, None);
}
