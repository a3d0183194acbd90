//! Intervals hold what they promise, for every aggregate, at small and at large counts.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::arrow::{array::AsArray, datatypes::Float64Type};
use epiledger_engine::exec::{local::LocalExecutor, post::answer};
use epiledger_privacy::{catalog::Contribution, loss::Rho, refusal::Code};
use rand::RngExt;

use crate::{
    setup::Bench,
    statistics::{Held, draw_from, draws, raw},
    world::{self, Patient, Visit},
};

const COUNTIES: usize = 24;

/// Aggregates in order, and how many of the first are counts and sums with the mechanism's own interval.
const AGGREGATES: [&str; 14] = [
    "COUNT(DISTINCT p.person_id)",
    "COUNT(*)",
    "COUNT(DISTINCT v.day)",
    "COUNT(DISTINCT p.person_id) FILTER (WHERE v.cost > 3)",
    "SUM(v.cost) FILTER (WHERE v.cost > 3)",
    "SUM(v.cost)",
    "AVG(v.cost)",
    "VAR_POP(v.cost)",
    "VAR_SAMP(v.cost)",
    "STDDEV_POP(v.cost)",
    "STDDEV(v.cost)",
    "MEDIAN(v.cost)",
    "APPROX_PERCENTILE_CONT(0.9) WITHIN GROUP (ORDER BY v.cost)",
    "100.0 * COUNT(*) FILTER (WHERE v.cost > 3) / COUNT(*)",
];
const EXACT: usize = 5;

