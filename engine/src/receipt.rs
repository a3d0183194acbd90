//! What binds an answer to the log, offline: the proof of its entry, and the release that its outcome commits to.
//!
//! ```text
//! rows shown ── bound ──► released keys and draws ── SHA-256(salt || release) ──► result_commit of the outcome
//!                                                                                     │ proof
//!            query.repeated ── cites ─────────────────────────────────────────────────┴──► signed head
//! ```
//! A column is bound when it shows keys or draws as they were released, or the plain interval and sigma of such a draw:
//! each row is then one cell of the release. Values that the question computes from the release, and which of its cells
//! HAVING or LIMIT leave out, are not bound: whoever has the question can compute them again from the release.

use std::collections::HashSet;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use epiledger_ledger::{
    Log, LogError,
    entry::{AuditEntry, AuditLogEntry, parse_audit_entry},
    tree::sha256,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    api::{AnswerColumn, Cited, ColumnRole, Receipt},
    open::hex,
};

/// Bytes of the salt before a committed text.
const SALT: usize = 32;

/// The receipt of the answer that an entry stands for, its release and all that is cited along with it.
///
/// # Errors
/// The log can't be read.
pub(crate) fn of(log: &Log, index: u64) -> Result<Receipt, LogError> {
    let entry = |index| log.read(index).map(|bytes| parse_audit_entry(&bytes));
    let mut receipt = Receipt { index: log.place(index), proof: log.prove_inclusion(index)?, ..Receipt::default() };
    let mut answered = entry(index)?;
    if let Ok(AuditLogEntry::Entry(AuditEntry::QueryRepeated(repeated))) = &answered {
        let index = repeated.cites;
        receipt.cites = Some(Cited { index: log.place(index), proof: log.prove_inclusion(index)? });
        answered = entry(index)?;
    }
    if let Ok(AuditLogEntry::Entry(AuditEntry::QueryOutcome(outcome))) = answered
        && let Some(commit) = outcome.result_commit
    {
        // None when it was redacted.
        receipt.result = log.blob(&commit)?.map(|blob| BASE64_STANDARD.encode(blob));
    }
    Ok(receipt)
}

/// What of a release an answer's column shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A key column, by its place in the release.
    Key(usize),
    /// A draw.
    Draw(usize),
    /// The low end of a draw's interval.
    Low(usize),
    /// The high end.
    High(usize),
    /// A draw's standard deviation.
    Sigma(usize),
}

/// The released numbers, as the log's blob holds them.
#[derive(Deserialize)]
pub(crate) struct Released {
    /// The statement that paid.
    pub query_id: String,
    /// The snapshot that was read.
    pub snapshot: u64,
    keys: Vec<Keys>,
    draws: Vec<Drawn>,
}

#[derive(Deserialize)]
struct Keys {
    values: Vec<Option<String>>,
}

#[derive(Deserialize)]
struct Drawn {
    scale: i8,
    sigma: String,
    half_width: i64,
    values: Vec<i64>,
}

impl Released {
    /// Opens a receipt's `result`.
    pub fn open(result: &str) -> Option<Self> {
        serde_json::from_slice(BASE64_STANDARD.decode(result).ok()?.get(SALT..)?).ok()
    }

    /// The commitment that a receipt's `result` opens, 64 hex digits.
    pub fn commit(result: &str) -> Option<String> {
        BASE64_STANDARD.decode(result).ok().map(|blob| hex(&sha256(&blob)))
    }

    fn cells(&self) -> usize {
        self.draws.first().map_or(0, |draw| draw.values.len())
    }

    /// What a source shows in a cell, in [`text`]'s form.
    fn text(&self, source: Source, cell: usize) -> Option<String> {
        let number = |draw: &Drawn, by: i64| {
            let grid = draw.values.get(cell)?.checked_add(by)?;
            if draw.scale == 0 {
                return Some(grid.to_string());
            }
            format!("{grid}e{}", -i32::from(draw.scale)).parse().ok().map(plain)
        };
        match source {
            Source::Key(at) => self.keys.get(at)?.values.get(cell)?.clone(),
            Source::Draw(at) => number(self.draws.get(at)?, 0),
            Source::Low(at) => self.draws.get(at).and_then(|draw| number(draw, -draw.half_width)),
            Source::High(at) => self.draws.get(at).and_then(|draw| number(draw, draw.half_width)),
            Source::Sigma(at) => {
                let draw = self.draws.get(at)?;
                let sigma: f64 = draw.sigma.parse().ok()?;
                Some(plain(sigma / 10_f64.powi(i32::from(draw.scale))))
            }
        }
    }
}

/// A number's one text, whether it is an integer or not.
fn plain(number: f64) -> String {
    number.to_string()
}

/// A cell of an answer as text; None for NULL.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => number.as_i64().map(|whole| whole.to_string()).or(number.as_f64().map(plain)),
        other => Some(other.to_string()),
    }
}

/// Rows and cells as far as the columns so far tell them apart.
struct Matching<'a> {
    rows: &'a [Vec<Value>],
    release: &'a Released,
    of_rows: Vec<String>,
    of_cells: Vec<String>,
}

