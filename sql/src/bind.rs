//! A parsed question against a catalog.

use std::collections::{BTreeMap, HashMap};

use datafusion::common::metadata::ScalarAndMetadata;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DataFusionError, ParamValues, Result, SchemaError};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Aggregate, Distinct, Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::analyzer::type_coercion::TypeCoercion;
use datafusion::scalar::ScalarValue;
use datafusion::sql::planner::{ParserOptions, SqlToRel};
use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::tokenizer::{Location, Span};
use epiledger_privacy::catalog::Catalog;
use epiledger_privacy::day::Day;
use epiledger_privacy::query::Query;
use epiledger_privacy::refusal::{Code, PlanError};
use serde::{Deserialize, Serialize};

use crate::context::{Context, today};
use crate::cross::connect;
use crate::decorrelate::{decorrelate, sets_of_values};
use crate::distinct_on::first_row;
use crate::error::SqlError;
use crate::parse::Parsed;
use crate::split::split;

/// The value of a parameter `$name`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// NULL.
    Null,
    /// TRUE or FALSE.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Another number.
    Float(f64),
    /// A text; where a date is wanted, `YYYY-MM-DD`.
    Text(String),
}

impl From<&Value> for ScalarValue {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(v) => Self::Boolean(Some(*v)),
            Value::Integer(v) => Self::Int64(Some(*v)),
            Value::Float(v) => Self::Float64(Some(*v)),
            Value::Text(v) => Self::Utf8(Some(v.clone())),
        }
    }
}

/// Binds a question to a catalog. Nothing is read.
///
/// # Errors
/// The refusal, with its place in the text.
pub fn bind(
    parsed: &Parsed,
    catalog: &Catalog,
    params: &BTreeMap<String, Value>,
) -> std::result::Result<Query, SqlError> {
    let plan = planned(parsed, catalog, params)?;
    let query = split(plan, catalog)
        .and_then(|(private, post)| Query::new(private, post))
        .and_then(|query| query.check(catalog).map(|()| query));
    query.map_err(|refusal| placed(parsed, refusal))
}

/// The whole question as one plan of joins and aggregates, with its types coerced.
pub(crate) fn planned(
    parsed: &Parsed,
    catalog: &Catalog,
    params: &BTreeMap<String, Value>,
) -> std::result::Result<LogicalPlan, SqlError> {
    let cut = Day::parse(&catalog.data_cut).map_or(0, |day| day.0);
    let context = Context::new(catalog, cut);
    let options = ParserOptions::new().with_collect_spans(true).with_map_string_types_to_utf8view(false);
    let statement = Statement::Query(parsed.query.clone());
    let plan = SqlToRel::new_with_options(&context, options)
        .sql_statement_to_plan(statement)
        .map_err(|error| not_planned(parsed, catalog, &error))?;
    // What is rewritten has types, and what is written anew gets them.
    let rewritten = with_params(plan, params)
        .and_then(sets_of_values)
        .and_then(coerced)
        .and_then(|plan| plain(plan, catalog))
        .and_then(coerced);
    rewritten.map_err(|error| not_planned(parsed, catalog, &error))
}

fn coerced(plan: LogicalPlan) -> Result<LogicalPlan> {
    TypeCoercion::new().analyze(plan, &ConfigOptions::default())
}

fn with_params(plan: LogicalPlan, params: &BTreeMap<String, Value>) -> Result<LogicalPlan> {
    let named: HashMap<String, ScalarAndMetadata> =
        params.iter().map(|(name, value)| (name.clone(), ScalarValue::from(value).into())).collect();
    let values = ParamValues::Map(named);
    let preserver = |plan: &LogicalPlan| NamePreserver::new(plan);
    let replaced = plan.transform_up_with_subqueries(|node| {
        let names = preserver(&node);
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            let new = expr.transform_up(|expr| match &expr {
                // One that has no value stays, and is refused by the core.
                Expr::Placeholder(placeholder) => Ok(match values.get_placeholders_with_values(&placeholder.id) {
                    Ok(value) => Transformed::yes(Expr::Literal(value.value, None)),
                    Err(_) => Transformed::no(expr),
                }),
                _ => Ok(match today(&expr) {
                    Some(day) => Transformed::yes(day),
                    None => Transformed::no(expr),
                }),
            })?;
            Ok(new.update_data(|expr| name.restore(expr)))
        })?
        .map_data(LogicalPlan::recompute_schema)
    })?;
    Ok(replaced.data)
}

