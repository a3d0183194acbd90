//! More accuracy for the difference in price: what it costs, what it keeps, and that its intervals hold.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use datafusion::{
    arrow::{
        array::{ArrayRef, Int64Array, RecordBatch, StringArray},
        datatypes::{DataType, Field, Schema},
    },
    datasource::{empty::EmptyTable, provider_as_source},
    functions_aggregate::expr_fn::count_distinct,
    logical_expr::{LogicalPlanBuilder, col},
    physical_plan::ExecutionPlan,
};
use epiledger_ledger::{
    Log, NoteKey, StdFs,
    entry::{AuditEntry, AuditLogEntry, QueryIntent, parse_audit_entry},
};
use epiledger_privacy::{
    accountant::Accountant,
    bound::{BoundedPlan, bound},
    catalog::{Catalog, Column, Contribution, Kind, Profile, Table, UNIT},
    clock::{Clock, Timing},
    loss::{Delta, Rho},
    params::PrivacyParams,
    query::{NOISY, Query, noisy_column},
    release::{Executor, Failed, RawBatches, Release, release},
    snapshot::Snapshot,
};

use crate::setup::{Bench, asker, rules};

/// The accountant over a folder's log, which is made when it is not there.
fn opened(dir: &Path) -> Arc<Accountant> {
    let (dir, key) = (dir.join("audit"), NoteKey::from_seed("test/audit", &[3; 32]).unwrap());
    if dir.exists() {
        return Accountant::open(Arc::new(Log::open(Arc::new(StdFs), &dir, key).unwrap())).unwrap();
    }
    let log = Log::create(Arc::new(StdFs), &dir, "test/audit", key).unwrap();
    let accountant = Accountant::open(Arc::new(log)).unwrap();
    rules(["10"; 4], "1").into_iter().for_each(|entry| assert!(accountant.record(entry, Vec::new()).is_ok()));
    accountant
}

/// A clock on which no deadline comes.
pub struct Still;

impl Clock for Still {
    fn now(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep_until<'a>(&'a self, _: Duration) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(std::future::pending())
    }
}

/// Patients by place, exactly these.
struct Exact(Mutex<BTreeMap<String, i64>>);

impl Executor for Exact {
    async fn execute(&self, _: Arc<dyn ExecutionPlan>, _: usize) -> Result<RawBatches, Failed> {
        let exact = self.0.lock().unwrap();
        let keys: ArrayRef = Arc::new(exact.keys().map(Some).collect::<StringArray>());
        let values: ArrayRef = Arc::new(exact.values().copied().collect::<Int64Array>());
        let schema =
            Schema::new(vec![Field::new("place", DataType::Utf8, true), Field::new("n", DataType::Int64, true)]);
        Ok(RawBatches::new(vec![RecordBatch::try_new(Arc::new(schema), vec![keys, values]).unwrap()]))
    }
}

/// `SELECT place, COUNT(DISTINCT person_id) FROM person GROUP BY place`; the places are public where they are given.
fn plan(places: Option<Vec<String>>, rho: &str) -> BoundedPlan {
    plan_under(1, places, rho)
}

/// The same under a policy of this number.
pub fn plan_under(policy: u64, places: Option<Vec<String>>, rho: &str) -> BoundedPlan {
    let column = |name: &str, kind: Kind, domain| Column { name: name.into(), kind, nullable: false, domain };
    let person = Table {
        private: Some(Contribution { scan_rows: 1, rows: 1, groups: 1 }),
        declared_rows: 1_000,
        columns: vec![column(UNIT, Kind::Id, None), column("place", Kind::Text, places)],
    };
    let scan = |name: &str, schema| {
        LogicalPlanBuilder::scan(name, provider_as_source(Arc::new(EmptyTable::new(schema))), None).unwrap()
    };
    let private = scan("person", person.schema()).aggregate(vec![col("place")], vec![count_distinct(col(UNIT))]);
    let noisy = Schema::new(vec![
        Field::new(noisy_column(0), DataType::Utf8, false),
        Field::new(noisy_column(1), DataType::Int64, false),
    ]);
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
        rho: Rho::parse(rho).unwrap(),
        query_delta: Delta::parse("0.000001").unwrap(),
        k_min: 11,
        id_space: "world".into(),
        policy,
        purpose_bit: 2,
        secret: [9; 32],
    };
    let query = Query::new(private.unwrap().build().unwrap(), post).unwrap();
    bound(&query, &catalog, &snapshot, &params).unwrap()
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("place {n:05}")).collect()
}

