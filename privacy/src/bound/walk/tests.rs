//! The core alone, against plans that DataFusion's own planner makes with all its functions: nothing of `sql` is here.

#![expect(clippy::disallowed_methods, reason = "plans are made here, over empty tables, and never run")]

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::config::ConfigOptions;
use datafusion::datasource::empty::EmptyTable;
use datafusion::logical_expr::{Aggregate, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::analyzer::type_coercion::TypeCoercion;
use datafusion::prelude::SessionContext;

use super::walk;
use crate::bound::keys::total_keys;
use crate::bound::lineage::Relation;
use crate::bound::post::check_post;
use crate::bound::total::{Measure, measures};
use crate::catalog::{Catalog, Column, Contribution, Kind, Profile, Table, UNIT};
use crate::functions;
use crate::query::NOISY;
use crate::refusal::{Code, PlanError};

fn column(name: &str, kind: Kind, domain: &[&str]) -> Column {
    let domain = (!domain.is_empty()).then(|| domain.iter().map(|v| (*v).to_owned()).collect());
    Column { name: name.into(), kind, nullable: name == "zip", domain }
}

pub(crate) fn small_catalog() -> Catalog {
    let date = Kind::Date { low: "2019-01-01".into(), high: "2020-12-31".into(), year_only: false };
    let unit = || column(UNIT, Kind::Id, &[]);
    let table = |private, declared_rows, columns| Table { private, declared_rows, columns };
    let bounds = |scan_rows, rows, groups| Some(Contribution { scan_rows, rows, groups });
    let tables = [
        (
            "person",
            table(
                bounds(1, 1, 1),
                1000,
                vec![
                    unit(),
                    column("born", Kind::Integer { low: 1950, high: 1953 }, &["1950", "1951", "1952", "1953"]),
                    column("sex", Kind::Text, &["f", "m"]),
                    column("county", Kind::Text, &["A", "B", "C"]),
                    column("zip", Kind::Text, &["1", "2"]),
                ],
            ),
        ),
        (
            "visit",
            table(
                bounds(2000, 4, 20),
                9000,
                vec![
                    unit(),
                    column("visit_id", Kind::Id, &[]),
                    column("kind", Kind::Text, &[]),
                    column("day", date, &[]),
                    column("cost", Kind::Decimal { scale: 2, low: 0, high: 100_000 }, &[]),
                ],
            ),
        ),
        ("drug", table(bounds(5000, 4, 20), 9000, vec![unit(), column("code", Kind::Text, &[])])),
        ("region", table(None, 3, vec![column("region_code", Kind::Text, &[]), column("name", Kind::Text, &[])])),
        (
            "calendar",
            table(
                None,
                10_000,
                vec![
                    column(
                        "day",
                        Kind::Date { low: "2019-01-01".into(), high: "2020-12-31".into(), year_only: false },
                        &[],
                    ),
                    column("year", Kind::Integer { low: 2019, high: 2020 }, &[]),
                ],
            ),
        ),
    ];
    Catalog {
        dataset: "small".into(),
        data_cut: "2020-12-31".into(),
        profile: Profile::ExpertDetermination,
        declared_patients: 1000,
        tables: tables.into_iter().map(|(name, table)| (name.to_owned(), table)).collect::<BTreeMap<_, _>>(),
    }
}

/// DataFusion's plan of a question, types coerced, nothing else.
async fn planned(sql: &str) -> LogicalPlan {
    let context = SessionContext::new();
    context.sql("SET datafusion.sql_parser.map_string_types_to_utf8view = false").await.unwrap();
    for (name, table) in &small_catalog().tables {
        context.register_table(name.as_str(), Arc::new(EmptyTable::new(table.schema()))).unwrap();
    }
    for name in ["greatest", "least", "year"] {
        context.register_udf(functions::scalar(name).unwrap().as_ref().clone());
    }
    let noisy = Schema::new(vec![Field::new("county", DataType::Utf8, true)]);
    context.register_table(NOISY, Arc::new(EmptyTable::new(Arc::new(noisy)))).unwrap();
    let plan = context.state().create_logical_plan(sql).await.unwrap();
    TypeCoercion::new().analyze(plan, &ConfigOptions::default()).unwrap()
}

fn topmost(plan: &LogicalPlan) -> &Aggregate {
    match plan {
        LogicalPlan::Aggregate(aggregate) => aggregate,
        other => topmost(other.inputs().first().expect("a question has an aggregate")),
    }
}

pub(crate) async fn asked(sql: &str) -> Result<(Aggregate, Relation), PlanError> {
    let plan = planned(sql).await;
    let aggregate = topmost(&plan).clone();
    let relation = walk(&aggregate.input, &small_catalog())?;
    total_keys(&aggregate.group_expr, &relation)?;
    measures(&aggregate, &relation)?;
    Ok((aggregate, relation))
}

#[tokio::test]
async fn the_core_refuses_by_itself() {
    use Code::*;
    let refused = [
        (WindowNotByUnit, "SELECT AVG(n) FROM (SELECT COUNT(*) OVER (PARTITION BY county) n FROM person)"),
        (PrivateJoinNotOnUnit, "SELECT COUNT(*) FROM visit a JOIN drug b ON a.kind = b.code"),
        (
            PrivateJoinNotOnUnit,
            "SELECT COUNT(*) FROM person a JOIN person b ON a.person_id = b.person_id OR a.sex = b.sex",
        ),
        (PrivateJoinNotOnUnit, "SELECT COUNT(*) FROM person a JOIN visit b ON a.person_id = b.visit_id"),
        (CrossJoinPrivate, "SELECT COUNT(*) FROM person a CROSS JOIN drug b"),
        (OuterJoinNullsPrivate, "SELECT COUNT(*) FROM person a FULL JOIN drug b ON a.person_id = b.person_id"),
        (OuterJoinNullsPrivate, "SELECT COUNT(*) FROM region r LEFT JOIN person p ON r.region_code = p.county"),
        (
            OuterJoinNullsPrivate,
            "SELECT COUNT(*) FROM person a LEFT JOIN drug b ON a.person_id = b.person_id JOIN visit v ON v.person_id = b.person_id",
        ),
        (PrivateSubqueryInExpr, "SELECT COUNT(*) FROM person WHERE person_id IN (SELECT person_id FROM drug)"),
        (PrivateSubqueryInExpr, "SELECT COUNT(*) FROM person WHERE born > (SELECT AVG(born) FROM person)"),
        (PrivateSubqueryInExpr, "SELECT COUNT(*) FROM region r LEFT SEMI JOIN person p ON r.region_code = p.county"),
        (PrivateSubqueryInExpr, "SELECT COUNT(*) FROM person p LEFT ANTI JOIN person q ON q.county = p.county"),
        (
            NestedDp,
            "SELECT COUNT(*) FROM person p JOIN (SELECT county, COUNT(*) n FROM person GROUP BY county) t ON t.county = p.county",
        ),
        (NestedDp, "SELECT COUNT(*) FROM person p JOIN (SELECT DISTINCT county FROM person) t ON t.county = p.county"),
        (SetopMixed, "SELECT COUNT(*) FROM (SELECT county FROM person UNION ALL SELECT region_code FROM region)"),
        (SetopMixed, "SELECT COUNT(*) FROM (SELECT day FROM visit INTERSECT SELECT day FROM visit)"),
        (
            SetopMixed,
            "SELECT COUNT(*) FROM (SELECT person_id, kind FROM visit EXCEPT SELECT visit_id, kind FROM visit)",
        ),
        (SetopMixed, "SELECT COUNT(*) FROM (SELECT person_id FROM person UNION ALL SELECT visit_id FROM visit)"),
        (
            NonTotalFn,
            "SELECT COUNT(*) FROM (SELECT LEAD(day, 1000001) OVER (PARTITION BY person_id ORDER BY day) n FROM visit)",
        ),
        (LimitOrSampleBeforeAgg, "SELECT COUNT(*) FROM (SELECT * FROM person LIMIT 5)"),
        (NonTotalFn, "SELECT COUNT(*) FROM person WHERE random() < 0.5"),
        (NonTotalFn, "SELECT COUNT(*) FROM person WHERE regexp_like(county, 'a')"),
        (NonTotalFn, "SELECT COUNT(*) FROM person WHERE lower(county) = 'a'"),
        (NonTotalFn, "SELECT COUNT(*) FROM visit WHERE CAST(day AS TIMESTAMP) > now()"),
        (NonTotalFn, "SELECT COUNT(*) FROM person WHERE sex LIKE county"),
        (
            NonTotalFn,
            "SELECT COUNT(*) FROM (SELECT COUNT(*) OVER (PARTITION BY person_id ORDER BY day ROWS BETWEEN 1000001 PRECEDING AND CURRENT ROW) n FROM visit)",
        ),
        (
            NonTotalFn,
            "SELECT COUNT(*) FROM (SELECT COUNT(*) OVER (PARTITION BY person_id ORDER BY day ROWS BETWEEN 2 FOLLOWING AND 1 FOLLOWING) n FROM visit)",
        ),
        (
            NonTotalFn,
            "SELECT COUNT(*) FROM (SELECT COUNT(*) OVER (PARTITION BY person_id ORDER BY day ROWS BETWEEN 1 PRECEDING AND 2 PRECEDING) n FROM visit)",
        ),
        (
            NonTotalFn,
            "SELECT COUNT(*) FROM (SELECT AVG(CAST(cost AS DECIMAL(25, 2))) OVER (PARTITION BY person_id) a FROM visit)",
        ),
        (GroupingSets, "SELECT county, COUNT(*) FROM person GROUP BY ROLLUP (county)"),
        (AggUnsupported, "SELECT MIN(born) FROM person"),
        (AggUnsupported, "SELECT SUM(DISTINCT born) FROM person"),
        (
            AggUnsupported,
            "SELECT AVG(n) FROM (SELECT person_id, approx_distinct(kind) n FROM visit GROUP BY person_id)",
        ),
        (UnboundedColumn, "SELECT SUM(visit_id) FROM visit"),
        (UnitInOutput, "SELECT COUNT(*) FROM visit GROUP BY person_id"),
        (TooMuchWork, "SELECT COUNT(*) FROM visit v JOIN drug d ON v.person_id = d.person_id"),
        (NotAQuery, "SELECT COUNT(*) FROM region"),
    ];
    for (code, sql) in refused {
        let found = asked(sql).await.map(|_| ());
        assert_eq!(found.map_err(|e| e.code), Err(code), "{sql}");
    }
}

#[tokio::test]
async fn the_core_accepts_and_bounds() {
    for (sql, rows, groups) in [
        ("SELECT county, COUNT(*) FROM person GROUP BY county", 1, 1),
        ("SELECT COUNT(*) FROM visit", 4, 20),
        ("SELECT COUNT(*) FROM person p JOIN visit v ON p.person_id = v.person_id", 4, 20),
        ("SELECT AVG(n) FROM (SELECT person_id, COUNT(*) n FROM visit GROUP BY person_id)", 1, 1),
        ("SELECT COUNT(*) FROM visit v LEFT ANTI JOIN drug d ON v.person_id = d.person_id", 4, 20),
        ("SELECT COUNT(*) FROM (SELECT kind FROM visit UNION ALL SELECT code FROM drug)", 8, 40),
        ("SELECT COUNT(*) FROM (SELECT sex FROM person UNION ALL SELECT county FROM person)", 2, 2),
        ("SELECT COUNT(*) FROM (SELECT person_id FROM visit INTERSECT SELECT person_id FROM drug)", 1, 1),
        ("SELECT COUNT(*) FROM (SELECT person_id, kind FROM visit EXCEPT SELECT person_id, code FROM drug)", 4, 20),
        (
            "SELECT COUNT(*) FROM person p LEFT JOIN (SELECT person_id, MAX(day) d FROM visit GROUP BY person_id) v ON v.person_id = p.person_id",
            1,
            1,
        ),
        ("SELECT COUNT(*) FROM visit a JOIN visit b ON a.person_id = b.person_id AND a.visit_id = b.visit_id", 4, 20),
        ("SELECT COUNT(*) FROM (SELECT DISTINCT person_id, kind FROM visit)", 4, 20),
        (
            "SELECT COUNT(*) FROM (SELECT AVG(cost) OVER (PARTITION BY person_id ORDER BY day ROWS BETWEEN 3 PRECEDING AND 1 PRECEDING) a FROM visit)",
            4,
            20,
        ),
    ] {
        let (_, relation) = asked(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        assert_eq!((relation.rows, relation.groups), (rows, groups), "{sql}");
        assert!(relation.plan.schema().has_column(&relation.unit), "{sql}");
    }
}

#[tokio::test]
async fn a_projection_that_leaves_the_patient_out_gets_it_back() {
    let (_, relation) =
        asked("SELECT county, COUNT(*) FROM (SELECT county FROM person) GROUP BY county").await.unwrap();
    assert_eq!(relation.unit.name, "__unit_1");
    let (_, plain) = asked("SELECT county, COUNT(*) FROM person p GROUP BY county").await.unwrap();
    assert_eq!((plain.unit.name.as_str(), plain.unit.relation.unwrap().table().to_owned()), (UNIT, "p".to_owned()));
}

#[tokio::test]
async fn a_column_that_takes_the_patients_name_is_no_patient() {
    let sql = "SELECT COUNT(*) FROM (SELECT visit_id AS person_id, kind FROM visit) v JOIN drug d ON v.person_id = d.person_id";
    assert_eq!(asked(sql).await.map(|_| ()).map_err(|e| e.code), Err(Code::PrivateJoinNotOnUnit));
}

#[tokio::test]
async fn a_public_join_is_one_match_on_a_declared_key_alone() {
    let years = |n: usize| {
        let join = |i: usize| format!(" JOIN (SELECT year, day FROM calendar) c{i} ON c{i}.year = p.born");
        format!("SELECT COUNT(*) FROM person p{}", (0..n).map(join).collect::<String>())
    };
    assert_eq!(asked(&years(1)).await.unwrap().1.rows, 10_000);
    for sql in [
        years(2).as_str(),
        "SELECT COUNT(*) FROM visit v JOIN (SELECT year, day FROM calendar) c ON c.year = v.visit_id",
        "SELECT COUNT(*) FROM visit v JOIN calendar c ON c.day + 1 = v.day",
        "SELECT COUNT(*) FROM visit v JOIN (SELECT c.day FROM calendar c JOIN region r ON r.name <> 'x') c ON c.day = v.day",
    ] {
        assert_eq!(asked(sql).await.map(|_| ()).map_err(|e| e.code), Err(Code::TooMuchWork), "{sql}");
    }
    for (sql, rows) in [
        ("SELECT COUNT(*) FROM person p JOIN region r ON p.county = r.region_code", 1),
        ("SELECT COUNT(*) FROM person p JOIN region r ON p.county = r.name", 3),
        ("SELECT COUNT(*) FROM visit v JOIN calendar ON calendar.day = v.day", 4),
        (
            "SELECT COUNT(*) FROM visit v LEFT JOIN (SELECT year y, day d FROM calendar WHERE year > 2019) c ON c.d = v.day",
            4,
        ),
    ] {
        assert_eq!(asked(sql).await.unwrap().1.rows, rows, "{sql}");
    }
}

#[tokio::test]
async fn public_subqueries_of_semi_joins_have_a_size_rule() {
    for sql in [
        "SELECT COUNT(*) FROM person p LEFT SEMI JOIN (SELECT c.year FROM calendar c CROSS JOIN calendar d) x ON x.year = p.born",
        "SELECT COUNT(*) FROM person p LEFT ANTI JOIN (SELECT c.year FROM calendar c JOIN calendar d ON c.year = d.year) x ON x.year = p.born",
    ] {
        assert_eq!(asked(sql).await.map(|_| ()).map_err(|e| e.code), Err(Code::TooMuchWork), "{sql}");
    }
    for sql in [
        "SELECT COUNT(*) FROM person p LEFT SEMI JOIN calendar c ON c.year = p.born",
        "SELECT COUNT(*) FROM person p LEFT SEMI JOIN (SELECT c.year FROM calendar c JOIN calendar d ON c.day = d.day) x ON x.year = p.born",
    ] {
        asked(sql).await.unwrap();
    }
}

/// 2,000 visits a patient, 10,000 days and 3 regions: what a semi-join looks at is pairs, unless its rows are told apart
/// by equalities alone.
#[tokio::test]
async fn a_semi_join_is_priced_by_the_pairs_it_looks_at() {
    for sql in [
        "SELECT COUNT(*) FROM visit v LEFT SEMI JOIN calendar c ON c.day > v.day",
        "SELECT COUNT(*) FROM visit v LEFT ANTI JOIN calendar c ON c.year = v.visit_id AND c.day > v.day",
        "SELECT COUNT(*) FROM visit v LEFT SEMI JOIN drug d ON v.person_id = d.person_id AND d.code > v.kind",
    ] {
        assert_eq!(asked(sql).await.map(|_| ()).map_err(|e| e.code), Err(Code::TooMuchWork), "{sql}");
    }
    for (sql, distinct) in [
        ("SELECT COUNT(*) FROM visit v LEFT SEMI JOIN region r ON r.name > v.kind", false),
        ("SELECT COUNT(*) FROM visit v LEFT SEMI JOIN calendar c ON c.day = v.day AND c.year > v.visit_id", false),
        ("SELECT COUNT(*) FROM visit v LEFT SEMI JOIN drug d ON v.person_id = d.person_id", true),
        ("SELECT COUNT(*) FROM visit v LEFT ANTI JOIN drug d ON v.person_id = d.person_id AND d.code = v.kind", true),
        ("SELECT COUNT(*) FROM visit v LEFT SEMI JOIN calendar c ON c.year = v.visit_id", true),
        ("SELECT COUNT(*) FROM visit v LEFT SEMI JOIN person p ON v.person_id = p.person_id", false),
    ] {
        let text = asked(sql).await.unwrap().1.plan.display_indent().to_string();
        assert_eq!(text.contains("Aggregate: groupBy=[["), distinct, "{sql}\n{text}");
    }
}

#[tokio::test]
async fn rows_that_are_unique_by_construction_are_met_once() {
    for (sql, rows) in [
        // A public aggregate without keys is one row; a public group-by has one for each of its keys.
        ("SELECT COUNT(*) FROM visit v CROSS JOIN (SELECT MAX(year) m FROM calendar) c", 4),
        (
            "SELECT COUNT(*) FROM visit v JOIN (SELECT year, COUNT(*) n FROM calendar GROUP BY year) c ON c.year = v.visit_id",
            4,
        ),
        ("SELECT COUNT(*) FROM visit v JOIN (SELECT DISTINCT year FROM calendar) c ON c.year = v.visit_id", 4),
        // A group-by of a patient's rows, joined on all of its keys.
        (
            "SELECT COUNT(*) FROM visit v JOIN (SELECT person_id, code, COUNT(*) n FROM drug GROUP BY person_id, code) d \
             ON d.person_id = v.person_id AND d.code = v.kind",
            4,
        ),
    ] {
        assert_eq!(asked(sql).await.unwrap().1.rows, rows, "{sql}");
    }
    for sql in [
        "SELECT COUNT(*) FROM visit v JOIN (SELECT year, day, COUNT(*) n FROM calendar GROUP BY year, day) c ON c.year = v.visit_id",
        "SELECT COUNT(*) FROM visit v JOIN (SELECT person_id, code FROM drug GROUP BY person_id, code) d ON d.person_id = v.person_id",
        "SELECT COUNT(*) FROM visit v JOIN (SELECT year + 1 y FROM calendar GROUP BY year, day) c ON c.y = v.visit_id",
    ] {
        assert_eq!(asked(sql).await.map(|_| ()).map_err(|e| e.code), Err(Code::TooMuchWork), "{sql}");
    }
}

#[tokio::test]
async fn an_allowance_is_kept_where_rows_are_joined() {
    let allowance = async |sql: &str| asked(sql).await.unwrap().1.allowance;
    assert_eq!(allowance("SELECT COUNT(*) FROM visit").await, None);
    assert_eq!(
        allowance("SELECT COUNT(*) FROM visit v LEFT SEMI JOIN drug d ON v.person_id = d.person_id").await,
        None
    );
    let by_id = "SELECT COUNT(*) FROM visit a JOIN visit b ON a.person_id = b.person_id AND a.visit_id = b.visit_id";
    assert_eq!(allowance(by_id).await, Some(2000));
}

#[tokio::test]
async fn what_is_made_of_the_release_has_a_size_rule() {
    let noisy = "(SELECT county FROM __noisy) a";
    let found = async |sql: String| {
        let plan = planned(&sql).await;
        (check_post(&plan, &small_catalog()).map_err(|e| e.code), sql)
    };
    for rest in [
        "CROSS JOIN calendar c CROSS JOIN calendar d",
        "JOIN calendar c ON c.day >= a.county JOIN region r ON r.name <> a.county",
        "LEFT JOIN calendar c ON CAST(c.year AS VARCHAR) = a.county CROSS JOIN region r",
        "WHERE EXISTS (SELECT 1 FROM calendar c, region r WHERE c.day > a.county)",
    ] {
        let (found, sql) = found(format!("SELECT a.county FROM {noisy} {rest}")).await;
        assert_eq!(found, Err(Code::TooMuchWork), "{sql}");
    }
    for rest in [
        "CROSS JOIN calendar c",
        "JOIN region r ON r.region_code = a.county CROSS JOIN calendar c",
        ", region r, calendar c WHERE r.region_code = a.county AND c.day = DATE '2020-01-01'",
        "WHERE a.county IN (SELECT r.name FROM region r)",
        "JOIN (SELECT year, COUNT(*) n FROM calendar GROUP BY year) c ON c.year = CAST(a.county AS BIGINT) CROSS JOIN calendar d",
        "CROSS JOIN (SELECT MAX(year) m FROM calendar) c CROSS JOIN calendar d",
    ] {
        let (found, sql) = found(format!("SELECT a.county FROM {noisy} {rest}")).await;
        assert_eq!(found, Ok(()), "{sql}");
    }
}

#[tokio::test]
async fn a_mean_of_decimals_cannot_overflow() {
    for (argument, cast) in [
        ("CAST(cost AS DECIMAL(38, 0))", "AS Decimal128(24, 6)"),
        ("CAST(CAST(cost AS DECIMAL(30, 2)) AS DOUBLE)", "AS Decimal128(24, 6)"),
        ("CAST(cost AS DECIMAL(24, 2))", "AS Decimal128(25, 2)) AS Decimal128(24, 2)"),
    ] {
        let sql =
            format!("SELECT COUNT(*) FROM (SELECT person_id, AVG({argument}) a FROM visit GROUP BY 1) WHERE a > 0");
        let text = asked(&sql).await.unwrap().1.plan.display_indent().to_string();
        assert!(text.contains(cast), "{text}");
    }
}

#[tokio::test]
async fn rows_of_a_public_table_are_counted_up_to_what_it_declares() {
    let sql = "SELECT SUM(r.n) FROM person p JOIN (SELECT region_code, COUNT(*) n FROM region GROUP BY region_code) r ON r.region_code = p.county";
    let (aggregate, relation) = asked(sql).await.unwrap();
    let measure = measures(&aggregate, &relation).unwrap().remove(0);
    assert!(matches!(measure, Measure::Sum(_, grid) if (grid.low, grid.high) == (0, 3)), "{measure:?}");
}

#[tokio::test]
async fn a_sequence_window_is_completed_by_the_whole_row() {
    let sql = "SELECT COUNT(*) FROM (SELECT ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY day) n FROM visit) WHERE n = 1";
    let (_, relation) = asked(sql).await.unwrap();
    let text = relation.plan.display_indent().to_string();
    assert!(
        text.contains("visit.day ASC NULLS LAST, visit.person_id ASC NULLS LAST, visit.visit_id ASC NULLS LAST"),
        "{text}"
    );
}

#[tokio::test]
async fn ranks_and_whole_partitions_keep_their_order_as_it_is() {
    for (window, completed) in [
        ("RANK() OVER (PARTITION BY person_id)", false),
        ("DENSE_RANK() OVER (PARTITION BY person_id ORDER BY kind ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)", false),
        ("COUNT(*) OVER (PARTITION BY person_id)", false),
        ("COUNT(*) OVER (PARTITION BY person_id ORDER BY kind)", false),
        ("COUNT(*) OVER (PARTITION BY person_id ORDER BY kind ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)", true),
        ("FIRST_VALUE(kind) OVER (PARTITION BY person_id ORDER BY kind)", true),
        ("LAG(kind, 2) OVER (PARTITION BY person_id ORDER BY kind)", true),
    ] {
        let sql = format!("SELECT COUNT(x) FROM (SELECT {window} x FROM visit)");
        let text = asked(&sql).await.unwrap().1.plan.display_indent().to_string();
        assert_eq!(text.contains("visit.cost ASC NULLS LAST"), completed, "{text}");
    }
}

#[tokio::test]
async fn nothing_fallible_is_left_in_the_plan() {
    let sql = "SELECT AVG(x) FROM (SELECT 100 / (born - 1950) + CAST(zip AS BIGINT) % 7 AS x FROM person WHERE CAST(sex AS DATE) - DATE '2020-01-01' > 3) WHERE x < 50";
    let plan = asked(&sql.replace("AVG(x)", "COUNT(x)")).await.unwrap().1.plan;
    let text = plan.display_indent().to_string();
    for operator in [" / ", " % ", " - ", " + ", " CAST("] {
        assert!(!text.contains(operator), "{operator} in {text}");
    }
    assert!(text.contains("total_divide") && text.contains("TRY_CAST(person.zip AS Int64)"), "{text}");
}
