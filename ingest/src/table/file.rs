//! One Parquet file: the rows of one table whose patients lie in one bucket, in order.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, Date32Builder, Decimal128Builder, Int32Builder, Int64Builder, RecordBatch, StringBuilder,
};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use epiledger_privacy::catalog;
use epiledger_privacy::deidentify::{Cell, DeIdentified, Row};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::error::IngestError;
use crate::folder::sync_parent;

/// Rows that are turned into Arrow at a time, and most rows of a page: what is not yet compressed waits in memory.
const BATCH_ROWS: usize = 8192;

/// Most rows of a row group: the unit in which a reader skips.
const ROW_GROUP_ROWS: usize = 65_536;

/// How every file of this crate is written. The writer's name is constant, so equal rows make equal bytes.
///
/// A 64-bit column holds ids, which hardly repeat: a dictionary of them would be as large as they are.
pub(crate) fn file_properties(schema: &Schema) -> WriterProperties {
    let ids = schema.fields().iter().filter(|field| *field.data_type() == DataType::Int64);
    ids.map(|field| ColumnPath::from(field.name().as_str()))
        .fold(WriterProperties::builder(), |properties, id| properties.set_column_dictionary_enabled(id, false))
        .set_created_by("epiledger".to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_data_page_row_count_limit(BATCH_ROWS)
        .set_sorting_columns(Some(vec![SortingColumn { column_idx: 0, descending: false, nulls_first: false }]))
        .build()
}

/// A file being written. Rows come from de-identified patients alone, in the order of `person_id`.
pub(crate) struct BucketFile {
    table: &'static str,
    position: usize,
    path: PathBuf,
    writer: ArrowWriter<BufWriter<File>>,
    schema: SchemaRef,
    builders: Vec<Builder>,
    pending: usize,
    last: Option<i64>,
    written: Written,
}

/// A finished file: what a commit takes. Only a [`BucketFile`], which takes only de-identified patients, ends in one.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    bucket: u32,
    rows: u64,
    people: Option<(i64, i64)>,
}

impl Written {
    /// Its bucket.
    #[must_use]
    pub fn bucket(&self) -> u32 {
        self.bucket
    }

    /// Its number of rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Least and greatest `person_id` in it; `None` without rows.
    #[must_use]
    pub fn people(&self) -> Option<(i64, i64)> {
        self.people
    }
}

impl BucketFile {
    /// A new file of the table at `position` in `PRIVATE_TABLES`; one that is there is written anew.
    pub(crate) fn create(
        table: &'static str,
        position: usize,
        definition: &catalog::Table,
        path: &Path,
        bucket: u32,
    ) -> Result<Self, IngestError> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(IngestError::io("make", parent))?;
        }
        let file = File::create(path).map_err(IngestError::io("make", path))?;
        let schema = definition.stored_schema();
        let builders = schema.fields().iter().map(|field| Builder::of(field.data_type())).collect();
        let writer = ArrowWriter::try_new(BufWriter::new(file), Arc::clone(&schema), Some(file_properties(&schema)))
            .map_err(IngestError::table(table, "written"))?;
        let written = Written { bucket, rows: 0, people: None };
        Ok(Self { table, position, path: path.to_owned(), writer, schema, builders, pending: 0, last: None, written })
    }

    /// Adds a patient's rows of this table. Patients come once each, in order.
    pub(crate) fn add(&mut self, patient: &DeIdentified) -> Result<(), IngestError> {
        if self.last.is_some_and(|last| last >= patient.person()) {
            return Err(IngestError::table(self.table, "written")("patients came out of order"));
        }
        self.last = Some(patient.person());
        let rows = patient.tables().get(self.position).map_or(&[][..], Vec::as_slice);
        if !rows.is_empty() {
            let first = self.written.people.map_or(patient.person(), |(first, _)| first);
            self.written.people = Some((first, patient.person()));
        }
        rows.iter().try_for_each(|row| self.push(row))
    }

    fn push(&mut self, row: &Row) -> Result<(), IngestError> {
        let lineage =
            [Cell::Int(i64::from(row.consent())), Cell::Int(i64::try_from(row.transaction()).unwrap_or(i64::MAX))];
        let cells = row.cells().iter().chain(&lineage);
        for (builder, cell) in self.builders.iter_mut().zip(cells) {
            builder.push(cell);
        }
        self.pending += 1;
        self.written.rows += 1;
        if self.pending >= BATCH_ROWS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), IngestError> {
        if self.pending == 0 {
            return Ok(());
        }
        let columns = self
            .builders
            .iter_mut()
            .zip(self.schema.fields())
            .map(|(builder, field)| builder.finish(field.data_type()))
            .collect::<Result<Vec<_>, _>>();
        let batch = columns.and_then(|columns| RecordBatch::try_new(Arc::clone(&self.schema), columns));
        let batch = batch.map_err(IngestError::table(self.table, "written"))?;
        self.writer.write(&batch).map_err(IngestError::table(self.table, "written"))?;
        self.pending = 0;
        Ok(())
    }

    /// Ends the file and makes it durable.
    pub(crate) fn finish(mut self) -> Result<Written, IngestError> {
        self.flush()?;
        let buffered = self.writer.into_inner().map_err(IngestError::table(self.table, "written"))?;
        let file = buffered.into_inner().map_err(|e| IngestError::io("write", &self.path)(e.into_error()))?;
        file.sync_all().map_err(IngestError::io("sync", &self.path))?;
        sync_parent(&self.path)?;
        Ok(self.written)
    }
}

