//! The split and the rewriting keep a question's meaning: the private plan, then the post plan over its exact result,
//! give what DataFusion gives for the text itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Date32Array, Decimal128Array, Int64Array, StringArray};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use epiledger_privacy::catalog::{Catalog, Column, Contribution, Kind, Profile, Table, UNIT};
use epiledger_privacy::query::{NOISY, Query, noisy_column};
use epiledger_sql::{Value, bind, parse};

use crate::dice::Dice;

fn table(private: bool, columns: &[(&str, Kind, bool)]) -> Table {
    let column = |(name, kind, nullable): &(&str, Kind, bool)| Column {
        name: (*name).into(),
        kind: kind.clone(),
        nullable: *nullable,
        domain: None,
    };
    let bounds = Contribution { scan_rows: 500, rows: 4, groups: 20 };
    Table { private: private.then_some(bounds), declared_rows: 100, columns: columns.iter().map(column).collect() }
}

fn catalog() -> Catalog {
    let day = || Kind::Date { low: "2019-01-01".into(), high: "2020-12-31".into(), year_only: false };
    let number = |low, high| Kind::Integer { low, high };
    let cost = Kind::Decimal { scale: 2, low: 0, high: 10_000 };
    let tables = [
        (
            "person",
            table(
                true,
                &[
                    (UNIT, Kind::Id, false),
                    ("born", number(1900, 2020), true),
                    ("sex", Kind::Text, false),
                    ("county", Kind::Text, true),
                ],
            ),
        ),
        (
            "visit",
            table(
                true,
                &[(UNIT, Kind::Id, false), ("kind", Kind::Text, false), ("day", day(), false), ("cost", cost, true)],
            ),
        ),
        ("death", table(true, &[(UNIT, Kind::Id, false), ("died", day(), false)])),
        (
            "region",
            table(false, &[("code", Kind::Text, false), ("name", Kind::Text, false), ("people", number(0, 9), false)]),
        ),
    ];
    Catalog {
        dataset: "small".into(),
        data_cut: "2020-12-31".into(),
        profile: Profile::ExpertDetermination,
        declared_patients: 100,
        tables: tables.into_iter().map(|(name, table)| (name.to_owned(), table)).collect(),
    }
}

fn batches(seed: u64) -> BTreeMap<&'static str, RecordBatch> {
    let mut dice = Dice(seed);
    let catalog = catalog();
    let people: Vec<i64> = (1..=40).collect();
    let visitors: Vec<i64> = (0..120).map(|_| 1 + i64::try_from(dice.roll(45)).unwrap()).collect();
    let dead: Vec<i64> = people.iter().copied().filter(|_| dice.roll(4) == 0).collect();
    let ints = |values: &[i64]| -> ArrayRef { Arc::new(Int64Array::from(values.to_vec())) };
    let day = |dice: &mut Dice| i32::try_from(17_900 + dice.roll(700)).unwrap();
    let born: Vec<Option<i64>> =
        people.iter().map(|_| (dice.roll(9) > 0).then_some(1940 + i64::try_from(dice.roll(60)).unwrap())).collect();
    let sex: Vec<&str> = people.iter().map(|_| dice.pick(&["f", "m"])).collect();
    let county: Vec<Option<&str>> =
        people.iter().map(|_| Some(dice.pick(&["A", "B", "C", ""])).filter(|c| !c.is_empty())).collect();
    let kind: Vec<&str> = visitors.iter().map(|_| dice.pick(&["AMB", "IMP", "EMER"])).collect();
    let days: Vec<i32> = visitors.iter().map(|_| day(&mut dice)).collect();
    let cost: Vec<Option<i128>> =
        visitors.iter().map(|_| (dice.roll(5) > 0).then_some(i128::from(dice.roll(9000)))).collect();
    let died: Vec<i32> = dead.iter().map(|_| day(&mut dice)).collect();
    let columns: [(&str, Vec<ArrayRef>); 4] = [
        (
            "person",
            vec![
                ints(&people),
                Arc::new(Int64Array::from(born)),
                Arc::new(StringArray::from(sex)),
                Arc::new(StringArray::from(county)),
            ],
        ),
        (
            "visit",
            vec![
                ints(&visitors),
                Arc::new(StringArray::from(kind)),
                Arc::new(Date32Array::from(days)),
                Arc::new(Decimal128Array::from(cost).with_precision_and_scale(18, 2).unwrap()),
            ],
        ),
        ("death", vec![ints(&dead), Arc::new(Date32Array::from(died))]),
        (
            "region",
            vec![
                Arc::new(StringArray::from(vec!["A", "B", "D"])),
                Arc::new(StringArray::from(vec!["Alpha", "Beta", "Delta"])),
                ints(&[5, 6, 7]),
            ],
        ),
    ];
    columns
        .into_iter()
        .map(|(name, arrays)| (name, RecordBatch::try_new(catalog.table(name).unwrap().schema(), arrays).unwrap()))
        .collect()
}

