//! The operator as a physical node: one task for each partition of P, then one V.

use std::{fmt, sync::Arc};

use datafusion::{
    arrow::datatypes::DataType,
    common::{DataFusionError, Result, runtime::SpawnedTask, tree_node::TreeNodeRecursion},
    execution::{
        SendableRecordBatchStream, TaskContext,
        memory_pool::{MemoryConsumer, MemoryReservation},
    },
    physical_expr::{
        Distribution, EquivalenceProperties, LexOrdering, OrderingRequirements, PhysicalExpr, PhysicalSortExpr,
        expressions::Column,
    },
    physical_plan::{
        ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties,
        InputDistributionRequirements, Partitioning, PlanProperties, ReplaceChildrenOptions,
        execution_plan::{Boundedness, EmissionType},
        spill::get_record_batch_memory_size,
        stream::RecordBatchStreamAdapter,
    },
};
use futures::{StreamExt, stream};

use super::{super::scan::storage_fault, Shape, groups::Groups, unit::Units};

/// V of P. One output partition with one batch.
#[derive(Debug)]
pub(crate) struct BoundExec {
    input: Arc<dyn ExecutionPlan>,
    shape: Arc<Shape>,
    properties: Arc<PlanProperties>,
}

impl BoundExec {
    /// # Errors
    /// The input's columns are not those of the shape.
    pub(crate) fn new(input: Arc<dyn ExecutionPlan>, shape: Arc<Shape>) -> Result<Self> {
        let schema = input.schema();
        let types: Vec<&DataType> = schema.fields().iter().map(|field| field.data_type()).collect();
        let wanted = shape.keys.iter().chain(&shape.values);
        let fits = types.first() == Some(&&DataType::Int64) && types.iter().skip(1).copied().eq(wanted);
        if !fits {
            return Err(DataFusionError::Internal("the bounding operator takes other columns".into()));
        }
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&shape.schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        ));
        Ok(Self { input, shape, properties })
    }

    fn unit(&self) -> Arc<dyn PhysicalExpr> {
        Arc::new(Column::new(self.input.schema().field(0).name(), 0))
    }

    /// Does the input own a range of units in each partition?
    fn by_ranges(&self) -> bool {
        let Partitioning::Range(range) = self.input.output_partitioning() else { return false };
        let unit = Distribution::KeyPartitioned(vec![self.unit()]);
        range.ordering().len() == 1
            && self
                .input
                .output_partitioning()
                .satisfaction(&unit, self.input.equivalence_properties(), false)
                .is_satisfied()
    }
}

impl DisplayAs for BoundExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BoundExec: rows <= {}, groups <= {}", self.shape.rows, self.shape.groups)
    }
}

impl ExecutionPlan for BoundExec {
    fn name(&self) -> &'static str {
        "BoundExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    /// Ranges of units where P kept them, else all of P in one partition: nothing else can be checked at run time.
    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![if self.by_ranges() {
            Distribution::KeyPartitioned(vec![self.unit()])
        } else {
            Distribution::SinglePartition
        }])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        let order = LexOrdering::new([PhysicalSortExpr::new_default(self.unit())]);
        vec![order.map(OrderingRequirements::from)]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = <[_; 1]>::try_from(children)
            .map_err(|_| DataFusionError::Internal("the bounding operator has one input".into()))?;
        Ok(Arc::new(Self::new(input, Arc::clone(&self.shape))?))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    #[expect(clippy::disallowed_methods, reason = "a plan node runs its child when it is run itself")]
    fn execute(&self, _: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let partitions = self.input.output_partitioning().partition_count();
        if partitions > 1 && !self.by_ranges() {
            return Err(storage_fault("patients are spread over partitions"));
        }
        let (input, shape) = (Arc::clone(&self.input), Arc::clone(&self.shape));
        let v = async move {
            let tasks = (0..partitions).map(|partition| {
                let stream = input.execute(partition, Arc::clone(&context))?;
                Ok(SpawnedTask::spawn(one_partition(stream, Arc::clone(&shape), Arc::clone(&context))))
            });
            let (mut parts, mut held) = (Vec::with_capacity(partitions), Vec::with_capacity(partitions));
            for task in tasks.collect::<Result<Vec<_>>>()? {
                let done = task.join().await.map_err(|_| DataFusionError::Execution("a partition stopped".into()))?;
                let (part, memory) = done?;
                parts.push(part);
                held.push(memory);
            }
            // What is merged holds no more than its parts did; V as it is handed on comes beside it.
            let all = merged(parts)?;
            if let Some(memory) = held.first() {
                memory.try_grow(all.size())?;
            }
            all.finish()
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.shape.schema), stream::once(v))))
    }
}

/// V of some units, and the first and last of them.
type Part = (Groups, Option<(i64, i64)>);

async fn one_partition(
    mut input: SendableRecordBatchStream,
    shape: Arc<Shape>,
    context: Arc<TaskContext>,
) -> Result<(Part, MemoryReservation)> {
    let memory = MemoryConsumer::new("BoundExec").register(context.memory_pool());
    let mut units = Units::new(shape)?;
    while let Some(batch) = input.next().await {
        let batch = batch?;
        memory.try_resize(units.size() + get_record_batch_memory_size(&batch))?;
        units.push(&batch)?;
        memory.try_resize(units.size())?;
    }
    Ok((units.finish(), memory))
}

/// Adds the partitions up; a unit that two of them could hold is a fault.
pub(super) fn merged(parts: Vec<Part>) -> Result<Groups> {
    let mut ranges: Vec<(i64, i64)> = parts.iter().filter_map(|(_, range)| *range).collect();
    ranges.sort_unstable();
    if ranges.windows(2).any(|pair| matches!(pair, [before, after] if before.1 >= after.0)) {
        return Err(storage_fault("ranges of patients overlap between partitions"));
    }
    let mut parts = parts.into_iter().map(|(groups, _)| groups);
    let mut all = parts.next().ok_or_else(|| storage_fault("no partition"))?;
    parts.try_for_each(|part| all.merge(part))?;
    Ok(all)
}
