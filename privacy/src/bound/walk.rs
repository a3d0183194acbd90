//! The allow-list over plans: which operators keep the patient, and what each does to bounds and lineage.
//!
//! Every private operator keeps this invariant, and the proof is by induction over the plan: **each output row is
//! computed from the rows of one patient and from public tables, and its unit column holds that patient, never
//! NULL.** The list is exhaustive: a node, join type or function that is not named is refused. Expressions are
//! rewritten by [`super::total`] so that none can fail. Nothing here looks at data.
//!
//! - a scan of a private table starts with the patient's column, and no catalog table hides it;
//! - a projection that leaves the patient out gets it back as a hidden column;
//! - a join of two private relations needs `unit = unit` at its top level ([`join`]);
//! - a group-by, a DISTINCT and a window must contain the patient among their keys ([`fold`], [`window`]);
//! - set operations have the patient in the same columns of every side ([`union`], [`join`]).

mod filter;
mod fold;
mod join;
mod union;
mod window;

use std::sync::Arc;

use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, JoinType, NullEquality};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    BinaryExpr, Distinct, Expr, Filter, LogicalPlan, Operator, Projection, SubqueryAlias, TableScan,
};
use datafusion::scalar::ScalarValue;

pub(crate) use window::check_frame;

use super::lineage::{Grid, Lineage, Node, Private, Relation, is_public_key};
use super::total::{Scope, Value, total};
use crate::catalog::{Catalog, Kind, Table, UNIT};
use crate::day::Day;
use crate::refusal::{Code, PlanError};

/// Largest product of row caps over the joins of one patient's rows.
pub(crate) const MAX_PRODUCT: u64 = 1_000_000;

/// Deepest plan.
const MAX_DEPTH: usize = 256;

/// Most scans in one plan.
const MAX_SCANS: usize = 64;

/// Prefix of hidden carriers of the patient.
const CARRIER: &str = "__unit_";

/// Walks the input of the released aggregate.
///
/// # Errors
/// The refusal of the first node from the scans up that is not on the allow-list.
pub(crate) fn walk(input: &LogicalPlan, catalog: &Catalog) -> Result<Relation, PlanError> {
    let node = Walk { catalog, scans: 0, carriers: 0, unions: 0, picks: 0 }.node(input, 0)?;
    let no_patients = || {
        PlanError::new(Code::NotAQuery, "the question reads no patients' rows; public tables are free at /v1/datasets")
    };
    let unit = node.unit().ok_or_else(no_patients)?;
    let private = node.private.ok_or_else(no_patients)?;
    if private.product > MAX_PRODUCT {
        let words = format!("one patient's rows could become {}; the limit is {MAX_PRODUCT}", private.product);
        return Err(PlanError::new(Code::TooMuchWork, words));
    }
    let allowance = joined(&node.plan).then_some(private.fan_out.max(1));
    Ok(Relation {
        plan: node.plan,
        unit,
        rows: private.rows.min(private.fan_out).max(1),
        groups: private.groups.min(private.fan_out).max(1),
        allowance,
        tables: private.tables,
        columns: node.columns,
        predicates: node.predicates,
    })
}

/// Are rows joined? Then the number of a patient's rows is known only as far as ids are unique.
fn joined(plan: &LogicalPlan) -> bool {
    let joins = |node: &LogicalPlan| matches!(node, LogicalPlan::Join(join) if !matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti));
    // The closure gives no error; a plan that cannot be walked counts as joined.
    plan.exists(|node| Ok(joins(node))).unwrap_or(true)
}

/// Is one of these keys the patient itself, bare and never NULL?
pub(crate) fn has_unit(keys: &[Expr], relation: &Relation) -> bool {
    let scope = Scope { schema: relation.plan.schema(), columns: &relation.columns, above: false };
    keys.iter().any(|key| total(key, &scope).is_ok_and(|value| value.lineage.unit && !value.lineage.hidden))
}

/// Turns an error of the engine into ours: its words could carry anything.
fn fits<T>(result: Result<T, DataFusionError>) -> Result<T, PlanError> {
    result.map_err(|_| PlanError::new(Code::TypeMismatch, "the parts of the question do not fit together"))
}