async fn buy(accountant: &Arc<Accountant>, plan: &BoundedPlan, exact: &Exact) -> Arc<Release> {
    let spent = || accountant.levels("p", "ada").first().unwrap().spent;
    let before = spent();
    let reserved = accountant.reserve(plan.clone(), &asker(Timing::Immediate)).map_err(|e| e.to_string()).unwrap();
    assert_eq!(spent(), before.plus(reserved.loss()), "what the log says it cost is what the draws cost");
    release(reserved, exact, &Still, Timing::Immediate).await.unwrap().0
}

fn intents(accountant: &Accountant) -> Vec<QueryIntent> {
    let log = accountant.log();
    let entries = (0..log.size()).map(|index| parse_audit_entry(&log.read(index).unwrap()).unwrap());
    entries
        .filter_map(|entry| match entry {
            AuditLogEntry::Entry(AuditEntry::QueryIntent(intent)) => Some(intent),
            _ => None,
        })
        .collect()
}

fn rho(text: &str) -> u128 {
    Rho::parse(text).unwrap().units()
}

#[tokio::test]
async fn more_accuracy_costs_the_difference_and_is_held_from_then_on() {
    let places = names(3);
    let exact = Exact(Mutex::new(places.iter().map(|p| (p.clone(), 500)).collect()));
    let dir = tempfile::tempdir().unwrap();
    let accountant = opened(dir.path());
    let [coarse, fine, finest] = ["0.01", "0.03", "0.05"].map(|rho| plan(Some(places.clone()), rho));
    assert_eq!(coarse.cache_key(), fine.cache_key(), "the price is no part of the question");
    let first = buy(&accountant, &coarse, &exact).await;
    assert!(accountant.cached(&coarse).is_some() && accountant.cached(&fine).is_none());
    let second = buy(&accountant, &fine, &exact).await;
    let third = buy(&accountant, &finest, &exact).await;
    let intents = intents(&accountant);
    let (paid, asked): (Vec<u128>, Vec<u128>) =
        intents.iter().zip([&coarse, &fine, &finest]).map(|(i, p)| (rho(&i.rho), p.loss().rho.units())).unzip();
    // Never more than asked less what was paid; the grid of sigma leaves a little.
    for step in 1..3 {
        let before: u128 = paid[..step].iter().sum();
        assert!(paid[step] <= asked[step] - before && paid[step] * 1_000 > (asked[step] - before) * 990, "{paid:?}");
    }
    assert_eq!((first.loss().0, second.loss().0), (intents[0].rho.as_str(), intents[1].rho.as_str()));
    assert_eq!(intents[0].finer, None);
    assert!(intents[1].finer < intents[2].finer && intents[1].finer.is_some());
    // Each is nearly as accurate as one draw of the whole price, and says so in the log.
    for (made, asked, intent) in [(&second, &fine, &intents[1]), (&third, &finest, &intents[2])] {
        let sigma: f64 = made.draws()[0].sigma.parse().unwrap();
        assert!((sigma / asked.draws()[0].sigma() - 1.0).abs() < 0.01, "{sigma}");
        assert_eq!(intent.primitives[0].combined.as_ref(), Some(&made.draws()[0].sigma));
    }
    // What was asked is held: less, the same and no more is free.
    assert!([&coarse, &fine, &finest].iter().all(|plan| accountant.cached(plan).is_some()));
    assert!(accountant.cached(&plan(Some(places), "0.06")).is_none());
    // It survives a restart, draws and all.
    let held = accountant.cached(&finest).unwrap();
    drop(accountant);
    let again = opened(dir.path());
    assert_eq!(again.cached(&finest).unwrap().release, held.release);
    assert!(again.cached(&coarse).is_some());
}

