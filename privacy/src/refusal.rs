//! Why a question is refused: stable codes, their words and the accepted form.
//!
//! A refusal is decided from the text and the catalog before anything is read. It never repeats data, nor the
//! words of the SQL engine (which could carry either). Codes are part of the public interface: they are added,
//! never renamed.

use std::fmt;

/// The stable reason of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// The output would be rows about single patients.
    RowLevelOutput,
    /// The output, or a key, would be the patient's pseudonym.
    UnitInOutput,
    /// Two private tables are joined on something else than the patient.
    PrivateJoinNotOnUnit,
    /// An outer join would make the patient of a row NULL, or use such a NULL as a patient.
    OuterJoinNullsPrivate,
    /// Two private tables are joined without a condition.
    CrossJoinPrivate,
    /// A sub-query over private rows stands in an expression, not tied to the patient.
    PrivateSubqueryInExpr,
    /// A window over private rows is not partitioned by the patient.
    WindowNotByUnit,
    /// A set operation mixes private rows with something else.
    SetopMixed,
    /// LIMIT, TABLESAMPLE or DISTINCT ON picks private rows before they are aggregated.
    LimitOrSampleBeforeAgg,
    /// The aggregate is not one of those that can be released.
    AggUnsupported,
    /// A released (noisy) result is joined back to private rows.
    NestedDp,
    /// WITH RECURSIVE.
    Recursive,
    /// GROUPING SETS, ROLLUP or CUBE.
    GroupingSets,
    /// The function gives another value at each call.
    VolatileFn,
    /// A sum or mean over an expression without declared bounds.
    UnboundedColumn,
    /// A quantile over too many cells and candidates.
    TooManyCells,
    /// One patient's rows could multiply past the limit on work.
    TooMuchWork,
    /// A privacy parameter is out of its range.
    BadPrivacyParam,
    /// The function or operator could fail on some value of the data.
    NonTotalFn,
    /// The statement is not a question (DDL, DML, COPY, SET, EXPLAIN, engine tables, file functions).
    NotAQuery,
    /// The text is not SQL.
    Syntax,
    /// A table, column, function or parameter that does not exist.
    UnknownName,
    /// Types do not fit.
    TypeMismatch,
    /// More than one statement.
    MultipleStatements,
    /// The text is too long, too deep, or expands to too many tables.
    TooLarge,
    /// Dates are kept by the year only, and the question asks for finer ones.
    Precision,
    /// A column stands beside aggregates without being grouped by.
    InvalidGrouping,
}

impl Code {
    /// Every code, in the order of the documentation.
    pub const ALL: [Self; 27] = [
        Self::RowLevelOutput,
        Self::UnitInOutput,
        Self::PrivateJoinNotOnUnit,
        Self::OuterJoinNullsPrivate,
        Self::CrossJoinPrivate,
        Self::PrivateSubqueryInExpr,
        Self::WindowNotByUnit,
        Self::SetopMixed,
        Self::LimitOrSampleBeforeAgg,
        Self::AggUnsupported,
        Self::NestedDp,
        Self::Recursive,
        Self::GroupingSets,
        Self::VolatileFn,
        Self::UnboundedColumn,
        Self::TooManyCells,
        Self::TooMuchWork,
        Self::BadPrivacyParam,
        Self::NonTotalFn,
        Self::NotAQuery,
        Self::Syntax,
        Self::UnknownName,
        Self::TypeMismatch,
        Self::MultipleStatements,
        Self::TooLarge,
        Self::Precision,
        Self::InvalidGrouping,
    ];

