//! Outcomes leave at public instants: the first class boundary at or after completion, success and failure alike.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use datafusion::{
    arrow::{
        array::{Int64Array, RecordBatch},
        datatypes::{DataType, Field, Schema},
    },
    datasource::{empty::EmptyTable, provider_as_source},
    functions_aggregate::expr_fn::count,
    logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit},
    physical_plan::ExecutionPlan,
};
use epiledger_ledger::entry::{
    AuditEntry, AuditLogEntry, ProtocolSuspend, QueryOutcome, parse_audit_entry, query::Outcome as Ending,
};
use epiledger_privacy::{
    accountant::ReserveError,
    bound::{BoundedPlan, bound},
    catalog::{Catalog, Column, Contribution, Kind, Profile, Table, UNIT},
    clock::{Clock, Timing},
    loss::{Delta, Rho},
    params::PrivacyParams,
    query::{NOISY, Query, noisy_column},
    release::{Executor, Failed, RawBatches, rehearse, release},
    snapshot::Snapshot,
};

use crate::setup::{Bench, asker};

/// Where the fake clock starts: not at zero, so that an instant can't be taken for a length.
const START: Duration = Duration::from_millis(7_350);

/// The question's deadline, by the declared rows of its table.
const DEADLINE: Duration = Duration::from_secs(3);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[derive(Default)]
struct State {
    passed: Duration,
    waiting: BTreeMap<u64, Duration>,
    next: u64,
    slept_to: Vec<Duration>,
}

/// A clock that jumps to the earliest sleeper when nothing else can go on, and records every sleep that ended.
#[derive(Default)]
struct Fake(Mutex<State>);

struct Sleeping<'a> {
    clock: &'a Fake,
    id: u64,
    until: Duration,
}

impl Future for Sleeping<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        let mut state = self.clock.0.lock().unwrap();
        if START + state.passed < self.until {
            return Poll::Pending;
        }
        state.slept_to.push(self.until - START);
        Poll::Ready(())
    }
}

impl Drop for Sleeping<'_> {
    fn drop(&mut self) {
        self.clock.0.lock().unwrap().waiting.remove(&self.id);
    }
}

impl Clock for Fake {
    fn now(&self) -> Duration {
        START + self.0.lock().unwrap().passed
    }

    fn sleep_until<'a>(&'a self, instant: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        let mut state = self.0.lock().unwrap();
        state.next += 1;
        let id = state.next;
        state.waiting.insert(id, instant);
        Box::pin(Sleeping { clock: self, id, until: instant })
    }
}

impl Fake {
    /// Jumps to the earliest instant that somebody sleeps to; false when nobody sleeps.
    fn jump(&self) -> bool {
        let mut state = self.0.lock().unwrap();
        let Some(earliest) = state.waiting.values().min().copied() else { return false };
        state.passed = state.passed.max(earliest - START);
        true
    }
}

/// Takes its time, then counts 100 patients or fails.
struct Takes<'a> {
    clock: &'a Fake,
    time: Duration,
    fails: bool,
    /// Holds its thread for the whole time instead of sleeping, as a long computation in one poll does.
    holds: bool,
}

impl Executor for Takes<'_> {
    async fn execute(&self, _: Arc<dyn ExecutionPlan>, _: usize) -> Result<RawBatches, Failed> {
        if self.holds {
            self.clock.0.lock().unwrap().passed += self.time;
        } else {
            self.clock.sleep_until(self.clock.now() + self.time).await;
        }
        if self.fails {
            return Err(Failed);
        }
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
        let batch = RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![100]))]).unwrap();
        Ok(RawBatches::new(vec![batch]))
    }
}

/// `SELECT COUNT(*) FROM person`.
fn plan() -> BoundedPlan {
    let person = Table {
        private: Some(Contribution { scan_rows: 1, rows: 1, groups: 1 }),
        declared_rows: 2_000_000,
        columns: vec![Column { name: UNIT.into(), kind: Kind::Id, nullable: false, domain: None }],
    };
    let scan = |name: &str, schema| {
        LogicalPlanBuilder::scan(name, provider_as_source(Arc::new(EmptyTable::new(schema))), None).unwrap()
    };
    let private: LogicalPlan = scan("person", person.schema())
        .aggregate(Vec::<Expr>::new(), vec![count(lit(1_i64))])
        .unwrap()
        .build()
        .unwrap();
    let noisy = Schema::new(vec![Field::new(noisy_column(0), DataType::Int64, false)]);
    let post = scan(NOISY, Arc::new(noisy)).build().unwrap();
    let catalog = Catalog {
        dataset: "world".into(),
        data_cut: "2020-12-31".into(),
        profile: Profile::ExpertDetermination,
        declared_patients: 1_000,
        tables: BTreeMap::from([("person".to_owned(), person)]),
    };
    let snapshot = Snapshot { number: 1, cut_at: "2020-12-31".into(), ..Snapshot::default() };
    let params = PrivacyParams {
        rho: Rho::parse("0.01").unwrap(),
        query_delta: Delta::parse("0.000001").unwrap(),
        k_min: 11,
        id_space: "world".into(),
        policy: 1,
        purpose_bit: 2,
        secret: [9; 32],
    };
    let plan = bound(&Query::new(private, post).unwrap(), &catalog, &snapshot, &params).unwrap();
    assert_eq!(plan.deadline(), DEADLINE);
    plan
}

/// What could be seen of one question: when it slept to, when its answer came, and its outcome.
#[derive(Debug, PartialEq)]
struct Seen {
    slept_to: Vec<Duration>,
    left_at: Duration,
    ending: Ending,
}

