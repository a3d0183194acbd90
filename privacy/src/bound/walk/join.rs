//! Joins. Two private relations meet on the patient alone, as a top-level `unit = unit` of two bare unit columns of
//! different sides; a private relation meets a public one on anything, as long as its own rows are the preserved
//! ones. An outer join's nullable side gives no patient.

use std::sync::Arc;

use datafusion::common::{Column, DFSchema, JoinType, NullEquality};
use datafusion::logical_expr::{Aggregate, BinaryExpr, Expr, Join, JoinConstraint, LogicalPlan, Operator};

use super::super::lineage::{Lineage, Node, Private};
use super::super::total::{Scope, condition};
use super::{MAX_PRODUCT, all_of, conjuncts, fits, fold, merged};
use crate::refusal::{Code, PlanError};

/// Walks a join of two walked sides.
pub(super) fn join(join: &Join, left: Node, right: Node) -> Result<Node, PlanError> {
    let refuse = |code, words: &str| Err(PlanError::new(code, words));
    if join.null_aware {
        // One NULL on the right would empty everything: a single row of one patient would change all others.
        return refuse(Code::PrivateSubqueryInExpr, "NOT IN that is aware of NULLs");
    }
    match join.join_type {
        JoinType::Inner | JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti => {
            oriented(join, left, right, join.join_type)
        }
        JoinType::Right => oriented(join, left, right, JoinType::Right),
        JoinType::RightSemi | JoinType::RightAnti => {
            let flipped = Join { on: join.on.iter().map(|(l, r)| (r.clone(), l.clone())).collect(), ..join.clone() };
            let kind = if join.join_type == JoinType::RightSemi { JoinType::LeftSemi } else { JoinType::LeftAnti };
            oriented(&flipped, right, left, kind)
        }
        JoinType::Full if left.private.is_none() && right.private.is_none() => {
            oriented(join, left, right, JoinType::Full)
        }
        JoinType::Full => refuse(Code::OuterJoinNullsPrivate, "a FULL JOIN of patients' rows"),
        JoinType::LeftMark | JoinType::RightMark => {
            refuse(Code::PrivateSubqueryInExpr, "a sub-query stands inside an expression")
        }
    }
}

/// The condition of a join, taken apart and rewritten.
struct Condition {
    /// Pairs of equal expressions, left and right, each once.
    on: Vec<(Expr, Expr)>,
    /// Whether a pair of bare units is among them.
    on_unit: bool,
    /// Whether a pair has a unit on one side and a unit that an outer join made NULL on the other.
    on_lost_unit: bool,
    /// Everything else.
    rest: Vec<Expr>,
}

/// Refuses what would tie two patients, or keep rows without one.
fn check(condition: &Condition, left: &Node, right: &Node, kind: JoinType, set: bool) -> Result<(), PlanError> {
    let refuse = |code, words: &str| Err(PlanError::new(code, words));
    let semi = matches!(kind, JoinType::LeftSemi | JoinType::LeftAnti);
    if set && !semi {
        return refuse(Code::PrivateJoinNotOnUnit, "rows are joined with NULL equal to NULL");
    }
    match (left.private.is_some(), right.private.is_some()) {
        (true, true) if !condition.on_unit && set => {
            refuse(Code::SetopMixed, "the patient does not stand in the same place on both sides of a set operation")
        }
        (true, true) if !condition.on_unit => {
            if condition.on_lost_unit {
                refuse(Code::OuterJoinNullsPrivate, "the patient of one side may be NULL after an outer join")
            } else if semi {
                refuse(Code::PrivateSubqueryInExpr, "a sub-query over patients' rows is not tied to the patient")
            } else if condition.on.is_empty() && condition.rest.is_empty() {
                refuse(Code::CrossJoinPrivate, "two tables of patients are joined without a condition")
            } else {
                refuse(
                    Code::PrivateJoinNotOnUnit,
                    "two tables of patients are joined on something else than the patient",
                )
            }
        }
        (l, r) if set && l != r => refuse(Code::SetopMixed, "a set operation of patients' rows with other rows"),
        (false, true) if semi => refuse(Code::PrivateSubqueryInExpr, "public rows are picked by patients' rows"),
        (false, true) if kind == JoinType::Left => {
            refuse(Code::OuterJoinNullsPrivate, "public rows are kept where no patient matches")
        }
        (true, false) if kind == JoinType::Right => {
            refuse(Code::OuterJoinNullsPrivate, "public rows are kept where no patient matches")
        }
        _ => Ok(()),
    }
}

