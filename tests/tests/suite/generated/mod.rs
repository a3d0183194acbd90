//! Questions and neighbouring tables made together from a seed: whatever is accepted ends alike on both neighbours, at
//! the same class instant however long the run took, and for public keys with the same cells and, its numbers masked,
//! the same bytes in every format. A patient whose rows are made to break things is in one of them alone.
//!
//! `EPILEDGER_CASES` is the number of questions (200 by default), `EPILEDGER_SEED` where they start.

mod grammar;
mod shapes;
mod tables;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::physical_plan::collect;
use datafusion::prelude::SessionContext;
use epiledger_engine::api::{Answer, AnswerColumn, ColumnRole, Price, Receipt, SnapshotRef};
use epiledger_engine::exec::{local::LocalExecutor, post};
use epiledger_engine::server::format::Format;
use epiledger_privacy::bound::physical::Layout;
use epiledger_privacy::bound::{BoundedPlan, bound};
use epiledger_privacy::clock::{Clock, Timing, boundary};
use epiledger_privacy::loss::Rho;
use epiledger_privacy::params::PrivacyParams;
use epiledger_privacy::query::Query;
use epiledger_privacy::refusal::Code;
use epiledger_privacy::release::release;
use epiledger_privacy::snapshot::Snapshot;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::setup::{Bench, asker};
use crate::world::{params, simulated};
use grammar::Grammar;
use tables::{Patient, catalog, patient, write};

/// When a run starts, by the clock below.
const START: Duration = Duration::from_secs(86_400);

/// A clock by which a run takes as long as it is told, whatever the run does. The first sleep is the deadline's own
/// timer, which never comes; whoever sleeps later wakes at once, and the instant is noted.
struct Told {
    took: Duration,
    looks: AtomicUsize,
    sleeps: AtomicUsize,
    left_at: Mutex<Vec<Duration>>,
}

impl Told {
    fn new(took: Duration) -> Self {
        Self { took, looks: AtomicUsize::new(0), sleeps: AtomicUsize::new(0), left_at: Mutex::default() }
    }
}

impl Clock for Told {
    fn now(&self) -> Duration {
        if self.looks.fetch_add(1, Ordering::SeqCst) == 0 { START } else { START + self.took }
    }

    fn sleep_until<'a>(&'a self, instant: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        let deadline = self.sleeps.fetch_add(1, Ordering::SeqCst) == 0;
        Box::pin(async move {
            if deadline {
                std::future::pending::<()>().await;
            }
            self.left_at.lock().unwrap().push(instant - START);
        })
    }
}

/// What can be seen of one question from outside, its numbers left out.
#[derive(Debug, PartialEq)]
struct Seen {
    answered: bool,
    left_at: Vec<Duration>,
    /// The keys, for public ones.
    keys: Option<String>,
    /// Names and types of the answer's columns, or why it could not be shown.
    columns: Result<Vec<(String, String)>, String>,
    /// Bytes of every format where no released number decides which rows are there, each number in it being the same.
    bytes: Option<Vec<usize>>,
}

/// The answer with one number in place of every other, so that what is left of its size is its shape.
fn masked(answered: post::Answered) -> Answer {
    let mask = |(column, array): (&AnswerColumn, &ArrayRef)| -> ArrayRef {
        if column.role == ColumnRole::Key {
            return Arc::clone(array);
        }
        let one = match array.data_type() {
            DataType::Int64 => ScalarValue::from(1_i64),
            DataType::Float64 => ScalarValue::from(1.5),
            DataType::Boolean => ScalarValue::from(true),
            DataType::Date32 => ScalarValue::Date32(Some(0)),
            _ => ScalarValue::from("x"),
        };
        // A value may be NULL for its noise alone (a count of 0 below a ratio), and so is masked too.
        let values = std::iter::repeat_n(one, array.len());
        if array.is_empty() { Arc::clone(array) } else { ScalarValue::iter_to_array(values).unwrap() }
    };
    let arrays: Vec<ArrayRef> = answered.columns.iter().zip(answered.batch.columns()).map(mask).collect();
    let price = Price { rho: "0.001".into(), delta: "0".into(), epsilon: 0.3 };
    Answer {
        statement_id: "0".repeat(32),
        batch: RecordBatch::try_new(answered.batch.schema(), arrays).unwrap(),
        columns: answered.columns,
        remaining: price.clone(),
        price,
        snapshot: SnapshotRef { number: 1, cut_at: "2020-12-31T00:00Z".into() },
        receipt: Receipt { index: 1, proof: "a proof".into(), result: None, cites: None },
        cached: false,
        dummy: false,
    }
}

