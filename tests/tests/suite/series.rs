//! Series, through accountant, operator and release, over a ledger that changes between cuts: late records,
//! corrections in both directions, people who leave and come back. With a price so high that the noise is 0, the
//! released numbers are the exact ones, and an oracle counts the same patients by hand.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use epiledger_engine::{exec::local::LocalExecutor, series::files::CountedFiles};
use epiledger_ledger::{
    Log, NoteKey, StdFs,
    entry::{AuditEntry, Period, SeriesTerms, SnapshotPinned, query::Outcome},
    tree::sha256,
    verify::{AuditOptions, audit},
};
use epiledger_privacy::{
    accountant::{Accountant, ReserveError, Reserved},
    bound::{BoundedPlan, bound_window},
    budget::paid,
    catalog::{Catalog, Contribution},
    clock::{MonotonicClock, Timing},
    day::Day,
    loss::Rho,
    refusal::PlanError,
    release::{Failed, Release, release},
    series::{Counted, Series, Window},
    snapshot::Snapshot,
};
use epiledger_tests::verifiers;
use rand::{RngExt, rngs::StdRng};
use serde_json::Value;

use crate::{
    setup::{asker, rules},
    world::{Patient, Visit, catalog, params, patients, rng, write},
};

const FIRST_EVER: &str = "SELECT date_trunc('month', f.first) AS month, COUNT(*) AS cases \
    FROM (SELECT person_id, MIN(day) AS first FROM visit WHERE kind = 'a' GROUP BY person_id) f GROUP BY 1";

/// Ten cuts, and the end of the last month that each of them closes.
const CUTS: [(&str, &str); 10] = [
    ("2020-02-20", "2020-02-01"),
    ("2020-03-16", "2020-03-01"),
    ("2020-03-20", "2020-03-01"),
    ("2020-04-20", "2020-04-01"),
    ("2020-06-20", "2020-06-01"),
    ("2020-07-16", "2020-07-01"),
    ("2020-09-01", "2020-08-01"),
    ("2020-10-16", "2020-10-01"),
    ("2020-12-20", "2020-11-01"),
    ("2021-03-01", "2020-11-01"),
];

fn terms() -> SeriesTerms {
    SeriesTerms { period: Period::Month, from: "2020-01-01".into(), to: "2020-11-01".into(), lag: 15 }
}

fn wide() -> Contribution {
    Contribution { scan_rows: 50, rows: 50, groups: 12 }
}

/// The log and the lists of one series' run.
struct Run {
    accountant: Arc<Accountant>,
    executor: LocalExecutor,
    runtime: tokio::runtime::Runtime,
    counted: Arc<dyn Counted>,
    catalog: Catalog,
}

impl Run {
    fn new(dir: &Path) -> Self {
        let key = NoteKey::generate("test/audit").unwrap();
        key.save(&dir.join("key")).unwrap();
        let log = Log::create(Arc::new(StdFs), &dir.join("audit"), "test/audit", key).unwrap();
        let run = Self::over(dir, log, Arc::new(CountedFiles::of(dir)));
        for mut entry in rules(["1000"; 4], "0.001") {
            // The auditor holds a policy to its block's time.
            if let AuditEntry::PolicySet(policy) = &mut entry {
                policy.time = run.accountant.log().time();
                policy.effective = policy.time;
            }
            run.accountant.record(entry, Vec::new()).unwrap();
        }
        run
    }

    fn over(_: &Path, log: Log, counted: Arc<dyn Counted>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let executor = LocalExecutor::new().unwrap();
        Self {
            accountant: Accountant::open(Arc::new(log)).unwrap(),
            executor,
            runtime,
            counted,
            catalog: catalog(wide()),
        }
    }

    /// The same folder after a stop.
    fn again(dir: &Path) -> Self {
        let key = NoteKey::load(&dir.join("key")).unwrap();
        let log = Log::open(Arc::new(StdFs), &dir.join("audit"), key).unwrap();
        Self::over(dir, log, Arc::new(CountedFiles::of(dir)))
    }