/// 4,000 cells, bought three times: the noise of the combination has the stated sigma and its intervals hold 95 %.
/// The odds that right noise fails either bound are below 1e-9.
#[tokio::test]
async fn combined_numbers_have_their_sigma_and_their_intervals_cover() {
    let places = names(4_000);
    let exact = Exact(Mutex::new(places.iter().map(|p| (p.clone(), 700)).collect()));
    for steps in [["0.001", "0.002", "0.005"], ["0.05", "0.4", "0.5"]] {
        let bench = Bench::new("10");
        for step in steps {
            let plan = plan(Some(places.clone()), step);
            let made = buy(&bench.accountant, &plan, &exact).await;
            let (draw, n) = (&made.draws()[0], 4_000.0);
            let sigma: f64 = draw.sigma.parse().unwrap();
            let noise: Vec<f64> = draw.values.iter().map(|v| (*v - 700) as f64).collect();
            let mean = noise.iter().sum::<f64>() / n;
            let variance = noise.iter().map(|x| x * x).sum::<f64>() / n;
            assert!(mean.abs() < 6.5 * sigma / f64::sqrt(n), "{step}: mean {mean}");
            // Rounding adds at most 1/12.
            let ratio = variance / (sigma * sigma + 1.0 / 24.0);
            let slack = 6.5 * f64::sqrt(2.0 / n) + 1.0 / (24.0 * sigma * sigma);
            assert!((ratio - 1.0).abs() < slack, "{step}: variance {variance}, sigma {sigma}");
            let covered = (0..4_000).filter(|row| {
                let interval = made.closed_form(&plan, 0, *row).unwrap();
                (interval.low..=interval.high).contains(&700.0)
            });
            let rate = covered.count() as f64 / n;
            assert!(rate > 0.95 - 6.5 * f64::sqrt(0.95 * 0.05 / n), "{step}: {rate}");
        }
    }
}

/// Unknown keys: the first draw alone decides which are released; the second adds none, drops none and costs no delta,
/// and the intervals of counts near the threshold still hold.
#[tokio::test]
async fn unknown_keys_stay_as_they_were_released_and_their_intervals_cover() {
    let places = names(4_000);
    let coarse = plan(None, "0.005");
    let over = coarse.threshold().unwrap().over;
    // Just under the threshold: about a third of the keys pass it.
    let truth = i64::try_from(over).unwrap() - 4;
    let exact = Exact(Mutex::new(places.iter().map(|p| (p.clone(), truth)).collect()));
    let bench = Bench::new("10");
    let first = buy(&bench.accountant, &coarse, &exact).await;
    assert!((800..2_600).contains(&first.cells()), "{}", first.cells());
    // One of the released keys has nobody any more: it stays, for the keys are the first release's.
    exact.0.lock().unwrap().retain(|place, _| place != "place 00000");
    let fine = plan(None, "0.02");
    assert_ne!(fine.threshold(), coarse.threshold());
    let second = buy(&bench.accountant, &fine, &exact).await;
    let intents = intents(&bench.accountant);
    assert_eq!((second.cells(), second.threshold()), (first.cells(), first.threshold()));
    assert_eq!(serde_json::to_value(&*first).unwrap()["keys"], serde_json::to_value(&*second).unwrap()["keys"]);
    assert!(rho(&intents[1].rho) > 0 && intents[0].delta != "0" && intents[1].delta == "0");
    let cells = second.cells();
    let rate = |made: &Release, plan: &BoundedPlan| {
        let covered = (0..cells).filter(|row| {
            let interval = made.closed_form(plan, 0, *row).unwrap();
            (interval.low..=interval.high).contains(&(truth as f64))
        });
        covered.count() as f64 / cells as f64
    };
    let least = 0.95 - 6.5 * f64::sqrt(0.95 * 0.05 / cells as f64) - 1.0 / cells as f64;
    for (made, plan) in [(&first, &coarse), (&second, &fine)] {
        let rate = rate(made, plan);
        assert!(rate > least, "{rate} of {cells}");
    }
}
