//! A closed log and the one that goes on: the budget is one, and a stop at any point of the change loses nothing.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use epiledger_ledger::{
    AuditEntry, Fs, Log, LogError, LogReader, NewEntry, NoteKey, Setup, StdFs,
    entry::{LogClose, query::AccessDenied, query::Outcome},
    open_receipt,
    verify::{AuditOptions, Fault, Report, audit},
};
use rand::{SeedableRng, rngs::StdRng};

use crate::{
    disk::{Disk, State, Survival},
    folder::{AuditWriter, TestClock, files, salted, short},
};

/// The logs of a folder, in order.
const NAMES: [&str; 3] = ["audit", "audit.2", "audit.3"];

fn key(at: usize) -> NoteKey {
    NoteKey::from_seed(&format!("test.example/{}", NAMES[at]), &[1 + u8::try_from(at).unwrap(); 32]).unwrap()
}

fn setup() -> Setup {
    short(4_000, 3_000)
}

fn approvers() -> [String; 2] {
    ["steward".into(), "board".into()]
}

fn readers(fs: &Arc<dyn Fs>, root: &Path, count: usize) -> Result<Vec<LogReader>, LogError> {
    NAMES.iter().take(count).map(|name| LogReader::open_on(Arc::clone(fs), &root.join(name))).collect()
}

/// Opens what is there as a start does: the first log, and each that goes on.
fn start(fs: &Arc<dyn Fs>, root: &Path) -> Result<(Log, usize), LogError> {
    let mut log = match Log::open_with(Arc::clone(fs), &root.join(NAMES[0]), key(0), setup()) {
        Err(_) => Log::create_with(Arc::clone(fs), &root.join(NAMES[0]), key(0).origin(), key(0), setup())?,
        Ok(log) => log,
    };
    let mut at = 0;
    while log.closed()?.is_some() {
        log.flush()?;
        at += 1;
        log = Log::succeed(Arc::clone(fs), &root.join(NAMES[at]), key(at), readers(fs, root, at)?, setup())?;
    }
    Ok((log, at))
}

fn denied(n: u64) -> NewEntry {
    let entry = AuditEntry::AccessDenied(AccessDenied { principal: format!("p{n}"), route: "/".into(), count: n });
    entry.to_canonical().unwrap().into()
}

/// Entries that were acknowledged: after which change, their index and bytes.
#[derive(Clone, Default)]
struct Told(Vec<(usize, u64, NewEntry)>);

impl Told {
    fn append(&mut self, disk: &Disk, log: &Log, n: u64) {
        let appended = log.append(vec![denied(n)]).unwrap();
        self.0.push((disk.position(), appended.index(0).unwrap(), denied(n)));
    }

    fn check(&self, log: &Log, until: usize) -> usize {
        let known = self.0.iter().filter(|(at, ..)| *at <= until);
        known.inspect(|(_, index, new)| assert_eq!(log.read(*index).unwrap(), new.entry.as_bytes(), "{index}")).count()
    }
}

/// Two rotations with entries before, between and after.
fn live(disk: &Disk, told: &mut Told) {
    let (fs, root) = (Arc::new(disk.clone()) as Arc<dyn Fs>, Path::new("/data"));
    let (mut log, _) = start(&fs, root).unwrap();
    for at in 0..3 {
        told.append(disk, &log, 10 * at);
        told.append(disk, &log, 10 * at + 1);
        if at < 2 {
            let next = usize::try_from(at).unwrap() + 1;
            log.close(&key(next).verifier_key(), approvers()).unwrap();
            assert!(matches!(log.append(vec![denied(99)]), Err(LogError::Frozen(_))));
            log = Log::succeed(
                Arc::clone(&fs),
                &root.join(NAMES[next]),
                key(next),
                readers(&fs, root, next).unwrap(),
                setup(),
            )
            .unwrap();
        }
    }
    log.flush().unwrap();
}