/// A column being filled.
enum Builder {
    Int32(Int32Builder),
    Int64(Int64Builder),
    Day(Date32Builder),
    Decimal(Decimal128Builder),
    Text(StringBuilder),
}

impl Builder {
    fn of(kind: &DataType) -> Self {
        match kind {
            DataType::Int32 => Self::Int32(Int32Builder::new()),
            DataType::Int64 => Self::Int64(Int64Builder::new()),
            DataType::Date32 => Self::Day(Date32Builder::new()),
            DataType::Decimal128(..) => Self::Decimal(Decimal128Builder::new()),
            _ => Self::Text(StringBuilder::new()),
        }
    }

    /// Adds a cell; one of another type than the column's becomes null, and a null in a column without nulls stops
    /// the batch.
    fn push(&mut self, cell: &Cell) {
        match (self, cell) {
            (Self::Int32(builder), Cell::Int(value)) => builder.append_option(i32::try_from(*value).ok()),
            (Self::Int64(builder), Cell::Int(value)) => builder.append_value(*value),
            (Self::Day(builder), Cell::Day(value)) => builder.append_value(*value),
            (Self::Decimal(builder), Cell::Decimal(value)) => builder.append_value(i128::from(*value)),
            (Self::Text(builder), Cell::Text(value)) => builder.append_value(value),
            (Self::Int32(builder), _) => builder.append_null(),
            (Self::Int64(builder), _) => builder.append_null(),
            (Self::Day(builder), _) => builder.append_null(),
            (Self::Decimal(builder), _) => builder.append_null(),
            (Self::Text(builder), _) => builder.append_null(),
        }
    }

    fn finish(&mut self, kind: &DataType) -> Result<ArrayRef, arrow::error::ArrowError> {
        let array = match self {
            Self::Int32(builder) => ArrayBuilder::finish(builder),
            Self::Int64(builder) => ArrayBuilder::finish(builder),
            Self::Day(builder) => ArrayBuilder::finish(builder),
            Self::Decimal(builder) => ArrayBuilder::finish(builder),
            Self::Text(builder) => ArrayBuilder::finish(builder),
        };
        match kind {
            DataType::Decimal128(precision, scale) => {
                let decimals = arrow::array::AsArray::as_primitive::<arrow::datatypes::Decimal128Type>(&array).clone();
                Ok(Arc::new(decimals.with_precision_and_scale(*precision, *scale)?))
            }
            _ => Ok(array),
        }
    }
}
