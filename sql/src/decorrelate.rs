//! Sub-queries tied to the rows around them, as joins.
//!
//! `x IN (..)` and `EXISTS (..)` among the conditions of a WHERE become semi-joins, their negations anti-joins
//! (`NOT IN` reads as `NOT EXISTS`: a NULL in its list does not empty the answer). Elsewhere (under OR, in CASE) they
//! become a left join to the distinct values that they are tied by, and whether there was a match. A scalar aggregate
//! tied by equalities becomes a group-by of its keys and a left join; one of public tables alone a join to its one row.
//! What is left is refused by the core: what is not tied to anything, or by an inequality inside an expression. Whether
//! the tie is the patient is the core's to decide.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, NullEquality, Result, plan_err};
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::logical_expr::expr::{Exists, InSubquery, ScalarFunction, SetComparison, SetQuantifier};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Distinct, Expr, Filter, Join, JoinConstraint, LogicalPlan, LogicalPlanBuilder, Operator,
    Projection, Subquery, lit,
};
use datafusion::scalar::ScalarValue;
use epiledger_privacy::catalog::Catalog;
use epiledger_privacy::functions;
use epiledger_privacy::query::groups_by_unit;

use crate::cross::conjuncts;

/// Rewrites every sub-query that can be a join.
pub(crate) fn decorrelate(plan: LogicalPlan, catalog: &Catalog) -> Result<LogicalPlan> {
    Rewrite { joins: 0, catalog }.plan(plan)
}

/// `= ANY` and `<> ALL` as the IN and NOT IN that they mean.
pub(crate) fn sets_of_values(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| {
        node.map_expressions(|expr| {
            expr.transform_up(|expr| {
                let Expr::SetComparison(SetComparison { expr: value, subquery, op, quantifier }) = expr else {
                    return Ok(Transformed::no(expr));
                };
                let negated = match (op, &quantifier) {
                    (Operator::Eq, SetQuantifier::Any) => false,
                    (Operator::NotEq, SetQuantifier::All) => true,
                    _ => {
                        let same = SetComparison { expr: value, subquery, op, quantifier };
                        return Ok(Transformed::no(Expr::SetComparison(same)));
                    }
                };
                Ok(Transformed::yes(Expr::InSubquery(InSubquery { expr: value, subquery, negated })))
            })
        })
    })?;
    Ok(rewritten.data)
}

struct Rewrite<'a> {
    joins: usize,
    catalog: &'a Catalog,
}

