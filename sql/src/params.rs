//! Parameters `$name`: typed values that are planned as a prepared statement's, and never become text again.
//!
//! The planner knows each parameter's type before it coerces anything, and the value takes the parameter's place in the
//! plan as a literal, before the core bounds it. So a parameter is part of the cache key as a literal is, and a text
//! such as `x' OR 1=1` stays a text.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use datafusion::common::ParamValues;
use datafusion::common::metadata::ScalarAndMetadata;
use datafusion::logical_expr::{LogicalPlan, Statement as Planned};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{
    DataType, ExactNumberInfo, Expr, Ident, Query, Statement, Value as Literal, visit_expressions_mut,
};
use datafusion::sql::sqlparser::tokenizer::Span;
use epiledger_privacy::refusal::Code;
use serde::{Deserialize, Serialize};

use crate::error::SqlError;
use crate::limits::MAX_TEXT_BYTES;
use crate::nearest::{hint, nearest, shown};
use crate::parse::Parsed;

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

impl Value {
    /// Its SQL type and value; none for NULL, which has the type of its place.
    fn typed(&self) -> Option<(DataType, ScalarValue)> {
        Some(match self {
            Self::Null => return None,
            Self::Bool(v) => (DataType::Boolean, ScalarValue::Boolean(Some(*v))),
            Self::Integer(v) => (DataType::BigInt(None), ScalarValue::Int64(Some(*v))),
            Self::Float(v) => (DataType::Double(ExactNumberInfo::None), ScalarValue::Float64(Some(*v))),
            Self::Text(v) => (DataType::Varchar(None), ScalarValue::Utf8(Some(v.clone()))),
        })
    }
}

/// Refuses parameters without a value, values without a parameter, and texts that are too long together.
pub(crate) fn check(parsed: &Parsed, params: &BTreeMap<String, Value>) -> Result<(), SqlError> {
    let used = parsed.suspects.placeholders();
    for (written, span) in used {
        let Some(name) = written.strip_prefix('$').filter(|name| is_name(name)) else {
            let words = "a parameter is written $name";
            return Err(SqlError::new(Code::Syntax, words, *span, &parsed.text));
        };
        if !params.contains_key(name) {
            let words = format!("no value for the parameter ${}", shown(name));
            let near = nearest(name, params.keys().map(String::as_str));
            let given = format!("Pass it in params: {{\"{}\": value}}", shown(name));
            let refusal = SqlError::new(Code::UnknownName, words, *span, &parsed.text);
            return Err(refusal.with_hint(hint(&near, &given)));
        }
    }
    for name in params.keys() {
        if !used.iter().any(|(written, _)| written.strip_prefix('$') == Some(name)) {
            let words = format!("the question has no parameter ${}", shown(name));
            let near: Vec<&str> = used.iter().map(|(written, _)| written.trim_start_matches('$')).collect();
            let near = nearest(name, near);
            let refusal = SqlError::new(Code::UnknownName, words, Span::empty(), &parsed.text);
            return Err(refusal.with_hint(hint(&near, "Write it as $name in the SQL, or leave its value out")));
        }
    }
    let text = |value: &Value| if let Value::Text(text) = value { text.len() } else { 0 };
    if params.values().map(text).sum::<usize>() > MAX_TEXT_BYTES {
        let words = "the parameters' texts are longer than 64 KiB together";
        return Err(SqlError::new(Code::TooLarge, words, Span::empty(), &parsed.text));
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_') && chars.all(|c| c.is_alphanumeric() || c == '_')
}

/// The question as a prepared statement, its parameters numbered in the order of their names.
pub(crate) fn prepared(query: Box<Query>, params: &BTreeMap<String, Value>) -> (Statement, ParamValues) {
    let typed: Vec<(&String, DataType, ScalarValue)> = params
        .iter()
        .filter_map(|(name, value)| value.typed().map(|(data_type, scalar)| (name, data_type, scalar)))
        .collect();
    let mut statement = Statement::Query(query);
    let ControlFlow::Continue(()) = visit_expressions_mut(&mut statement, |expr| {
        if let Expr::Value(value) = expr
            && let Literal::Placeholder(written) = &value.value
        {
            let position = typed.iter().position(|(name, ..)| written.strip_prefix('$') == Some(name.as_str()));
            value.value = match position {
                Some(position) => Literal::Placeholder(format!("${}", position + 1)),
                None => Literal::Null,
            };
        }
        ControlFlow::<std::convert::Infallible>::Continue(())
    });
    if typed.is_empty() {
        return (statement, ParamValues::List(Vec::new()));
    }
    let mut data_types = Vec::with_capacity(typed.len());
    let mut values: Vec<ScalarAndMetadata> = Vec::with_capacity(typed.len());
    for (_, data_type, scalar) in typed {
        data_types.push(data_type);
        values.push(scalar.into());
    }
    let statement = Statement::Prepare { name: Ident::new("question"), data_types, statement: Box::new(statement) };
    (statement, ParamValues::List(values))
}

/// The plan inside a prepared statement's.
pub(crate) fn unprepared(plan: LogicalPlan) -> LogicalPlan {
    match plan {
        LogicalPlan::Statement(Planned::Prepare(prepare)) => std::sync::Arc::unwrap_or_clone(prepare.input),
        other => other,
    }
}
