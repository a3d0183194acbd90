//! `DISTINCT ON (person_id, ..)`: the first row of each patient, as `ROW_NUMBER() OVER (PARTITION BY ..) = 1`. Without
//! the patient among its columns it would pick rows among patients, and stays what the core refuses.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{
    Aggregate, Distinct, DistinctOn, Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, Projection, ident, lit,
};
use epiledger_privacy::catalog::Catalog;
use epiledger_privacy::query::groups_by_unit;

/// Names that no question has.
const FIRST: &str = "__first";

/// Rewrites a DISTINCT ON whose columns hold the patient.
pub(crate) fn first_row(on: DistinctOn, catalog: &Catalog) -> Result<Transformed<LogicalPlan>> {
    let groups = Aggregate::try_new(Arc::clone(&on.input), on.on_expr.clone(), Vec::new())?;
    if !groups_by_unit(&groups, catalog).unwrap_or(false) {
        return Ok(Transformed::no(LogicalPlan::Distinct(Distinct::On(on))));
    }
    let order_by = on.sort_expr.clone().unwrap_or_default();
    let number = row_number().partition_by(on.on_expr.clone()).order_by(order_by).build()?.alias(FIRST);
    let first = LogicalPlanBuilder::from(on.input.as_ref().clone())
        .window(vec![number])?
        .filter(Expr::eq(ident(FIRST), lit(1_u64)))?
        .build()?;
    // The columns keep the qualifiers that the rest of the question knows them by.
    let named =
        on.select_expr.into_iter().zip(on.schema.iter()).map(|(expr, (qualifier, field))| {
            expr.unalias_nested().data.alias_qualified(qualifier.cloned(), field.name())
        });
    let picked = Projection::try_new(named.collect(), Arc::new(first))?;
    Ok(Transformed::yes(LogicalPlan::Projection(picked)))
}