impl Rewrite<'_> {
    fn plan(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let plan = plan.map_children(|child| self.plan(child).map(Transformed::yes))?.data;
        match plan {
            LogicalPlan::Filter(Filter { predicate, input, .. }) => self.filter(&predicate, input),
            LogicalPlan::Projection(Projection { expr, input, .. }) if expr.iter().any(has_subquery) => {
                let (base, expr) = self.named(expr, Arc::unwrap_or_clone(input))?;
                Ok(LogicalPlan::Projection(Projection::try_new(expr, Arc::new(base))?))
            }
            LogicalPlan::Aggregate(aggregate)
                if aggregate.group_expr.iter().chain(&aggregate.aggr_expr).any(has_subquery) =>
            {
                let (base, group) = self.named(aggregate.group_expr, Arc::unwrap_or_clone(aggregate.input))?;
                let (base, folds) = self.named(aggregate.aggr_expr, base)?;
                Ok(LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(base), group, folds)?))
            }
            other => Ok(other),
        }
    }

    fn filter(&mut self, predicate: &Expr, input: Arc<LogicalPlan>) -> Result<LogicalPlan> {
        let columns: Vec<Expr> = input.schema().iter().map(|field| Expr::Column(field.into())).collect();
        let mut base = Arc::unwrap_or_clone(input);
        let mut rest = Vec::new();
        for part in conjuncts(predicate) {
            match part {
                part if reads_further(part, base.schema()) => rest.push(part.clone()),
                Expr::InSubquery(within) => base = self.semi_in(base, within, within.negated)?,
                Expr::Exists(exists) => base = self.semi_exists(base, exists, exists.negated)?,
                Expr::Not(inner) => match inner.as_ref() {
                    Expr::InSubquery(within) => base = self.semi_in(base, within, !within.negated)?,
                    Expr::Exists(exists) => base = self.semi_exists(base, exists, !exists.negated)?,
                    _ => rest.push(part.clone()),
                },
                other => rest.push(other.clone()),
            }
        }
        for part in &mut rest {
            if has_subquery(part) {
                let (wider, new) = self.joined(part.clone(), base)?;
                (base, *part) = (wider, new);
            }
        }
        let widened = base.schema().fields().len() > columns.len();
        let filtered = match rest.into_iter().reduce(Expr::and) {
            Some(predicate) => LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(base))?),
            None => base,
        };
        if widened { LogicalPlanBuilder::from(filtered).project(columns)?.build() } else { Ok(filtered) }
    }

    fn semi_in(&mut self, base: LogicalPlan, within: &InSubquery, negated: bool) -> Result<LogicalPlan> {
        let inner = self.plan(within.subquery.subquery.as_ref().clone())?;
        let value = Expr::Column(inner.schema().qualified_field(0).into());
        let tie = within.expr.as_ref().clone().eq(value);
        self.semi(base, inner, Some(tie), negated)
    }

    fn semi_exists(&mut self, base: LogicalPlan, exists: &Exists, negated: bool) -> Result<LogicalPlan> {
        let inner = match exists.subquery.subquery.as_ref() {
            // EXISTS (.. LIMIT 1) is EXISTS (..).
            LogicalPlan::Limit(limit) if limit.skip.is_none() && at_least_one(limit.fetch.as_deref()) => &limit.input,
            _ => &exists.subquery.subquery,
        };
        let inner = self.plan(inner.as_ref().clone())?;
        self.semi(base, inner, None, negated)
    }

    /// `base` where `inner` has a row that its ties and `tie` match (or has none). `tie` is `outer = inner column`.
    fn semi(&mut self, base: LogicalPlan, inner: LogicalPlan, tie: Option<Expr>, negated: bool) -> Result<LogicalPlan> {
        let (inner, mut ties) = untied(inner, base.schema(), true)?;
        let outer_of_tie = match &tie {
            Some(Expr::BinaryExpr(BinaryExpr { left, right, .. })) => {
                Some((left.as_ref().clone(), right.as_ref().clone()))
            }
            _ => None,
        };
        let (right, names) = self.renamed(inner, &ties, outer_of_tie.as_ref().map(|(_, column)| column))?;
        ties = ties.into_iter().map(|tie| over(tie, &names, base.schema())).collect::<Result<Vec<_>>>()?;
        if let Some((outer, column)) = outer_of_tie {
            ties.push(outer.eq(over(column, &names, base.schema())?));
        }
        let kind = if negated { JoinType::LeftAnti } else { JoinType::LeftSemi };
        let joined = Join::try_new(
            Arc::new(base),
            Arc::new(right),
            Vec::new(),
            ties.into_iter().reduce(Expr::and),
            kind,
            JoinConstraint::On,
            NullEquality::NullEqualsNothing,
            false,
        )?;
        Ok(LogicalPlan::Join(joined))
    }

    /// The columns that ties and `value` read, under names that nothing else has.
    fn renamed(
        &mut self,
        inner: LogicalPlan,
        ties: &[Expr],
        value: Option<&Expr>,
    ) -> Result<(LogicalPlan, Vec<(Column, Column)>)> {
        self.joins += 1;
        let mut read: Vec<Column> = Vec::new();
        for expr in ties.iter().chain(value) {
            for column in expr.column_refs() {
                if !read.contains(column) {
                    read.push(column.clone());
                }
            }
        }
        read.sort();
        let fresh = |index: usize| format!("__tie{}_{index}", self.joins);
        let names: Vec<(Column, Column)> =
            read.into_iter().enumerate().map(|(i, column)| (column, Column::from_name(fresh(i)))).collect();
        let mut exprs: Vec<Expr> =
            names.iter().map(|(from, to)| Expr::Column(from.clone()).alias(to.name.clone())).collect();
        if exprs.is_empty() {
            exprs.push(lit(1_i64).alias(fresh(0)));
        }
        Ok((LogicalPlanBuilder::from(inner).project(exprs)?.build()?, names))
    }

    /// Rewrites expressions and keeps their names.
    fn named(&mut self, exprs: Vec<Expr>, mut base: LogicalPlan) -> Result<(LogicalPlan, Vec<Expr>)> {
        let preserver = NamePreserver::new_for_projection();
        let mut rewritten = Vec::with_capacity(exprs.len());
        for expr in exprs {
            let name = preserver.save(&expr);
            let (wider, new) = self.joined(expr, base)?;
            base = wider;
            rewritten.push(name.restore(new));
        }
        Ok((base, rewritten))
    }

    /// Joins the sub-queries of one expression to `base`.
    fn joined(&mut self, expr: Expr, base: LogicalPlan) -> Result<(LogicalPlan, Expr)> {
        let mut base = Some(base);
        let rewritten = expr.transform_down(|expr| {
            if !is_subquery(&expr) {
                return Ok(Transformed::no(expr));
            }
            let Some(outer) = base.take() else {
                return plan_err!("a join is lost");
            };
            if reads_further(&expr, outer.schema()) {
                base = Some(outer);
                return Ok(Transformed::new(expr, false, TreeNodeRecursion::Jump));
            }
            let (joined, new) = match &expr {
                Expr::ScalarSubquery(subquery) => self.scalar(subquery, outer)?,
                Expr::Exists(exists) => self.marked(&exists.subquery, None, exists.negated, outer)?,
                Expr::InSubquery(within) => {
                    self.marked(&within.subquery, Some(within.expr.as_ref()), within.negated, outer)?
                }
                _ => (outer, None),
            };
            base = Some(joined);
            Ok(Transformed::new(new.unwrap_or(expr), true, TreeNodeRecursion::Jump))
        })?;
        match base {
            Some(base) => Ok((base, rewritten.data)),
            None => plan_err!("a join is lost"),
        }
    }

    /// Whether a sub-query has a row whose ties match, and whose first column is `value` if there is one: a left join
    /// to the distinct values of the ties. None when something else than equalities ties it, or not the patient.
    fn marked(
        &mut self,
        subquery: &Subquery,
        value: Option<&Expr>,
        negated: bool,
        base: LogicalPlan,
    ) -> Result<(LogicalPlan, Option<Expr>)> {
        let inner = self.plan(subquery.subquery.as_ref().clone())?;
        let first: Column = inner.schema().qualified_field(0).into();
        let (rows, ties) = untied(inner, base.schema(), true)?;
        let mut pairs: Vec<(Expr, Column)> = value.map(|value| (value.clone(), first)).into_iter().collect();
        for tie in &ties {
            match tied_pair(tie) {
                Some((outer, inner)) => pairs.push((Expr::Column(outer), inner)),
                None => return Ok((base, None)),
            }
        }
        if pairs.is_empty() {
            return Ok((base, None));
        }
        self.joins += 1;
        let name = |index: usize| format!("__mark{}_{index}", self.joins);
        let keys = pairs.iter().enumerate().map(|(i, (_, inner))| Expr::Column(inner.clone()).alias(name(i)));
        let right = Aggregate::try_new(Arc::new(rows), keys.collect(), Vec::new())?;
        if groups_by_unit(&right, self.catalog).is_ok_and(|by_unit| !by_unit) {
            return Ok((base, None));
        }
        let key = |index: usize| Expr::Column(Column::from_name(name(index)));
        let on: Vec<Expr> = pairs.iter().enumerate().map(|(i, (outer, _))| outer.clone().eq(key(i))).collect();
        let joined =
            LogicalPlanBuilder::from(base).join_on(LogicalPlan::Aggregate(right), JoinType::Left, on)?.build()?;
        // NULL ties nothing, so what was matched is not NULL.
        Ok((joined, Some(if negated { key(0).is_null() } else { key(0).is_not_null() })))
    }

    /// A left join to the aggregate grouped by its ties, or to the one row of an aggregate of public tables; none when
    /// the sub-query has another shape.
    fn scalar(&mut self, subquery: &Subquery, base: LogicalPlan) -> Result<(LogicalPlan, Option<Expr>)> {
        let inner = self.plan(subquery.subquery.as_ref().clone())?;
        let LogicalPlan::Projection(Projection { expr, input, .. }) = &inner else {
            return Ok((base, None));
        };
        let (LogicalPlan::Aggregate(aggregate), [result]) = (input.as_ref(), expr.as_slice()) else {
            return Ok((base, None));
        };
        if !aggregate.group_expr.is_empty() {
            return Ok((base, None));
        }
        let (rows, ties) = untied(aggregate.input.as_ref().clone(), base.schema(), false)?;
        let mut pairs = Vec::new();
        for tie in &ties {
            match tied_pair(tie) {
                Some(pair) => pairs.push(pair),
                None => return Ok((base, None)),
            }
        }
        if pairs.is_empty() && (self.reads_patients(&rows) || self.is_released(&base)) {
            return Ok((base, None));
        }
        self.joins += 1;
        let name = |kind: &str, index: usize| format!("__scalar{}_{kind}{index}", self.joins);
        let group: Vec<Expr> =
            pairs.iter().enumerate().map(|(i, (_, inner))| Expr::Column(inner.clone()).alias(name("key", i))).collect();
        let folds: Vec<Expr> = aggregate
            .aggr_expr
            .iter()
            .enumerate()
            .map(|(i, fold)| fold.clone().unalias_nested().data.alias(name("fold", i)))
            .collect();
        let right = LogicalPlanBuilder::from(rows).aggregate(group, folds)?.build()?;
        let on = pairs
            .iter()
            .enumerate()
            .map(|(i, (outer, _))| Expr::Column(outer.clone()).eq(Expr::Column(Column::from_name(name("key", i)))));
        let on: Vec<Expr> = on.collect();
        let joined = if pairs.is_empty() {
            LogicalPlanBuilder::from(base).cross_join(right)?.build()?
        } else {
            LogicalPlanBuilder::from(base).join_on(right, JoinType::Left, on)?.build()?
        };
        // No rows: a count of nothing is 0, every other aggregate of nothing is NULL.
        let schema = Arc::clone(&aggregate.schema);
        let new = result.clone().unalias_nested().data.transform_up(|expr| {
            let Expr::Column(column) = &expr else {
                return Ok(Transformed::no(expr));
            };
            let Some(index) = schema.maybe_index_of_column(column) else {
                return Ok(Transformed::no(expr));
            };
            let fold = Expr::Column(Column::from_name(name("fold", index)));
            let counts = aggregate.aggr_expr.get(index).is_some_and(is_count);
            let new = match (counts, functions::scalar("coalesce")) {
                (true, Some(func)) => Expr::ScalarFunction(ScalarFunction { func, args: vec![fold, lit(0_i64)] }),
                _ => fold,
            };
            Ok(Transformed::new(new, true, TreeNodeRecursion::Jump))
        })?;
        Ok((joined, Some(new.data)))
    }
}

