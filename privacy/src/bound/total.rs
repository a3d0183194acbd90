//! Expressions rewritten so that none can fail, with their lineage.
//!
//! An exhaustive allow-list over `Expr`: a kind, type or function that is not named here is refused.

mod asked;
mod case;
mod cast;
mod shift;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::{InList, InSubquery, ScalarFunction};
use datafusion::logical_expr::{Between, BinaryExpr, Cast, Expr, ExprSchemable, Like, Operator, ScalarUDF, TryCast};

pub(crate) use asked::{Measure, Spread, Values, aggregate_of, measures, without_float_cast};
pub(crate) use cast::cast as total_cast;

use super::interval;
use super::lineage::{Grid, Lineage};
use crate::functions::{self, Arithmetic, MAX_PATTERN_BYTES, Operation, Pattern, Text};
use crate::refusal::{Code, PlanError};

/// Deepest expression.
const MAX_DEPTH: usize = 256;

/// Largest origin kept, in nodes.
const MAX_ORIGIN_NODES: usize = 200;

/// Columns that expressions see.
pub(crate) struct Scope<'a> {
    /// Their names and types.
    pub schema: &'a DFSchema,
    /// Their lineage, by position; none are kept above the released aggregate.
    pub columns: &'a [Lineage],
    /// Above the released aggregate sub-queries read public tables, and may stand inside expressions.
    pub above: bool,
}

/// A rewritten expression.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    /// It cannot fail on any row.
    pub expr: Expr,
    /// Its type.
    pub data_type: DataType,
    /// Where it comes from. `unit` and `lost_unit` hold for bare columns only.
    pub lineage: Lineage,
}

/// Rewrites one expression so that it cannot fail.
///
/// # Errors
/// The refusal of the first part that is not on the allow-list.
pub(crate) fn total(expr: &Expr, scope: &Scope<'_>) -> Result<Value, PlanError> {
    value(expr, scope, 0)
}

/// Rewrites a condition.
pub(crate) fn condition(expr: &Expr, scope: &Scope<'_>) -> Result<Value, PlanError> {
    let condition = total(expr, scope)?;
    if matches!(condition.data_type, DataType::Boolean | DataType::Null) {
        Ok(condition)
    } else {
        Err(PlanError::new(Code::TypeMismatch, "a condition is not true or false"))
    }
}

