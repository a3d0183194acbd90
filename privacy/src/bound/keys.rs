//! Which keys are public, and their cells.
//!
//! A key is public when its values follow from the catalog, from public tables and from the question's own text:
//! a column with a declared domain, the period of a date within its declared range, a public table's column, and any
//! expression over these. All of it is known before anything is read. Rows whose keys are not among the cells are
//! dropped before anything is bounded, so a set that is too small would bias an answer and never leak.

mod branch;
mod factor;

use std::collections::HashSet;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;

use super::lineage::{Lineage, Relation};
use super::total::{Scope, total};
use crate::catalog::Catalog;
use crate::refusal::{Code, PlanError};
use factor::Factors;

/// Most public cells; past it a question is priced as one of unknown keys.
pub const MAX_CELLS: usize = 100_000;

/// Most combinations of declared values that are tried for one key.
const MAX_COMBINATIONS: usize = 400_000;

/// The keys of a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Keys {
    /// Every cell, one value for each key, in canonical order (ascending, NULL last). Each is returned.
    Public(Vec<Vec<ScalarValue>>),
    /// Known from data alone: a key is returned only when enough patients have it.
    Unknown,
}

/// Values of public tables.
pub trait PublicValues {
    /// All values of a public table's column, in any order, or none when there is no such column.
    fn values(&self, table: &str, column: &str) -> Option<Vec<ScalarValue>>;
}

/// The keys rewritten so that none can fail, without their names.
///
/// # Errors
/// `UNIT_IN_OUTPUT` for a key that is or is computed from the patient; else the refusal of the expression.
pub(crate) fn total_keys(group: &[Expr], relation: &Relation) -> Result<Vec<Expr>, PlanError> {
    let scope = Scope { schema: relation.plan.schema(), columns: &relation.columns, above: false };
    let one = |key: &Expr| {
        let value = total(key, &scope)?;
        if value.lineage.from_unit {
            return Err(PlanError::new(Code::UnitInOutput, "a key is the patient, or is computed from it"));
        }
        Ok(value.expr)
    };
    group.iter().map(one).collect()
}

/// Do all keys follow from the patient alone? Then a patient is in one group.
pub(crate) fn unit_determined(group: &[Expr], relation: &Relation) -> bool {
    let scope = Scope { schema: relation.plan.schema(), columns: &relation.columns, above: false };
    group.iter().all(|key| total(key, &scope).is_ok_and(|value| value.lineage.unit_determined))
}

/// The cells of the keys; `group` is what [`total_keys`] gave.
///
/// # Errors
/// The refusal of a key, as in [`total_keys`].
pub(crate) fn keys(
    group: &[Expr],
    relation: &Relation,
    catalog: &Catalog,
    public: &dyn PublicValues,
) -> Result<Keys, PlanError> {
    let scope = Scope { schema: relation.plan.schema(), columns: &relation.columns, above: false };
    let mut origins: Vec<Lineage> = Vec::with_capacity(group.len());
    for key in group {
        origins.push(total(key, &scope)?.lineage);
    }
    Ok(cells(&origins, relation, catalog, public).map_or(Keys::Unknown, Keys::Public))
}

/// The cells of every choice of branches of the unions below, each once: a row comes from one branch of each.
fn cells(
    keys: &[Lineage],
    relation: &Relation,
    catalog: &Catalog,
    public: &dyn PublicValues,
) -> Option<Vec<Vec<ScalarValue>>> {
    let mut all = Vec::new();
    for choice in branch::choices(keys)? {
        let keys: Vec<Lineage> =
            keys.iter().map(|k| Lineage { origin: k.origin.clone().map(|o| choice.of(o)), ..k.clone() }).collect();
        let predicates = relation.predicates.iter().map(|p| choice.of(p.clone())).collect();
        all.extend(cells_of(&keys, predicates, catalog, public)?);
    }
    let mut seen = HashSet::new();
    all.retain(|cell| seen.insert(cell.clone()));
    if all.len() > MAX_CELLS {
        return None;
    }
    all.sort_by(|a, b| canonical(a, b));
    Some(all)
}

/// One part of the product: keys that share factors.
struct Part {
    keys: Vec<usize>,
    factors: Vec<usize>,
}

/// The cells of keys that come from one branch of every union.
fn cells_of(
    keys: &[Lineage],
    predicates: Vec<Expr>,
    catalog: &Catalog,
    public: &dyn PublicValues,
) -> Option<Vec<Vec<ScalarValue>>> {
    let mut factors = Factors::new(catalog, public);
    let mut exprs = Vec::with_capacity(keys.len());
    for key in keys {
        exprs.push(factors.key(key.origin.as_ref()?, key.outer)?);
    }
    let predicates: Vec<Expr> = predicates.iter().filter_map(|p| factors.predicate(p)).collect();
    factors.narrow(&predicates);

    let mut images: Vec<(Vec<usize>, Vec<Vec<ScalarValue>>)> = Vec::new();
    for part in parts(&exprs, &factors) {
        let wanted: Vec<&Expr> = part.keys.iter().filter_map(|key| exprs.get(*key)).collect();
        images.push((part.keys, factors.image(&part.factors, &wanted, &predicates, MAX_COMBINATIONS)?));
    }
    let count = images.iter().try_fold(1_usize, |all, (_, image)| all.checked_mul(image.len()))?;
    if count > MAX_CELLS {
        return None;
    }
    let mut all: Vec<Vec<ScalarValue>> = vec![vec![ScalarValue::Null; keys.len()]];
    for (positions, image) in images {
        let mut next = Vec::with_capacity(all.len().saturating_mul(image.len()));
        for cell in &all {
            for values in &image {
                let mut cell = cell.clone();
                for (position, value) in positions.iter().zip(values) {
                    *cell.get_mut(*position)? = value.clone();
                }
                next.push(cell);
            }
        }
        all = next;
    }
    Some(all)
}

/// Groups keys that read the same factor.
fn parts(exprs: &[Expr], factors: &Factors<'_>) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for (index, expr) in exprs.iter().enumerate() {
        let mut joined = Part { keys: vec![index], factors: factors.read_by(expr) };
        let (shared, apart): (Vec<Part>, Vec<Part>) =
            parts.into_iter().partition(|part| part.factors.iter().any(|f| joined.factors.contains(f)));
        for part in shared {
            joined.keys.extend(part.keys);
            joined.factors.extend(part.factors.into_iter().filter(|f| !joined.factors.contains(f)).collect::<Vec<_>>());
        }
        parts = apart;
        parts.push(joined);
    }
    parts
}

/// Ascending by each key, NULL last.
fn canonical(a: &[ScalarValue], b: &[ScalarValue]) -> std::cmp::Ordering {
    let one = |(a, b): (&ScalarValue, &ScalarValue)| {
        a.is_null().cmp(&b.is_null()).then_with(|| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal))
    };
    a.iter().zip(b).map(one).find(|order| order.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
}

#[cfg(test)]
mod tests;