    /// The tables at a cut, and the cut's audit entry.
    fn cut(&self, dir: &Path, number: u64, day: &str, people: &[Patient]) -> Snapshot {
        let folder = dir.join(format!("cut-{number}"));
        fs::create_dir_all(&folder).unwrap();
        let mut snapshot = write(&folder, &self.catalog, people, 3);
        (snapshot.number, snapshot.cut_at) = (number, format!("{day}T03:00Z"));
        let cut_at = snapshot.cut_at.clone();
        let blob = format!("{:32}manifest {number}", "salt").into_bytes();
        let commit = sha256(&blob).iter().map(|byte| format!("{byte:02x}")).collect();
        let entry = SnapshotPinned { number, cut_at, scheduled: true, commit };
        self.accountant.record(AuditEntry::Snapshot(entry), vec![blob]).unwrap();
        snapshot
    }

    fn plan(&self, sql: &str, snapshot: &Snapshot, window: &Window, rho: &str) -> Result<BoundedPlan, PlanError> {
        let parsed = epiledger_sql::parse(sql).unwrap();
        let query = epiledger_sql::bind(&parsed, &self.catalog, &BTreeMap::new()).unwrap();
        bound_window(&query, &self.catalog, snapshot, &params(Rho::parse(rho).unwrap()), window)
    }

    fn series(&self) -> Option<(u64, Series)> {
        self.accountant.budget().series().all().iter().next().map(|(index, series)| (*index, series.clone()))
    }

    /// The next window of the one series, which is opened first; None when nothing is due.
    fn reserve(&self, snapshot: &Snapshot, rho: &str) -> Option<Result<Reserved, ReserveError>> {
        let series = self.series();
        let opened = series.as_ref().map(|(index, _)| *index);
        let from = series.map_or(terms().from, |(_, series)| series.next().to_owned());
        let window = Window::at(&terms(), &from, &snapshot.cut_at).unwrap();
        if opened.is_some() && window.from >= window.to {
            return None;
        }
        let plan = self.plan(FIRST_EVER, snapshot, &window, rho).unwrap();
        let counted = Arc::clone(&self.counted);
        Some(self.accountant.reserve_window(plan, &asker(Timing::Immediate), opened, counted))
    }

    fn release(&self, reserved: Reserved) -> Result<Arc<Release>, Failed> {
        let clock = MonotonicClock::new(Box::new(|time| Box::pin(tokio::time::sleep(time))));
        let done = release(reserved, &self.executor, &clock, Timing::Immediate);
        self.runtime.block_on(done).map(|(release, _)| release)
    }

    /// The whole series over these states of the ledger: the counts by month, exact.
    fn whole(&self, dir: &Path, states: &[Vec<Patient>]) -> BTreeMap<String, i64> {
        let mut counts = BTreeMap::new();
        for ((number, (day, _)), people) in (1..).zip(CUTS).zip(states) {
            let snapshot = self.cut(dir, number, day, people);
            let Some(reserved) = self.reserve(&snapshot, "300") else { continue };
            counts.extend(read(&self.release(reserved.unwrap()).unwrap()));
        }
        counts
    }
}

/// Counts by month.
fn read(release: &Release) -> Vec<(String, i64)> {
    let text = serde_json::to_value(release).unwrap();
    let months = text["keys"][0]["values"].as_array().unwrap().iter();
    let counts = release.draws()[0].values.iter();
    months.zip(counts).map(|(month, count)| (month.as_str().unwrap()[..10].to_owned(), *count)).collect()
}