fn value(expr: &Expr, scope: &Scope<'_>, depth: usize) -> Result<Value, PlanError> {
    if depth > MAX_DEPTH {
        return Err(PlanError::new(Code::TooLarge, "an expression is nested too deep"));
    }
    let of = |child: &Expr| value(child, scope, depth + 1);
    let refuse = |code, words: &str| Err(PlanError::new(code, words));
    let found = match expr {
        Expr::Alias(alias) => return of(&alias.expr),
        Expr::Column(column) => {
            let index = scope
                .schema
                .maybe_index_of_column(column)
                .ok_or_else(|| PlanError::new(Code::UnknownName, format!("no column {}", column.name)))?;
            let same_name = || scope.schema.fields().iter().filter(|f| *f.name() == column.name).count();
            if column.relation.is_none() && same_name() > 1 {
                // Later stages could take either.
                return refuse(Code::UnknownName, "a column name that several tables have");
            }
            let lineage = scope.columns.get(index).cloned().unwrap_or_default();
            Value { expr: expr.clone(), data_type: scope.schema.field(index).data_type().clone(), lineage }
        }
        Expr::Literal(literal, _) => constant(literal.clone()),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => binary(left, *op, right, scope, depth)?,
        Expr::Like(like) => {
            if like.escape_char.is_some_and(|escape| escape != '\\') {
                return refuse(Code::NonTotalFn, "LIKE escapes by a backslash");
            }
            let Expr::Literal(pattern, _) = like.pattern.as_ref() else {
                return refuse(Code::NonTotalFn, "the pattern of LIKE must be written as a literal");
            };
            // A pattern that the engine could not compile would fail while rows are read.
            if pattern.try_as_str().flatten().is_some_and(|pattern| pattern.len() > MAX_PATTERN_BYTES) {
                return refuse(Code::NonTotalFn, "the pattern of LIKE is longer than 256 bytes");
            }
            let (text, pattern) = (of(&like.expr)?, of(&like.pattern)?);
            same_type(&text, &pattern)?;
            let shape = like.clone();
            build(vec![text, pattern], DataType::Boolean, None, move |parts| {
                let [expr, pattern] = two(parts);
                Expr::Like(Like { expr, pattern, ..shape.clone() })
            })
        }
        Expr::Not(inner) => negated(condition(inner, scope)?),
        Expr::IsNotNull(inner) => presence(test(of(inner)?, Expr::IsNotNull)),
        Expr::IsNull(inner) => presence(test(of(inner)?, Expr::IsNull)),
        Expr::IsTrue(inner) => test(condition(inner, scope)?, Expr::IsTrue),
        Expr::IsFalse(inner) => test(condition(inner, scope)?, Expr::IsFalse),
        Expr::IsUnknown(inner) => test(condition(inner, scope)?, Expr::IsUnknown),
        Expr::IsNotTrue(inner) => test(condition(inner, scope)?, Expr::IsNotTrue),
        Expr::IsNotFalse(inner) => test(condition(inner, scope)?, Expr::IsNotFalse),
        Expr::IsNotUnknown(inner) => test(condition(inner, scope)?, Expr::IsNotUnknown),
        Expr::Negative(inner) => match inner.as_ref() {
            Expr::Literal(number, _) => constant(number.arithmetic_negate().unwrap_or(ScalarValue::Null)),
            inner => call(ScalarUDF::from(Arithmetic::new(Operation::Negate)), vec![of(inner)?])?,
        },
        Expr::Between(between) => {
            let parts = vec![of(&between.expr)?, of(&between.low)?, of(&between.high)?];
            all_same_type(&parts)?;
            let negated = between.negated;
            build(parts, DataType::Boolean, None, move |parts| {
                let [expr, low, high] = three(parts);
                Expr::Between(Between { expr, negated, low, high })
            })
        }
        Expr::Case(case) => case::case(case, scope, depth)?,
        Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field }) => {
            cast::cast(of(expr)?, field.data_type())?
        }
        Expr::ScalarFunction(ScalarFunction { func, args }) => {
            if !functions::allowed(func) {
                return refuse(Code::NonTotalFn, &format!("the function {} is not part of the dialect", func.name()));
            }
            let args = args.iter().map(of).collect::<Result<Vec<_>, _>>()?;
            // Casts of literals are literals by now.
            let written: Vec<Expr> = args.iter().map(|arg| arg.expr.clone()).collect();
            functions::check_arguments(func, &written)?;
            call(func.as_ref().clone(), args)?
        }
        Expr::InList(InList { expr, list, negated }) => {
            let mut parts = vec![of(expr)?];
            for item in list {
                parts.push(of(item)?);
            }
            all_same_type(&parts)?;
            let negated = *negated;
            build(parts, DataType::Boolean, None, move |mut parts| {
                let expr = Box::new(parts.remove(0));
                Expr::InList(InList { expr, list: parts, negated })
            })
        }
        Expr::Exists(_) | Expr::ScalarSubquery(_) | Expr::OuterReferenceColumn(_, _) if scope.above => {
            let unknown = |_| PlanError::new(Code::TypeMismatch, "a sub-query does not fit its place");
            let data_type = expr.get_type(scope.schema).map_err(unknown)?;
            Value { expr: expr.clone(), data_type, lineage: Lineage::default() }
        }
        Expr::InSubquery(within) if scope.above => {
            let (subquery, negated) = (within.subquery.clone(), within.negated);
            build(vec![of(&within.expr)?], DataType::Boolean, None, move |parts| {
                Expr::InSubquery(InSubquery { expr: one(parts), subquery: subquery.clone(), negated })
            })
        }
        Expr::Exists(_)
        | Expr::InSubquery(_)
        | Expr::SetComparison(_)
        | Expr::ScalarSubquery(_)
        | Expr::OuterReferenceColumn(_, _) => {
            return refuse(Code::PrivateSubqueryInExpr, "a sub-query stands inside an expression");
        }
        Expr::AggregateFunction(_) => return refuse(Code::AggUnsupported, "an aggregate stands inside an expression"),
        Expr::WindowFunction(_) => return refuse(Code::WindowNotByUnit, "a window stands inside an expression"),
        Expr::GroupingSet(_) => return refuse(Code::GroupingSets, "grouping sets"),
        Expr::Placeholder(parameter) => {
            return refuse(Code::UnknownName, &format!("no value for the parameter {}", parameter.id));
        }
        Expr::ScalarVariable(_, _) => return refuse(Code::NotAQuery, "variables of the engine"),
        Expr::SimilarTo(like) => {
            if like.escape_char.is_some_and(|escape| escape != '\\') {
                return refuse(Code::NonTotalFn, "SIMILAR TO escapes by a backslash");
            }
            let found = matches(of(&like.expr)?, of(&like.pattern)?, functions::similar)?;
            if like.negated { negated(found) } else { found }
        }
        Expr::Unnest(_) | Expr::HigherOrderFunction(_) | Expr::Lambda(_) | Expr::LambdaVariable(_) => {
            return refuse(Code::NonTotalFn, "lists and lambdas are not part of the dialect");
        }
        #[expect(deprecated, reason = "the variant still exists, so the list of all kinds must name it")]
        Expr::Wildcard { .. } => return refuse(Code::NonTotalFn, "a star stands inside an expression"),
    };
    if is_plain(&found.data_type) {
        Ok(found)
    } else {
        Err(PlanError::new(Code::NonTotalFn, "the expression has a type that is not part of the dialect"))
    }
}

