//! The guarded scan: the only way rows of a private table enter a plan.
//!
//! It keeps each patient in one partition, in order, with at most M rows, and no row without a unit.
//! - Files are given to partitions by disjoint ranges of the unit ([`ranges`]); each partition reads its files
//!   through a scan of its own, so neither file repartitioning nor work stealing can move a row.
//! - It declares `Partitioning::Range` on the unit and the order of the unit, so the planner knows what it has.
//! - The physical optimizer sees a leaf: [`GuardedScan`] has no children to rewrite.
//! - At run time units must never decrease and must lie in the partition's range; a violation is a
//!   storage fault that stops the release, since a patient in two places would count twice.
//! - Past M rows a unit keeps the M least by keyed SipHash over the row as read. Rows that hash alike
//!   are equal as read, so the choice can't depend on their order.

pub(crate) mod ranges;

use std::{fmt, sync::Arc};

use datafusion::{
    arrow::{
        array::{Array, AsArray, RecordBatch, UInt32Array},
        compute::{concat_batches, filter_record_batch, is_not_null, take_record_batch},
        datatypes::{Int64Type, SchemaRef},
        row::{RowConverter, SortField},
    },
    catalog::{Session, TableProvider},
    common::{DataFusionError, Result, tree_node::TreeNodeRecursion},
    datasource::{
        listing::PartitionedFile,
        physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource},
        source::DataSourceExec,
    },
    execution::{SendableRecordBatchStream, TaskContext, object_store::ObjectStoreUrl},
    logical_expr::{Expr, TableType},
    physical_expr::{EquivalenceProperties, PhysicalExpr, expressions::Column},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
        execution_plan::{Boundedness, EmissionType},
        stream::RecordBatchStreamAdapter,
    },
};
use futures::{StreamExt, TryStreamExt, stream};
use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;

use crate::snapshot::StoredFile;

/// A private table's files behind the guard, as DataFusion's planner takes them.
#[derive(Clone)]
pub(crate) struct GuardedTable {
    /// Stored columns that plans may see: the visible ones and the consent set. The unit comes first.
    pub(crate) schema: SchemaRef,
    /// The files, in any order; ranges must be disjoint.
    pub(crate) files: Vec<StoredFile>,
    /// How the patients may be cut into partitions: one for all private tables of a plan.
    pub(crate) blocks: Arc<ranges::Blocks>,
    /// M.
    pub(crate) scan_rows: u64,
    /// Key of the hash that chooses rows past M.
    pub(crate) key: [u8; 16],
}

impl fmt::Debug for GuardedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither files nor key: a plan's text must not depend on where data lies.
        f.debug_struct("GuardedTable").field("schema", &self.schema).field("scan_rows", &self.scan_rows).finish()
    }
}

/// A fault of storage, worded without data: which table is known from the plan, which patient is not told.
pub(super) fn storage_fault(what: &str) -> DataFusionError {
    DataFusionError::Execution(format!("storage fault: {what}"))
}

#[async_trait::async_trait]
impl TableProvider for GuardedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        // The unit is read first whether asked for or not; `output` drops it again.
        let asked: Vec<usize> =
            projection.map_or_else(|| (0..self.schema.fields().len()).collect(), |columns| columns.clone());
        let mut read = vec![0];
        read.extend(asked.iter().copied().filter(|column| *column != 0));
        let output = asked
            .iter()
            .map(|column| read.iter().position(|r| r == column).ok_or_else(|| storage_fault("no such column")))
            .collect::<Result<Vec<_>>>()?;
        let mut files = self.files.clone();
        files.sort_by_key(|file| file.low);
        if files.iter().any(|file| file.low > file.high) || files.windows(2).any(|w| w[0].high >= w[1].low) {
            return Err(storage_fault("ranges of patients overlap between files"));
        }
        let splits = self.blocks.splits(state.config().target_partitions());
        let mut groups: Vec<Vec<&StoredFile>> = vec![Vec::new(); splits.len() + 1];
        for file in &files {
            let place = splits.partition_point(|split| *split <= file.low);
            if splits.get(place).is_some_and(|next| *next <= file.high) {
                return Err(storage_fault("a file crosses the ranges of patients"));
            }
            groups.get_mut(place).ok_or_else(|| storage_fault("no such range"))?.push(file);
        }
        let parts = groups.into_iter().map(|group| {
            let (Some(first), Some(last)) = (group.first(), group.last()) else {
                return Ok(None);
            };
            let (low, high) = (first.low, last.high);
            let group = FileGroup::new(
                group.into_iter().map(|file| PartitionedFile::new(file.path.clone(), file.size)).collect(),
            );
            let source = Arc::new(ParquetSource::new(Arc::clone(&self.schema)));
            let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), source)
                .with_file_group(group)
                .with_preserve_order(true)
                .with_projection_indices(Some(read.clone()))?
                .build();
            Ok(Some(Part { scan: DataSourceExec::from_data_source(config), low, high }))
        });
        let parts = parts.collect::<Result<Vec<_>>>()?;
        let schema = Arc::new(self.schema.project(&asked)?);
        Ok(Arc::new(GuardedScan::new(parts, &splits, schema, output, self.scan_rows, self.key)))
    }
}