impl Rewrite<'_> {
    /// Does a plan read a table of patients?
    fn reads_patients(&self, plan: &LogicalPlan) -> bool {
        let private = |node: &LogicalPlan| match node {
            LogicalPlan::TableScan(scan) => {
                self.catalog.table(scan.table_name.table()).is_none_or(|table| table.private.is_some())
            }
            _ => false,
        };
        plan.exists(|node| Ok(private(node))).unwrap_or(true)
    }

    /// Does a plan stand above the released aggregate? There a sub-query over public tables stays what it is.
    fn is_released(&self, plan: &LogicalPlan) -> bool {
        let releases = |node: &LogicalPlan| match node {
            LogicalPlan::Aggregate(aggregate) => {
                self.reads_patients(node) && !groups_by_unit(aggregate, self.catalog).unwrap_or(false)
            }
            _ => false,
        };
        plan.exists(|node| Ok(releases(node))).unwrap_or(true)
    }
}

fn at_least_one(fetch: Option<&Expr>) -> bool {
    matches!(fetch, Some(Expr::Literal(ScalarValue::Int64(Some(rows)), _)) if *rows >= 1)
}

fn is_count(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => is_count(&alias.expr),
        Expr::AggregateFunction(function) => *function.func == *count_udaf(),
        _ => false,
    }
}