/// The types that rows of the dialect have.
pub(crate) fn is_plain(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Null
            | DataType::Boolean
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::UInt64
            | DataType::Float32
            | DataType::Float64
            | DataType::Utf8
            | DataType::Date32
    ) || matches!(data_type, DataType::Decimal128(_, scale) if *scale >= 0)
}

fn constant(literal: ScalarValue) -> Value {
    let lineage = Lineage {
        unit_determined: true,
        grid: Grid::of_literal(&literal),
        origin: Some(Expr::Literal(literal.clone(), None)),
        ..Lineage::default()
    };
    Value { data_type: literal.data_type(), expr: Expr::Literal(literal, None), lineage }
}

fn one(parts: Vec<Expr>) -> Box<Expr> {
    Box::new(parts.into_iter().next().unwrap_or_else(null))
}

fn two(parts: Vec<Expr>) -> [Box<Expr>; 2] {
    let mut parts = parts.into_iter().map(Box::new);
    std::array::from_fn(|_| parts.next().unwrap_or_else(|| Box::new(null())))
}

fn three(parts: Vec<Expr>) -> [Box<Expr>; 3] {
    let mut parts = parts.into_iter().map(Box::new);
    std::array::from_fn(|_| parts.next().unwrap_or_else(|| Box::new(null())))
}

const fn null() -> Expr {
    Expr::Literal(ScalarValue::Null, None)
}

fn test(inner: Value, make: impl Fn(Box<Expr>) -> Expr) -> Value {
    build(vec![inner], DataType::Boolean, None, |parts| make(one(parts)))
}

/// `text ~ pattern` as a call of `regexp_like`, the pattern a literal.
fn matches(text: Value, pattern: Value, regex: impl Fn(&str) -> String) -> Result<Value, PlanError> {
    let Some(pattern) = (if let Expr::Literal(v, _) = &pattern.expr { v.try_as_str().flatten() } else { None }) else {
        return Err(PlanError::new(Code::NonTotalFn, "a pattern must be written as a literal"));
    };
    let function = ScalarUDF::from(Pattern::Like);
    let args = vec![text, constant(ScalarValue::from(regex(pattern)))];
    functions::check_arguments(&function, &args.iter().map(|arg| arg.expr.clone()).collect::<Vec<_>>())?;
    call(function, args)
}

fn negated(condition: Value) -> Value {
    build(vec![condition], DataType::Boolean, None, |parts| Expr::Not(one(parts)))
}

/// Whether there is a patient (`d.person_id IS NULL` after a LEFT JOIN) tells nothing of which one.
fn presence(mut test: Value) -> Value {
    test.lineage.from_unit = false;
    test
}

/// A value made of others; `make` gets as many expressions as there are parts.
fn build(parts: Vec<Value>, data_type: DataType, grid: Option<Grid>, make: impl Fn(Vec<Expr>) -> Expr) -> Value {
    let origins: Option<Vec<Expr>> = parts.iter().map(|p| p.lineage.origin.clone()).collect();
    let origin = origins.map(&make).and_then(small);
    let any = |test: fn(&Lineage) -> bool| parts.iter().any(|p| test(&p.lineage));
    let lineage = Lineage {
        unit: false,
        lost_unit: false,
        hidden: false,
        from_unit: any(|l| l.from_unit),
        unit_determined: parts.iter().all(|p| p.lineage.unit_determined),
        outer: any(|l| l.outer),
        year_only: data_type == DataType::Date32 && any(|l| l.year_only),
        origin,
        grid,
    };
    Value { expr: make(parts.into_iter().map(|p| p.expr).collect()), data_type, lineage }
}

/// An origin that is worth its size.
pub(crate) fn small(origin: Expr) -> Option<Expr> {
    (nodes(&origin) <= MAX_ORIGIN_NODES).then_some(origin)
}

