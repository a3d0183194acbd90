//! The core decides alone: statements of `tests/semantics` are planned without any refusal of this crate, their topmost
//! aggregate is taken for the private plan as it is, and the core gives the code that the table says.

use std::collections::BTreeMap;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Aggregate, LogicalPlan};
use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use epiledger_privacy::catalog::Catalog;
use epiledger_privacy::query::Query;
use epiledger_privacy::refusal::{Code, PlanError};

use crate::bind::planned;
use crate::parse::Parsed;
use crate::split::noisy_in_place_of;
use crate::suspects;

#[path = "../tests/suite/cases.rs"]
mod cases;

#[path = "../tests/suite/small.rs"]
mod small;

/// A tree that nothing looked at.
fn parsed(sql: &str) -> Parsed {
    let mut statements = Parser::parse_sql(&GenericDialect {}, sql).unwrap();
    let Some(Statement::Query(query)) = statements.pop() else { panic!("not a query: {sql}") };
    let suspects = suspects::find(&query);
    Parsed { query, text: sql.to_owned(), suspects }
}

/// The first aggregate from the top that reads patients.
fn topmost(plan: &LogicalPlan, catalog: &Catalog) -> Option<Aggregate> {
    let mut found = None;
    plan.apply(|node| match node {
        LogicalPlan::Aggregate(aggregate) if reads_patients(node, catalog) => {
            found = Some(aggregate.clone());
            Ok(TreeNodeRecursion::Stop)
        }
        _ => Ok(TreeNodeRecursion::Continue),
    })
    .unwrap();
    found
}

fn reads_patients(plan: &LogicalPlan, catalog: &Catalog) -> bool {
    let private = |name: &str| catalog.table(name).is_some_and(|table| table.private.is_some());
    plan.exists(|node| Ok(matches!(node, LogicalPlan::TableScan(scan) if private(scan.table_name.table())))).unwrap()
}

/// What the core says of a statement that nothing else refused.
fn decided(sql: &str, catalog: &Catalog) -> Result<(), Code> {
    let plan = planned(&parsed(sql), catalog, &BTreeMap::new()).map_err(|error| error.code)?;
    let core = |refusal: PlanError| refusal.code;
    let Some(aggregate) = topmost(&plan, catalog) else {
        return Query::new(plan.clone(), plan).map(|_| ()).map_err(core);
    };
    let noisy = noisy_in_place_of(&aggregate).map_err(core)?;
    let post = plan.transform_down(|node| match node {
        LogicalPlan::Aggregate(other) if other == aggregate => {
            Ok(Transformed::new(noisy.clone(), true, TreeNodeRecursion::Jump))
        }
        other => Ok(Transformed::no(other)),
    });
    let post = post.unwrap().data.recompute_schema().unwrap();
    Query::new(LogicalPlan::Aggregate(aggregate), post).and_then(|query| query.check(catalog)).map_err(core)
}

/// Refusals of the split itself, which the topmost aggregate alone cannot show: statements with two of them, or none of
/// patients at all.
const OF_THE_SPLIT: [&str; 2] = ["AGG_UNSUPPORTED", "NOT_A_QUERY"];

#[test]
fn the_core_decides_as_the_tables_say() {
    let catalog = small::catalog();
    let mut wrong = Vec::new();
    let mut by_core = 0;
    for case in cases::cases().iter().filter(|case| !case.by_text) {
        let found = decided(&case.sql, &catalog).map_err(|code| code.as_str().to_owned());
        let split = case.refused.as_deref().is_some_and(|code| OF_THE_SPLIT.contains(&code)) && found.is_err();
        by_core += usize::from(found.is_err());
        if found.clone().err() != case.refused && !split {
            wrong.push(format!(
                "{}: {}\n  wanted {:?}, the core says {found:?}\n  {}",
                case.file, case.why, case.refused, case.sql
            ));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(by_core > 80, "only {by_core} refusals");
}