/// Takes a patient's visits further by one cut.
fn change(patient: &mut Patient, rng: &mut StdRng) {
    let day = |rng: &mut StdRng| 18_262 + rng.random_range(0..366);
    match rng.random_range(0..12) {
        // A late record, of any day before or after.
        0..=2 => patient.visits.push(Visit { kind: Some("a"), day: day(rng), cost: None }),
        // A correction moves a date, or takes the record back.
        3..=5 => {
            if let Some(visit) = patient.visits.first_mut() {
                visit.day = day(rng);
            }
        }
        6 => patient.visits.clear(),
        // Revoked, or granted again.
        7 => patient.consent = 7 - patient.consent,
        _ => {}
    }
}

/// The ledger at each cut.
fn history(seed: u64, count: usize) -> Vec<Vec<Patient>> {
    let mut rng = rng(seed);
    let mut people = patients(&mut rng, count, 4);
    for patient in &mut people {
        patient.consent = if patient.consent == 7 { 7 } else { 0 };
    }
    let mut states = vec![people.clone()];
    while states.len() < CUTS.len() {
        people.iter_mut().for_each(|patient| change(patient, &mut rng));
        states.push(people.clone());
    }
    states
}

/// The first day of the first-ever visit's month, of one who consents now.
fn month(patient: &Patient) -> Option<String> {
    let days = patient.visits.iter().filter(|visit| visit.kind == Some("a")).map(|visit| visit.day);
    let first = days.min().filter(|_| patient.consent & 2 != 0)?;
    Some(format!("{}-01", &Day(first).to_string()[..7]))
}

/// The counts by hand, whom they count, and who would have been counted again.
fn by_hand(states: &[Vec<Patient>]) -> (BTreeMap<String, i64>, BTreeSet<i64>, BTreeSet<i64>) {
    let (mut counts, mut counted, mut again) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
    let mut from = terms().from;
    for ((_, to), people) in CUTS.into_iter().zip(states) {
        for start in terms().days().unwrap() {
            if *from <= *start && *start < *to {
                let cases = people.iter().filter(|p| month(p).as_ref() == Some(&start));
                let (new, old): (Vec<_>, Vec<_>) = cases.partition(|p| !counted.contains(&p.id));
                counts.insert(start, i64::try_from(new.len()).unwrap());
                counted.extend(new.into_iter().map(|p| p.id));
                again.extend(old.into_iter().map(|p| p.id));
            }
        }
        from = to.to_owned();
    }
    (counts, counted, again)
}

#[test]
fn each_patient_is_counted_once_however_the_ledger_changes() {
    let mut would_come_again = 0;
    for seed in 0..4 {
        let states = history(seed, 1_500);
        let dir = tempfile::tempdir().unwrap();
        let run = Run::new(dir.path());
        let counts = run.whole(dir.path(), &states);
        let (expected, counted, again) = by_hand(&states);
        assert_eq!(counts, expected, "seed {seed}");
        assert_eq!(counts.len(), 10);
        assert_eq!(counts.values().sum::<i64>(), i64::try_from(counted.len()).unwrap());
        would_come_again += again.len();

        // One price for all of it, by the accountant and by the auditor.
        let (opened, series) = run.series().unwrap();
        assert_eq!(series.windows.len(), 8);
        let spent = run.accountant.levels("p", "ada").into_iter().map(|level| level.spent.rho.to_string());
        assert!(spent.into_iter().all(|rho| rho == series.opening.rho), "after {} windows", series.windows.len());
        let log = run.accountant.log().dir().to_owned();
        run.accountant.log().flush().unwrap();
        let report = audit(&log, AuditOptions::default());
        assert_eq!(report.fault, None);
        assert_eq!(report.audit.unwrap().windows, 7, "of the series at entry {opened}");
    }
    assert!(would_come_again > 20, "the ledgers change enough to mean something: {would_come_again}");
}