impl<'a> Matching<'a> {
    fn new(rows: &'a [Vec<Value>], release: &'a Released) -> Self {
        let (of_rows, of_cells) = (vec![String::new(); rows.len()], vec![String::new(); release.cells()]);
        Self { rows, release, of_rows, of_cells }
    }

    /// Takes a column in, when each row is still some cell; else the first row that is none.
    fn add(&mut self, column: usize, source: Source) -> Result<(), usize> {
        let longer = |before: &String, text: Option<String>| format!("{before}\u{1f}{text:?}");
        let of_cells = self.of_cells.iter().enumerate();
        let of_cells: Vec<String> =
            of_cells.map(|(cell, before)| longer(before, self.release.text(source, cell))).collect();
        let shown = |row: &Vec<Value>| row.get(column).and_then(text);
        let of_rows: Vec<String> =
            self.of_rows.iter().zip(self.rows).map(|(before, row)| longer(before, shown(row))).collect();
        let known: HashSet<&String> = of_cells.iter().collect();
        if let Some(row) = of_rows.iter().position(|row| !known.contains(row)) {
            return Err(row);
        }
        (self.of_rows, self.of_cells) = (of_rows, of_cells);
        Ok(())
    }
}

/// What each column shows of the release; None for one that is computed from it.
pub(crate) fn bind(columns: &[AnswerColumn], rows: &[Vec<Value>], release: &Released) -> Vec<Option<Source>> {
    let mut matching = Matching::new(rows, release);
    let mut value = None;
    let mut bound = Vec::new();
    for (at, column) in columns.iter().enumerate() {
        let of_value = |source: fn(usize) -> Source| value.into_iter().map(source).collect();
        let candidates: Vec<Source> = match column.role {
            ColumnRole::Key => (0..release.keys.len()).map(Source::Key).collect(),
            ColumnRole::Value => (0..release.draws.len()).map(Source::Draw).collect(),
            ColumnRole::Low => of_value(Source::Low),
            ColumnRole::High => of_value(Source::High),
            ColumnRole::Sigma => of_value(Source::Sigma),
        };
        let found = candidates.into_iter().find(|source| matching.add(at, *source).is_ok());
        if column.role == ColumnRole::Value {
            value = if let Some(Source::Draw(draw)) = found { Some(draw) } else { None };
        }
        bound.push(found);
    }
    bound
}

/// Whether each row is a cell of the release in all bound columns.
///
/// # Errors
/// The column, and the row in it, that is none.
pub(crate) fn check(bound: &[Option<Source>], rows: &[Vec<Value>], release: &Released) -> Result<(), (usize, usize)> {
    let mut matching = Matching::new(rows, release);
    for (column, source) in bound.iter().enumerate() {
        if let Some(source) = source {
            matching.add(column, *source).map_err(|row| (column, row))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn release() -> Released {
        serde_json::from_value(json!({
            "query_id": "q", "snapshot": 1,
            "keys": [{ "type": "Utf8", "values": ["a", "b", null] }],
            "draws": [
                { "scale": 0, "sigma": "10", "half_width": 20, "values": [5, -3, 5] },
                { "scale": 2, "sigma": "12.5", "half_width": 30, "values": [1234, 50, 100] },
            ],
        }))
        .unwrap()
    }

    fn columns(roles: &[ColumnRole]) -> Vec<AnswerColumn> {
        let column = |role: &ColumnRole| AnswerColumn { name: "x".into(), type_name: "number".into(), role: *role };
        roles.iter().map(column).collect()
    }

    #[test]
    fn columns_find_what_they_show_and_computed_ones_nothing() {
        use ColumnRole::{High, Key, Low, Sigma, Value as Shown};
        let columns = columns(&[Key, Shown, Low, High, Sigma, Shown, Shown, Low]);
        let rows: Vec<Vec<Value>> =
            [json!([null, 5, -15.0, 25.0, 10.0, 1.0, 15, 1]), json!(["b", -3, -23.0, 17.0, 10.0, 0.5, -9, 2])]
                .map(|row| row.as_array().unwrap().clone())
                .into();
        let bound = bind(&columns, &rows, &release());
        let expected = [
            Some(Source::Key(0)),
            Some(Source::Draw(0)),
            Some(Source::Low(0)),
            Some(Source::High(0)),
            Some(Source::Sigma(0)),
            Some(Source::Draw(1)),
            None,
            None,
        ];
        assert_eq!(bound, expected);
        assert_eq!(check(&bound, &rows, &release()), Ok(()));
        for (row, column) in (0..rows.len()).flat_map(|row| (0..6).map(move |column| (row, column))) {
            let mut changed = rows.clone();
            changed[row][column] = json!(7);
            assert_eq!(check(&bound, &changed, &release()), Err((column, row)));
        }
        // Another cell's number is not this key's.
        let mut changed = rows;
        changed[1][1] = json!(5);
        assert_eq!(check(&bound, &changed, &release()), Err((1, 1)));
    }
}
