//! The formats of an answer, and how a request chooses one before anything is spent.

mod binary;
mod cell;
mod text;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::error::Problem;
use crate::api::Answer;

/// A format of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object.
    Json,
    /// Comma-separated values (RFC 4180) with a header line.
    Csv,
    /// One JSON object a line.
    Ndjson,
    /// Arrow IPC stream.
    Arrow,
    /// Parquet.
    Parquet,
}

impl Format {
    /// Every format, the preferred first.
    pub const ALL: [Self; 5] = [Self::Json, Self::Csv, Self::Ndjson, Self::Arrow, Self::Parquet];

    /// Its media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv",
            Self::Ndjson => "application/x-ndjson",
            Self::Arrow => "application/vnd.apache.arrow.stream",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// Its name in `?format=`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
            Self::Arrow => "arrow",
            Self::Parquet => "parquet",
        }
    }

    /// The format a request asks for: `?format=` first, then Accept with its weights, then JSON.
    ///
    /// # Errors
    /// 406 when nothing that is asked for can be given.
    pub fn negotiate(format: Option<&str>, headers: &HeaderMap) -> Result<Self, Problem> {
        if let Some(name) = format {
            return Self::ALL.into_iter().find(|f| f.name() == name).ok_or_else(not_acceptable);
        }
        let mut accept = String::new();
        for value in headers.get_all(header::ACCEPT) {
            let value = value.to_str().map_err(|_| not_acceptable())?;
            if !accept.is_empty() {
                accept.push(',');
            }
            accept.push_str(value);
        }
        if accept.trim().is_empty() {
            return Ok(Self::Json);
        }
        let weighed = Self::ALL.into_iter().map(|f| (f, weight(&accept, f.media_type())));
        let mut best: Option<(Self, f32)> = None;
        for (format, weight) in weighed {
            if weight > best.map_or(0.0, |b| b.1) {
                best = Some((format, weight));
            }
        }
        best.map(|b| b.0).ok_or_else(not_acceptable)
    }

    /// The answer as the body of this format.
    ///
    /// # Errors
    /// When the rows can't be encoded (our fault).
    pub fn body(self, answer: &Answer) -> Result<Vec<u8>, Problem> {
        let body = match self {
            Self::Json => text::json(answer),
            Self::Csv => Ok(text::csv(answer)),
            Self::Ndjson => text::ndjson(answer),
            Self::Arrow => binary::arrow(answer),
            Self::Parquet => binary::parquet(answer),
        };
        body.map_err(|e| Problem::internal(&e))
    }

    /// The answer as a response of this format.
    ///
    /// # Errors
    /// As [`Self::body`].
    pub fn respond(self, answer: &Answer) -> Result<Response, Problem> {
        let mut response = (StatusCode::OK, self.body(answer)?).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.media_type()));
        headers.insert(header::VARY, HeaderValue::from_static("Accept"));
        for (name, text) in metadata(answer) {
            let name = axum::http::HeaderName::try_from(format!("epiledger-{name}"));
            if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(text)) {
                headers.insert(name, value);
            }
        }
        Ok(response)
    }
}

/// Columns and rows as JSON, for answers that are no releases; decimals are texts, so that none is rounded.
pub(super) fn table(schema: &Schema, batches: &[RecordBatch]) -> (Vec<Value>, Vec<Value>) {
    let columns = schema.fields().iter().map(|f| json!({ "name": f.name(), "type": f.data_type().to_string() }));
    let cell = |column: &ArrayRef, row: usize| match column.data_type() {
        DataType::Decimal128(..) => cell::text(column, row).map_or(Value::Null, Value::from),
        _ => cell::json(column, row),
    };
    let row = |batch: &RecordBatch, row: usize| batch.columns().iter().map(|column| cell(column, row)).collect();
    let rows = batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |at| row(batch, at)));
    (columns.collect(), rows.collect())
}