/// Gives a rewritten expression the name of the original.
fn renamed(original: &Expr, rewritten: Expr) -> Expr {
    let (relation, name) = original.qualified_name();
    if rewritten.qualified_name() == (relation.clone(), name.clone()) {
        return rewritten;
    }
    rewritten.alias_qualified(relation, name)
}

struct Walk<'a> {
    catalog: &'a Catalog,
    scans: usize,
    carriers: usize,
    unions: usize,
    picks: usize,
}

impl Walk<'_> {
    fn node(&mut self, plan: &LogicalPlan, depth: usize) -> Result<Node, PlanError> {
        if depth > MAX_DEPTH {
            return Err(PlanError::new(Code::TooLarge, "the question is nested too deep"));
        }
        let depth = depth + 1;
        let refuse = |code, words: &str| Err(PlanError::new(code, words));
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::Projection(Projection { expr, input, .. }) => {
                let input = self.node(input, depth)?;
                self.projection(expr, input)
            }
            LogicalPlan::Filter(Filter { predicate, input, .. }) => filter::filter(predicate, self.node(input, depth)?),
            LogicalPlan::SubqueryAlias(SubqueryAlias { input, alias, .. }) => {
                let input = self.node(input, depth)?;
                let plan = SubqueryAlias::try_new(Arc::new(input.plan), alias.clone());
                Ok(Node { plan: LogicalPlan::SubqueryAlias(fits(plan)?), ..input })
            }
            LogicalPlan::Join(join) => {
                // INTERSECT and EXCEPT are joins in which NULL equals NULL.
                let set = join.null_equality == NullEquality::NullEqualsNull;
                let mut side = |plan| self.node(plan, depth).map_err(|e| if set { of_set(e) } else { e });
                let (left, right) = (side(&join.left)?, side(&join.right)?);
                join::join(join, left, right)
            }
            LogicalPlan::Aggregate(aggregate) => {
                let input = self.node(&aggregate.input, depth)?;
                fold::aggregate(aggregate, input, &mut self.picks)
            }
            LogicalPlan::Distinct(Distinct::All(input)) => fold::distinct(self.node(input, depth)?, &mut self.picks),
            LogicalPlan::Window(window) => {
                let input = self.node(&window.input, depth)?;
                window::window(window, input, &mut self.picks)
            }
            LogicalPlan::Union(union) => {
                let inputs = union.inputs.iter().map(|input| self.node(input, depth).map_err(of_set));
                let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
                self.unions += 1;
                union::union(union, inputs, self.unions)
            }
            LogicalPlan::Sort(sort) => {
                let input = self.node(&sort.input, depth)?;
                if sort.fetch.is_some() {
                    return refuse(Code::LimitOrSampleBeforeAgg, "rows are cut off before the aggregate");
                }
                // The order of rows below an aggregate means nothing.
                Ok(input)
            }
            LogicalPlan::EmptyRelation(_) => Ok(Node {
                plan: plan.clone(),
                columns: Vec::new(),
                private: None,
                public_rows: 1,
                unique: vec![Vec::new()],
                predicates: Vec::new(),
            }),
            LogicalPlan::Values(values) => {
                let constants = values.values.iter().flatten().all(|v| matches!(v, Expr::Literal(_, _)));
                if !constants {
                    return refuse(Code::NonTotalFn, "VALUES takes literals");
                }
                let columns = vec![Lineage::default(); values.schema.fields().len()];
                let public_rows = u64::try_from(values.values.len()).unwrap_or(u64::MAX);
                let unique = if public_rows > 1 { Vec::new() } else { vec![Vec::new()] };
                Ok(Node { plan: plan.clone(), columns, private: None, public_rows, unique, predicates: Vec::new() })
            }
            LogicalPlan::Limit(_) => refuse(Code::LimitOrSampleBeforeAgg, "rows are cut off before the aggregate"),
            LogicalPlan::Distinct(Distinct::On(_)) => {
                refuse(Code::LimitOrSampleBeforeAgg, "DISTINCT ON picks rows before the aggregate")
            }
            LogicalPlan::RecursiveQuery(_) => refuse(Code::Recursive, "a recursive query"),
            LogicalPlan::Subquery(_) => refuse(Code::PrivateSubqueryInExpr, "a lateral sub-query"),
            LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Ddl(_)
            | LogicalPlan::Copy(_)
            | LogicalPlan::DescribeTable(_)
            | LogicalPlan::Statement(_) => refuse(Code::NotAQuery, "the statement is not a question"),
            LogicalPlan::Unnest(_) | LogicalPlan::Repartition(_) | LogicalPlan::Extension(_) => {
                refuse(Code::NonTotalFn, "the plan has an operator that is not part of the dialect")
            }
        }
    }

    fn scan(&mut self, scan: &TableScan) -> Result<Node, PlanError> {
        let unknown = || PlanError::new(Code::UnknownName, "a table that is not in the catalog");
        let name = match &scan.table_name {
            datafusion::common::TableReference::Bare { table } => table.as_ref(),
            _ => return Err(unknown()),
        };
        let table = self.catalog.table(name).ok_or_else(unknown)?;
        if scan.projection.is_some() || !scan.filters.is_empty() || scan.fetch.is_some() {
            return Err(PlanError::new(Code::NonTotalFn, "a scan with conditions of its own"));
        }
        // The schema is the catalog's visible one, so lineage columns cannot be named.
        let schema = table.schema();
        if scan.source.schema() != schema || scan.projected_schema.fields() != schema.fields() {
            return Err(PlanError::new(Code::UnknownName, format!("{name} has other columns than the catalog's")));
        }
        self.scans += 1;
        if self.scans > MAX_SCANS {
            return Err(PlanError::new(Code::TooLarge, "the question reads too many tables"));
        }
        let private = table.private.map(|bounds| Private {
            fan_out: bounds.scan_rows,
            rows: bounds.rows,
            groups: bounds.groups,
            product: bounds.scan_rows,
            tables: vec![name.to_owned()],
        });
        let first_is_unit = table.columns.first().is_some_and(|c| c.name == UNIT && c.kind == Kind::Id && !c.nullable);
        if private.is_some() && !first_is_unit {
            return Err(PlanError::new(Code::UnknownName, format!("{name} does not begin with the patient")));
        }
        Ok(Node {
            plan: LogicalPlan::TableScan(scan.clone()),
            columns: scanned_columns(name, table, self.scans),
            private,
            unique: scanned_keys(name, table),
            public_rows: if table.private.is_some() { 0 } else { table.declared_rows },
            predicates: Vec::new(),
        })
    }

    fn projection(&mut self, exprs: &[Expr], input: Node) -> Result<Node, PlanError> {
        let scope = Scope { schema: input.plan.schema(), columns: &input.columns, above: false };
        let mut rewritten = Vec::with_capacity(exprs.len() + 1);
        let mut columns = Vec::with_capacity(exprs.len() + 1);
        for expr in exprs {
            let Value { expr: new, mut lineage, .. } = total(expr, &scope)?;
            lineage.hidden = false;
            rewritten.push(renamed(expr, new));
            columns.push(lineage);
        }
        if input.private.is_some() && !columns.iter().any(|c| c.unit) {
            let (carrier, lineage) = self.carrier(&input)?;
            rewritten.push(carrier);
            columns.push(lineage);
        }
        let unique = kept_keys(&input, &rewritten, &columns);
        let plan = LogicalPlan::Projection(fits(Projection::try_new(rewritten, Arc::new(input.plan)))?);
        Ok(Node {
            plan,
            columns,
            unique,
            private: input.private,
            public_rows: input.public_rows,
            predicates: input.predicates,
        })
    }

    /// The patient under a name that no question has.
    fn carrier(&mut self, input: &Node) -> Result<(Expr, Lineage), PlanError> {
        let lost = || PlanError::new(Code::NestedDp, "the patient of the rows is lost");
        let unit = input.unit().ok_or_else(lost)?;
        self.carriers += 1;
        let lineage =
            Lineage { unit: true, from_unit: true, unit_determined: true, hidden: true, ..Lineage::default() };
        Ok((Expr::Column(unit).alias(format!("{CARRIER}{}", self.carriers)), lineage))
    }
}

