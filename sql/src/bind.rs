//! A parsed question against a catalog.

use std::collections::BTreeMap;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DataFusionError, ParamValues, Result, SchemaError};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Aggregate, Distinct, Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::analyzer::type_coercion::TypeCoercion;
use datafusion::sql::planner::{ParserOptions, SqlToRel};
use datafusion::sql::sqlparser::tokenizer::{Location, Span};
use epiledger_privacy::catalog::Catalog;
use epiledger_privacy::day::Day;
use epiledger_privacy::query::Query;
use epiledger_privacy::refusal::{Code, PlanError};

use crate::context::{Context, constant};
use crate::cross::connect;
use crate::decorrelate::{decorrelate, sets_of_values};
use crate::distinct_on::first_row;
use crate::error::SqlError;
use crate::nearest::{hint, nearest, shown};
use crate::params::{self, Value};
use crate::parse::Parsed;
use crate::split::split;
use crate::stack::deep;

/// Binds a question to a catalog. Nothing is read.
///
/// # Errors
/// The refusal, with its place in the text.
pub fn bind(
    parsed: &Parsed,
    catalog: &Catalog,
    params: &BTreeMap<String, Value>,
) -> std::result::Result<Query, SqlError> {
    deep(|| bound(parsed, catalog, params)).unwrap_or_else(|| {
        let words = "the question could not be planned";
        Err(SqlError::new(Code::TooLarge, words, Span::empty(), &parsed.text))
    })
}

fn bound(parsed: &Parsed, catalog: &Catalog, params: &BTreeMap<String, Value>) -> std::result::Result<Query, SqlError> {
    params::check(parsed, params)?;
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
    let (statement, values) = params::prepared(parsed.query.clone(), params);
    let plan = SqlToRel::new_with_options(&context, options)
        .sql_statement_to_plan(statement)
        .map_err(|error| not_planned(parsed, catalog, &error))?;
    // What is rewritten has types, and what is written anew gets them.
    let rewritten = with_values(params::unprepared(plan), &values)
        .and_then(sets_of_values)
        .and_then(coerced)
        .and_then(|plan| plain(plan, catalog))
        .and_then(coerced);
    rewritten.map_err(|error| not_planned(parsed, catalog, &error))
}

fn coerced(plan: LogicalPlan) -> Result<LogicalPlan> {
    TypeCoercion::new().analyze(plan, &ConfigOptions::default())
}

/// Parameters and constants of the dialect as literals.
fn with_values(plan: LogicalPlan, values: &ParamValues) -> Result<LogicalPlan> {
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
                _ => Ok(match constant(&expr) {
                    Some(literal) => Transformed::yes(literal),
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

/// What the planner says of a number in GROUP BY or ORDER BY that names no column.
const OUT_OF_LIST: [&str; 3] =
    ["Cannot find column with position", "Order by index starts at 1", "Order by column out of bounds"];

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
            SchemaError::FieldNotFound { field, valid_fields } => {
                let words = format!("no column {}", shown(&field.name));
                let refusal = say(Code::UnknownName, words, parsed.suspects.ident(&field.name));
                let near = near_columns(parsed, catalog, field, valid_fields);
                refusal.with_hint(hint(&near, "The columns of each table are at /v1/datasets"))
            }
            SchemaError::AmbiguousReference { field } => say(
                Code::UnknownName,
                format!("the column {} is in several tables: write table.{}", shown(&field.name), shown(&field.name)),
                parsed.suspects.ident(&field.name),
            ),
            SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
                say(Code::UnknownName, format!("two columns are called {}: give one an alias", shown(name)), None)
            }
        },
        DataFusionError::Plan(words) if words.contains("GROUP BY") => {
            say(Code::InvalidGrouping, "a column is neither grouped by nor inside an aggregate".into(), None)
        }
        DataFusionError::Plan(words) if words.contains("specified more than once") => {
            say(Code::UnknownName, "two WITHs have one name: give one of them another".into(), None)
        }
        DataFusionError::Plan(words) if OUT_OF_LIST.iter().any(|known| words.contains(known)) => {
            say(Code::InvalidGrouping, "the select list has no column of this number".into(), None)
        }
        DataFusionError::Plan(words) if words.contains("no such table") => {
            let Some((name, span)) = unknown_table(parsed, catalog) else {
                return say(Code::UnknownName, "no such table".to_owned(), None);
            };
            let known = catalog.tables.keys().map(String::as_str).chain(parsed.suspects.defined());
            let near = nearest(&name, known);
            let refusal = say(Code::UnknownName, format!("no table {}", shown(&name)), Some(span));
            refusal.with_hint(hint(&near, "The tables are at /v1/datasets"))
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

/// What a wrong column may have meant: a column in its scope; where none is near, any column of the question's tables.
fn near_columns(parsed: &Parsed, catalog: &Catalog, wrong: &Column, valid: &[Column]) -> Vec<String> {
    let of = |column: &Column| column.relation.as_ref().map(ToString::to_string);
    let qualifier = of(wrong);
    let in_scope = valid.iter().filter(|column| qualifier.is_none() || of(column) == qualifier);
    let near = nearest(&wrong.name, in_scope.map(|column| column.name.as_str()));
    if !near.is_empty() {
        return near.into_iter().map(str::to_owned).collect();
    }
    if let Some(qualifier) = qualifier {
        // The table's own name may be what is wrong.
        let named: Vec<String> = valid.iter().filter(|c| c.name == wrong.name).filter_map(of).collect();
        let near = nearest(&qualifier, named.iter().map(String::as_str));
        if !near.is_empty() {
            return near.into_iter().map(|table| format!("{table}.{}", wrong.name)).collect();
        }
    }
    let tables = parsed.suspects.tables().filter_map(|(name, _)| catalog.table(name));
    let columns = tables.flat_map(|table| table.columns.iter().map(|column| column.name.as_str()));
    nearest(&wrong.name, columns).into_iter().map(str::to_owned).collect()
}