fn audited(state: &State, at: usize) -> Report {
    let dir = tempfile::tempdir().unwrap();
    state.copy_to(Path::new("/data"), dir.path());
    let previous: Vec<PathBuf> = NAMES.iter().take(at).map(|name| dir.path().join(name)).collect();
    audit(&dir.path().join(NAMES[at]), AuditOptions { previous: &previous, ..AuditOptions::default() })
}

#[test]
fn a_crash_at_any_point_of_a_rotation_is_recovered_by_the_next_start() {
    let (disk, mut told) = (Disk::default(), Told::default());
    let made = {
        let fs: Arc<dyn Fs> = Arc::new(disk.clone());
        fs.create_dir(Path::new("/data")).unwrap();
        fs.open_dir(Path::new("/")).unwrap().sync_dir().unwrap();
        disk.position()
    };
    live(&disk, &mut told);
    let trace = disk.trace();
    let mut state = State::default();
    let nightly = std::env::var_os("EPILEDGER_CRASH_ROUNDS").is_some();
    let (mut crashes, mut kept, mut ends) = (0, 0, [0; 3]);
    for point in 0..=trace.len() {
        if let Some(op) = point.checked_sub(1).map(|at| &trace[at]) {
            state.apply(op).unwrap();
        }
        if point < made {
            continue;
        }
        let mut random = StdRng::seed_from_u64(point as u64);
        let mut survivals = [Survival::All, Survival::Nothing, Survival::Sectors, Survival::Prefix];
        survivals.rotate_left(point * 2 % 4);
        for survival in survivals.into_iter().take(if nightly { 4 } else { 2 }) {
            let disk = Disk::of(state.crash(survival, &mut random));
            let fs: Arc<dyn Fs> = Arc::new(disk.clone());
            let (log, at) = start(&fs, Path::new("/data")).unwrap();
            kept += told.check(&log, point);
            let mut more = told.clone();
            more.append(&disk, &log, 77);
            log.flush().unwrap();
            more.check(&log, point);
            drop(log);
            let report = audited(&disk.state(), at);
            assert_eq!(report.fault, None, "after {point} changes");
            crashes += 1;
            ends[at] += 1;
        }
    }
    assert!(ends.iter().all(|count| *count > 20), "{ends:?}");
    println!("crashes {crashes}, in the first, second and third log {ends:?}; acknowledged entries lost: 0 of {kept}");
}

/// A folder with a log that asked and answered one question, closed, and the one that goes on.
struct Rotated {
    root: tempfile::TempDir,
    clock: Arc<TestClock>,
}

impl Rotated {
    /// The next log's writer, with the budget where it was.
    fn new() -> (Self, AuditWriter, u64) {
        let rotated = Self { root: tempfile::tempdir().unwrap(), clock: Arc::default() };
        let mut writer = AuditWriter::new(&rotated.at(0), Arc::clone(&rotated.clock) as Arc<_>);
        let answered = rotated.ask(&mut writer);
        let writer = rotated.next(writer, 1);
        (rotated, writer, answered)
    }

    fn at(&self, number: usize) -> PathBuf {
        self.root.path().join(NAMES[number])
    }

    fn ask(&self, writer: &mut AuditWriter) -> u64 {
        let intent = writer.intent();
        let index = writer.ask(intent.clone());
        writer.answer(index, &intent.query_id, Outcome::Answered)
    }

    fn succeed(&self, number: usize) -> Result<Log, LogError> {
        let setup = Setup { clock: Arc::clone(&self.clock) as Arc<_>, ..Setup::default() };
        let fs: Arc<dyn Fs> = Arc::new(StdFs);
        Log::succeed(Arc::clone(&fs), &self.at(number), key(number), readers(&fs, self.root.path(), number)?, setup)
    }

    fn next(&self, writer: AuditWriter, number: usize) -> AuditWriter {
        writer.log.close(&key(number).verifier_key(), approvers()).unwrap();
        AuditWriter { log: self.succeed(number).unwrap(), ..writer }
    }

    fn report(&self, number: usize, previous: &[usize]) -> Report {
        let previous: Vec<PathBuf> = previous.iter().map(|number| self.at(*number)).collect();
        audit(&self.at(number), AuditOptions { previous: &previous, ..AuditOptions::default() })
    }
}