fn nodes(expr: &Expr) -> usize {
    use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
    let mut count = 0;
    // The closure never fails, and a count cut short would only drop the origin.
    let walked = expr.apply(|_| {
        count += 1;
        Ok(if count > MAX_ORIGIN_NODES { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    walked.map_or(usize::MAX, |_| count)
}

fn same_type(a: &Value, b: &Value) -> Result<(), PlanError> {
    if a.data_type == b.data_type || a.data_type == DataType::Null || b.data_type == DataType::Null {
        Ok(())
    } else {
        Err(PlanError::new(Code::TypeMismatch, "values of two types are compared"))
    }
}

fn all_same_type(parts: &[Value]) -> Result<(), PlanError> {
    parts.windows(2).try_for_each(|pair| match pair {
        [a, b] => same_type(a, b),
        _ => Ok(()),
    })
}

/// A call of one of our functions: type and range from its arguments.
fn call(function: ScalarUDF, args: Vec<Value>) -> Result<Value, PlanError> {
    let types: Vec<DataType> = args.iter().map(|a| a.data_type.clone()).collect();
    let name = function.name().to_owned();
    let wrong = |_| PlanError::new(Code::TypeMismatch, format!("{name} does not take arguments of these types"));
    let data_type = function.return_type(&types).map_err(wrong)?;
    let literal = args.iter().find_map(|a| if let Expr::Literal(v, _) = &a.expr { Some(v) } else { None });
    let field = functions::field_read(&function, literal);
    if let Some(field) = field
        && !field.is_coarse()
        && args.iter().any(|a| a.lineage.year_only)
    {
        return Err(PlanError::new(Code::Precision, "the column keeps only the year of its dates"));
    }
    let ranges: Vec<Option<Grid>> = args.iter().map(|a| a.lineage.grid).collect();
    let written = args.iter().filter(|a| matches!(&a.expr, Expr::Literal(v, _) if !v.is_null()));
    // The greatest of some values is no less than one of them that is never NULL.
    let grid = interval::of_function(&name, field, &data_type, &ranges).map(|grid| {
        written.filter_map(|a| a.lineage.grid).fold(grid, |grid, one| match name.as_str() {
            "greatest" => grid.at_least(one),
            "least" => grid.at_most(one),
            _ => grid,
        })
    });
    Ok(build(args, data_type, grid, move |parts| function.call(parts)))
}

fn binary(left: &Expr, op: Operator, right: &Expr, scope: &Scope<'_>, depth: usize) -> Result<Value, PlanError> {
    let of = |child: &Expr| value(child, scope, depth + 1);
    let is_interval = |e: &Expr| matches!(e.get_type(scope.schema), Ok(DataType::Interval(_)));
    match (op, is_interval(left), is_interval(right)) {
        (Operator::Plus | Operator::Minus, false, true) => return shift::shift(of(left)?, op, right, scope, depth),
        (Operator::Plus, true, false) => return shift::shift(of(right)?, op, left, scope, depth),
        _ => {}
    }
    let (left, right) = (of(left)?, of(right)?);
    let operation = match op {
        Operator::And | Operator::Or => {
            if [&left, &right].iter().any(|v| !matches!(v.data_type, DataType::Boolean | DataType::Null)) {
                return Err(PlanError::new(Code::TypeMismatch, "AND and OR join conditions"));
            }
            None
        }
        Operator::Eq
        | Operator::NotEq
        | Operator::Lt
        | Operator::LtEq
        | Operator::Gt
        | Operator::GtEq
        | Operator::IsDistinctFrom
        | Operator::IsNotDistinctFrom => {
            same_type(&left, &right)?;
            None
        }
        Operator::Plus => Some(Operation::Add),
        Operator::Minus if left.data_type == DataType::Date32 => Some(Operation::Days),
        Operator::Minus => Some(Operation::Subtract),
        Operator::Multiply => Some(Operation::Multiply),
        Operator::Divide => Some(Operation::Divide),
        Operator::Modulo => Some(Operation::Remainder),
        Operator::StringConcat => return call(ScalarUDF::from(Text::Join), vec![left, right]),
        Operator::RegexMatch => return matches(left, right, str::to_owned),
        Operator::RegexIMatch => return matches(left, right, |pattern| format!("(?i){pattern}")),
        Operator::RegexNotMatch => return matches(left, right, str::to_owned).map(negated),
        Operator::RegexNotIMatch => return matches(left, right, |p| format!("(?i){p}")).map(negated),
        _ => {
            return Err(PlanError::new(Code::NonTotalFn, format!("the operator {op} is not part of the dialect")));
        }
    };
    match operation {
        Some(operation) => call(ScalarUDF::from(Arithmetic::new(operation)), vec![left, right]),
        None => Ok(build(vec![left, right], DataType::Boolean, None, move |parts| {
            let [left, right] = two(parts);
            Expr::BinaryExpr(BinaryExpr { left, op, right })
        })),
    }
}