fn is_subquery(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_))
}

fn has_subquery(expr: &Expr) -> bool {
    expr.exists(|e| Ok(is_subquery(e))).unwrap_or(false)
}

/// Does a sub-query in this expression read a row that is not of the rows around it, but further out?
fn reads_further(expr: &Expr, around: &DFSchema) -> bool {
    let subquery = |e: &Expr| match e {
        Expr::ScalarSubquery(subquery) => Some(subquery.clone()),
        Expr::Exists(exists) => Some(exists.subquery.clone()),
        Expr::InSubquery(within) => Some(within.subquery.clone()),
        _ => None,
    };
    let foreign = |e: &Expr| matches!(e, Expr::OuterReferenceColumn(_, column) if !around.has_column(column));
    expr.exists(|e| Ok(subquery(e).is_some_and(|subquery| subquery.outer_ref_columns.iter().any(foreign))))
        .unwrap_or(true)
}

/// `inner = outer`, as (outer, inner).
fn tied_pair(tie: &Expr) -> Option<(Column, Column)> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = tie else {
        return None;
    };
    match (left.as_ref(), right.as_ref()) {
        (Expr::OuterReferenceColumn(_, outer), Expr::Column(inner))
        | (Expr::Column(inner), Expr::OuterReferenceColumn(_, outer)) => Some((outer.clone(), inner.clone())),
        _ => None,
    }
}