#[test]
fn the_budget_is_recomputed_over_both_logs_and_unchecked_without_the_first() {
    let (rotated, mut writer, answered) = Rotated::new();
    assert_eq!(writer.log.read(answered).unwrap(), writer.log.previous()[0].read(answered).unwrap());
    assert!(writer.log.blob(&salted("result").0).unwrap().is_some());
    writer.repeat(answered);
    let second = rotated.ask(&mut writer);
    assert!(second > answered && writer.log.place(second) < second);
    for (index, key) in [(answered, "test.example/audit".to_owned()), (second, writer.log.origin().to_owned())] {
        let log = if index == answered {
            writer.log.previous()[0].verifier_key().clone()
        } else {
            self::key(1).verifier_key()
        };
        let receipt = open_receipt(&writer.log.prove_inclusion(index).unwrap(), &log).unwrap();
        assert_eq!((receipt.index, receipt.head.origin), (writer.log.place(index), key));
    }
    let mut writer = rotated.next(writer, 2);
    rotated.ask(&mut writer);
    drop(writer);

    let report = rotated.report(2, &[0, 1]);
    assert_eq!(report.fault, None);
    assert!(report.to_string().contains("audited first"), "{report}");
    let summary = report.audit.unwrap();
    assert_eq!((summary.intents, summary.answered, summary.repeated, summary.open), (3, 3, 1, 0));
    assert_eq!(summary.budgets[0].rho, "0.015");
    assert_eq!(rotated.report(0, &[]).audit.unwrap().closed, Some(key(1).verifier()));

    for previous in [&[][..], &[1]] {
        let report = rotated.report(2, previous);
        assert_eq!(report.fault, None);
        assert!(report.to_string().contains("NOT given"), "{report}");
        assert_eq!((report.audit.as_ref().unwrap().intents, report.audit.unwrap().budgets.len()), (0, 0));
    }
    let fault = |previous: &[usize]| rotated.report(2, previous).fault.unwrap().layer;
    assert_eq!((fault(&[0]), fault(&[1, 0]), fault(&[2])), ("rotation", "rotation", "rotation"));
}

/// The fault of a rotated log, audited after the first.
fn after(run: impl FnOnce(&Rotated, AuditWriter)) -> Option<Fault> {
    let (rotated, writer, _) = Rotated::new();
    run(&rotated, writer);
    rotated.report(1, &[0]).fault
}

#[track_caller]
fn expect(layer: &str, what: &str, run: impl FnOnce(&Rotated, AuditWriter)) {
    let fault = after(run).unwrap();
    assert!(fault.layer == layer && fault.what.contains(what), "{fault}");
}

#[test]
fn time_does_not_go_back_from_one_log_to_the_next() {
    let rotated = Rotated { root: tempfile::tempdir().unwrap(), clock: Arc::default() };
    rotated.clock.0.store(7_200, std::sync::atomic::Ordering::SeqCst);
    let mut writer = AuditWriter::new(&rotated.at(0), Arc::clone(&rotated.clock) as Arc<_>);
    rotated.ask(&mut writer);
    let time = writer.log.time();
    rotated.clock.0.store(0, std::sync::atomic::Ordering::SeqCst);
    let mut writer = rotated.next(writer, 1);
    assert_eq!(writer.log.time(), time);
    rotated.ask(&mut writer);
    drop(writer);
    assert_eq!(rotated.report(1, &[0]).fault, None);
}

