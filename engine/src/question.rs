//! A question's text and parameters, as asked and as logged.

use std::collections::BTreeMap;

use epiledger_privacy::{catalog::Catalog, query::Query, refusal::PlanError};
use epiledger_sql::{SqlError, Value, bind, parse};

use crate::api::{Position, QueryError};

/// What separates the SQL from its parameters in the logged text.
const PARAMETERS: &str = "\n-- parameters: ";

/// SQL and parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// The SQL.
    pub sql: String,
    /// Values of `$name`.
    pub params: BTreeMap<String, serde_json::Value>,
}

impl Question {
    /// The text that the log commits to: the SQL, and its parameters as a comment.
    #[must_use]
    pub fn text(&self) -> String {
        // A SQL text that itself ends in such a comment gets another one, so that it reads back as it was.
        if self.params.is_empty() && !self.sql.contains(PARAMETERS) {
            return self.sql.clone();
        }
        // A map of JSON values has string keys, so it always serializes.
        format!("{}{PARAMETERS}{}", self.sql, serde_json::to_string(&self.params).unwrap_or_default())
    }

    /// Reads a logged text back.
    #[must_use]
    pub fn read(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let split = text.rsplit_once(PARAMETERS);
        match split.and_then(|(sql, json)| Some((sql, serde_json::from_str(json).ok()?))) {
            Some((sql, params)) => Self { sql: sql.to_owned(), params },
            None => Self { sql: text.into_owned(), params: BTreeMap::new() },
        }
    }

    /// Parses and binds it.
    ///
    /// # Errors
    /// The refusal, with its place in the text.
    pub fn bind(&self, catalog: &Catalog) -> Result<Query, QueryError> {
        let parsed = parse(&self.sql).map_err(misread)?;
        let mut params = BTreeMap::new();
        for (name, value) in &self.params {
            let value: Value = serde_json::from_value(value.clone()).map_err(|_| QueryError::Refused {
                code: "TYPE_MISMATCH".into(),
                message: format!("the parameter ${name} is neither a number, a text, a boolean nor null"),
                position: None,
                hint: "pass it like {\"name\": \"value\"}".into(),
            })?;
            params.insert(name.clone(), value);
        }
        bind(&parsed, catalog, &params).map_err(misread)
    }
}

fn misread(error: SqlError) -> QueryError {
    QueryError::Refused {
        code: error.code.as_str().to_owned(),
        message: error.message,
        position: Some(Position { line: error.line, column: error.column, length: error.length }),
        hint: error.hint,
    }
}

/// A refusal of the trusted core, which knows no places in the text.
#[must_use]
pub fn refused(error: &PlanError) -> QueryError {
    QueryError::Refused {
        code: error.code.as_str().to_owned(),
        message: error.detail.to_string(),
        position: None,
        hint: error.code.hint().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logged_text_reads_back() {
        let forged = format!("SELECT 1{PARAMETERS}{{\"year\":1999}}");
        let hostile = serde_json::json!("x\n-- parameters: {}\u{2028}*/;\r");
        for sql in ["SELECT 1 -- x\n", forged.as_str()] {
            for params in [
                BTreeMap::new(),
                BTreeMap::from([("year".to_owned(), serde_json::json!(2021))]),
                BTreeMap::from([("a".to_owned(), hostile.clone()), ("b".to_owned(), serde_json::Value::Null)]),
            ] {
                let question = Question { sql: sql.into(), params };
                let text = question.text();
                assert_eq!(Question::read(text.as_bytes()), question);
                // The parameters are one line of comment, whatever they hold.
                let rest = text.strip_prefix(sql).unwrap();
                assert!(rest.is_empty() || rest.lines().skip(1).all(|line| line.starts_with("-- ")), "{rest:?}");
            }
        }
    }
}