fn oriented(join: &Join, left: Node, right: Node, kind: JoinType) -> Result<Node, PlanError> {
    let mut condition = take_apart(join, &left, &right)?;
    let set = join.null_equality == NullEquality::NullEqualsNull;
    check(&condition, &left, &right, kind, set)?;
    let semi = matches!(kind, JoinType::LeftSemi | JoinType::LeftAnti);
    let looks_up = semi && condition.rest.is_empty() && !condition.on.is_empty();
    let right = if looks_up && !meets_one(&condition, &right, Side::Right) {
        one_of_each(right, &mut condition)?
    } else {
        right
    };
    let met = Met {
        right_once: meets_one(&condition, &right, Side::Right),
        left_once: meets_one(&condition, &left, Side::Left),
    };
    let private = met.private(&left, &right, kind);
    let (public_rows, work) = if private.is_some() { (0, 0) } else { met.public(&left, &right, kind) };
    let most = left.public_rows.max(right.public_rows).max(work);
    if most > MAX_PRODUCT {
        let words = format!("public tables are joined to {most} rows; the limit is {MAX_PRODUCT}");
        return Err(PlanError::new(Code::TooMuchWork, words));
    }
    let matched_once = matched_once(&condition, &left, &right);
    let nullable = |columns: &[Lineage], determined: bool| -> Vec<Lineage> {
        let made = columns.iter().map(|c| Lineage {
            unit: false,
            lost_unit: c.unit || c.lost_unit,
            unit_determined: c.unit_determined && determined,
            outer: true,
            ..c.clone()
        });
        made.collect()
    };
    // Whether a match exists depends on the patient alone only when nothing else is asked of the pair.
    let only_unit = condition.rest.is_empty() && condition.on.len() == 1;
    let joined_public = |columns: &[Lineage]| -> Vec<Lineage> {
        columns.iter().map(|c| Lineage { unit_determined: matched_once, ..c.clone() }).collect()
    };
    let both_private = left.private.is_some() && right.private.is_some();
    let (mut columns, other) = match kind {
        JoinType::LeftSemi | JoinType::LeftAnti => (left.columns.clone(), Vec::new()),
        JoinType::Inner if both_private => (left.columns.clone(), right.columns.clone()),
        JoinType::Inner if left.private.is_some() => (left.columns.clone(), joined_public(&right.columns)),
        JoinType::Inner => (joined_public(&left.columns), right.columns.clone()),
        JoinType::Left if both_private => (left.columns.clone(), nullable(&right.columns, only_unit)),
        JoinType::Left => (left.columns.clone(), nullable(&joined_public(&right.columns), true)),
        JoinType::Right if both_private => (nullable(&left.columns, only_unit), right.columns.clone()),
        JoinType::Right => (nullable(&joined_public(&left.columns), true), right.columns.clone()),
        _ => (nullable(&left.columns, false), nullable(&right.columns, false)),
    };
    columns.extend(other);
    let predicates = match kind {
        JoinType::Inner => left.predicates.iter().chain(&right.predicates).cloned().collect(),
        JoinType::Right => right.predicates.clone(),
        JoinType::Full => Vec::new(),
        _ => left.predicates.clone(),
    };
    let unique = met.unique(&left, &right, kind);
    let joined = Join::try_new(
        Arc::new(left.plan),
        Arc::new(right.plan),
        condition.on,
        all_of(condition.rest),
        kind,
        JoinConstraint::On,
        join.null_equality,
        false,
    );
    Ok(Node { plan: LogicalPlan::Join(fits(joined)?), columns, private, public_rows, unique, predicates })
}

/// The right side of a semi-join as one row for each value that it is asked for. A hash join looks at every pair of
/// equal keys, whether or not pairs come out, so only this makes a semi-join one look-up a row.
fn one_of_each(right: Node, condition: &mut Condition) -> Result<Node, PlanError> {
    let name = |index: usize| format!("__on{index}");
    let keys: Vec<Expr> = condition.on.iter().enumerate().map(|(i, (_, r))| r.clone().alias(name(i))).collect();
    let grouped = fits(Aggregate::try_new(Arc::new(right.plan.clone()), keys, Vec::new()))?;
    for (index, (_, side)) in condition.on.iter_mut().enumerate() {
        *side = Expr::Column(Column::from_name(name(index)));
    }
    // Keys alone pick no value of another row.
    fold::aggregate(&grouped, right, &mut 0)
}