#[test]
fn what_a_rotation_must_not_be_is_a_fault() {
    assert_eq!(after(|_, writer| drop(writer)), None);
    expect("budget", "entry 2", |_, mut writer| {
        // As if nothing had been spent before.
        let mut intent = writer.intent();
        (intent.state.intents, intent.state.rho, intent.state.delta) = (0, "0".into(), "0".into());
        writer.ask(intent);
    });
    expect("outcome", "entry", |_, writer| writer.repeat(3));
    expect("rotation", "entry", |_, writer| {
        let begins = writer.log.read(writer.log.first()).unwrap();
        let begins = epiledger_ledger::Canonical::parse(begins).unwrap();
        writer.log.append(vec![begins.into()]).unwrap();
    });
    // The closed log goes on, against its word.
    expect("rotation", "audit", |rotated, writer| {
        drop(writer);
        std::fs::remove_dir_all(rotated.at(0)).unwrap();
        let other = AuditWriter::new(&rotated.at(0), Arc::clone(&rotated.clock) as Arc<_>);
        other.append(AuditEntry::LogClose(LogClose { key: key(1).verifier(), approvers: approvers() }), vec![]);
        other.append(AuditEntry::LogClose(LogClose { key: key(1).verifier(), approvers: approvers() }), vec![]);
        other.log.flush().unwrap();
    });
    expect("rotation", "audit", |rotated, writer| {
        drop(writer);
        std::fs::remove_dir_all(rotated.at(0)).unwrap();
        let other = AuditWriter::new(&rotated.at(0), Arc::clone(&rotated.clock) as Arc<_>);
        let one = ["same".to_owned(), "same".to_owned()];
        other.log.close(&key(1).verifier_key(), one).unwrap();
    });
    // Another log of the same key, closed for the same successor.
    expect("rotation", "entry 0", |rotated, writer| {
        drop(writer);
        std::fs::remove_dir_all(rotated.at(0)).unwrap();
        let other = AuditWriter::new(&rotated.at(0), Arc::clone(&rotated.clock) as Arc<_>);
        other.log.close(&key(1).verifier_key(), approvers()).unwrap();
    });
    // A log that does not say that it goes on.
    expect("rotation", "entry 0", |rotated, writer| {
        drop(writer);
        std::fs::remove_dir_all(rotated.at(1)).unwrap();
        let log = Log::create(Arc::new(StdFs), &rotated.at(1), key(1).origin(), key(1)).unwrap();
        log.append(vec![denied(1)]).unwrap();
        log.flush().unwrap();
    });
    expect("files", "key", |rotated, writer| {
        drop(writer);
        std::fs::remove_dir_all(rotated.at(0)).unwrap();
    });
}

#[test]
fn a_changed_closed_log_is_found_and_not_gone_on_from() {
    let (rotated, writer, _) = Rotated::new();
    drop(writer);
    let bundle = files(&rotated.at(0).join("tile/entries")).pop().unwrap();
    let bytes = std::fs::read(&bundle).unwrap();
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    std::fs::write(&bundle, &flipped).unwrap();
    let fault = rotated.report(1, &[0]).fault.unwrap();
    assert!(fault.what.contains("/audit"), "{fault}");
    std::fs::write(&bundle, &bytes).unwrap();
    assert_eq!(rotated.report(1, &[0]).fault, None);

    std::fs::rename(rotated.at(0), rotated.root.path().join("gone")).unwrap();
    assert!(matches!(rotated.succeed(1), Err(LogError::Io { .. })));
    let other = AuditWriter::new(&rotated.at(0), Arc::clone(&rotated.clock) as Arc<_>);
    other.log.flush().unwrap();
    drop(other);
    assert!(matches!(rotated.succeed(1), Err(LogError::Corrupt { .. })), "it is not closed");
    let log = Log::open(Arc::new(StdFs), &rotated.at(0), crate::folder::key("test.example/audit")).unwrap();
    log.close(&key(1).verifier_key(), approvers()).unwrap();
    drop(log);
    let log = Log::open(Arc::new(StdFs), &rotated.at(0), crate::folder::key("test.example/audit")).unwrap();
    assert!(matches!(log.append(vec![denied(1)]), Err(LogError::Frozen(_))), "closed is closed for who opens it again");
    drop(log);
    assert!(matches!(rotated.succeed(1), Err(LogError::Corrupt { .. })), "it is another log");
    // Closing is an entry like any other to those who read it.
    let closed = LogReader::open(&rotated.at(0)).unwrap().closed().unwrap();
    assert_eq!(closed, Some(LogClose { key: key(1).verifier(), approvers: approvers() }));
}