/// Rows as text: dates by day, numbers rounded to 6 digits; sorted.
fn rows(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let mut all = Vec::new();
    for batch in batches {
        let columns: Vec<_> = batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            let cell = |c: &ArrayFormatter| {
                let text = c.value(row).to_string();
                let text = text.strip_suffix("T00:00:00").unwrap_or(&text).to_owned();
                text.parse::<f64>().map_or(text, |number| format!("{number:.6}"))
            };
            all.push(columns.iter().map(cell).collect::<Vec<_>>().join(" | "));
        }
    }
    all.sort();
    all
}

fn with_tables(plan: LogicalPlan, tables: &BTreeMap<String, RecordBatch>) -> LogicalPlan {
    let swapped = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::TableScan(mut scan) => {
            let batch = &tables[scan.table_name.table()];
            scan.source =
                provider_as_source(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch.clone()]]).unwrap()));
            Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
        }
        other => Ok(Transformed::no(other)),
    });
    swapped.unwrap().data
}

/// What a plan over tables in memory gives.
pub(crate) async fn exact(plan: LogicalPlan, tables: &BTreeMap<String, RecordBatch>) -> Result<Vec<RecordBatch>> {
    SessionContext::new().execute_logical_plan(with_tables(plan, tables)).await?.collect().await
}

/// The private plan's exact result, and the post plan's answer over it.
pub(crate) async fn split_answer(query: &Query, tables: &BTreeMap<String, RecordBatch>) -> Result<Vec<String>> {
    let mut tables = tables.clone();
    let found = exact(LogicalPlan::Aggregate(query.private().clone()), &tables).await?;
    let schema = query.private().schema.as_arrow().clone();
    let found = datafusion::arrow::compute::concat_batches(&Arc::new(schema), &found)?;
    let names = (0..found.num_columns()).map(noisy_column);
    let fields: Vec<_> = found
        .schema()
        .fields()
        .iter()
        .zip(names)
        .map(|(f, name)| f.as_ref().clone().with_name(name).with_nullable(true))
        .collect();
    let schema = Arc::new(datafusion::arrow::datatypes::Schema::new(fields));
    tables.insert(NOISY.to_owned(), RecordBatch::try_new(schema, found.columns().to_vec())?);
    Ok(rows(&exact(query.post().clone(), &tables).await?))
}

/// What the engine's own SQL gives for the text. It has no `year`; ours is lent to it.
pub(crate) async fn plain_answer(sql: &str, tables: &BTreeMap<String, RecordBatch>) -> Result<Vec<String>> {
    let context = SessionContext::new();
    context.register_udf(epiledger_privacy::functions::scalar("year").unwrap().as_ref().clone());
    for (name, batch) in tables {
        context.register_batch(name, batch.clone())?;
    }
    Ok(rows(&context.sql(sql).await?.collect().await?))
}

fn tables(seed: u64) -> BTreeMap<String, RecordBatch> {
    batches(seed).into_iter().map(|(name, batch)| (name.to_owned(), batch)).collect()
}