/// All windows together, on ledgers that differ in everything of one patient, differ in one cell by one at most. Most of
/// those who are left out were counted and fall due again, in another month of a later window.
#[test]
fn one_patient_changes_one_cell_of_the_whole_series() {
    let (mut reached, mut came_again) = (0, 0);
    for seed in 10..13 {
        let states = history(seed, 200);
        let with = |without: Option<i64>| {
            let dir = tempfile::tempdir().unwrap();
            let states: Vec<Vec<Patient>> = states
                .iter()
                .map(|people| people.iter().filter(|p| Some(p.id) != without).cloned().collect())
                .collect();
            Run::new(dir.path()).whole(dir.path(), &states)
        };
        let all = with(None);
        let (_, _, again) = by_hand(&states);
        let others = states[0].iter().map(|p| p.id).filter(|id| !again.contains(id));
        came_again += again.len().min(6);
        for id in again.iter().copied().take(6).chain(others.take(4)) {
            let fewer = with(Some(id));
            let changes: Vec<i64> = all.iter().map(|(month, n)| n - fewer[month]).filter(|d| *d != 0).collect();
            assert!(changes.is_empty() || changes == [1], "patient {id} of seed {seed}: {changes:?}");
            assert!(!again.contains(&id) || changes == [1], "patient {id} of seed {seed} was counted");
            reached += changes.len();
        }
    }
    assert!(reached > 15 && came_again > 15, "the bound is reached {reached} times, {came_again} would pass it");
}

/// A store that shows what lies on the disk right after a list was written, before there is an outcome.
struct Watched {
    files: CountedFiles,
    folder: std::path::PathBuf,
    to: std::path::PathBuf,
    fail: bool,
    wrote: Mutex<bool>,
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(item.file_name());
        if item.path().is_dir() {
            copy(&item.path(), &target)
        } else {
            fs::copy(item.path(), target).map(drop).unwrap()
        }
    }
}

impl Counted for Watched {
    fn put(&self, series: &str, window: &str, content: &[u8]) -> io::Result<()> {
        if self.fail {
            return Err(io::Error::other("no space left"));
        }
        self.files.put(series, window, content)?;
        copy(&self.folder, &self.to);
        *self.wrote.lock().unwrap() = true;
        Ok(())
    }

    fn get(&self, series: &str, window: &str) -> io::Result<Option<Vec<u8>>> {
        self.files.get(series, window)
    }

    fn has(&self, series: &str, window: &str) -> io::Result<bool> {
        self.files.has(series, window)
    }
}

fn moved(people: &mut [Patient], to: &str) {
    let day = Day::parse(to).unwrap().0;
    for patient in people {
        (patient.consent, patient.visits) = (7, vec![Visit { kind: Some("a"), day, cost: None }]);
    }
}

/// A stop between the list and the outcome: the disk as it is then, opened again.
#[test]
fn a_stop_before_the_outcome_loses_counts_and_repeats_none() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut run = Run::new(dir.path());
    let mut people = patients(&mut rng(1), 20, 1);
    moved(&mut people, "2020-01-10");
    moved(&mut people[12..], "2020-02-10");
    let watched = Arc::new(Watched {
        files: CountedFiles::of(dir.path()),
        folder: dir.path().to_owned(),
        to: other.path().to_owned(),
        fail: false,
        wrote: Mutex::default(),
    });
    run.counted = watched.clone();
    let first = run.cut(dir.path(), 1, CUTS[0].0, &people);
    let reserved = run.reserve(&first, "300").unwrap().unwrap();
    assert_eq!(read(&run.release(reserved).unwrap()), [("2020-01-01".into(), 12)]);
    assert!(*watched.wrote.lock().unwrap());

    // In the copy the opening has its list and no outcome. Corrections then move everyone into the next month.
    let run = Run::again(other.path());
    let (opened, series) = run.series().unwrap();
    assert_eq!(series.windows[0].ended, Some(Outcome::Abandoned));
    moved(&mut people, "2020-02-11");
    let second = run.cut(other.path(), 2, CUTS[1].0, &people);
    let reserved = run.reserve(&second, "300").unwrap().unwrap();
    assert_eq!(read(&run.release(reserved).unwrap()), [("2020-02-01".into(), 8)], "twelve were written down before");
    let report = audit(run.accountant.log().dir(), AuditOptions::default());
    assert_eq!((report.fault, report.audit.unwrap().abandoned), (None, 1), "series at {opened}");
}

