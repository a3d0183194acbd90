//! A refusal with its place in the text.

use datafusion::sql::sqlparser::tokenizer::{Location, Span};
use epiledger_privacy::refusal::{Code, PlanError};

/// Why a question was refused, and where. It never repeats data or the engine's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message} (line {line}, column {column})")]
pub struct SqlError {
    /// The stable reason.
    pub code: Code,
    /// What is wrong, for the person who asked.
    pub message: String,
    /// Line of the offending span, from 1.
    pub line: u64,
    /// Column of the offending span, from 1, in characters.
    pub column: u64,
    /// Characters in the span, at least 1.
    pub length: u64,
    /// The accepted form.
    pub hint: String,
}

impl SqlError {
    /// The stable reason.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The accepted form, or the nearest names.
    #[must_use]
    pub fn hint(&self) -> &str {
        &self.hint
    }

    /// The offending span: line and column from 1, length in characters.
    #[must_use]
    pub const fn span(&self) -> (u64, u64, u64) {
        (self.line, self.column, self.length)
    }

    pub(crate) fn new(code: Code, message: impl Into<String>, span: Span, text: &str) -> Self {
        let (start, length) = measured(span, text);
        let hint = code.hint().to_owned();
        Self { code, message: message.into(), line: start.line, column: start.column, length, hint }
    }

    pub(crate) fn with_hint(self, hint: String) -> Self {
        Self { hint, ..self }
    }

    pub(crate) fn at(refusal: PlanError, span: Span, text: &str) -> Self {
        Self::new(refusal.code, refusal.detail, span, text)
    }
}

/// Start and length of a span within the text: the whole text for an empty one, its last character for one past it.
fn measured(span: Span, text: &str) -> (Location, u64) {
    let (start, length) = unbounded(span, text);
    let mut left = count(text.chars().count());
    for (line, words) in (1_u64..).zip(text.split('\n')) {
        let columns = count(words.chars().count());
        if line == start.line {
            let left = (left + 1).saturating_sub(start.column);
            if left > 0 {
                return (start, length.min(left));
            }
        }
        left = left.saturating_sub(columns + 1);
    }
    let (line, words) =
        (1_u64..).zip(text.split('\n')).filter(|(_, words)| !words.is_empty()).last().unwrap_or((1, ""));
    (Location { line, column: count(words.chars().count()).max(1) }, 1)
}

fn unbounded(span: Span, text: &str) -> (Location, u64) {
    let first = Location { line: 1, column: 1 };
    let whole = || (first, count(text.trim_end().chars().count()).max(1));
    if span.start.line == 0 {
        return whole();
    }
    if span.end.line == span.start.line {
        return (span.start, span.end.column.saturating_sub(span.start.column).max(1));
    }
    let mut length = 0;
    for (line, words) in (1_u64..).zip(text.split('\n')) {
        let columns = count(words.chars().count());
        length += match line {
            line if line < span.start.line || line > span.end.line => 0,
            line if line == span.start.line => (columns + 2).saturating_sub(span.start.column),
            line if line == span.end.line => span.end.column.saturating_sub(1),
            _ => columns + 1,
        };
    }
    (span.start, length.max(1))
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(a: (u64, u64), b: (u64, u64)) -> Span {
        Span::new(Location { line: a.0, column: a.1 }, Location { line: b.0, column: b.1 })
    }

    #[test]
    fn lengths_count_characters_over_lines() {
        let text = "SELECT é\nFROM t";
        assert_eq!(measured(span((1, 8), (1, 9)), text).1, 1);
        assert_eq!(measured(span((1, 8), (2, 5)), text).1, 6);
        assert_eq!(measured(Span::empty(), text), (Location { line: 1, column: 1 }, 15));
        assert_eq!(measured(span((2, 9), (2, 10)), text), (Location { line: 2, column: 6 }, 1));
        assert_eq!(measured(span((2, 6), (2, 9)), text), (Location { line: 2, column: 6 }, 1));
        assert_eq!(measured(span((7, 1), (7, 2)), ""), (Location { line: 1, column: 1 }, 1));
    }
}
