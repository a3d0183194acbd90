//! UNION ALL: every branch is of patients, or none is, and the patient stands in the same columns of all branches.
//! Bounds add up: a patient has the rows and the groups of every branch.

use std::sync::Arc;

use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::{Case, Expr, LogicalPlan, Projection, Union};

use super::super::lineage::{Grid, Lineage, Node, Private, branch};
use super::super::total::small;
use super::{CARRIER, all_of, fits, merged};
use crate::refusal::{Code, PlanError};

/// Walks a union, the walk's `number`-th, of walked branches.
pub(super) fn union(union: &Union, inputs: Vec<Node>, number: usize) -> Result<Node, PlanError> {
    let privates: Vec<Private> = inputs.iter().filter_map(|n| n.private.clone()).collect();
    if !privates.is_empty() && privates.len() != inputs.len() {
        return Err(mixed("UNION ALL of patients' rows with other rows"));
    }
    let public_rows = inputs.iter().map(|n| n.public_rows).fold(0, u64::saturating_add);
    let predicates: Vec<Expr> = either_predicate(&inputs, number).into_iter().collect();
    let wanted = union.schema.fields().len();
    let shown: Vec<Vec<usize>> = inputs.iter().map(visible).collect();
    if shown.iter().any(|positions| positions.len() != wanted) {
        return Err(mixed("UNION ALL of rows of different widths"));
    }
    let mut columns = Vec::with_capacity(wanted + 1);
    for position in 0..wanted {
        let of = |(input, shown): (&Node, &Vec<usize>)| {
            shown.get(position).and_then(|index| input.columns.get(*index)).cloned().unwrap_or_default()
        };
        columns.push(either(&inputs.iter().zip(&shown).map(of).collect::<Vec<_>>(), number)?);
    }
    let carried = !privates.is_empty() && !columns.iter().any(|c| c.unit);
    if carried {
        columns.push(Lineage {
            unit: true,
            from_unit: true,
            unit_determined: true,
            hidden: true,
            ..Lineage::default()
        });
    }
    let mut branches = Vec::with_capacity(inputs.len());
    for (input, shown) in inputs.into_iter().zip(shown) {
        let mut exprs = Vec::with_capacity(wanted + 1);
        for (index, target) in shown.into_iter().zip(union.schema.fields()) {
            let (qualifier, field) = input.plan.schema().qualified_field(index);
            if field.data_type() != target.data_type() {
                return Err(PlanError::new(Code::TypeMismatch, "UNION ALL of columns of two types"));
            }
            exprs.push(Expr::Column(Column::from((qualifier, field))).alias(target.name()));
        }
        if carried {
            let unit = input.unit().ok_or_else(|| mixed("UNION ALL of rows that have lost their patient"))?;
            exprs.push(Expr::Column(unit).alias(format!("{CARRIER}union{number}")));
        }
        branches.push(Arc::new(LogicalPlan::Projection(fits(Projection::try_new(exprs, Arc::new(input.plan)))?)));
    }
    let plan = LogicalPlan::Union(fits(Union::try_new(branches))?);
    let sum = |of: fn(&Private) -> u64| privates.iter().map(of).fold(0, u64::saturating_add);
    let private = (!privates.is_empty()).then(|| Private {
        fan_out: sum(|p| p.fan_out),
        rows: sum(|p| p.rows),
        groups: sum(|p| p.groups),
        product: sum(|p| p.product),
        tables: merged(privates.iter().map(|p| &p.tables)),
    });
    Ok(Node { plan, columns, private, public_rows, unique: Vec::new(), predicates })
}

fn mixed(words: &str) -> PlanError {
    PlanError::new(Code::SetopMixed, words)
}

fn visible(input: &Node) -> Vec<usize> {
    let shown = |index: &usize| input.columns.get(*index).is_some_and(|c| !c.hidden);
    (0..input.columns.len()).filter(shown).collect()
}

/// Lineage of a column that comes from one of these.
fn either(all: &[Lineage], number: usize) -> Result<Lineage, PlanError> {
    let any = |test: fn(&Lineage) -> bool| all.iter().any(test);
    let unit = all.iter().all(|c| c.unit);
    if !unit && any(|c| c.unit) && !any(|c| c.lost_unit) {
        return Err(mixed("the patient stands in a column that holds something else in another branch of UNION ALL"));
    }
    // A NULL widens no range.
    let mut ranges = all.iter().filter(|c| !is_null(c)).map(|c| c.grid);
    let first = ranges.next().flatten();
    let grid = ranges.fold(first, |all: Option<Grid>, one| all.zip(one).and_then(|(all, one)| all.hull(one)));
    Ok(Lineage {
        unit,
        lost_unit: !unit && any(|c| c.unit || c.lost_unit),
        from_unit: any(|c| c.from_unit),
        unit_determined: unit,
        hidden: false,
        outer: any(|c| c.outer),
        year_only: any(|c| c.year_only),
        origin: either_origin(all.iter().map(|c| c.origin.clone()).collect(), number),
        grid,
    })
}

fn is_null(column: &Lineage) -> bool {
    matches!(&column.origin, Some(Expr::Literal(value, _)) if value.is_null())
}

/// `CASE branch WHEN 0 THEN <first> WHEN 1 THEN <second> .. END`, while small; what all branches share as it is.
fn either_origin(origins: Vec<Option<Expr>>, number: usize) -> Option<Expr> {
    let origins: Vec<Expr> = origins.into_iter().collect::<Option<_>>()?;
    let first = origins.first()?;
    if origins.iter().all(|origin| origin == first) {
        return Some(first.clone());
    }
    let whens = (0_i64..)
        .zip(origins)
        .map(|(index, origin)| (Box::new(Expr::Literal(ScalarValue::Int64(Some(index)), None)), Box::new(origin)));
    let case = Case { expr: Some(Box::new(branch(number))), when_then_expr: whens.collect(), else_expr: None };
    small(Expr::Case(case))
}

/// What every row satisfies: the conditions of the branch that it comes from.
fn either_predicate(inputs: &[Node], number: usize) -> Option<Expr> {
    let always = || Expr::Literal(ScalarValue::Boolean(Some(true)), None);
    let all = inputs.iter().map(|input| Some(all_of(input.predicates.clone()).unwrap_or_else(always)));
    either_origin(all.collect(), number)
}