async fn ours(sql: &str, params: &BTreeMap<String, Value>, seed: u64) -> Vec<String> {
    let query = bind(&parse(sql).unwrap(), &catalog(), params).unwrap_or_else(|e| panic!("{sql}: {e}"));
    split_answer(&query, &tables(seed)).await.unwrap()
}

async fn theirs(sql: &str, seed: u64) -> Vec<String> {
    plain_answer(sql, &tables(seed)).await.unwrap()
}

const SAME: [&str; 34] = [
    "SELECT county, COUNT(*) FROM person GROUP BY county",
    "SELECT county, sex, COUNT(*), COUNT(born), AVG(born), SUM(born) FROM person GROUP BY county, sex HAVING COUNT(*) > 2",
    "SELECT DISTINCT county FROM person",
    "SELECT county FROM person UNION SELECT kind FROM visit",
    "SELECT COUNT(*) FROM person p, visit v WHERE p.person_id = v.person_id AND v.cost > 10",
    "SELECT p.county, COUNT(DISTINCT p.person_id) FROM person p, visit v, death d WHERE p.person_id = v.person_id AND d.person_id = v.person_id GROUP BY p.county",
    "SELECT COUNT(*) FROM death d, person p, visit v WHERE p.person_id = v.person_id AND d.person_id = v.person_id AND (v.kind = 'IMP' OR p.sex = 'f')",
    "SELECT county, COUNT(*) FROM person WHERE person_id IN (SELECT person_id FROM visit WHERE kind = 'IMP') GROUP BY county",
    "SELECT county, COUNT(*) FROM person WHERE person_id NOT IN (SELECT person_id FROM visit WHERE kind = 'IMP') GROUP BY county",
    "SELECT county, COUNT(*) FROM person WHERE NOT person_id IN (SELECT person_id FROM death) AND sex = 'f' GROUP BY county",
    "SELECT COUNT(*) FROM person p WHERE EXISTS (SELECT 1 FROM visit v WHERE v.person_id = p.person_id AND v.cost > 50)",
    "SELECT COUNT(*) FROM person p WHERE NOT EXISTS (SELECT * FROM visit v WHERE p.person_id = v.person_id) AND EXISTS (SELECT died FROM death d WHERE d.person_id = p.person_id)",
    "SELECT COUNT(*) FROM visit v WHERE EXISTS (SELECT 1 FROM visit w WHERE w.person_id = v.person_id AND w.day > v.day AND w.kind <> v.kind)",
    "SELECT COUNT(*) FROM person WHERE person_id IN (SELECT person_id FROM visit WHERE person_id IN (SELECT person_id FROM death))",
    "SELECT AVG(n), COUNT(*) FROM (SELECT person_id, COUNT(*) n FROM visit GROUP BY person_id) t",
    "SELECT n, COUNT(*) FROM (SELECT person_id, COUNT(*) n FROM visit GROUP BY person_id) t GROUP BY n ORDER BY n",
    "SELECT AVG(n) FROM (SELECT p.person_id, (SELECT COUNT(*) FROM visit v WHERE v.person_id = p.person_id) AS n FROM person p) t",
    "SELECT COUNT(*), SUM(m) FROM (SELECT p.sex, (SELECT MAX(cost) + COUNT(*) FROM visit v WHERE v.person_id = p.person_id AND v.kind = 'AMB') AS m FROM person p) t",
    "SELECT COUNT(*) FROM person p WHERE (SELECT COUNT(*) FROM visit v WHERE v.person_id = p.person_id) < 2",
    "SELECT COUNT(*) FROM person p WHERE (SELECT COUNT(*) FROM visit v WHERE v.person_id = p.person_id) > (SELECT COUNT(*) FROM death d WHERE d.person_id = p.person_id) + 1",
    "WITH a AS (SELECT county, COUNT(*) n FROM person GROUP BY county) SELECT x.county, x.n, y.n FROM a x JOIN a y ON x.county = y.county WHERE x.n > 1",
    "WITH f AS (SELECT person_id, MIN(day) first FROM visit GROUP BY person_id) SELECT date_trunc('month', first), COUNT(*) FROM f GROUP BY 1",
    "SELECT EXTRACT(YEAR FROM day), EXTRACT(DOW FROM day), date_part('week', day), COUNT(*) FROM visit GROUP BY 1, 2, 3",
    "SELECT 100.0 * COUNT(*) FILTER (WHERE sex = 'f') / COUNT(*) AS share FROM person",
    "SELECT r.name, COUNT(*) FROM person p LEFT JOIN region r ON p.county = r.code GROUP BY r.name",
    "SELECT r.name, t.n * 1.0 / r.people FROM (SELECT county, COUNT(*) n FROM person GROUP BY county) t JOIN region r ON r.code = t.county",
    "SELECT COUNT(*) FROM person WHERE county IN (SELECT code FROM region WHERE people > 5)",
    "SELECT county, n, RANK() OVER (ORDER BY n DESC) FROM (SELECT county, COUNT(*) n FROM person GROUP BY county) t",
    "SELECT kind, COUNT(*), SUM(COUNT(*)) OVER () FROM visit GROUP BY kind ORDER BY 2 DESC LIMIT 2",
    "SELECT AVG(gap) FROM (SELECT day - LAG(day) OVER (PARTITION BY person_id ORDER BY day, kind, cost) AS gap FROM visit) t",
    "SELECT d.dead, COUNT(*) FROM (SELECT p.person_id, CASE WHEN x.person_id IS NULL THEN 'no' ELSE 'yes' END dead FROM person p LEFT JOIN death x ON p.person_id = x.person_id) d GROUP BY d.dead",
    "SELECT MAX(n) - MIN(n) FROM (SELECT county, COUNT(*) n FROM person GROUP BY county) t",
    "SELECT COUNT(*) FROM visit WHERE day BETWEEN DATE '2019-06-01' AND '2020-03-01' AND day + INTERVAL '1 month' > DATE '2019-08-01'",
    "SELECT code, 0 AS n FROM region UNION ALL SELECT county, COUNT(*) FROM person GROUP BY county",
];

