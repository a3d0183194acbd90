//! The declared values that keys are made of. A factor is a scanned column with public values, or an expression whose
//! results are all written in the question (`CASE .. THEN 'a' ELSE 'b' END`, a comparison, a `width_bucket`).

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{BinaryExpr, Case, Expr, Operator};
use datafusion::physical_expr::create_physical_expr;

use super::PublicValues;
use crate::catalog::{Catalog, Column as Declared, Kind, Table};
use crate::day::Day;
use crate::functions;

/// Most buckets of a histogram that are listed as public keys.
const MAX_BUCKETS: i64 = 10_000;

/// One factor: what it stands for, and its values, all of one type.
struct Factor {
    source: Expr,
    values: Vec<ScalarValue>,
    /// The last value is a NULL that an outer join or a nullable column may add.
    may_be_null: bool,
    /// The days of a date, listed for a period or a part of it: the bare date stays unknown, wherever it is named.
    days: bool,
}

/// All factors of a question's keys. Rewritten keys name factor i as column `f<i>`.
pub(super) struct Factors<'a> {
    catalog: &'a Catalog,
    public: &'a dyn PublicValues,
    all: Vec<Factor>,
}

fn name(index: usize) -> String {
    format!("f{index}")
}

impl<'a> Factors<'a> {
    pub(super) fn new(catalog: &'a Catalog, public: &'a dyn PublicValues) -> Self {
        Self { catalog, public, all: Vec::new() }
    }

    /// A key over factors, or none when its values are not public.
    pub(super) fn key(&mut self, origin: &Expr, outer: bool) -> Option<Expr> {
        let before = self.all.len();
        if let Some(expr) = self.over_columns(origin, outer, true) {
            return Some(expr);
        }
        self.all.truncate(before);
        if let Some(values) = written_values(origin) {
            return Some(self.factor(Factor { source: origin.clone(), values, may_be_null: false, days: false }));
        }
        // A function of parts that are public in themselves.
        let mut failed = matches!(origin, Expr::Column(_) | Expr::Case(_));
        let rewritten = origin.clone().map_children(|child| {
            if failed || matches!(child, Expr::Literal(_, _)) {
                return Ok(Transformed::no(child));
            }
            match self.key(&child, outer) {
                Some(new) => Ok(Transformed::yes(new)),
                None => {
                    failed = true;
                    Ok(Transformed::no(child))
                }
            }
        });
        match rewritten {
            Ok(rewritten) if !failed => Some(rewritten.data),
            _ => {
                self.all.truncate(before);
                None
            }
        }
    }

    /// A condition over factors that already exist, or none.
    pub(super) fn predicate(&mut self, origin: &Expr) -> Option<Expr> {
        self.over_columns(origin, false, false)
    }

    /// Replaces every scanned column by its factor; with `adding`, makes factors for columns with public values.
    fn over_columns(&mut self, origin: &Expr, outer: bool, adding: bool) -> Option<Expr> {
        let mut missing = false;
        let rewritten = origin.clone().transform_down(|expr| {
            if missing {
                return Ok(Transformed::new(expr, false, TreeNodeRecursion::Stop));
            }
            if let Expr::ScalarFunction(call) = &expr
                && adding
                && functions::reads_a_field(&call.func)
                && call.args.iter().all(|arg| matches!(arg, Expr::Column(_) | Expr::Literal(..)))
            {
                let period = expr.map_children(|arg| match self.column(&arg, outer, true) {
                    Some(date) => Ok(Transformed::yes(date)),
                    None => {
                        missing |= matches!(arg, Expr::Column(_));
                        Ok(Transformed::no(arg))
                    }
                })?;
                return Ok(Transformed::new(period.data, true, TreeNodeRecursion::Jump));
            }
            if let Expr::Column(_) = &expr {
                let found = if adding { self.column(&expr, outer, false) } else { self.existing(&expr) };
                return Ok(match found {
                    Some(new) => Transformed::new(new, true, TreeNodeRecursion::Jump),
                    None => {
                        missing = true;
                        Transformed::no(expr)
                    }
                });
            }
            Ok(Transformed::no(expr))
        });
        rewritten.ok().filter(|_| !missing).map(|rewritten| rewritten.data)
    }

    fn existing(&self, source: &Expr) -> Option<Expr> {
        let index = self.all.iter().position(|factor| factor.source == *source)?;
        Some(Expr::Column(Column::from_name(name(index))))
    }

    fn factor(&mut self, factor: Factor) -> Expr {
        if let Some(found) = self.existing(&factor.source) {
            return found;
        }
        self.all.push(factor);
        Expr::Column(Column::from_name(name(self.all.len() - 1)))
    }