    /// The code as it is sent and logged: `SCREAMING_SNAKE`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.words().0
    }

    /// One sentence for the person who asked: the accepted form.
    #[must_use]
    pub const fn hint(self) -> &'static str {
        self.words().1
    }

    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::RowLevelOutput => {
                ("ROW_LEVEL_OUTPUT", "Ask for an aggregate: SELECT county, COUNT(*) FROM person GROUP BY county")
            }
            Self::UnitInOutput => (
                "UNIT_IN_OUTPUT",
                "Leave person_id out of the output and the keys; count patients by COUNT(DISTINCT person_id)",
            ),
            Self::PrivateJoinNotOnUnit => (
                "PRIVATE_JOIN_NOT_ON_UNIT",
                "Join tables of patients on the patient: .. JOIN b ON a.person_id = b.person_id AND ..",
            ),
            Self::OuterJoinNullsPrivate => (
                "OUTER_JOIN_NULLS_PRIVATE",
                "Keep the table of patients on the preserved side (person LEFT JOIN ..) and use that side's person_id",
            ),
            Self::CrossJoinPrivate => {
                ("CROSS_JOIN_PRIVATE", "Join tables of patients on the patient: .. JOIN b ON a.person_id = b.person_id")
            }
            Self::PrivateSubqueryInExpr => (
                "PRIVATE_SUBQUERY_IN_EXPR",
                "Tie the sub-query to the patient: person_id IN (SELECT person_id ..), or EXISTS (.. WHERE b.person_id = a.person_id)",
            ),
            Self::WindowNotByUnit => (
                "WINDOW_NOT_BY_UNIT",
                "Windows over patients' rows need OVER (PARTITION BY person_id ..); totals over groups go above the GROUP BY",
            ),
            Self::SetopMixed => (
                "SETOP_MIXED",
                "Every side takes rows of patients with person_id in the same column: SELECT person_id, .. UNION ALL SELECT person_id, ..",
            ),
            Self::LimitOrSampleBeforeAgg => (
                "LIMIT_OR_SAMPLE_BEFORE_AGG",
                "LIMIT goes after the aggregate: SELECT county, COUNT(*) n FROM person GROUP BY county ORDER BY n DESC LIMIT 5",
            ),
            Self::AggUnsupported => (
                "AGG_UNSUPPORTED",
                "Use COUNT, COUNT(DISTINCT x), SUM, AVG, VAR, STDDEV, MEDIAN or APPROX_PERCENTILE_CONT(x, 0.95), in one GROUP BY; a low or high quantile for MIN or MAX; conditions by FILTER (WHERE ..)",
            ),
            Self::NestedDp => (
                "NESTED_DP",
                "A released result cannot select patients' rows again; write the condition on the rows, or release twice",
            ),
            Self::Recursive => ("RECURSIVE", "Write the query without WITH RECURSIVE"),
            Self::GroupingSets => ("GROUPING_SETS", "Use a plain GROUP BY, one question for each grouping"),
            Self::VolatileFn => ("VOLATILE_FN", "Leave the function out; now() is the day on which the data ends"),
            Self::UnboundedColumn => (
                "UNBOUNDED_COLUMN",
                "Sum a column with declared bounds, or a CASE, sum, difference or product of such columns and numbers",
            ),
            Self::TooManyCells => (
                "TOO_MANY_CELLS",
                "Ask for fewer groups or fewer quantiles, or of a column with a narrower declared range",
            ),
            Self::TooMuchWork => (
                "TOO_MUCH_WORK",
                "Aggregate one side by person_id before joining, or use person_id IN (SELECT person_id ..)",
            ),
            Self::BadPrivacyParam => (
                "BAD_PRIVACY_PARAM",
                "Give one of epsilon, rho, accuracy: a number above 0 and within the protocol's cap",
            ),
            Self::NonTotalFn => (
                "NON_TOTAL_FN",
                "Use one of the functions of DIALECT.md; patterns, units and lengths are written as literals",
            ),
            Self::NotAQuery => ("NOT_A_QUERY", "Send one SELECT over the tables of the catalog"),
            Self::Syntax => ("SYNTAX", "Send one SELECT statement in standard SQL"),
            Self::UnknownName => {
                ("UNKNOWN_NAME", "See the tables and columns at /v1/datasets, the functions in DIALECT.md")
            }
            Self::TypeMismatch => ("TYPE_MISMATCH", "Cast one side: CAST(x AS BIGINT), DATE '2020-01-31'"),
            Self::MultipleStatements => ("MULTIPLE_STATEMENTS", "Send one statement at a time"),
            Self::TooLarge => {
                ("TOO_LARGE", "Send at most 64 KiB of text, nested at most 64 deep, over at most 64 tables")
            }
            Self::Precision => {
                ("PRECISION", "These dates keep only the year: use date_trunc('year', x) or EXTRACT(YEAR FROM x)")
            }
            Self::InvalidGrouping => ("INVALID_GROUPING", "Add the column to GROUP BY or put it inside an aggregate"),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal of the plan, decided before anything is read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct PlanError {
    /// The stable reason.
    pub code: Code,
    /// What in the question it is about, in our own words: names from the question or the catalog, never data.
    pub detail: String,
}

impl PlanError {
    /// A refusal with its detail.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_distinct_screaming_snake_and_have_a_hint() {
        let names: BTreeSet<&str> = Code::ALL.iter().map(|c| c.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.as_str().chars().all(|c| c.is_ascii_uppercase() || c == '_'), "{code}");
            assert!(code.hint().len() > 20, "{code} has no hint");
        }
    }

    #[test]
    fn the_error_says_code_and_detail() {
        let error = PlanError::new(Code::NestedDp, "t");
        assert_eq!(error.to_string(), "NESTED_DP: t");
    }
}
