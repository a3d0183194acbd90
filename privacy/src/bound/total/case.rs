//! CASE: conditions and results of one type, its range that of its results.

use datafusion::arrow::datatypes::DataType;
use datafusion::logical_expr::{Case, Expr};

use super::{Scope, Value, all_same_type, build, condition, same_type, value};
use crate::refusal::PlanError;

pub(super) fn case(case: &Case, scope: &Scope<'_>, depth: usize) -> Result<Value, PlanError> {
    let of = |child: &Expr| value(child, scope, depth + 1);
    let mut parts = Vec::new();
    let mut results: Vec<Value> = Vec::new();
    if let Some(subject) = &case.expr {
        parts.push(of(subject)?);
    }
    for (when, then) in &case.when_then_expr {
        let when = match parts.first() {
            Some(subject) if case.expr.is_some() => {
                let when = of(when)?;
                same_type(subject, &when)?;
                when
            }
            _ => condition(when, scope)?,
        };
        let then = of(then)?;
        results.push(then.clone());
        parts.extend([when, then]);
    }
    if let Some(otherwise) = &case.else_expr {
        let otherwise = of(otherwise)?;
        results.push(otherwise.clone());
        parts.push(otherwise);
    }
    all_same_type(&results)?;
    let data_type = results.iter().map(|r| &r.data_type).find(|t| **t != DataType::Null).cloned();
    let is_null = |v: &&Value| !matches!(&v.expr, Expr::Literal(value, _) if value.is_null());
    let mut grid = results.iter().find(is_null).and_then(|v| v.lineage.grid);
    for result in results.iter().filter(is_null) {
        grid = grid.zip(result.lineage.grid).and_then(|(all, one)| all.hull(one));
    }
    let (subject, branches, otherwise) = (case.expr.is_some(), case.when_then_expr.len(), case.else_expr.is_some());
    Ok(build(parts, data_type.unwrap_or(DataType::Null), grid, move |parts| {
        let mut parts = parts.into_iter().map(Box::new);
        let expr = if subject { parts.next() } else { None };
        let mut when_then_expr = Vec::with_capacity(branches);
        for _ in 0..branches {
            if let (Some(when), Some(then)) = (parts.next(), parts.next()) {
                when_then_expr.push((when, then));
            }
        }
        let else_expr = if otherwise { parts.next() } else { None };
        Expr::Case(Case { expr, when_then_expr, else_expr })
    }))
}