/// Whether the rows of one side meet one row at most of the other.
struct Met {
    /// A left row meets one right row at most.
    right_once: bool,
    /// A right row meets one left row at most.
    left_once: bool,
}

impl Met {
    /// Pairs of rows that meet, of sides that have so many.
    const fn pairs(&self, left: u64, right: u64) -> u64 {
        match (self.right_once, self.left_once) {
            (true, true) => {
                if left < right {
                    left
                } else {
                    right
                }
            }
            (true, false) => left,
            (false, true) => right,
            (false, false) => left.saturating_mul(right),
        }
    }

    /// Rows that come out of sides that have so many. A preserved row without a match comes out too.
    fn out(&self, left: u64, right: u64, kind: JoinType) -> u64 {
        let pairs = self.pairs(left, right);
        match kind {
            JoinType::LeftSemi | JoinType::LeftAnti => left,
            JoinType::Inner => pairs,
            JoinType::Left if self.right_once => left,
            JoinType::Right if self.left_once => right,
            _ => pairs.max(left.saturating_add(right)),
        }
    }

    /// Bounds of the joined rows. The walk refuses the whole when one patient's rows could multiply past the limit.
    fn private(&self, left: &Node, right: &Node, kind: JoinType) -> Option<Private> {
        let semi = matches!(kind, JoinType::LeftSemi | JoinType::LeftAnti);
        // Rows that a public side has for each patient.
        let of_public = |node: &Node| node.public_rows.max(1);
        let (base, l, r) = match (&left.private, &right.private) {
            (Some(l), Some(r)) => {
                let groups = if semi { l.groups } else { l.groups.max(r.groups) };
                let tables = merged([&l.tables, &r.tables].into_iter());
                let base = Private { groups, tables, product: l.product.max(r.product), ..l.clone() };
                (base, (l.fan_out, l.rows), (r.fan_out, r.rows))
            }
            (Some(p), None) => (p.clone(), (p.fan_out, p.rows), (of_public(right), of_public(right))),
            (None, Some(p)) => (p.clone(), (of_public(left), of_public(left)), (p.fan_out, p.rows)),
            (None, None) => return None,
        };
        // A look-up into public rows costs the patient's rows, however many public ones there are.
        let looked_at = match (left.private.is_some(), right.private.is_some()) {
            (true, true) => self.pairs(l.0, r.0),
            (true, false) => {
                if self.right_once {
                    l.0
                } else {
                    l.0.saturating_mul(r.0)
                }
            }
            _ => {
                if self.left_once {
                    r.0
                } else {
                    l.0.saturating_mul(r.0)
                }
            }
        };
        let out = |l: u64, r: u64| match (left.private.is_some(), right.private.is_some(), kind) {
            (true, true, kind) => self.out(l, r, kind),
            // The private side is the preserved one, and its rows without a match come out once.
            (true, false, _) if semi || self.right_once => l,
            (false, true, _) if self.left_once => r,
            _ => l.saturating_mul(r),
        };
        let (fan_out, rows) = (out(l.0, r.0), out(l.1, r.1));
        Some(Private { fan_out, rows, product: base.product.max(looked_at).max(fan_out), ..base })
    }

    /// Most rows of two joined public relations, and most pairs that the join looks at.
    fn public(&self, left: &Node, right: &Node, kind: JoinType) -> (u64, u64) {
        let (l, r) = (left.public_rows.max(1), right.public_rows.max(1));
        let out = self.out(l, r, kind);
        (out, out.max(self.pairs(l, r)))
    }

