//! Joins. Two private relations meet on the patient alone, as a top-level `unit = unit` of two bare unit columns of
//! different sides; a private relation meets a public one on anything, as long as its own rows are the preserved
//! ones. An outer join's nullable side gives no patient.

use std::sync::Arc;

use datafusion::common::{DFSchema, JoinType, NullEquality};
use datafusion::logical_expr::{BinaryExpr, Expr, Join, JoinConstraint, LogicalPlan, Operator};

use super::super::lineage::{Lineage, Node, Private, is_public_key};
use super::super::total::{Scope, condition};
use super::{MAX_PRODUCT, all_of, conjuncts, fits, merged};
use crate::refusal::{Code, PlanError};

/// Walks a join of two walked sides.
pub(super) fn join(join: &Join, left: Node, right: Node) -> Result<Node, PlanError> {
    let refuse = |code, words: &str| Err(PlanError::new(code, words));
    let both_private = left.private.is_some() && right.private.is_some();
    if join.null_aware {
        // One NULL on the right would empty everything: a single row of one patient would change all others.
        return refuse(Code::PrivateSubqueryInExpr, "NOT IN that is aware of NULLs");
    }
    if join.null_equality != NullEquality::NullEqualsNothing {
        let code = if both_private { Code::SetopMixed } else { Code::PrivateJoinNotOnUnit };
        return refuse(code, "rows are matched with NULL equal to NULL");
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
    /// Pairs of equal expressions, left and right.
    on: Vec<(Expr, Expr)>,
    /// Whether a pair of bare units is among them.
    on_unit: bool,
    /// Whether a pair has a unit on one side and a unit that an outer join made NULL on the other.
    on_lost_unit: bool,
    /// Everything else.
    rest: Vec<Expr>,
}

fn oriented(join: &Join, left: Node, right: Node, kind: JoinType) -> Result<Node, PlanError> {
    let refuse = |code, words: &str| Err(PlanError::new(code, words));
    let condition = take_apart(join, &left, &right)?;
    let semi = matches!(kind, JoinType::LeftSemi | JoinType::LeftAnti);
    match (left.private.is_some(), right.private.is_some()) {
        (true, true) if !condition.on_unit => {
            return if condition.on_lost_unit {
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
            };
        }
        (false, true) if semi => {
            return refuse(Code::PrivateSubqueryInExpr, "public rows are picked by patients' rows");
        }
        (false, true) if kind == JoinType::Left => {
            return refuse(Code::OuterJoinNullsPrivate, "public rows are kept where no patient matches");
        }
        (true, false) if kind == JoinType::Right => {
            return refuse(Code::OuterJoinNullsPrivate, "public rows are kept where no patient matches");
        }
        _ => {}
    }
    let private = meet(&left, &right, &condition, kind);
    let public_rows = if private.is_some() { 0 } else { public_pairs(&condition, &left, &right, kind) };
    let most = left.public_rows.max(right.public_rows).max(public_rows);
    if most > MAX_PRODUCT {
        let words = format!("public tables are joined to {most} rows; the limit is {MAX_PRODUCT}");
        return refuse(Code::TooMuchWork, &words);
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
    let joined = Join::try_new(
        Arc::new(left.plan),
        Arc::new(right.plan),
        condition.on,
        all_of(condition.rest),
        kind,
        JoinConstraint::On,
        NullEquality::NullEqualsNothing,
        false,
    );
    Ok(Node { plan: LogicalPlan::Join(fits(joined)?), columns, private, public_rows, predicates })
}

/// Most rows of two joined public relations.
fn public_pairs(condition: &Condition, left: &Node, right: &Node, kind: JoinType) -> u64 {
    let (l, r) = (left.public_rows.max(1), right.public_rows.max(1));
    let pairs = if keyed(condition, right, true) {
        l
    } else if keyed(condition, left, false) {
        r
    } else {
        l.saturating_mul(r)
    };
    match kind {
        JoinType::LeftSemi | JoinType::LeftAnti => l,
        JoinType::Inner => pairs,
        // A preserved row without a match comes out too.
        _ => pairs.max(l.saturating_add(r)),
    }
}

/// Bounds of the joined rows. The walk refuses the whole when one patient's rows could multiply past the limit.
fn meet(left: &Node, right: &Node, condition: &Condition, kind: JoinType) -> Option<Private> {
    let semi = matches!(kind, JoinType::LeftSemi | JoinType::LeftAnti);
    match (&left.private, &right.private) {
        (Some(l), Some(r)) => {
            let once = met_once(condition, left, right);
            let pairs = l.fan_out.saturating_mul(r.fan_out);
            let (fan_out, rows) = match once {
                _ if semi => (l.fan_out, l.rows),
                // A preserved row without a match comes out once too.
                Some(_) if kind != JoinType::Inner => {
                    (l.fan_out.saturating_add(r.fan_out), l.rows.saturating_add(r.rows))
                }
                Some(Side::Left) => (r.fan_out, r.rows),
                Some(Side::Right) => (l.fan_out, l.rows),
                None => (pairs, l.rows.saturating_mul(r.rows)),
            };
            // An equality alone is one look-up a row; other conditions compare pairs.
            let looked_up = once.is_some() || (semi && condition.rest.is_empty());
            let work = if looked_up { l.fan_out.max(r.fan_out) } else { pairs };
            Some(Private {
                fan_out,
                rows,
                groups: if semi { l.groups } else { l.groups.max(r.groups) },
                product: l.product.max(r.product).max(work).max(fan_out),
                tables: merged([&l.tables, &r.tables].into_iter()),
            })
        }
        (Some(p), None) if semi => Some(p.clone()),
        (Some(p), None) | (None, Some(p)) => {
            let public = if left.private.is_some() { right } else { left };
            let by = if keyed(condition, public, left.private.is_some()) { 1 } else { public.public_rows.max(1) };
            let fan_out = p.fan_out.saturating_mul(by);
            let product = p.product.max(fan_out);
            Some(Private { fan_out, rows: p.rows.saturating_mul(by), product, ..p.clone() })
        }
        (None, None) => None,
    }
}

/// A side of a join.
#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

/// The side of which every row of the other side meets at most one row: a single scan met by its own id, the keyed
/// hash `<table>_id` that ingest makes once for each row.
fn met_once(condition: &Condition, left: &Node, right: &Node) -> Option<Side> {
    let by_id = |node: &Node, side: &Expr| {
        scanned(node, side).is_some_and(|(table, column)| column.strip_suffix("_id") == Some(table))
    };
    condition.on.iter().find_map(
        |(a, b)| {
            if by_id(right, b) { Some(Side::Right) } else { by_id(left, a).then_some(Side::Left) }
        },
    )
}

/// The table and the column that this is, bare, of a side that is a single scan.
fn scanned<'a>(node: &'a Node, side: &Expr) -> Option<(&'a str, &'a str)> {
    let Expr::Column(column) = side else { return None };
    let lineage = node.plan.schema().maybe_index_of_column(column).and_then(|index| node.columns.get(index))?;
    let Some(Expr::Column(origin)) = &lineage.origin else { return None };
    let (table, _) = origin.relation.as_ref()?.table().split_once('#')?;
    single_scan(&node.plan).then_some((table, origin.name.as_str()))
}

fn single_scan(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(_) => true,
        LogicalPlan::SubqueryAlias(alias) => single_scan(&alias.input),
        LogicalPlan::Filter(filter) => single_scan(&filter.input),
        LogicalPlan::Projection(projection) => single_scan(&projection.input),
        _ => false,
    }
}

