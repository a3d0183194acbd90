//! One plan over released numbers, planned once and run again for other numbers.

use std::sync::{Arc, Mutex, PoisonError};

use datafusion::{
    arrow::{array::RecordBatch, compute::concat_batches, datatypes::SchemaRef},
    catalog::streaming::StreamingTable,
    common::Result,
    datasource::TableProvider,
    execution::{SendableRecordBatchStream, TaskContext},
    logical_expr::LogicalPlan,
    physical_plan::{
        ExecutionPlan, collect, execution_plan::reset_plan_states, stream::RecordBatchStreamAdapter,
        streaming::PartitionStream,
    },
    prelude::SessionContext,
};
use futures::stream;

use super::local::LocalExecutor;

/// The table that changes between runs.
#[derive(Debug)]
pub(super) struct Slot {
    schema: SchemaRef,
    table: Mutex<RecordBatch>,
}

impl Slot {
    /// A slot for tables of this one's schema, and its source for plans. It tells the planner nothing about its rows,
    /// so a plan can't hold what was true of the first table alone.
    pub fn new(table: RecordBatch) -> Result<(Arc<Self>, Arc<dyn TableProvider>)> {
        let schema = table.schema();
        let slot = Arc::new(Self { schema: Arc::clone(&schema), table: Mutex::new(table) });
        let stream: Arc<dyn PartitionStream> = Arc::clone(&slot) as _;
        Ok((slot, Arc::new(StreamingTable::try_new(schema, vec![stream])?)))
    }
}

impl PartitionStream for Slot {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream::iter([Ok(table)])))
    }
}

/// A plan that is ready to run over each table of its slot.
pub(super) struct Replay {
    slot: Arc<Slot>,
    physical: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
}

impl Replay {
    /// Plans it.
    pub async fn new(executor: &LocalExecutor, plan: &LogicalPlan, slot: Arc<Slot>) -> Result<Self> {
        // One partition: the tables are small, and threads that meet cost more than their rows. Filters that a plan
        // learns while it runs would be wrong in the next run.
        let mut state = executor.state(1);
        state.config_mut().options_mut().optimizer.enable_dynamic_filter_pushdown = false;
        let plan = plan.clone();
        let (physical, state) = executor
            .on_workers(async move {
                let optimized = state.optimize(&plan)?;
                Ok((state.query_planner().create_physical_plan(&optimized, &state).await?, state))
            })
            .await?;
        Ok(Self { slot, physical, context: SessionContext::new_with_state(state).task_ctx() })
    }

    /// Runs it over this table; its rows, and how many rows all its steps made.
    #[expect(clippy::disallowed_methods, reason = "it reads released numbers and public tables alone")]
    pub async fn run(&self, executor: &LocalExecutor, table: RecordBatch) -> Result<(RecordBatch, usize)> {
        *self.slot.table.lock().unwrap_or_else(PoisonError::into_inner) = table;
        let physical = reset_plan_states(Arc::clone(&self.physical))?;
        let context = Arc::clone(&self.context);
        executor
            .on_workers(async move {
                let batches = collect(Arc::clone(&physical), context).await?;
                Ok((concat_batches(&physical.schema(), &batches)?, rows_made(physical.as_ref())))
            })
            .await
    }
}

fn rows_made(plan: &dyn ExecutionPlan) -> usize {
    let own = plan.metrics().and_then(|metrics| metrics.output_rows()).unwrap_or_default();
    plan.children().into_iter().map(|child| rows_made(child.as_ref())).fold(own, usize::saturating_add)
}