fn merged<'a>(lists: impl Iterator<Item = &'a Vec<String>>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for name in lists.flatten() {
        if !all.contains(name) {
            all.push(name.clone());
        }
    }
    all
}

/// A refusal inside a set operation: rows without a patient in it are that operation's fault.
fn of_set(refusal: PlanError) -> PlanError {
    if refusal.code == Code::NestedDp {
        PlanError::new(Code::SetopMixed, "a set operation of rows that have lost their patient, or of released numbers")
    } else {
        refusal
    }
}

/// Sets of columns that are unique in a table: its one row for each patient, the keyed hash `<table>_id` that ingest
/// makes once for each row, the keys of the published tables.
fn scanned_keys(name: &str, table: &Table) -> Vec<Vec<usize>> {
    let mut keys = Vec::new();
    match table.private {
        Some(bounds) => {
            if bounds.scan_rows == 1 {
                keys.push(vec![0]);
            }
            let id = table.columns.iter().position(|c| c.name.strip_suffix("_id") == Some(name));
            keys.extend(id.map(|id| if id == 0 { vec![0] } else { vec![0, id] }));
        }
        None => {
            let key = table.columns.iter().position(|c| is_public_key(name, &c.name));
            keys.extend(key.map(|key| vec![key]));
        }
    }
    keys
}