/// One partition: its own scan, and the units it may hold.
#[derive(Debug)]
struct Part {
    scan: Arc<dyn ExecutionPlan>,
    low: i64,
    high: i64,
}

/// The guarded scan as a physical leaf.
#[derive(Debug)]
pub(crate) struct GuardedScan {
    /// None for a range without files.
    parts: Vec<Option<Part>>,
    output: Vec<usize>,
    scan_rows: u64,
    key: [u8; 16],
    properties: Arc<PlanProperties>,
}

impl GuardedScan {
    fn new(
        parts: Vec<Option<Part>>,
        splits: &[i64],
        schema: SchemaRef,
        output: Vec<usize>,
        scan_rows: u64,
        key: [u8; 16],
    ) -> Self {
        let unit = output.iter().position(|column| *column == 0);
        let declared = unit.and_then(|unit| ranges::partitioning(Column::new(schema.field(unit).name(), unit), splits));
        let (partitioning, equivalences) = match declared {
            Some((partitioning, order)) => {
                (partitioning, EquivalenceProperties::new_with_orderings(Arc::clone(&schema), [order]))
            }
            None => (Partitioning::UnknownPartitioning(parts.len()), EquivalenceProperties::new(Arc::clone(&schema))),
        };
        let properties =
            PlanProperties::new(equivalences, partitioning, EmissionType::Incremental, Boundedness::Bounded);
        Self { parts, output, scan_rows, key, properties: Arc::new(properties) }
    }

    /// Position of the unit among the columns that come out.
    pub(super) fn unit(&self) -> Option<usize> {
        self.output.iter().position(|column| *column == 0)
    }
}

impl DisplayAs for GuardedScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GuardedScan: rows per patient <= {}", self.scan_rows)
    }
}

impl ExecutionPlan for GuardedScan {
    fn name(&self) -> &'static str {
        "GuardedScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    #[expect(clippy::disallowed_methods, reason = "a plan node runs its child when it is run itself")]
    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let schema = self.schema();
        let Some(Some(part)) = self.parts.get(partition) else {
            return Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream::empty())));
        };
        let mut guard = Guard { low: part.low, high: part.high, scan_rows: self.scan_rows, key: self.key, carry: None };
        let output = self.output.clone();
        let project = move |batch: RecordBatch| batch.project(&output).map_err(DataFusionError::from);
        let input = part.scan.execute(0, context)?.map_ok(Some).chain(stream::once(async { Ok(None) }));
        let guarded = input
            .map(move |next| match next? {
                Some(batch) => guard.push(&batch),
                None => guard.finish(),
            })
            .try_filter_map(|batch| std::future::ready(Ok(batch.filter(|b| b.num_rows() > 0))))
            .map(move |batch| project(batch?));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, guarded)))
    }
}

/// The guard's state over one partition: the rows of the last, perhaps unfinished unit.
struct Guard {
    low: i64,
    high: i64,
    scan_rows: u64,
    key: [u8; 16],
    carry: Option<RecordBatch>,
}

impl Guard {
    /// Takes a batch as read; gives the rows of every unit that is finished by it.
    fn push(&mut self, batch: &RecordBatch) -> Result<Option<RecordBatch>> {
        let batch = match batch.columns().first() {
            Some(unit) if unit.null_count() > 0 => filter_record_batch(batch, &is_not_null(unit)?)?,
            _ => batch.clone(),
        };
        if batch.num_rows() == 0 {
            return Ok(None);
        }
        let batch = match self.carry.take() {
            Some(carry) => concat_batches(&batch.schema(), [&carry, &batch])?,
            None => batch,
        };
        let runs = self.runs(&batch)?;
        let tail = runs.last().map_or(0, |run| run.0);
        let finished = self.cap(&batch.slice(0, tail), runs.get(..runs.len().saturating_sub(1)).unwrap_or(&[]))?;
        let rest = batch.slice(tail, batch.num_rows() - tail);
        // A heavy unit is cut down as it grows, so memory stays bounded; the least M of a part and the
        // rest are the least M of the whole.
        let whole = (0, rest.num_rows());
        self.carry = Some(if rest.num_rows() as u64 > self.scan_rows.saturating_mul(2) {
            self.cap(&rest, &[whole])?
        } else {
            rest
        });
        Ok(Some(finished))
    }

    /// Gives the rows of the last unit.
    fn finish(&mut self) -> Result<Option<RecordBatch>> {
        let Some(carry) = self.carry.take() else {
            return Ok(None);
        };
        let whole = (0, carry.num_rows());
        self.cap(&carry, &[whole]).map(Some)
    }

