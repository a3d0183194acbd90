//! What the tables of `semantics/` say is what happens: each statement is refused with its code, or accepted; and an
//! accepted one is run, twice. Its two plans give what plain SQL over the same rows gives; and the bounded plan, under
//! bounds that bind nothing, counts what plain SQL counts.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::arrow::array::{Array, AsArray, Float64Array, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_plan::collect;
use datafusion::prelude::SessionContext;
use epiledger_privacy::bound::physical::Layout;
use epiledger_privacy::bound::{BoundedPlan, bound};
use epiledger_privacy::query::Query;
use epiledger_privacy::refusal::Code;
use epiledger_sql::{SqlError, bind, parse};

use crate::cases::{Case, cases};
use crate::{meaning, rows, small};

fn asked(sql: &str) -> Result<Query, SqlError> {
    bind(&parse(sql)?, &small::catalog(), &BTreeMap::new())
}

#[test]
fn every_statement_is_accepted_or_refused_as_its_file_says() {
    let cases = cases();
    let mut wrong = Vec::new();
    for Case { file, refused, why, sql, by_text, .. } in &cases {
        assert!(refused.is_some() || !by_text, "{why}");
        let found = asked(sql).err().map(|error| error.code.as_str().to_owned());
        if found != *refused {
            wrong.push(format!("{file}: {why}\n  wanted {refused:?}, found {:?}\n  {sql}", asked(sql).err()));
        }
    }
    assert!(wrong.is_empty(), "{} of {} wrong:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(cases.len() >= 250, "{}", cases.len());
    let known: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert!(cases.iter().filter_map(|c| c.refused.as_deref()).all(|code| known.contains(code)));
}

#[tokio::test]
async fn what_is_accepted_means_what_plain_sql_means() {
    let mut wrong = Vec::new();
    let mut answered = 0;
    let tables = rows::tables(1);
    for Case { file, why, sql, means, .. } in cases().iter().filter(|case| case.refused.is_none()) {
        let query = asked(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let ours = meaning::split_answer(&query, &tables).await;
        let theirs = meaning::plain_answer(means.as_ref().unwrap_or(sql), &tables).await;
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) if ours == theirs => answered += ours.len(),
            (ours, theirs) => wrong.push(format!("{file}: {why}\n  {ours:?}\n  {theirs:?}\n  {sql}")),
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(answered > 200, "only {answered} rows");
}

/// Groups and the value of their one aggregate; groups of 0 left out.
type Groups = BTreeMap<Vec<String>, f64>;

fn groups(batches: &[RecordBatch], keys: usize, scale: i8, drop_null_keys: bool) -> Groups {
    let options = FormatOptions::default().with_null("NULL");
    let mut found = Groups::new();
    for batch in batches {
        let texts: Vec<_> =
            batch.columns().iter().take(keys).map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
        let values = cast(batch.columns().last().unwrap(), &DataType::Float64).unwrap();
        let values: &Float64Array = values.as_primitive::<Float64Type>();
        for row in 0..batch.num_rows() {
            let key: Vec<String> = texts.iter().map(|c| c.value(row).to_string()).collect();
            let null_key = batch.columns().iter().take(keys).any(|c| c.is_null(row));
            if values.is_valid(row) && values.value(row) != 0.0 && !(null_key && drop_null_keys) {
                assert!(
                    found.insert(key, values.value(row) / 10_f64.powi(scale.into())).is_none(),
                    "a group came twice"
                );
            }
        }
    }
    found
}

async fn bounded(sql: &str, plan: &BoundedPlan, partitions: usize) -> Groups {
    let layout = Layout { partitions: partitions.try_into().unwrap(), ..Layout::default() };
    let context = SessionContext::new_with_config(layout.config());
    let physical = plan.oracle(layout, false).unwrap();
    let batches = collect(physical, context.task_ctx()).await;
    let batches = batches.unwrap_or_else(|error| panic!("{error}: {sql}"));
    let keys = plan.release_schema().fields().len() - plan.aggregates();
    let scale = plan.needed().last().map_or(0, |(_, scale)| *scale);
    groups(&batches, keys, scale, false)
}

/// Does a question ask for one count or one sum?
fn one_number(query: &Query) -> bool {
    let [Expr::AggregateFunction(fold)] = query.private().aggr_expr.as_slice() else {
        return matches!(query.private().aggr_expr.as_slice(), [Expr::Alias(_)]);
    };
    ["count", "sum"].contains(&fold.func.name())
}

#[tokio::test]
async fn the_bounded_plan_counts_what_plain_sql_counts() {
    let mut wrong = Vec::new();
    let mut compared = 0;
    let tables = rows::tables(3);
    let dir = tempfile::tempdir().unwrap();
    let snapshot = rows::snapshot(dir.path(), &tables);
    for (number, Case { file, why, sql, .. }) in cases().iter().filter(|case| case.refused.is_none()).enumerate() {
        let query = asked(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let plan = bound(&query, &small::catalog(), &snapshot, &rows::params());
        let plan = plan.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let found = bounded(sql, &plan, 1 + number % 3).await;
        if !one_number(&query) {
            continue;
        }
        let private = LogicalPlan::Aggregate(query.private().clone());
        let plain = groups(
            &meaning::exact(private, &tables).await.unwrap(),
            query.private().group_expr.len(),
            0,
            plan.cells().is_some(),
        );
        if found.keys().ne(plain.keys()) || found.iter().any(|(key, value)| (value - plain[key]).abs() > 1e-6) {
            wrong.push(format!("{file}: {why}\n  {found:?}\n  {plain:?}\n  {sql}"));
        }
        compared += found.len();
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(compared > 150, "only {compared} numbers");
}

/// A patient's rows backwards, files cut elsewhere, other partitions: every statement counts the same.
#[tokio::test]
async fn order_and_layout_do_not_matter() {
    let tables = rows::tables(4);
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let one = rows::snapshot(dirs[0].path(), &tables);
    let other = rows::laid_out(dirs[1].path(), &tables, 29, true);
    let mut groups = 0;
    for Case { sql, .. } in cases().iter().filter(|case| case.refused.is_none()) {
        let query = asked(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let in_layout = async |snapshot, partitions| {
            let plan = bound(&query, &small::catalog(), snapshot, &rows::params()).unwrap();
            bounded(sql, &plan, partitions).await
        };
        let (one, other) = (in_layout(&one, 1).await, in_layout(&other, 3).await);
        assert_eq!(one, other, "{sql}");
        groups += one.len();
    }
    assert!(groups > 150, "only {groups} groups");
}

/// One patient has 20 visits under one id, so a join by that id makes 400 rows of them where the plan allows 200. That
/// patient contributes nothing, and nobody else changes.
#[tokio::test]
async fn a_patient_past_the_allowance_of_a_join_contributes_nothing() {
    let tables = rows::tables(5);
    let (heavy, others) = rows::repeated_visits(&tables["visit"], 3, 20);
    let exact = async |sql: &str, visits: &RecordBatch| {
        let mut tables = tables.clone();
        tables.insert("visit".to_owned(), visits.clone());
        let dir = tempfile::tempdir().unwrap();
        let snapshot = rows::snapshot(dir.path(), &tables);
        let plan = bound(&asked(sql).unwrap(), &small::catalog(), &snapshot, &rows::params()).unwrap();
        bounded(sql, &plan, 2).await
    };
    for sql in [
        "SELECT COUNT(*) FROM visit a JOIN visit b ON a.person_id = b.person_id AND a.visit_id = b.visit_id",
        "SELECT a.kind, COUNT(*) FROM visit a JOIN visit b USING (person_id, visit_id) GROUP BY a.kind",
    ] {
        let (with, without) = (exact(sql, &heavy).await, exact(sql, &others).await);
        assert!(with.values().sum::<f64>() > 50.0);
        assert_eq!(with, without, "{sql}");
    }
    // One row by one: all of them count.
    let sql = "SELECT COUNT(*) FROM visit";
    let (with, without) = (exact(sql, &heavy).await, exact(sql, &others).await);
    assert_eq!(with.values().sum::<f64>(), without.values().sum::<f64>() + 20.0);
}

/// Other public rows are another question, for those who read them: a release is never given again over them.
#[test]
fn the_version_of_a_public_table_is_part_of_the_cache_key() {
    let dir = tempfile::tempdir().unwrap();
    let one = rows::snapshot(dir.path(), &rows::tables(6));
    let mut other = one.clone();
    other.public.get_mut("region").unwrap().version = "another".to_owned();
    let key = |sql: &str, snapshot| {
        let plan = bound(&asked(sql).unwrap(), &small::catalog(), snapshot, &rows::params()).unwrap();
        plan.cache_key().to_owned()
    };
    for (sql, same) in [
        ("SELECT COUNT(*) FROM person", true),
        ("SELECT c.year, COUNT(*) FROM visit v JOIN calendar c ON c.day = v.day GROUP BY c.year", true),
        ("SELECT r.name, COUNT(*) FROM person p JOIN region r ON r.region_code = p.county GROUP BY r.name", false),
        ("SELECT COUNT(*) FROM person p WHERE p.county IN (SELECT region_code FROM region WHERE people > 5)", false),
        ("SELECT COUNT(*) FROM person p LEFT JOIN region r ON p.county = r.region_code AND r.people > 5", false),
    ] {
        assert_eq!(key(sql, &one) == key(sql, &other), same, "{sql}");
    }
}