#[test]
fn a_list_that_cant_be_written_gives_no_answer_and_one_that_is_gone_ends_the_series() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::new(dir.path());
    let mut people = patients(&mut rng(1), 20, 1);
    moved(&mut people, "2020-01-10");
    let first = run.cut(dir.path(), 1, CUTS[0].0, &people);
    let reserved = run.reserve(&first, "300").unwrap().unwrap();
    run.release(reserved).unwrap();
    let files = Arc::clone(&run.counted);
    run.counted = Arc::new(Watched {
        files: CountedFiles::of(dir.path()),
        folder: dir.path().to_owned(),
        to: dir.path().to_owned(),
        fail: true,
        wrote: Mutex::default(),
    });
    let second = run.cut(dir.path(), 2, CUTS[1].0, &people);
    let reserved = run.reserve(&second, "300").unwrap().unwrap();
    assert!(run.release(reserved).is_err());
    assert_eq!(run.series().unwrap().1.windows[1].ended, Some(Outcome::Failed));
    // The window stays failed; the series goes on.
    run.counted = files;
    assert!(run.reserve(&second, "300").is_none());
    let third = run.cut(dir.path(), 3, CUTS[3].0, &people);
    assert_eq!(read(&run.release(run.reserve(&third, "300").unwrap().unwrap()).unwrap()), [("2020-03-01".into(), 0)]);

    let (_, series) = run.series().unwrap();
    let list = dir.path().join("series").join(&series.opening.query_id).join(&series.opening.query_id);
    let bytes = fs::read(&list).unwrap();
    let before = run.accountant.log().size();
    let fourth = run.cut(dir.path(), 4, CUTS[4].0, &people);
    fs::remove_file(&list).unwrap();
    assert!(matches!(run.reserve(&fourth, "300"), Some(Err(ReserveError::Series(_)))));
    assert_eq!(run.accountant.log().size(), before + 2, "the cut and its block: the window was not taken");
    fs::write(&list, &bytes[..bytes.len() - 8]).unwrap();
    assert!(matches!(run.reserve(&fourth, "300"), Some(Err(ReserveError::Series(_)))), "damaged");
    // It was taken, so it fails.
    let ended = || run.series().unwrap().1.windows.last().unwrap().ended;
    let failed = (0..600).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        ended() == Some(Outcome::Failed)
    });
    assert!(failed, "{:?}", ended());
}

