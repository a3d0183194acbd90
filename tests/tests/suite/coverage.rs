//! Intervals beside values that are made from several released numbers: they are there, and they cover.

use std::collections::BTreeMap;

use arrow::{
    array::{Array, AsArray},
    datatypes::Float64Type,
};
use epiledger_engine::{
    api::ColumnRole,
    exec::{
        local::LocalExecutor,
        post::{Answered, answer},
    },
};
use epiledger_privacy::{bound::BoundedPlan, snapshot::Snapshot};

use crate::{
    setup::Bench,
    statistics::{draw, draws, exact, world_plan},
    world,
};

/// Counts of three counties, asked of the same patients in every test.
const COUNTS: &str = "WITH t AS (SELECT county, COUNT(*) AS n FROM person GROUP BY county)";

struct Asked {
    plan: BoundedPlan,
    executor: LocalExecutor,
    runtime: tokio::runtime::Runtime,
    bench: Bench,
    _dir: tempfile::TempDir,
}

impl Asked {
    fn new(sql: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let patients = world::patients(&mut world::rng(11), 400, 2);
        let plan = world_plan(dir.path(), &format!("{COUNTS} {sql}"), &patients, "0.02");
        let executor = LocalExecutor::new().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        Self { plan, executor, runtime, bench: Bench::new("900000"), _dir: dir }
    }

    /// The exact counts by county.
    fn truth(&self) -> BTreeMap<String, f64> {
        exact(&self.plan).into_iter().map(|(key, values)| (key[0].clone(), values[0] as f64)).collect()
    }

    /// A new release and its answer.
    fn answer(&self) -> Answered {
        self.runtime.block_on(async {
            let release = draw(&self.bench, &self.plan).await;
            answer(&self.executor, &self.plan, &release, &Snapshot::default().public, None).await.unwrap()
        })
    }
}

fn number(answer: &Answered, column: &str, row: usize) -> Option<f64> {
    let column = answer.batch.column_by_name(column).unwrap();
    let column = arrow::compute::cast(column, &arrow::datatypes::DataType::Float64).unwrap();
    let column = column.as_primitive::<Float64Type>();
    column.is_valid(row).then(|| column.value(row))
}

/// For each (row's first column, value column) how often the interval held the truth; every row of every answer counts.
fn assert_covers(sql: &str, truth: impl Fn(&BTreeMap<String, f64>, &str, &str) -> f64, columns: &[&str], rows: usize) {
    let asked = Asked::new(sql);
    let exact = asked.truth();
    let rounds = draws() / 50;
    let mut covered: BTreeMap<(String, &str), usize> = BTreeMap::new();
    for _ in 0..rounds {
        let answer = asked.answer();
        assert_eq!(answer.batch.num_rows(), rows, "{sql}");
        for row in 0..rows {
            let key = arrow::util::display::array_value_to_string(answer.batch.column(0), row).unwrap();
            for column in columns {
                let end = |suffix: &str| {
                    number(&answer, &format!("{column}_{suffix}"), row)
                        .unwrap_or_else(|| panic!("no {suffix} of {column} in row {row} of {sql}"))
                };
                let (low, high, sigma) = (end("low"), end("high"), end("sigma"));
                let value = number(&answer, column, row).unwrap();
                assert!(low <= value && value <= high && sigma > 0.0, "{column}: {low} {value} {high}, sigma {sigma}");
                let truth = truth(&exact, &key, column);
                *covered.entry((key.clone(), column)).or_default() += usize::from((low..=high).contains(&truth));
            }
        }
    }
    let least = 0.95 - 6.5 * (0.95 * 0.05 / rounds as f64).sqrt();
    assert_eq!(covered.len(), rows * columns.len());
    for (what, hits) in covered {
        let rate = hits as f64 / rounds as f64;
        println!("{sql}: {what:?} {rate:.3}");
        assert!(rate >= least, "{what:?} of {sql}: covered {rate}, at least {least}");
    }
}

#[test]
fn windows_over_released_counts_cover() {
    let total = |exact: &BTreeMap<String, f64>| exact.values().sum::<f64>();
    assert_covers(
        "SELECT county, n * 100.0 / SUM(n) OVER () AS share, SUM(n) OVER (ORDER BY county) AS running, \
         n - LAG(n, 1, 0) OVER (ORDER BY county) AS more FROM t WHERE n > 5 ORDER BY share DESC",
        |exact, county, column| {
            let before: f64 = exact.iter().filter(|(c, _)| c.as_str() < county).map(|(_, n)| n).sum();
            let last = exact.iter().rfind(|(c, _)| c.as_str() < county).map_or(0.0, |(_, n)| *n);
            match column {
                "share" => exact[county] * 100.0 / total(exact),
                "running" => before + exact[county],
                _ => exact[county] - last,
            }
        },
        &["share", "running", "more"],
        3,
    );
}