/// Joins, aggregates and windows alone: comma joins connected, sub-queries tied, DISTINCT as a group-by, DISTINCT ON
/// the patient as its first row.
fn plain(plan: LogicalPlan, catalog: &Catalog) -> Result<LogicalPlan> {
    let plan = decorrelate(connect(plan)?, catalog)?;
    let grouped = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let keys = input.schema().iter().map(|field| Expr::Column(Column::from(field))).collect();
            let grouped = Aggregate::try_new(input, keys, Vec::new())?;
            Ok(Transformed::yes(LogicalPlan::Aggregate(grouped)))
        }
        LogicalPlan::Distinct(Distinct::On(on)) => first_row(on, catalog),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(grouped.data)
}

/// The core's refusal with its likeliest place.
fn placed(parsed: &Parsed, refusal: PlanError) -> SqlError {
    let named = refusal.detail.rsplit(' ').next().and_then(|word| parsed.suspects.ident(word));
    let span = match refusal.code {
        Code::UnknownName => named.unwrap_or_else(|| parsed.suspects.place(refusal.code)),
        code => parsed.suspects.place(code),
    };
    SqlError::at(refusal, span, &parsed.text)
}

/// The planner's error in our own words.
fn not_planned(parsed: &Parsed, catalog: &Catalog, error: &DataFusionError) -> SqlError {
    let place = |line: u64, column: u64| Location { line, column };
    let seen = error.diagnostic().and_then(|diagnostic| diagnostic.span);
    let seen = seen.map(|s| Span::new(place(s.start.line, s.start.column), place(s.end.line, s.end.column)));
    let say = |code: Code, words: String, span: Option<Span>| {
        let span = span.or(seen).unwrap_or_else(|| parsed.suspects.place(code));
        SqlError::new(code, words, span, &parsed.text)
    };
    match error.find_root() {
        DataFusionError::SchemaError(schema, _) => match schema.as_ref() {
            SchemaError::FieldNotFound { field, .. } => {
                say(Code::UnknownName, format!("no column {}", field.name), parsed.suspects.ident(&field.name))
            }
            SchemaError::AmbiguousReference { field } => say(
                Code::UnknownName,
                format!("the column {} is in several tables: write table.{}", field.name, field.name),
                parsed.suspects.ident(&field.name),
            ),
            SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
                say(Code::UnknownName, format!("two columns are called {name}: give one an alias"), None)
            }
        },
        DataFusionError::Plan(words) if words.contains("GROUP BY") => {
            say(Code::InvalidGrouping, "a column is neither grouped by nor inside an aggregate".into(), None)
        }
        DataFusionError::Plan(words) if words.contains("specified more than once") => {
            say(Code::UnknownName, "two WITHs have one name: give one of them another".into(), None)
        }
        DataFusionError::Plan(words) if words.contains("no such table") => {
            let (words, span) = match unknown_table(parsed, catalog) {
                Some((name, span)) => (format!("no table {name}"), Some(span)),
                None => ("no such table".to_owned(), None),
            };
            say(Code::UnknownName, words, span)
        }
        DataFusionError::NotImplemented(_) => {
            say(Code::Syntax, "a form of SQL that is not part of the dialect".into(), None)
        }
        _ => say(Code::TypeMismatch, "types or arguments do not fit".into(), None),
    }
}

/// The first table of the text that neither the catalog nor a WITH names.
fn unknown_table(parsed: &Parsed, catalog: &Catalog) -> Option<(String, Span)> {
    let known = |name: &str| catalog.table(name).is_some() || parsed.suspects.defines(name);
    parsed.suspects.tables().find(|(name, _)| !known(name)).cloned()
}
