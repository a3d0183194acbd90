//! DataFusion in this process: runs a bounded plan to its end and hands the exact integers to the noise.

use std::sync::Arc;

use datafusion::{
    arrow::record_batch::RecordBatch,
    common::{DataFusionError, Result},
    execution::{
        context::SessionContext,
        memory_pool::FairSpillPool,
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
        session_state::{SessionState, SessionStateBuilder},
    },
    logical_expr::LogicalPlan,
    optimizer::{Optimizer, OptimizerRule},
    physical_plan::collect,
    prelude::SessionConfig,
};
use epiledger_privacy::{
    bound::BoundedPlan,
    release::{Executor, Failed, RawBatches},
};
use tokio::{
    runtime::{Builder, Runtime},
    task::AbortHandle,
};

/// Optimizer rules that bounded and post plans pass, in this order. A fixed list: a new rule of a later
/// DataFusion is reviewed before it touches a private plan.
const RULES: [&str; 17] = [
    "simplify_expressions",
    "replace_distinct_aggregate",
    "eliminate_join",
    "decorrelate_predicate_subquery",
    "scalar_subquery_to_join",
    "extract_equijoin_predicate",
    "eliminate_filter",
    "eliminate_cross_join",
    "eliminate_limit",
    "propagate_empty_relation",
    "push_down_limit",
    "push_down_filter",
    "single_distinct_aggregation_to_group_by",
    "common_sub_expression_eliminate",
    "eliminate_group_by_constant",
    "eliminate_duplicated_expr",
    "optimize_projections",
];

/// Bytes that all plans may hold at once.
const MEMORY: usize = 4 << 30;

/// Stack of each worker, reserved and not used.
const STACK: usize = 64 << 20;

/// Threads of their own for plans: a plan that does not yield holds neither the timer of its deadline nor the server.
pub(super) struct Workers(pub(super) Option<Runtime>);

impl Drop for Workers {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Ends a run that nobody waits for any more.
pub(super) struct Abort(pub(super) AbortHandle);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The embedded executor.
pub struct LocalExecutor {
    engine: Arc<Local>,
    workers: Workers,
}

struct Local {
    runtime: Arc<RuntimeEnv>,
    partitions: usize,
}

impl LocalExecutor {
    /// An executor with a memory pool of its own.
    ///
    /// # Errors
    /// DataFusion's runtime can't be built.
    pub fn new() -> Result<Self> {
        let pool = Arc::new(FairSpillPool::new(MEMORY));
        let runtime = Arc::new(RuntimeEnvBuilder::new().with_memory_pool(pool).build()?);
        let partitions = std::thread::available_parallelism().map_or(2, usize::from);
        let workers = Builder::new_multi_thread()
            .worker_threads(partitions)
            .thread_name("plan")
            .thread_stack_size(STACK)
            .enable_all()
            .build()?;
        Ok(Self { engine: Arc::new(Local { runtime, partitions }), workers: Workers(Some(workers)) })
    }

    /// Runs any plan that was allowed to run: the bounded one, and those over released numbers. A panic of the engine
    /// is an error like any other; a run that is dropped ends.
    pub(super) async fn run(&self, plan: &LogicalPlan) -> Result<Vec<RecordBatch>> {
        let (engine, plan) = (Arc::clone(&self.engine), plan.clone());
        self.on_workers(async move { engine.run(&plan).await }).await
    }

    /// Runs work of the engine on its own threads.
    pub(super) async fn on_workers<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let gone = |what: String| DataFusionError::Execution(what);
        let workers = self.workers.0.as_ref().ok_or_else(|| gone("the workers have stopped".into()))?;
        let task = workers.spawn(work);
        let _abort = Abort(task.abort_handle());
        task.await.map_err(|stopped| gone(stopped.to_string()))?
    }

    /// A session's state for plans of so many partitions.
    pub(super) fn state(&self, partitions: usize) -> SessionState {
        self.engine.state(partitions)
    }
}

impl Local {
    fn state(&self, partitions: usize) -> SessionState {
        let mut config = SessionConfig::new().with_target_partitions(partitions).with_collect_statistics(false);
        let options = config.options_mut();
        options.optimizer.skip_failed_rules = false;
        options.optimizer.repartition_file_scans = false;
        SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(Arc::clone(&self.runtime))
            .with_default_features()
            .with_optimizer_rules(rules())
            .build()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place where plans run")]
    async fn run(&self, plan: &LogicalPlan) -> Result<Vec<RecordBatch>> {
        let state = self.state(self.partitions);
        let optimized = state.optimize(plan)?;
        let physical = state.query_planner().create_physical_plan(&optimized, &state).await?;
        collect(physical, SessionContext::new_with_state(state).task_ctx()).await
    }
}

/// DataFusion's rules of [`RULES`], in that order.
fn rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let known = Optimizer::new().rules;
    RULES.iter().filter_map(|name| known.iter().find(|rule| rule.name() == *name).cloned()).collect()
}

impl Executor for LocalExecutor {
    async fn execute(&self, plan: &BoundedPlan) -> Result<RawBatches, Failed> {
        match self.run(plan.plan()).await {
            Ok(batches) => Ok(RawBatches::new(batches)),
            Err(error) => {
                // The operator's log alone: the text may depend on data and goes to no researcher.
                tracing::error!(target: "epiledger::failed", %error, "a paid question failed");
                Err(Failed)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_rule_exists() {
        let names: Vec<String> = rules().iter().map(|rule| rule.name().to_owned()).collect();
        assert_eq!(names, RULES.map(str::to_owned));
    }
}