/// The input's unique sets that are left, as positions of a projection's columns. All columns that are the patient
/// are equal, so one stands for the other.
fn kept_keys(input: &Node, projected: &[Expr], columns: &[Lineage]) -> Vec<Vec<usize>> {
    let source = |expr: &Expr| match unaliased(expr) {
        Expr::Column(column) => input.plan.schema().maybe_index_of_column(column),
        _ => None,
    };
    let sources: Vec<Option<usize>> = projected.iter().map(source).collect();
    let unit = columns.iter().position(|c| c.unit);
    let position = |index: &usize| {
        let same = sources.iter().position(|source| *source == Some(*index));
        same.or_else(|| unit.filter(|_| input.columns.get(*index).is_some_and(|c| c.unit)))
    };
    input.unique.iter().filter_map(|set| set.iter().map(position).collect()).collect()
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

fn scanned_columns(name: &str, table: &Table, number: usize) -> Vec<Lineage> {
    let one_row = table.private.is_some_and(|bounds| bounds.scan_rows == 1);
    let columns = table.columns.iter().enumerate().map(|(index, column)| {
        let unit = index == 0 && table.private.is_some();
        let (grid, year_only) = match &column.kind {
            Kind::Integer { low, high } => (Some(Grid::whole((*low).into(), (*high).into())), false),
            Kind::Decimal { scale, low, high } => {
                (Some(Grid { scale: *scale, low: (*low).into(), high: (*high).into() }), false)
            }
            Kind::Date { low, high, year_only } => {
                let days = Day::parse(low).zip(Day::parse(high));
                (days.map(|(low, high)| Grid::whole(low.0.into(), high.0.into())), *year_only)
            }
            Kind::Text | Kind::Id => (None, false),
        };
        Lineage {
            unit,
            from_unit: unit,
            unit_determined: one_row || unit,
            year_only,
            origin: Some(Expr::Column(Column::new(Some(format!("{name}#{number}")), &column.name))),
            grid,
            ..Lineage::default()
        }
    });
    columns.collect()
}

/// The parts of a condition that all must hold.
fn conjuncts(expr: &Expr) -> Vec<&Expr> {
    let mut found = Vec::new();
    let mut open = vec![expr];
    while let Some(next) = open.pop() {
        match next {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                open.extend([right.as_ref(), left.as_ref()])
            }
            Expr::Alias(alias) => open.push(&alias.expr),
            other => found.push(other),
        }
    }
    found
}

/// Is this expression the literal TRUE?
fn is_true(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(ScalarValue::Boolean(Some(true)), _))
}

/// All parts joined by AND.
fn all_of(parts: Vec<Expr>) -> Option<Expr> {
    parts.into_iter().filter(|part| !is_true(part)).reduce(Expr::and)
}

/// The lineage that an aggregate or window function gives its output.
fn folded(grid: Option<Grid>, year_only: bool, unit_determined: bool) -> Lineage {
    Lineage { grid, year_only, unit_determined, ..Lineage::default() }
}

#[cfg(test)]
pub(crate) mod tests;