/// What the accountant lets no caller do, whatever it binds.
#[test]
fn a_window_is_the_next_one_of_the_question_that_was_paid() {
    let dir = tempfile::tempdir().unwrap();
    let run = Run::new(dir.path());
    let people = patients(&mut rng(1), 20, 3);
    let first = run.cut(dir.path(), 1, CUTS[0].0, &people);
    run.release(run.reserve(&first, "0.01").unwrap().unwrap()).unwrap();
    let second = run.cut(dir.path(), 2, CUTS[3].0, &people);
    let opened = run.series().map(|(index, _)| index);
    let due = Window::at(&terms(), "2020-02-01", &second.cut_at).unwrap();
    let size = run.accountant.log().size();
    let refused = |sql: &str, window: &Window, rho: &str, opened: Option<u64>, who: &str| {
        let plan = run.plan(sql, &second, window, rho).unwrap();
        let asker = epiledger_privacy::accountant::Asker { text: who.into(), ..asker(Timing::Immediate) };
        let got = run.accountant.reserve_window(plan, &asker, opened, Arc::clone(&run.counted));
        assert!(matches!(got, Err(ReserveError::Series(_))), "{sql} {window:?} {rho} {opened:?}: {:?}", got.err());
    };
    let text = "a question";
    let other = FIRST_EVER.replace("'a'", "'b'");
    refused(&other, &due, "0.01", opened, text);
    refused(FIRST_EVER, &due, "0.02", opened, text);
    refused(FIRST_EVER, &due, "0.01", opened, "another text");
    refused(FIRST_EVER, &due, "0.01", Some(0), text);
    refused(FIRST_EVER, &Window { from: "2020-01-01".into(), ..due.clone() }, "0.01", opened, text);
    refused(FIRST_EVER, &Window { to: "2020-03-01".into(), ..due.clone() }, "0.01", opened, text);
    let longer = SeriesTerms { to: "2020-12-01".into(), ..terms() };
    refused(FIRST_EVER, &Window { terms: longer, ..due.clone() }, "0.01", opened, text);
    assert_eq!(run.accountant.log().size(), size, "nothing was written");
    let plan = run.plan(FIRST_EVER, &second, &due, "0.01").unwrap();
    assert!(matches!(run.accountant.reserve(plan, &asker(Timing::Immediate)), Err(ReserveError::Series(_))));
    // Once, and not twice at the same time.
    let reserved = run.reserve(&second, "0.01").unwrap().unwrap();
    assert!(run.reserve(&second, "0.01").is_none());
    let release = run.release(reserved).unwrap();
    assert_eq!((release.loss().0, release.cells()), ("0", 2));
    // As a sum of Gaussians too, both windows are worth one draw.
    let loss = paid(&run.series().unwrap().1.opening).unwrap();
    assert!(loss.rho < loss.gaussian && loss.gaussian < loss.rho.times(2), "{loss:?}");
    assert_eq!(run.accountant.levels("p", "ada")[0].spent, loss);
    run.accountant.log().flush().unwrap();
    let report = audit(run.accountant.log().dir(), AuditOptions::default());
    assert_eq!(report.audit.unwrap().budgets[0].gaussian, Some(loss.gaussian.to_string()));
    if let Some(output) = verifiers::python("budget.py", run.accountant.log().dir()) {
        let fold: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
        assert_eq!(
            (&fold["intents"], &fold["spent"]["protocol"]["p"]["rho"]),
            (&2.into(), &loss.rho.to_string().into())
        );
    }
}

#[test]
fn only_a_count_by_the_period_of_one_date_of_a_patient_can_be_a_series() {
    let dir = tempfile::tempdir().unwrap();
    let run = Run::new(dir.path());
    let snapshot = run.cut(dir.path(), 1, CUTS[0].0, &patients(&mut rng(1), 5, 2));
    let window = Window::at(&terms(), &terms().from, &snapshot.cut_at).unwrap();
    let plan = |sql: &str, window: &Window| run.plan(sql, &snapshot, window, "0.01");
    plan(FIRST_EVER, &window).unwrap();
    let longer = SeriesTerms { to: "2021-06-01".into(), ..terms() };
    assert_eq!(plan(FIRST_EVER, &Window { terms: longer, ..window.clone() }).unwrap().cells(), Some(1));
    let refused = |sql: &str, window: &Window| plan(sql, window).err().unwrap().code.as_str();
    let every = "SELECT date_trunc('month', day) AS month, COUNT(DISTINCT person_id) AS n FROM visit GROUP BY 1";
    assert_eq!(refused(every, &window), "INVALID_GROUPING", "a patient could be in every month");
    assert_eq!(refused(&FIRST_EVER.replace("'month'", "'week'"), &window), "INVALID_GROUPING");
    assert_eq!(refused("SELECT COUNT(*) AS n FROM person", &window), "INVALID_GROUPING");
    assert_eq!(refused("SELECT county, COUNT(*) AS n FROM person GROUP BY county", &window), "INVALID_GROUPING");
    for wrong in
        [SeriesTerms { from: "2019-12-01".into(), ..terms() }, SeriesTerms { from: "2020-01-02".into(), ..terms() }]
    {
        let window = Window { from: wrong.from.clone(), to: wrong.from.clone(), terms: wrong };
        assert_eq!(refused(FIRST_EVER, &window), "INVALID_GROUPING", "{window:?}");
    }
}
