//! UNION ALL: every branch is of patients, or none is. The carriers of the patient go last.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, Union};

use super::super::lineage::{Lineage, Node, Private};
use super::{CARRIER, fits, merged};
use crate::refusal::{Code, PlanError};

/// Walks a union of walked branches.
pub(super) fn union(union: &Union, inputs: Vec<Node>) -> Result<Node, PlanError> {
    let privates: Vec<Private> = inputs.iter().filter_map(|n| n.private.clone()).collect();
    let mixed = || PlanError::new(Code::SetopMixed, "UNION ALL of patients' rows with other rows");
    if !privates.is_empty() && privates.len() != inputs.len() {
        return Err(mixed());
    }
    let public_rows = inputs.iter().map(|n| n.public_rows).fold(0, u64::saturating_add);
    let wanted = union.schema.fields().len();
    let mut branches = Vec::with_capacity(inputs.len());
    let mut columns: Option<Vec<Lineage>> = None;
    for input in inputs {
        let visible: Vec<usize> =
            (0..input.columns.len()).filter(|index| input.columns.get(*index).is_some_and(|c| !c.hidden)).collect();
        if visible.len() != wanted {
            return Err(mixed());
        }
        let mut exprs = Vec::with_capacity(wanted + 1);
        let mut lineages = Vec::with_capacity(wanted + 1);
        for (position, index) in visible.into_iter().enumerate() {
            let (qualifier, field) = input.plan.schema().qualified_field(index);
            let target = union.schema.field(position).data_type();
            if field.data_type() != target {
                return Err(PlanError::new(Code::TypeMismatch, "UNION ALL of columns of two types"));
            }
            exprs.push(Expr::Column(Column::from((qualifier, field))).alias(union.schema.field(position).name()));
            lineages.push(input.columns.get(index).cloned().unwrap_or_default());
        }
        if input.private.is_some() {
            let unit = input.unit().ok_or_else(mixed)?;
            exprs.push(Expr::Column(unit).alias(format!("{CARRIER}all")));
            lineages.push(Lineage {
                unit: true,
                from_unit: true,
                unit_determined: true,
                hidden: true,
                ..Lineage::default()
            });
        }
        columns = Some(match columns {
            None => lineages,
            Some(before) => before.into_iter().zip(lineages).map(|(a, b)| either(&a, &b)).collect(),
        });
        branches.push(Arc::new(LogicalPlan::Projection(fits(Projection::try_new(exprs, Arc::new(input.plan)))?)));
    }
    let plan = LogicalPlan::Union(fits(Union::try_new(branches))?);
    let sum = |of: fn(&Private) -> u64| privates.iter().map(of).fold(0, u64::saturating_add);
    let private = (!privates.is_empty()).then(|| Private {
        fan_out: sum(|p| p.fan_out),
        rows: sum(|p| p.rows),
        groups: privates.iter().map(|p| p.groups).max().unwrap_or(1),
        product: sum(|p| p.product),
        tables: merged(privates.iter().map(|p| &p.tables)),
    });
    Ok(Node { plan, columns: columns.unwrap_or_default(), private, public_rows, predicates: Vec::new() })
}

/// Lineage of a row that comes from either of two branches.
fn either(a: &Lineage, b: &Lineage) -> Lineage {
    Lineage {
        unit: a.unit && b.unit,
        lost_unit: a.lost_unit || b.lost_unit,
        from_unit: a.from_unit || b.from_unit,
        unit_determined: a.unit && b.unit,
        hidden: a.hidden && b.hidden,
        outer: a.outer || b.outer,
        year_only: a.year_only || b.year_only,
        // A constant that both branches share stays one; other columns come from two scans.
        origin: a.origin.clone().filter(|origin| b.origin.as_ref() == Some(origin)),
        grid: a.grid.zip(b.grid).and_then(|(a, b)| a.hull(b)),
    }
}