#[tokio::test]
async fn the_two_plans_together_mean_what_the_text_means() {
    let none = BTreeMap::new();
    let mut answered = 0;
    for sql in SAME {
        for seed in 1..=3 {
            let (ours, theirs) = (ours(sql, &none, seed).await, theirs(sql, seed).await);
            assert_eq!(ours, theirs, "{sql}");
            answered += ours.len();
        }
    }
    assert!(answered > 300, "only {answered} rows");
}

#[tokio::test]
async fn a_null_in_the_list_of_not_in_does_not_empty_the_answer() {
    let sql = "SELECT COUNT(*) FROM person WHERE county NOT IN (SELECT NULLIF(code, 'A') FROM region)";
    let exists =
        "SELECT COUNT(*) FROM person p WHERE NOT EXISTS (SELECT 1 FROM region r WHERE NULLIF(r.code, 'A') = p.county)";
    assert_eq!(theirs(sql, 1).await, ["0.000000"]);
    assert_eq!(ours(sql, &BTreeMap::new(), 1).await, theirs(exists, 1).await);
}

#[tokio::test]
async fn parameters_and_today_are_literals() {
    let sql =
        "SELECT kind, COUNT(*) FROM visit WHERE day >= $since AND cost < $most AND day < now() - 30 GROUP BY kind";
    let text = "SELECT kind, COUNT(*) FROM visit WHERE day >= '2019-09-01' AND cost < 55.5 AND day < DATE '2020-12-01' GROUP BY kind";
    let params = BTreeMap::from([
        ("since".to_owned(), Value::Text("2019-09-01".into())),
        ("most".to_owned(), Value::Float(55.5)),
    ]);
    assert_eq!(ours(sql, &params, 2).await, theirs(text, 2).await);
}
