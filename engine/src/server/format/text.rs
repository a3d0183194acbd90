//! JSON, NDJSON and CSV.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{EncodeError, cell};
use crate::api::{Answer, AnswerColumn, Price, Receipt, SnapshotRef};
use crate::receipt::{Released, Source, bind};

/// The JSON result of a statement.
#[derive(Serialize)]
struct Document<'a> {
    statement_id: &'a str,
    state: &'static str,
    columns: &'a [AnswerColumn],
    rows: Vec<Vec<Value>>,
    price: &'a Price,
    remaining: &'a Price,
    snapshot: &'a SnapshotRef,
    receipt: Bound<'a>,
    cached: bool,
    dummy: bool,
}

/// The receipt, and what each column shows of the release in it.
#[derive(Serialize)]
struct Bound<'a> {
    #[serde(flatten)]
    receipt: &'a Receipt,
    #[serde(skip_serializing_if = "Option::is_none")]
    bound: Option<Vec<Option<Source>>>,
}

/// One object with columns, rows, price, remaining budget, snapshot and receipt.
pub(super) fn json(answer: &Answer) -> Result<Vec<u8>, EncodeError> {
    let columns = answer.batch.columns();
    let rows: Vec<Vec<Value>> =
        (0..answer.batch.num_rows()).map(|r| columns.iter().map(|c| cell::json(c, r)).collect()).collect();
    let release = answer.receipt.result.as_deref().and_then(Released::open);
    let bound = release.map(|release| bind(&answer.columns, &rows, &release));
    let document = Document {
        statement_id: &answer.statement_id,
        state: if answer.dummy { "dummy" } else { "answered" },
        columns: &answer.columns,
        rows,
        price: &answer.price,
        remaining: &answer.remaining,
        snapshot: &answer.snapshot,
        receipt: Bound { receipt: &answer.receipt, bound },
        cached: answer.cached,
        dummy: answer.dummy,
    };
    Ok(serde_json::to_vec(&document)?)
}

/// One object a row, by column name.
pub(super) fn ndjson(answer: &Answer) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    for row in 0..answer.batch.num_rows() {
        let cells = answer.columns.iter().zip(answer.batch.columns());
        let object: Map<String, Value> = cells.map(|(c, data)| (c.name.clone(), cell::json(data, row))).collect();
        serde_json::to_writer(&mut out, &object)?;
        out.push(b'\n');
    }
    Ok(out)
}

/// RFC 4180 with a header line; NULL is an empty field, an empty text is `""`.
pub(super) fn csv(answer: &Answer) -> Vec<u8> {
    let header: Vec<String> = answer.columns.iter().map(|c| quoted(&c.name)).collect();
    let mut out = header.join(",");
    out.push_str("\r\n");
    for row in 0..answer.batch.num_rows() {
        let cells: Vec<String> = answer
            .batch
            .columns()
            .iter()
            .map(|column| cell::text(column, row).map_or_else(String::new, |text| quoted(&text)))
            .collect();
        out.push_str(&cells.join(","));
        out.push_str("\r\n");
    }
    out.into_bytes()
}

fn quoted(text: &str) -> String {
    if text.is_empty() || text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::answer;
    use super::*;

    #[test]
    fn json_has_the_documented_members_and_numbers_for_intervals() {
        let value: Value = serde_json::from_slice(&json(&answer()).unwrap()).unwrap();
        assert_eq!(value["state"], "answered");
        assert_eq!(value["columns"][1]["type"], "integer");
        assert_eq!(value["columns"][2]["role"], "low");
        assert_eq!(value["rows"][0][0], "25017");
        assert_eq!(value["rows"][0][1], 12);
        assert_eq!(value["rows"][0][2], 10.5);
        assert_eq!(value["rows"][2][1], Value::Null);
        assert_eq!(value["price"]["rho"], "0.0005");
        assert_eq!(value["receipt"]["index"], 7);
    }

    #[test]
    fn csv_quotes_and_tells_null_from_empty() {
        let text = String::from_utf8(csv(&answer())).unwrap();
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(lines[0], "county,n,n_low,n_high,n_sigma");
        assert_eq!(lines[1], "25017,12,10.5,13.5,1");
        assert_eq!(lines[2], "\"a,\"\"b\"\"\",-1,-3,1,1");
        assert_eq!(lines[3], ",,,,1");
        assert_eq!(quoted(""), "\"\"");
    }

    #[test]
    fn ndjson_is_one_object_a_row() {
        let text = String::from_utf8(ndjson(&answer()).unwrap()).unwrap();
        let rows: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[1]["county"], "a,\"b\"");
        assert_eq!(rows[0]["n_sigma"], 1.0);
    }
}