/// Why rows can't be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// Arrow says so.
    #[error(transparent)]
    Arrow(#[from] arrow::error::ArrowError),
    /// The Parquet writer says so.
    #[error(transparent)]
    Parquet(#[from] datafusion::parquet::errors::ParquetError),
    /// The JSON writer says so.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// What every format says beside the rows: headers `Epiledger-<name>`, or schema metadata `epiledger.<name>`.
fn metadata(answer: &Answer) -> [(&'static str, String); 12] {
    [
        ("statement", answer.statement_id.clone()),
        ("price-rho", answer.price.rho.clone()),
        ("price-delta", answer.price.delta.clone()),
        ("price-epsilon", answer.price.epsilon.to_string()),
        ("remaining-rho", answer.remaining.rho.clone()),
        ("remaining-delta", answer.remaining.delta.clone()),
        ("remaining-epsilon", answer.remaining.epsilon.to_string()),
        ("snapshot", answer.snapshot.number.to_string()),
        ("snapshot-cut", answer.snapshot.cut_at.clone()),
        ("index", answer.receipt.index.to_string()),
        ("cached", answer.cached.to_string()),
        ("dummy", answer.dummy.to_string()),
    ]
}

fn not_acceptable() -> Problem {
    let list: Vec<&str> = Format::ALL.iter().map(|f| f.media_type()).collect();
    Problem::new(StatusCode::NOT_ACCEPTABLE, "NOT_ACCEPTABLE", "no format that was asked for can be given")
        .hint(format!("Accept one of {}, or say ?format=json|csv|ndjson|arrow|parquet", list.join(", ")))
}

/// The weight (RFC 9110, 12.5.1) that an Accept text gives to a media type: that of its most specific range.
fn weight(accept: &str, media_type: &str) -> f32 {
    let group = media_type.split('/').next().unwrap_or_default();
    let mut best = (0_u8, 0.0_f32);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let specific = match name.as_str() {
            n if n == media_type => 3,
            n if n.strip_suffix("/*") == Some(group) => 2,
            "*/*" => 1,
            _ => continue,
        };
        let q = parts.find_map(|p| p.strip_prefix("q=").or(p.strip_prefix("Q=")));
        let q = q.map_or(1.0, |q| q.parse::<f32>().ok().filter(|q| (0.0..=1.0).contains(q)).unwrap_or(0.0));
        if specific > best.0 {
            best = (specific, q);
        }
    }
    best.1
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int64Array, StringArray};
    use arrow::datatypes::Field;

    use super::*;
    use crate::api::{AnswerColumn, ColumnRole, Price, Receipt, SnapshotRef};

    /// Three rows: a plain key, one that needs quoting, and NULLs.
    pub(crate) fn answer() -> Answer {
        let fields = [("county", DataType::Utf8, ColumnRole::Key), ("n", DataType::Int64, ColumnRole::Value)];
        let rest = [("n_low", ColumnRole::Low), ("n_high", ColumnRole::High), ("n_sigma", ColumnRole::Sigma)];
        let all: Vec<(&str, DataType, ColumnRole)> =
            fields.into_iter().chain(rest.map(|(n, r)| (n, DataType::Float64, r))).collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec![Some("25017"), Some("a,\"b\""), None])),
            Arc::new(Int64Array::from(vec![Some(12), Some(-1), None])),
            Arc::new(Float64Array::from(vec![Some(10.5), Some(-3.0), None])),
            Arc::new(Float64Array::from(vec![Some(13.5), Some(1.0), None])),
            Arc::new(Float64Array::from(vec![Some(1.0), Some(1.0), Some(1.0)])),
        ];
        let schema = Schema::new(all.iter().map(|(n, t, _)| Field::new(*n, t.clone(), true)).collect::<Vec<_>>());
        let word = |t: &DataType| match t {
            DataType::Utf8 => "string",
            DataType::Int64 => "integer",
            _ => "number",
        };
        let price = |rho: &str| Price { rho: rho.into(), delta: "0.000000001".into(), epsilon: 0.25 };
        Answer {
            statement_id: "0123456789abcdef0123456789abcdef".into(),
            columns: all
                .iter()
                .map(|(n, t, r)| AnswerColumn { name: (*n).into(), type_name: word(t).into(), role: *r })
                .collect(),
            batch: RecordBatch::try_new(Arc::new(schema), columns).unwrap(),
            price: price("0.0005"),
            remaining: price("0.4995"),
            snapshot: SnapshotRef { number: 1, cut_at: "2025-12-31".into() },
            receipt: Receipt { index: 7, proof: "c2sp.org/tlog-proof@v1\n".into(), ..Receipt::default() },
            cached: false,
            dummy: false,
        }
    }

    fn accept(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT, HeaderValue::try_from(value).unwrap())])
    }

    #[test]
    fn accept_chooses_by_weight_then_by_our_order() {
        let cases = [
            ("*/*", Some(Format::Json)),
            ("text/csv", Some(Format::Csv)),
            ("TEXT/CSV", Some(Format::Csv)),
            ("application/json;q=0.5, text/csv", Some(Format::Csv)),
            ("text/*", Some(Format::Csv)),
            ("*/*, application/json;q=0", Some(Format::Csv)),
            ("application/vnd.apache.arrow.stream, */*;q=0.1", Some(Format::Arrow)),
            ("application/vnd.apache.parquet", Some(Format::Parquet)),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Some(Format::Json)),
            ("text/html", None),
            ("application/json;q=0", None),
            ("image/*", None),
        ];
        for (text, expected) in cases {
            let got = Format::negotiate(None, &accept(text));
            assert_eq!(got.as_ref().ok().copied(), expected, "{text}");
            if let Err(problem) = got {
                assert_eq!((problem.status, problem.code.as_str()), (406, "NOT_ACCEPTABLE"));
            }
        }
        assert_eq!(Format::negotiate(None, &HeaderMap::new()).unwrap(), Format::Json);
        assert_eq!(Format::negotiate(Some("csv"), &accept("text/html")).unwrap(), Format::Csv);
        assert_eq!(Format::negotiate(Some("xml"), &HeaderMap::new()).unwrap_err().status, 406);
    }

    #[test]
    fn every_format_says_price_snapshot_and_index_in_headers() {
        for format in Format::ALL {
            let response = format.respond(&answer()).unwrap();
            let headers = response.headers();
            assert_eq!(headers[header::CONTENT_TYPE], format.media_type());
            assert_eq!(headers["epiledger-price-rho"], "0.0005");
            assert_eq!(headers["epiledger-snapshot"], "1");
            assert_eq!(headers["epiledger-index"], "7");
            assert_eq!(headers["epiledger-dummy"], "false");
        }
    }
}