struct World {
    executor: LocalExecutor,
    paying: RefCell<Bench>,
}

impl World {
    /// Asks for a run that takes so long; `whole` when the rows of the answer are the cells.
    async fn ask(&self, plan: &BoundedPlan, snapshot: &Snapshot, took: Duration, whole: bool) -> Seen {
        let clock = Told::new(took);
        let paying = Arc::clone(&self.paying.borrow().accountant);
        let reserved = paying.reserve(plan.clone(), &asker(Timing::Classes)).map_err(|e| e.to_string()).unwrap();
        let answer = release(reserved, &self.executor, &clock, Timing::Classes).await;
        let left_at = clock.left_at.lock().unwrap().clone();
        let Ok((released, _)) = answer else {
            // Three failures would suspend the protocol.
            self.paying.replace(Bench::new("1000000"));
            return Seen { answered: false, left_at, keys: None, columns: Err("no answer".into()), bytes: None };
        };
        let json = serde_json::to_value(&*released).unwrap();
        let keys = plan.cells().map(|_| json["keys"].to_string());
        let shown = post::answer(&self.executor, plan, &released, &snapshot.public, None).await;
        let (columns, bytes) = match shown {
            Ok(answered) => {
                let columns = answered.columns.iter().map(|c| (c.name.clone(), c.type_name.clone())).collect();
                let fixed = whole && plan.cells() == Some(answered.batch.num_rows() as u64);
                assert!(fixed || !whole || plan.cells().is_none(), "an answer lacks cells");
                let bytes = fixed.then(|| {
                    let answer = masked(answered);
                    Format::ALL
                        .map(|format| format.body(&answer).unwrap_or_else(|_| panic!("{format:?}")).len())
                        .to_vec()
                });
                (Ok(columns), bytes)
            }
            Err(error) => (Err(error.to_string()), None),
        };
        Seen { answered: true, left_at, keys, columns, bytes }
    }
}