    /// Unique sets of the joined rows, by position.
    fn unique(&self, left: &Node, right: &Node, kind: JoinType) -> Vec<Vec<usize>> {
        if matches!(kind, JoinType::LeftSemi | JoinType::LeftAnti) {
            return left.unique.clone();
        }
        let shifted: Vec<Vec<usize>> =
            right.unique.iter().map(|set| set.iter().map(|i| i + left.columns.len()).collect()).collect();
        match kind {
            JoinType::Inner | JoinType::Left if self.right_once => left.unique.clone(),
            JoinType::Inner | JoinType::Right if self.left_once => shifted,
            JoinType::Inner => {
                let both = |(l, r): (&Vec<usize>, &Vec<usize>)| l.iter().chain(r).copied().collect();
                left.unique.first().zip(shifted.first()).map(both).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }
}

/// A side of a join.
#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

/// Does every row of the other side meet one row at most of this one? It does when the equalities ask for all columns
/// of a unique set.
fn meets_one(condition: &Condition, node: &Node, side: Side) -> bool {
    let asked = |index: &usize| {
        let unit = condition.on_unit && node.columns.get(*index).is_some_and(|c| c.unit);
        unit || condition.on.iter().any(|(left, right)| {
            let of = match side {
                Side::Left => left,
                Side::Right => right,
            };
            matches!(of, Expr::Column(column) if node.plan.schema().maybe_index_of_column(column) == Some(*index))
        })
    };
    node.unique.iter().any(|set| set.iter().all(asked))
}

/// Does the patient alone decide which public row is met?
fn matched_once(condition: &Condition, left: &Node, right: &Node) -> bool {
    let (private, public, side) = match (&left.private, &right.private) {
        (Some(_), None) => (left, right, Side::Right),
        (None, Some(_)) => (right, left, Side::Left),
        _ => return false,
    };
    let scope = Scope { schema: private.plan.schema(), columns: &private.columns, above: false };
    meets_one(condition, public, side)
        && condition.rest.is_empty()
        && condition.on.iter().all(|(left, right)| {
            let of = match side {
                Side::Left => right,
                Side::Right => left,
            };
            super::total(of, &scope).is_ok_and(|value| value.lineage.unit_determined)
        })
}

fn take_apart(join: &Join, left: &Node, right: &Node) -> Result<Condition, PlanError> {
    let mut found = Condition { on: Vec::new(), on_unit: false, on_lost_unit: false, rest: Vec::new() };
    let pairs = join.on.iter().map(|(l, r)| l.clone().eq(r.clone()));
    let filter = join.filter.iter().flat_map(conjuncts).cloned();
    let schema = fits(left.plan.schema().join(right.plan.schema()))?;
    let columns: Vec<Lineage> = left.columns.iter().chain(&right.columns).cloned().collect();
    let scope = Scope { schema: &schema, columns: &columns, above: false };
    for part in pairs.chain(filter) {
        let rewritten = condition(&part, &scope)?.expr;
        match equal_sides(&rewritten, left.plan.schema(), right.plan.schema()) {
            Some((a, b)) => {
                let of = |node: &Node, side: &Expr| match side {
                    Expr::Column(column) => {
                        let index = node.plan.schema().maybe_index_of_column(column);
                        index.and_then(|index| node.columns.get(index)).map(|c| (c.unit, c.lost_unit))
                    }
                    _ => None,
                };
                let (l, r) = (of(left, &a).unwrap_or_default(), of(right, &b).unwrap_or_default());
                found.on_unit |= l.0 && r.0;
                found.on_lost_unit |= (l.0 || l.1) && (r.0 || r.1);
                if !found.on.contains(&(a.clone(), b.clone())) {
                    found.on.push((a, b));
                }
            }
            None => found.rest.push(rewritten),
        }
    }
    found.rest.retain(|part| !super::is_true(part));
    Ok(found)
}

/// The two sides of an equality, left first, when each is over one input alone.
fn equal_sides(part: &Expr, left: &DFSchema, right: &DFSchema) -> Option<(Expr, Expr)> {
    let Expr::BinaryExpr(BinaryExpr { left: a, op: Operator::Eq, right: b }) = part else {
        return None;
    };
    let within = |e: &Expr, schema: &DFSchema| {
        let columns = e.column_refs();
        !columns.is_empty() && columns.iter().all(|c| schema.maybe_index_of_column(c).is_some())
    };
    // A name that both sides know is ambiguous: it stays a condition and cannot be the patient's.
    let only = |e: &Expr, one: &DFSchema, other: &DFSchema| {
        within(e, one) && e.column_refs().iter().all(|c| other.maybe_index_of_column(c).is_none())
    };
    if only(a, left, right) && only(b, right, left) {
        return Some((a.as_ref().clone(), b.as_ref().clone()));
    }
    if only(b, left, right) && only(a, right, left) {
        return Some((b.as_ref().clone(), a.as_ref().clone()));
    }
    None
}