/// Takes the conditions that read the outer row out of a sub-query, which still gives the columns they read. With
/// `any_match` only whether there is a match counts, not how many.
fn untied(plan: LogicalPlan, outer: &DFSchema, any_match: bool) -> Result<(LogicalPlan, Vec<Expr>)> {
    match plan {
        LogicalPlan::Filter(Filter { predicate, input, .. }) => {
            let (input, mut ties) = untied(Arc::unwrap_or_clone(input), outer, any_match)?;
            let (tied, free): (Vec<&Expr>, Vec<&Expr>) =
                conjuncts(&predicate).into_iter().partition(|part| part.contains_outer());
            if tied.iter().any(|tie| !reads_only(tie, outer)) {
                return plan_err!("a sub-query reads a row further out");
            }
            ties.extend(tied.into_iter().cloned());
            let plan = match free.into_iter().cloned().reduce(Expr::and) {
                Some(predicate) => LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input))?),
                None => input,
            };
            Ok((plan, ties))
        }
        LogicalPlan::Projection(Projection { mut expr, input, .. }) => {
            let (input, ties) = untied(Arc::unwrap_or_clone(input), outer, any_match)?;
            for tie in &ties {
                for column in tie.column_refs() {
                    let column = Expr::Column(column.clone());
                    if !expr.contains(&column) {
                        expr.push(column);
                    }
                }
            }
            Ok((LogicalPlan::Projection(Projection::try_new(expr, Arc::new(input))?), ties))
        }
        // The order of rows means nothing here.
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => untied(Arc::unwrap_or_clone(sort.input), outer, any_match),
        LogicalPlan::Distinct(Distinct::All(input)) if any_match && ties_below(&input) => {
            untied(Arc::unwrap_or_clone(input), outer, any_match)
        }
        other => Ok((other, Vec::new())),
    }
}

fn ties_below(plan: &LogicalPlan) -> bool {
    !plan.all_out_ref_exprs().is_empty()
}

fn reads_only(expr: &Expr, outer: &DFSchema) -> bool {
    let foreign = |e: &Expr| matches!(e, Expr::OuterReferenceColumn(_, column) if !outer.has_column(column));
    !expr.exists(|e| Ok(foreign(e))).unwrap_or(true)
}

/// A tie in terms of the join: inner columns under their new names, outer ones as they are.
fn over(tie: Expr, names: &[(Column, Column)], outer: &DFSchema) -> Result<Expr> {
    let rewritten = tie.transform_down(|expr| {
        Ok(match &expr {
            Expr::Column(column) => match names.iter().find(|(from, _)| from == column) {
                Some((_, to)) => Transformed::new(Expr::Column(to.clone()), true, TreeNodeRecursion::Jump),
                None => Transformed::no(expr),
            },
            Expr::OuterReferenceColumn(_, column) if outer.has_column(column) => {
                Transformed::new(Expr::Column(column.clone()), true, TreeNodeRecursion::Jump)
            }
            _ => Transformed::no(expr),
        })
    })?;
    Ok(rewritten.data)
}