    /// (start, length) of each unit's rows; refuses units out of order or out of range.
    fn runs(&self, batch: &RecordBatch) -> Result<Vec<(usize, usize)>> {
        let units = batch
            .columns()
            .first()
            .and_then(|column| column.as_primitive_opt::<Int64Type>())
            .ok_or_else(|| storage_fault("the unit is not a 64-bit integer"))?
            .values();
        let mut runs: Vec<(usize, usize)> = Vec::new();
        let mut last = None;
        for (row, unit) in units.iter().enumerate() {
            if *unit < self.low || *unit > self.high {
                return Err(storage_fault("a patient lies outside of the file's range"));
            }
            match (last, runs.last_mut()) {
                (Some(previous), Some(run)) if previous == *unit => run.1 += 1,
                (Some(previous), _) if previous > *unit => {
                    return Err(storage_fault("patients are out of order"));
                }
                _ => runs.push((row, 1)),
            }
            last = Some(*unit);
        }
        Ok(runs)
    }

    /// Keeps at most M rows of each run.
    fn cap(&self, batch: &RecordBatch, runs: &[(usize, usize)]) -> Result<RecordBatch> {
        if runs.iter().all(|run| run.1 as u64 <= self.scan_rows) {
            return Ok(batch.clone());
        }
        let fields = batch.schema().fields().iter().map(|f| SortField::new(f.data_type().clone())).collect();
        let rows = RowConverter::new(fields)?.convert_columns(batch.columns())?;
        let mut kept: Vec<u32> = Vec::with_capacity(batch.num_rows());
        for (start, length) in runs {
            let mut hashed: Vec<(u128, usize)> = (*start..start + length)
                .map(|row| {
                    let mut hasher = SipHasher24::new_with_key(&self.key);
                    hasher.write(rows.row(row).data());
                    (hasher.finish128().as_u128(), row)
                })
                .collect();
            hashed.sort_unstable();
            let most = usize::try_from(self.scan_rows).unwrap_or(usize::MAX);
            let mut rows: Vec<usize> = hashed.into_iter().take(most).map(|(_, row)| row).collect();
            rows.sort_unstable();
            for row in rows {
                kept.push(u32::try_from(row).map_err(|_| storage_fault("a batch is too long"))?);
            }
        }
        Ok(take_record_batch(batch, &UInt32Array::from(kept))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{ArrayRef, Int64Array};

    fn batch(units: &[i64], values: &[i64]) -> RecordBatch {
        let column = |v: &[i64]| Arc::new(Int64Array::from(v.to_vec())) as ArrayRef;
        RecordBatch::try_from_iter([("person_id", column(units)), ("x", column(values))]).unwrap()
    }

    fn run(scan_rows: u64, batches: &[RecordBatch]) -> Result<Vec<(i64, i64)>> {
        let mut guard = Guard { low: 0, high: 100, scan_rows, key: [7; 16], carry: None };
        let mut out = Vec::new();
        let mut take = |batch: Option<RecordBatch>| {
            for batch in batch.into_iter() {
                let column = |i: usize| batch.column(i).as_primitive::<Int64Type>().values().to_vec();
                out.extend(column(0).into_iter().zip(column(1)));
            }
        };
        for batch in batches {
            take(guard.push(batch)?);
        }
        take(guard.finish()?);
        Ok(out)
    }

    #[test]
    fn rows_within_the_cap_pass_unchanged_across_batches() {
        let got = run(3, &[batch(&[1, 1, 2], &[1, 2, 3]), batch(&[2, 5], &[4, 5])]).unwrap();
        assert_eq!(got, [(1, 1), (1, 2), (2, 3), (2, 4), (5, 5)]);
    }

    #[test]
    fn a_heavy_unit_keeps_the_same_rows_however_it_is_cut_into_batches_and_ordered() {
        let values: Vec<i64> = (0..50).collect();
        let one = run(4, &[batch(&[9; 50], &values)]).unwrap();
        assert_eq!(one.len(), 4);
        let backwards: Vec<i64> = values.iter().rev().copied().collect();
        let many: Vec<RecordBatch> = backwards.chunks(7).map(|chunk| batch(&vec![9; chunk.len()], chunk)).collect();
        let mut many = run(4, &many).unwrap();
        let mut one = one;
        one.sort_unstable();
        many.sort_unstable();
        assert_eq!(one, many);
    }

    /// Merged into one unit, such rows would be cut to the cap and counted as a patient.
    #[test]
    fn rows_without_a_unit_are_dropped_and_not_merged() {
        let units = Arc::new(Int64Array::from(vec![None, Some(1), None, Some(2), None])) as ArrayRef;
        let values = Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5])) as ArrayRef;
        let batch = RecordBatch::try_from_iter([("person_id", units), ("x", values)]).unwrap();
        assert_eq!(run(9, &[batch]).unwrap(), [(1, 2), (2, 4)]);
    }

    #[test]
    fn a_unit_that_comes_back_or_leaves_its_range_is_a_storage_fault() {
        assert!(run(9, &[batch(&[1, 2, 1], &[0, 0, 0])]).is_err());
        assert!(run(9, &[batch(&[2], &[0]), batch(&[1], &[0])]).is_err());
        assert!(run(9, &[batch(&[101], &[0])]).is_err());
        assert!(run(9, &[batch(&[-1], &[0])]).is_err());
    }
}