    /// The factor of a scanned column with public values.
    fn column(&mut self, source: &Expr, outer: bool, as_period: bool) -> Option<Expr> {
        if let Some(found) = self.all.iter().find(|factor| factor.source == *source) {
            return if found.days && !as_period { None } else { self.existing(source) };
        }
        let Expr::Column(column) = source else { return None };
        let (table, _) = column.relation.as_ref()?.table().split_once('#')?;
        let declared: &Table = self.catalog.table(table)?;
        let described = declared.column(&column.name)?;
        let days = matches!((&declared.private, &described.domain), (Some(_), None));
        let mut values = match (&declared.private, &described.domain, &described.kind) {
            (None, _, _) => self.public.values(table, &column.name)?,
            (Some(_), Some(domain), _) => {
                domain.iter().map(|text| parsed(text, described)).collect::<Option<Vec<_>>>()?
            }
            (Some(_), None, Kind::Date { low, high, .. }) if as_period => {
                let (low, high) = (Day::parse(low)?, Day::parse(high)?);
                (low.0..=high.0).map(|day| ScalarValue::Date32(Some(day))).collect()
            }
            _ => return None,
        };
        let mut seen = HashSet::new();
        values.retain(|value| !value.is_null() && seen.insert(value.clone()));
        let may_be_null = outer || described.nullable;
        if may_be_null {
            values.push(ScalarValue::try_from(&described.kind.arrow()).ok()?);
        }
        Some(self.factor(Factor { source: source.clone(), values, may_be_null, days }))
    }

    /// Factors that an expression reads.
    pub(super) fn read_by(&self, expr: &Expr) -> Vec<usize> {
        let read = expr.column_refs();
        (0..self.all.len()).filter(|index| read.iter().any(|c| c.name == name(*index))).collect()
    }

    /// Drops values that no row can have, by the conditions over one factor.
    pub(super) fn narrow(&mut self, predicates: &[Expr]) {
        for index in 0..self.all.len() {
            let alone: Vec<&Expr> =
                predicates.iter().flat_map(conjuncts).filter(|p| self.read_by(p) == [index]).collect();
            let Some(factor) = self.all.get(index) else { continue };
            let Some(columns) = values_array(&factor.values).map(|values| vec![(index, values)]) else {
                continue;
            };
            let Some(kept) = keep(&columns, &alone) else { continue };
            if let Some(factor) = self.all.get_mut(index) {
                let had_null = factor.may_be_null;
                let mut flags = kept.iter();
                factor.values.retain(|_| flags.next().copied().unwrap_or(true));
                factor.may_be_null = had_null && factor.values.last().is_some_and(ScalarValue::is_null);
            }
        }
    }

    /// The values that `wanted` takes together over all combinations of these factors that the conditions allow.
    pub(super) fn image(
        &self,
        factors: &[usize],
        wanted: &[&Expr],
        predicates: &[Expr],
        most: usize,
    ) -> Option<Vec<Vec<ScalarValue>>> {
        let lists: Vec<(usize, &Factor)> = factors.iter().filter_map(|i| Some((*i, self.all.get(*i)?))).collect();
        let rows = lists.iter().try_fold(1_usize, |all, (_, f)| all.checked_mul(f.values.len()))?;
        if rows > most {
            return None;
        }
        if rows == 0 {
            return Some(Vec::new());
        }
        let mut columns = Vec::new();
        let mut nulled = vec![false; rows];
        let mut repeat = 1;
        for (index, factor) in &lists {
            let count = factor.values.len();
            let at = |row: usize| row / repeat % count;
            let values: Vec<ScalarValue> = (0..rows).filter_map(|row| factor.values.get(at(row)).cloned()).collect();
            for (row, nulled) in nulled.iter_mut().enumerate() {
                *nulled |= factor.may_be_null && at(row) + 1 == count;
            }
            columns.push((*index, values_array(&values)?));
            repeat *= count;
        }
        let among: Vec<&Expr> = predicates
            .iter()
            .flat_map(conjuncts)
            .filter(|p| self.read_by(p).iter().all(|f| factors.contains(f)))
            .collect();
        let kept = keep(&columns, &among)?;
        let images = evaluated(&columns, wanted, rows)?;
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        for row in (0..rows).filter(|row| kept.get(*row).copied().unwrap_or(true)) {
            let mut cell = Vec::with_capacity(images.len());
            for image in &images {
                cell.push(ScalarValue::try_from_array(image, row).ok()?);
            }
            // NULL is a key when the text makes it one, not because a column may lack a value.
            let only_missing = nulled.get(row).copied().unwrap_or(false) && cell.iter().any(ScalarValue::is_null);
            if !only_missing && seen.insert(cell.clone()) {
                found.push(cell);
            }
        }
        Some(found)
    }
}

