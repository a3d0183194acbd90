//! Arrow IPC stream and Parquet; price, snapshot and index stand in the schema's metadata.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::metadata::KeyValue;
use datafusion::parquet::file::properties::WriterProperties;

use super::{EncodeError, metadata};
use crate::api::Answer;

/// An Arrow IPC stream of one batch.
pub(super) fn arrow(answer: &Answer) -> Result<Vec<u8>, EncodeError> {
    let batch = described(answer)?;
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema())?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?)
}

/// A Parquet file of one row group.
pub(super) fn parquet(answer: &Answer) -> Result<Vec<u8>, EncodeError> {
    let batch = described(answer)?;
    // Beside the embedded Arrow schema, as plain footer entries that any Parquet reader shows.
    let said = metadata(answer).into_iter().map(|(name, text)| KeyValue::new(format!("epiledger.{name}"), text));
    let properties = WriterProperties::builder().set_key_value_metadata(Some(said.collect())).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?)
}

/// The answer's rows under a schema that carries what the other formats say in headers, and each column's role.
fn described(answer: &Answer) -> Result<RecordBatch, EncodeError> {
    let schema = answer.batch.schema();
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .zip(&answer.columns)
        .map(|(field, column)| {
            let role = format!("{:?}", column.role).to_lowercase();
            let metadata = HashMap::from([("epiledger.role".to_owned(), role)]);
            field.as_ref().clone().with_name(&column.name).with_metadata(metadata)
        })
        .collect();
    let mut said: HashMap<String, String> =
        metadata(answer).into_iter().map(|(name, text)| (format!("epiledger.{name}"), text)).collect();
    said.insert("epiledger.proof".to_owned(), answer.receipt.proof.clone());
    let schema = Schema::new_with_metadata(fields, said);
    Ok(RecordBatch::try_new(Arc::new(schema), answer.batch.columns().to_vec())?)
}

#[cfg(test)]
mod tests {
    use arrow::ipc::reader::StreamReader;

    use super::super::tests::answer;
    use super::*;

    #[test]
    fn the_arrow_stream_reads_back_with_rows_roles_and_metadata() {
        let answer = answer();
        let bytes = arrow(&answer).unwrap();
        let mut reader = StreamReader::try_new(bytes.as_slice(), None).unwrap();
        let schema = reader.schema();
        assert_eq!(schema.metadata()["epiledger.price-rho"], "0.0005");
        assert_eq!(schema.metadata()["epiledger.index"], "7");
        assert_eq!(schema.field(1).metadata()["epiledger.role"], "value");
        let batch = reader.next().unwrap().unwrap();
        assert_eq!(batch.columns(), answer.batch.columns());
    }

    #[test]
    fn the_parquet_file_is_one() {
        let bytes = parquet(&answer()).unwrap();
        assert_eq!(&bytes[..4], b"PAR1");
        assert_eq!(&bytes[bytes.len() - 4..], b"PAR1");
        let find = |needle: &[u8]| bytes.windows(needle.len()).any(|w| w == needle);
        assert!(find(b"epiledger.price-rho") && find(b"0.0005"));
    }
}
