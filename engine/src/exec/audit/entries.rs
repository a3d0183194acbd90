//! The audit log's entries as a stream of batches, each read when the question gets there.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Weak},
};

use datafusion::{
    arrow::{
        array::{
            ArrayRef, Decimal128Builder, Int64Builder, RecordBatch, StringBuilder, TimestampSecondBuilder,
            UInt64Builder, new_null_array,
        },
        datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    },
    common::DataFusionError,
    execution::TaskContext,
    physical_plan::{SendableRecordBatchStream, stream::RecordBatchStreamAdapter, streaming::PartitionStream},
};
use epiledger_ledger::{AuditEntry, AuditLogEntry, parse_audit_entry};
use futures::{StreamExt, stream};
use serde_json::Value;

use crate::query::Engine;

/// Entries read at a time, about.
const BATCH: usize = 256;

/// Fields of entries that are columns under their own name.
const FIELDS: [&str; 7] = ["principal", "protocol", "role", "purpose", "query_id", "outcome", "code"];

/// Any error on the way.
type Error = Box<dyn std::error::Error + Send + Sync>;

/// The columns of `audit.entries`: one row for each entry but the block leaves, whose time stands in every row.
fn schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    Arc::new(Schema::new(vec![
        Field::new("index", DataType::UInt64, false),
        Field::new("time", DataType::Timestamp(TimeUnit::Second, Some("UTC".into())), true),
        Field::new("type", DataType::Utf8, false),
        text("principal"),
        text("protocol"),
        text("role"),
        text("purpose"),
        text("query_id"),
        text("outcome"),
        text("code"),
        Field::new("cites", DataType::UInt64, true),
        Field::new("snapshot", DataType::Int64, true),
        Field::new("rho", DataType::Decimal128(38, RHO_PLACES), true),
        Field::new("delta", DataType::Decimal128(38, DELTA_PLACES), true),
        text("text"),
        Field::new("body", DataType::Utf8, false),
    ]))
}

/// Decimal places of rho and delta, as the log writes them.
const RHO_PLACES: i8 = 12;
const DELTA_PLACES: i8 = 18;

/// The log's entries as a stream of batches.
pub(super) struct Entries {
    engine: Weak<Engine>,
    schema: SchemaRef,
}

impl Entries {
    /// The entries of an engine's log, as long as the engine is there.
    pub(super) fn new(engine: &Arc<Engine>) -> Self {
        Self { engine: Arc::downgrade(engine), schema: schema() }
    }
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("audit.entries")
    }
}

impl PartitionStream for Entries {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (engine, schema) = (self.engine.clone(), Arc::clone(&self.schema));
        let batches = stream::try_unfold(0, move |next| {
            let (engine, schema) = (engine.clone(), Arc::clone(&schema));
            async move {
                let Some(engine) = engine.upgrade() else {
                    return Ok(None);
                };
                Batch::read(&engine, schema, next).map_err(DataFusionError::External)
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches.boxed()))
    }
}

type Read = Option<(RecordBatch, u64)>;

/// Rows under way: those after the last block leaf have no time yet.
struct Batch {
    rows: Vec<(u64, AuditEntry, Option<u64>)>,
}

impl Batch {
    /// The rows from an index on, up to a block leaf, and where to go on; `None` at the end.
    fn read(engine: &Engine, schema: SchemaRef, from: u64) -> Result<Read, Error> {
        let size = engine.audit().size();
        let (mut batch, mut index, mut undated) = (Self { rows: Vec::new() }, from, 0);
        while index < size {
            match parse_audit_entry(&engine.audit().read(index)?)? {
                AuditLogEntry::Entry(entry) => batch.rows.push((index, entry, None)),
                AuditLogEntry::Block(block) => {
                    batch.rows.iter_mut().skip(undated).for_each(|row| row.2 = Some(block.time));
                    undated = batch.rows.len();
                    if undated >= BATCH {
                        index += 1;
                        break;
                    }
                }
            }
            index += 1;
        }
        if batch.rows.is_empty() {
            return Ok(None);
        }
        Ok(Some((batch.columns(engine, schema)?, index)))
    }

    fn columns(self, engine: &Engine, schema: SchemaRef) -> Result<RecordBatch, Error> {
        let (mut indices, mut cites) = (UInt64Builder::new(), UInt64Builder::new());
        let mut times = TimestampSecondBuilder::new().with_timezone("UTC");
        let mut snapshots = Int64Builder::new();
        let decimals = |places| Decimal128Builder::new().with_data_type(DataType::Decimal128(38, places));
        let (mut rho, mut delta) = (decimals(RHO_PLACES), decimals(DELTA_PLACES));
        let mut texts: HashMap<&str, StringBuilder> = HashMap::new();
        for (index, entry, time) in &self.rows {
            let json = serde_json::to_value(entry)?;
            let body = json.get("body").cloned().unwrap_or_default();
            let string = |name: &str| body.get(name).and_then(Value::as_str);
            indices.append_value(*index);
            times.append_option(time.and_then(|time| i64::try_from(time).ok()));
            let link = body.get("cites").or_else(|| body.get("intent")).and_then(Value::as_u64);
            cites.append_option(link);
            snapshots.append_option(body.get("snapshot").and_then(Value::as_i64));
            rho.append_option(string("rho").and_then(|text| units(text, RHO_PLACES)));
            delta.append_option(string("delta").and_then(|text| units(text, DELTA_PLACES)));
            for name in FIELDS {
                texts.entry(name).or_default().append_option(string(name));
            }
            texts.entry("type").or_default().append_value(entry.type_name());
            texts.entry("body").or_default().append_value(body.to_string());
            let text = match string("sql_commit") {
                Some(commit) => engine.commitment_text(commit)?,
                None => None,
            };
            texts.entry("text").or_default().append_option(text);
        }
        let mut numbers: HashMap<&str, ArrayRef> = HashMap::from([
            ("index", Arc::new(indices.finish()) as ArrayRef),
            ("time", Arc::new(times.finish())),
            ("cites", Arc::new(cites.finish())),
            ("snapshot", Arc::new(snapshots.finish())),
            ("rho", Arc::new(rho.finish())),
            ("delta", Arc::new(delta.finish())),
        ]);
        let column = |field: &Arc<Field>| {
            let text = texts.get_mut(field.name().as_str()).map(|text| Arc::new(text.finish()) as ArrayRef);
            numbers
                .remove(field.name().as_str())
                .or(text)
                .unwrap_or_else(|| new_null_array(field.data_type(), self.rows.len()))
        };
        let columns = schema.fields().iter().map(column).collect();
        Ok(RecordBatch::try_new(schema, columns)?)
    }
}

/// A decimal text in units of its last place; `None` when it has more places.
fn units(text: &str, places: i8) -> Option<i128> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let places = usize::try_from(places).ok()?;
    if part.len() > places || !whole.bytes().chain(part.bytes()).all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    format!("{whole}{part:0<places$}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact_units() {
        assert_eq!(units("0.005", 12), Some(5_000_000_000));
        assert_eq!(units("3", 12), Some(3_000_000_000_000));
        assert_eq!(units("0.000000000000000001", 18), Some(1));
        for wrong in ["0.0000000000001", "-1", "1e3", "x", "1.2.3"] {
            assert_eq!(units(wrong, 12), None, "{wrong}");
        }
    }
}