fn parsed(text: &str, column: &Declared) -> Option<ScalarValue> {
    Some(match &column.kind {
        Kind::Text => ScalarValue::Utf8(Some(text.to_owned())),
        Kind::Id | Kind::Integer { .. } => ScalarValue::Int64(Some(text.parse().ok()?)),
        Kind::Date { .. } => ScalarValue::Date32(Some(Day::parse(text)?.0)),
        Kind::Decimal { .. } => ScalarValue::from(text).cast_to(&column.kind.arrow()).ok()?,
    })
}

/// All results of an expression, when the text names them.
fn written_values(expr: &Expr) -> Option<Vec<ScalarValue>> {
    match expr {
        Expr::Literal(value, _) => Some(vec![value.clone()]),
        Expr::Case(Case { when_then_expr, else_expr, .. }) => {
            let mut values = Vec::new();
            for (_, then) in when_then_expr {
                values.extend(written_values(then)?);
            }
            match else_expr {
                Some(otherwise) => values.extend(written_values(otherwise)?),
                None => values.push(ScalarValue::Null),
            }
            // A NULL takes the type of the others.
            let data_type = values.iter().find(|v| !v.is_null())?.data_type();
            values
                .into_iter()
                .map(|v| if v.is_null() { ScalarValue::try_from(&data_type).ok() } else { Some(v) })
                .collect()
        }
        Expr::ScalarFunction(call) if call.func.name() == "width_bucket" => match call.args.last() {
            Some(Expr::Literal(ScalarValue::Int64(Some(count)), _)) if (1..=MAX_BUCKETS).contains(count) => {
                Some((0..=count + 1).map(|bucket| ScalarValue::Int64(Some(bucket))).collect())
            }
            _ => None,
        },
        Expr::ScalarFunction(call)
            if ["regexp_like", "starts_with", "ends_with", "contains"].contains(&call.func.name()) =>
        {
            Some(truth())
        }
        Expr::Not(_)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNotFalse(_)
        | Expr::IsNotUnknown(_)
        | Expr::Like(_)
        | Expr::Between(_)
        | Expr::InList(_) => Some(truth()),
        Expr::BinaryExpr(BinaryExpr { op, .. })
            if op.supports_propagation() || matches!(op, Operator::And | Operator::Or) =>
        {
            Some(truth())
        }
        _ => None,
    }
}

fn truth() -> Vec<ScalarValue> {
    [false, true].map(|b| ScalarValue::Boolean(Some(b))).to_vec()
}

fn conjuncts(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            let mut all = conjuncts(left);
            all.extend(conjuncts(right));
            all
        }
        other => vec![other],
    }
}

fn values_array(values: &[ScalarValue]) -> Option<ArrayRef> {
    ScalarValue::iter_to_array(values.iter().cloned()).ok()
}

/// Which rows satisfy all conditions; a condition that cannot be evaluated keeps every row.
fn keep(columns: &[(usize, ArrayRef)], conditions: &[&Expr]) -> Option<Vec<bool>> {
    let rows = columns.first().map_or(1, |(_, values)| values.len());
    let mut kept = vec![true; rows];
    for condition in conditions {
        let Some(result) = evaluated(columns, &[condition], rows) else {
            continue;
        };
        let truths = result.first()?.as_any().downcast_ref::<BooleanArray>()?;
        for (row, kept) in kept.iter_mut().enumerate() {
            *kept &= truths.is_valid(row) && truths.value(row);
        }
    }
    Some(kept)
}

fn evaluated(columns: &[(usize, ArrayRef)], exprs: &[&Expr], rows: usize) -> Option<Vec<ArrayRef>> {
    let field = |(index, values): &(usize, ArrayRef)| Field::new(name(*index), values.data_type().clone(), true);
    let mut fields: Vec<Field> = columns.iter().map(field).collect();
    let mut arrays: Vec<ArrayRef> = columns.iter().map(|(_, values)| Arc::clone(values)).collect();
    // A batch needs a column to have rows.
    fields.push(Field::new("rows", DataType::Boolean, true));
    arrays.push(Arc::new(BooleanArray::from(vec![true; rows])));
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).ok()?;
    let schema = DFSchema::try_from(schema).ok()?;
    let props = ExecutionProps::new();
    let one = |expr: &&Expr| {
        let physical = create_physical_expr(expr, &schema, &props, &PhysicalPlanningContext::default()).ok()?;
        physical.evaluate(&batch).ok()?.into_array(rows).ok()
    };
    exprs.iter().map(one).collect()
}