impl Bench {
    /// The entries of the log from `first` on, without its block leaves.
    fn entries(&self, first: u64) -> Vec<(u64, AuditEntry)> {
        let log = self.accountant.log();
        (first..log.size())
            .filter_map(|index| match parse_audit_entry(&log.read(index).unwrap()).unwrap() {
                AuditLogEntry::Entry(entry) => Some((index, entry)),
                AuditLogEntry::Block(_) => None,
            })
            .collect()
    }

    /// Pays for a question that takes `time`, runs it to its end, and reads its outcome back from the log.
    async fn ask(&self, time: Duration, fails: bool, timing: Timing) -> Seen {
        self.ask_holding(time, fails, timing, false).await
    }

    async fn ask_holding(&self, time: Duration, fails: bool, timing: Timing, holds: bool) -> Seen {
        let log = self.accountant.log();
        let clock = Fake::default();
        let reserved = self.accountant.reserve(plan(), &asker(timing)).map_err(|e| e.to_string()).unwrap();
        let paid = log.size();
        let executor = Takes { clock: &clock, time, fails, holds };
        let mut run = std::pin::pin!(release(reserved, &executor, &clock, timing));
        let answer = poll_fn(|context| {
            loop {
                if let Poll::Ready(answer) = run.as_mut().poll(context) {
                    return Poll::Ready(answer);
                }
                if !clock.jump() {
                    // Nobody sleeps: it waits for the disk, whose thread wakes it.
                    return Poll::Pending;
                }
                assert_eq!(log.size(), paid, "an outcome was logged before its boundary");
            }
        })
        .await;
        let entries = self.entries(paid);
        let Some((index, AuditEntry::QueryOutcome(outcome))) = entries.first() else {
            unreachable!("the first entry after the intent is its outcome: {entries:?}")
        };
        let QueryOutcome { query_id: _, intent, outcome: ending, result_commit } = outcome.clone();
        assert!(intent < paid);
        // The entry has no other field. Only an answer has a commitment; a failure says nothing more.
        match &answer {
            Ok((given, logged)) => {
                assert_eq!((ending, logged.index), (Ending::Answered, *index));
                assert_eq!(given.cells(), 1);
                assert!(log.blob(&result_commit.unwrap()).unwrap().is_some());
            }
            Err(Failed) => assert_eq!((ending, result_commit), (Ending::Failed, None)),
        }
        let state = clock.0.lock().unwrap();
        Seen { slept_to: state.slept_to.clone(), left_at: state.passed, ending }
    }
}

#[tokio::test]
async fn outcomes_leave_at_the_first_boundary_at_or_after_completion() {
    let cases = [(0, 100), (1, 100), (100, 100), (101, 300), (250, 300), (999, 1_000), (1_001, 3_000), (3_000, 3_000)];
    for (time, boundary) in cases {
        // A bench for each: three failures would suspend the protocol.
        let bench = Bench::new("10");
        for (fails, ending) in [(false, Ending::Answered), (true, Ending::Failed)] {
            let seen = bench.ask(ms(time), fails, Timing::Classes).await;
            let expected = Seen { slept_to: vec![ms(time), ms(boundary)], left_at: ms(boundary), ending };
            assert_eq!(seen, expected, "a run of {time} ms");
        }
    }
    // Without classes it leaves when it is done, which the assertions above would not take.
    let seen = Bench::new("10").ask(ms(250), false, Timing::Immediate).await;
    assert_eq!(seen, Seen { slept_to: vec![ms(250)], left_at: ms(250), ending: Ending::Answered });
}

#[tokio::test]
async fn a_run_past_its_deadline_fails_at_the_deadline() {
    for (time, fails) in [(3_001, false), (600_000, false), (600_000, true)] {
        let seen = Bench::new("10").ask(ms(time), fails, Timing::Classes).await;
        let expected = Seen { slept_to: vec![DEADLINE], left_at: DEADLINE, ending: Ending::Failed };
        assert_eq!(seen, expected, "a run of {time} ms");
    }
}

/// A run that holds its thread past the deadline can't fail at it; it still is no answer, and leaves at a class.
#[tokio::test]
async fn a_run_that_holds_its_thread_past_the_deadline_is_no_answer() {
    let seen = Bench::new("10").ask_holding(ms(5_000), false, Timing::Classes, true).await;
    assert_eq!(seen, Seen { slept_to: vec![ms(10_000)], left_at: ms(10_000), ending: Ending::Failed });
}

/// A plan over a dataset is not rehearsed, whoever asks: without a price there is no answer about patients.
#[tokio::test]
async fn a_plan_over_patients_is_not_rehearsed() {
    let clock = Fake::default();
    let executor = Takes { clock: &clock, time: ms(0), fails: false, holds: false };
    assert_eq!(rehearse(&plan(), &executor, [0; 32]).await, Err(Failed));
}

#[tokio::test]
async fn three_failures_suspend_the_protocol() {
    let bench = Bench::new("10");
    let log = bench.accountant.log();
    bench.ask(ms(10), true, Timing::Classes).await;
    bench.ask(ms(10), true, Timing::Classes).await;
    // An answer between them forgives nothing.
    bench.ask(ms(10), false, Timing::Classes).await;
    let before = log.size();
    bench.ask(ms(600_000), false, Timing::Classes).await;
    let entries = bench.entries(before);
    let suspend = AuditEntry::ProtocolSuspend(ProtocolSuspend { protocol: "p".into(), by: "engine".into() });
    assert_eq!(entries.last().map(|(_, entry)| entry), Some(&suspend));
    let (size, budget) = (log.size(), bench.accountant.budget());
    let refused = bench.accountant.reserve(plan(), &asker(Timing::Classes));
    assert!(matches!(refused, Err(ReserveError::Protocol(why)) if why.contains("suspended")));
    assert_eq!((log.size(), bench.accountant.budget()), (size, budget), "a refusal writes and spends nothing");
}