/// Is the public side a single scan met by a key of its table? Then a row meets one of its rows at most. The keys
/// are [`is_public_key`]'s, and bounds rest on them.
fn keyed(condition: &Condition, public: &Node, public_is_right: bool) -> bool {
    condition.on.iter().any(|(left, right)| {
        let side = if public_is_right { right } else { left };
        scanned(public, side).is_some_and(|(table, column)| is_public_key(table, column))
    })
}

/// Does the patient alone decide which public row is met?
fn matched_once(condition: &Condition, left: &Node, right: &Node) -> bool {
    let (private, public, public_is_right) = match (&left.private, &right.private) {
        (Some(_), None) => (left, right, true),
        (None, Some(_)) => (right, left, false),
        _ => return false,
    };
    let scope = Scope { schema: private.plan.schema(), columns: &private.columns };
    keyed(condition, public, public_is_right)
        && condition.rest.is_empty()
        && condition.on.iter().all(|(left, right)| {
            let side = if public_is_right { left } else { right };
            super::total(side, &scope).is_ok_and(|value| value.lineage.unit_determined)
        })
}

fn take_apart(join: &Join, left: &Node, right: &Node) -> Result<Condition, PlanError> {
    let mut found = Condition { on: Vec::new(), on_unit: false, on_lost_unit: false, rest: Vec::new() };
    let pairs = join.on.iter().map(|(l, r)| l.clone().eq(r.clone()));
    let filter = join.filter.iter().flat_map(conjuncts).cloned();
    let schema = fits(left.plan.schema().join(right.plan.schema()))?;
    let columns: Vec<Lineage> = left.columns.iter().chain(&right.columns).cloned().collect();
    let scope = Scope { schema: &schema, columns: &columns };
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
                found.on.push((a, b));
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