#[test]
fn aggregates_over_released_counts_cover_under_having_order_and_limit() {
    assert_covers(
        "SELECT county = 'north' AS north, SUM(n) AS patients, AVG(n) AS mean, COUNT(*) AS counties, \
         SUM(n) / (SUM(n) + 100.0) AS odds FROM t GROUP BY county = 'north' HAVING SUM(n) > 10 ORDER BY patients DESC \
         LIMIT 2",
        |exact, north, column| {
            let of = exact.iter().filter(|(county, _)| (county.as_str() == "north").to_string() == north);
            let (sum, count) = of.fold((0.0, 0.0), |(sum, count), (_, n)| (sum + n, count + 1.0));
            match column {
                "patients" => sum,
                "mean" => sum / count,
                _ => sum / (sum + 100.0),
            }
        },
        &["patients", "mean", "odds"],
        2,
    );
}

#[test]
fn unions_of_released_counts_cover() {
    assert_covers(
        "SELECT county, n FROM t UNION ALL SELECT 'all', SUM(n) FROM t UNION ALL SELECT 'two', SUM(n) FROM t \
         WHERE county <> 'north' ORDER BY n LIMIT 4",
        |exact, key, _| match key {
            "all" => exact.values().sum(),
            "two" => exact.iter().filter(|(county, _)| *county != "north").map(|(_, n)| n).sum(),
            county => exact[county],
        },
        &["n"],
        4,
    );
}

/// Which values have an interval, and which have none, for the stated reason.
#[test]
fn every_number_has_an_interval_where_its_row_has_a_name() {
    // Question; for each value column, whether its interval is there.
    let cases: [(&str, &[(&str, bool)]); 10] = [
        (
            "SELECT SUM(n) AS total, MAX(n) AS most, STDDEV(n) AS s FROM t",
            &[("total", true), ("most", true), ("s", true)],
        ),
        ("SELECT a.county, b.county AS other, a.n - b.n AS d FROM t a JOIN t b ON a.county < b.county", &[("d", true)]),
        (
            "SELECT county, n, r FROM (SELECT county, n, RANK() OVER (ORDER BY n DESC) AS r FROM t) WHERE r <= 2",
            &[("n", true), ("r", true)],
        ),
        ("SELECT n * 1.0 / s AS share FROM t CROSS JOIN (SELECT SUM(n) AS s FROM t)", &[("share", true)]),
        ("SELECT DISTINCT county, SUM(n) OVER () AS s FROM t", &[("s", true)]),
        ("SELECT n > 100 AS large, COUNT(*) AS c FROM t GROUP BY n > 100", &[("large", false), ("c", true)]),
        ("SELECT county, n > 100 AS large FROM t", &[("large", false)]),
        ("SELECT 'x' AS x, SUM(n) AS s FROM t GROUP BY county", &[("s", true)]),
        ("SELECT county, n FROM t UNION SELECT county, n FROM t", &[("n", true)]),
        // Three rows of one name: their numbers can't be told apart.
        ("SELECT 'x' AS x, n FROM t UNION SELECT 'x', n FROM t", &[("n", false)]),
    ];
    for (sql, expected) in cases {
        let asked = Asked::new(sql);
        let answer = asked.answer();
        let values: Vec<&str> =
            answer.columns.iter().filter(|c| c.role == ColumnRole::Value).map(|c| c.name.as_str()).collect();
        assert_eq!(values, expected.iter().map(|(name, _)| *name).collect::<Vec<_>>(), "{sql}");
        assert!(answer.batch.num_rows() > 0, "{sql}");
        for (name, there) in expected {
            let low = answer.batch.column_by_name(&format!("{name}_low")).unwrap();
            assert_eq!(low.null_count(), if *there { 0 } else { low.len() }, "{name} of {sql}: {low:?}");
        }
    }
}

/// An answer given again has the same intervals.
#[test]
fn intervals_are_a_function_of_the_release() {
    let asked = Asked::new("SELECT county, n * 1.0 / SUM(n) OVER () AS share FROM t ORDER BY county");
    asked.runtime.block_on(async {
        let release = draw(&asked.bench, &asked.plan).await;
        let public = Snapshot::default().public;
        let first = answer(&asked.executor, &asked.plan, &release, &public, None).await.unwrap();
        let again = answer(&asked.executor, &asked.plan, &release, &public, None).await.unwrap();
        assert_eq!(first.batch, again.batch);
    });
}