fn patients(names: &[&'static str], of_each: usize) -> Vec<Patient> {
    let mut rng = world::rng(3);
    (0..names.len() * of_each)
        .map(|id| {
            let visits = (0..rng.random_range(1..=3)).map(|_| Visit {
                kind: None,
                day: 18_262 + rng.random_range(0..366),
                cost: Some(rng.random_range(100..500) * rng.random_range(1..=2)),
            });
            Patient { id: id as i64, county: names[id % names.len()], consent: 7, visits: visits.collect() }
        })
        .collect()
}

/// The aggregates of one county, computed from its patients alone.
fn truth(patients: &[&Patient]) -> Vec<f64> {
    let costs: Vec<f64> = patients.iter().flat_map(|p| &p.visits).map(|v| v.cost.unwrap() as f64 / 100.0).collect();
    let days: BTreeSet<i32> = patients.iter().flat_map(|p| &p.visits).map(|v| v.day).collect();
    let (n, sum) = (costs.len() as f64, costs.iter().sum::<f64>());
    let variance = costs.iter().map(|x| (x - sum / n).powi(2)).sum::<f64>() / n;
    let sample = variance * n / (n - 1.0);
    let high: Vec<f64> = costs.iter().copied().filter(|x| *x > 3.0).collect();
    let with = patients.iter().filter(|p| p.visits.iter().any(|v| v.cost.unwrap() > 300)).count();
    let mut medians: Vec<i64> = patients
        .iter()
        .map(|p| {
            let mut own: Vec<i64> = p.visits.iter().map(|v| v.cost.unwrap()).collect();
            own.sort_unstable();
            own[(own.len() - 1) / 2]
        })
        .collect();
    medians.sort_unstable();
    let quantile = |share: f64| medians[(share * medians.len() as f64).ceil() as usize - 1] as f64 / 100.0;
    vec![
        patients.len() as f64,
        n,
        days.len() as f64,
        with as f64,
        high.iter().sum(),
        sum,
        sum / n,
        variance,
        sample,
        variance.sqrt(),
        sample.sqrt(),
        quantile(0.5),
        quantile(0.9),
        100.0 * high.len() as f64 / n,
    ]
}

/// P[|noise| <= half] of the discrete Gaussian.
fn inside(sigma: f64, half: u64) -> f64 {
    let weight = |x: i64| (-(x as f64).powi(2) / (2.0 * sigma * sigma)).exp();
    let (half, far) = (half as i64, (12.0 * sigma).ceil() as i64);
    (-half..=half).map(weight).sum::<f64>() / (-far..=far).map(weight).sum::<f64>()
}

fn coverage(of_each: usize) {
    let names: Vec<&'static str> = (0..COUNTIES).map(|i| &*format!("county {i:02}").leak()).collect();
    let mut catalog = world::catalog(Contribution { scan_rows: 50, rows: 3, groups: 2 });
    catalog.declared_patients = 20_000;
    let county = &mut catalog.tables.get_mut("person").unwrap().columns[1];
    county.domain = Some(names.iter().map(|n| (*n).to_owned()).collect());
    let patients = patients(&names, of_each);
    let truths: Vec<Vec<f64>> =
        names.iter().map(|name| truth(&patients.iter().filter(|p| p.county == *name).collect::<Vec<_>>())).collect();

    let dir = tempfile::tempdir().unwrap();
    let snapshot = world::write(dir.path(), &catalog, &patients, 2);
    let shown: Vec<String> = AGGREGATES.iter().enumerate().map(|(i, a)| format!("{a} AS a{i}")).collect();
    let sql = format!(
        "SELECT p.county, {} FROM person p JOIN visit v ON p.person_id = v.person_id GROUP BY p.county ORDER BY 1",
        shown.join(", ")
    );
    let plan = world::plan(&sql, &catalog, &snapshot, &world::params(Rho::parse("0.5").unwrap())).unwrap();
    let held = Held(raw(&plan));
    let bench = Bench::new("900000");
    let executor = LocalExecutor::new().unwrap();
    let rounds = draws() / 160;
    let mut covered = [0_u32; AGGREGATES.len()];
    let mut widths = vec![Vec::new(); AGGREGATES.len()];
    let mut exact: BTreeMap<String, f64> = BTreeMap::new();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        for _ in 0..rounds {
            let released = draw_from(&bench, &plan, &held).await;
            for drawn in released.draws().iter().filter(|drawn| drawn.mechanism == "discrete_gaussian") {
                exact.insert(drawn.what.clone(), inside(drawn.sigma.parse().unwrap(), drawn.half_width));
            }
            let answered = answer(&executor, &plan, &released, &BTreeMap::new(), None).await.unwrap();
            assert_eq!(answered.batch.num_rows(), COUNTIES);
            for (index, count) in covered.iter_mut().enumerate() {
                let end = |suffix: &str| {
                    let column = answered.batch.column_by_name(&format!("a{index}_{suffix}")).unwrap();
                    column.as_primitive::<Float64Type>().clone()
                };
                let (low, high) = (end("low"), end("high"));
                for (row, truth) in truths.iter().enumerate() {
                    let slack = 1e-9 * truth[index].abs().max(1.0);
                    *count +=
                        u32::from(low.value(row) - slack <= truth[index] && truth[index] <= high.value(row) + slack);
                    widths[index].push(high.value(row) - low.value(row));
                }
            }
        }
    });
    let samples = (rounds * COUNTIES) as f64;
    let mut wrong = Vec::new();
    for (index, name) in AGGREGATES.iter().enumerate() {
        let rate = f64::from(covered[index]) / samples;
        let width = widths[index].iter().sum::<f64>() / samples;
        println!("{of_each} patients a cell: {name}: {rate:.4}, mean width {width:.2}");
        // The chance of each assertion to fail on right intervals is below 1e-10.
        let error = |p: f64| 6.5 * (p * (1.0 - p) / samples).sqrt();
        if index < EXACT {
            let expected: Vec<f64> = exact.values().copied().collect();
            let (least, most) =
                (expected.iter().copied().fold(1.0, f64::min), expected.iter().copied().fold(0.0, f64::max));
            if rate < least - error(least) || rate > most + error(most) {
                wrong.push(format!("{name}: {rate} is not within {least}..{most}"));
            }
        } else if rate < 0.95 - error(0.95) {
            wrong.push(format!("{name}: {rate}"));
        }
        if width <= 0.0 {
            wrong.push(format!("{name} has no width"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn intervals_cover_at_small_counts() {
    coverage(5);
}

#[test]
fn intervals_cover_at_large_counts() {
    coverage(400);
}

/// Cells, three choices a quantile and the candidates of each stay within 2,000,000, or the question is refused; the grid
/// gets coarser before that.
#[test]
fn quantiles_past_their_limit_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let asked = |sql: &str, declared: u64| -> Result<(), Code> {
        let mut catalog = world::catalog(Contribution { scan_rows: 50, rows: 3, groups: 1 });
        catalog.declared_patients = declared;
        let snapshot = world::write(dir.path(), &catalog, &[], 1);
        let params = world::params(Rho::parse("1").unwrap());
        world::plan(sql, &catalog, &snapshot, &params).map(drop).map_err(|e| e.code)
    };
    // Unknown keys: declared patients / k_min cells; 16 candidates, 100 grid units apart, are the fewest for this range.
    let unknown = "SELECT kind, MEDIAN(cost) FROM visit GROUP BY kind";
    assert_eq!(asked(unknown, 41_666 * 11 + 10), Ok(()));
    assert_eq!(asked(unknown, 41_667 * 11), Err(Code::TooManyCells));
    assert_eq!(asked("SELECT kind, COUNT(*) FROM visit GROUP BY kind", 41_667 * 11), Ok(()));
    // The same quantile twice is one; another one halves what is left to each.
    let (same, two) = (
        "SELECT kind, MEDIAN(cost), APPROX_PERCENTILE_CONT(cost, 0.5) FROM visit GROUP BY kind",
        "SELECT kind, MEDIAN(cost), APPROX_PERCENTILE_CONT(cost, 0.9) FROM visit GROUP BY kind",
    );
    assert_eq!((asked(same, 400_000), asked(two, 400_000)), (Ok(()), Err(Code::TooManyCells)));
    // Public keys: 12 months, 3 counties and so many buckets.
    let public = |buckets: u32| {
        format!(
            "SELECT p.county, date_trunc('month', v.day) AS m, width_bucket(v.cost, 0, 10, {buckets}) AS b, MEDIAN(v.cost) \
             FROM person p JOIN visit v ON p.person_id = v.person_id GROUP BY p.county, m, b"
        )
    };
    assert_eq!((asked(&public(1_000), 1_000), asked(&public(1_200), 1_000)), (Ok(()), Err(Code::TooManyCells)));
}