/// Ordinary patients, and the same with one more that was made to break things.
fn neighbours(rng: &mut StdRng, dir: &std::path::Path) -> [Snapshot; 2] {
    let catalog = catalog();
    let ordinary: Vec<Patient> = (0..20).map(|_| patient(rng, &catalog, false)).collect();
    let hostile = patient(rng, &catalog, true);
    let numbered = |patients: Vec<&Patient>| -> Vec<(i64, Patient)> {
        patients.into_iter().enumerate().map(|(i, p)| (i64::try_from(i).unwrap() * 10, p.clone())).collect()
    };
    let with: Vec<&Patient> = ordinary.iter().take(10).chain([&hostile]).chain(ordinary.iter().skip(10)).collect();
    [("without", ordinary.iter().collect()), ("with", with)].map(|(name, patients): (&str, Vec<&Patient>)| {
        let dir = dir.join(name);
        std::fs::create_dir_all(&dir).unwrap();
        let patients = numbered(patients);
        let patients: Vec<(i64, &Patient)> = patients.iter().map(|(id, p)| (*id, p)).collect();
        write(&dir, &catalog, &patients)
    })
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// What the engine says of a run that fails.
async fn why(query: &Query, snapshot: &Snapshot, params: &PrivacyParams) -> Option<String> {
    let snapshot = simulated(snapshot.clone());
    let plan = bound(query, &catalog(), &snapshot, params).unwrap().oracle(Layout::default(), false).unwrap();
    let context = SessionContext::new_with_config(Layout::default().config());
    collect(plan, context.task_ctx()).await.err().map(|error| error.to_string())
}

/// How long a run takes, at the edges of the classes; at last past its deadline, where its failure leaves as an answer
/// would.
fn took(rng: &mut StdRng, deadline: Duration) -> Duration {
    let ms = Duration::from_millis;
    [Duration::ZERO, ms(100), ms(101), ms(999), deadline, deadline + ms(1)][rng.random_range(0..6)]
}

/// Accepted or refused, and by which code, on both neighbours; what is accepted ends alike.
#[test]
fn generated_questions_end_alike_on_generated_neighbours() {
    let (cases, seed) = (number("EPILEDGER_CASES", 200), number("EPILEDGER_SEED", 1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = World { executor: LocalExecutor::new().unwrap(), paying: RefCell::new(Bench::new("1000000")) };
    let (catalog, dir) = (catalog(), tempfile::tempdir().unwrap());
    let params = params(Rho::parse("0.001").unwrap());
    let mut pairs = Vec::new();
    for pair in 0..4 {
        let mut rng = StdRng::seed_from_u64(seed.wrapping_mul(1_000_003).wrapping_add(pair));
        pairs.push(neighbours(&mut rng, &dir.path().join(pair.to_string())));
    }
    let (mut asked, mut sized, mut refused, mut wrong) = (0_u64, 0_u64, BTreeMap::<String, u64>::new(), Vec::new());
    for case in 0..cases {
        let mut rng = StdRng::seed_from_u64(seed.wrapping_add(case));
        let (sql, whole) = Grammar::new(&mut rng).question();
        let pair = &pairs[rng.random_range(0..pairs.len())];
        let mut say = |what: String| wrong.push(format!("seed {}: {what}\n  {sql}", seed.wrapping_add(case)));
        // Text and catalog alone decide; what the core adds may depend on public tables, which neighbours share.
        let query =
            epiledger_sql::parse(&sql).and_then(|parsed| epiledger_sql::bind(&parsed, &catalog, &BTreeMap::new()));
        let query = match query {
            Ok(query) => query,
            Err(refusal) => {
                *refused.entry(refusal.code.to_string()).or_default() += 1;
                if std::env::var_os("EPILEDGER_SHOW").is_some() {
                    eprintln!("{refusal}\n  {sql}");
                }
                continue;
            }
        };
        let plans: [Result<BoundedPlan, Code>; 2] =
            [0, 1].map(|side| bound(&query, &catalog, &pair[side], &params).map_err(|refusal| refusal.code));
        let [first, second] = match plans {
            [Ok(first), Ok(second)] => [first, second],
            [Err(Code::TooManyCells), Err(Code::TooManyCells)] => {
                *refused.entry(Code::TooManyCells.to_string()).or_default() += 1;
                continue;
            }
            [first, second] => {
                let codes = [first, second].map(|plan| plan.map(|_| "accepted").map_err(|code| code.to_string()));
                say(format!("the core alone decides: {codes:?}"));
                continue;
            }
        };
        let took = took(&mut rng, first.deadline());
        let said = |plan: &BoundedPlan| (plan.cache_key().to_owned(), plan.primitives(), plan.cells(), plan.memory());
        if said(&first) != said(&second) {
            say("two plans".into());
        }
        asked += 1;
        let seen = [(&first, &pair[0]), (&second, &pair[1])]
            .map(|(plan, snapshot)| runtime.block_on(world.ask(plan, snapshot, took, whole)));
        let in_time = took <= first.deadline();
        let as_it_must = |seen: &Seen| {
            seen.answered == in_time && seen.columns.is_ok() == in_time && seen.left_at == [boundary(took)]
        };
        sized += u64::from(seen[0].bytes.is_some());
        if !seen.iter().all(as_it_must) || seen[0] != seen[1] {
            let why = [0, 1].map(|side| runtime.block_on(why(&query, &pair[side], &params)));
            say(format!("{took:?}: {seen:?}, {why:?}"));
        }
        if wrong.len() == 5 {
            break;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    println!("{asked} of {cases} questions were asked, {sized} of public keys; refused: {refused:?}");
    assert!(asked * 2 > cases && sized * 8 > cases, "{asked}, {sized} of {cases}; refused: {refused:?}");
}
