//! DataFusion in this process: runs a bounded plan to its end and hands the exact integers to the noise.

use std::{sync::Arc, time::Duration};

use datafusion::{
    arrow::record_batch::RecordBatch,
    common::{DataFusionError, Result},
    execution::{
        TaskContext,
        context::SessionContext,
        memory_pool::FairSpillPool,
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
        session_state::{SessionState, SessionStateBuilder},
    },
    logical_expr::LogicalPlan,
    physical_plan::{ExecutionPlan, collect},
    prelude::SessionConfig,
};
use epiledger_privacy::{
    bound::{
        BoundedPlan,
        physical::{Layout, rules},
    },
    release::{Executor, Failed, RawBatches},
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::AbortHandle,
};

/// Bytes that bounded plans may reserve together.
const MEMORY: usize = 4 << 30;

/// What memory is reserved in.
const PAGE: usize = 1 << 20;

/// Longest wait for memory, before anything is paid.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes that plans over released numbers may hold together.
const MEMORY_OF_POST_PLANS: usize = 512 << 20;

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
    /// Free pages.
    memory: Arc<Semaphore>,
    patience: Duration,
}

/// Memory that is one question's alone, from before its price is paid until its outcome left.
pub struct Reservation {
    _pages: OwnedSemaphorePermit,
}

struct Local {
    /// For plans over released numbers. A bounded plan gets a runtime with memory of its own.
    post: Arc<RuntimeEnv>,
}

impl LocalExecutor {
    /// An executor with threads of its own.
    ///
    /// # Errors
    /// DataFusion's runtime can't be built.
    pub fn new() -> Result<Self> {
        let workers = Builder::new_multi_thread()
            .worker_threads(Layout::default().partitions.get())
            .thread_name("plan")
            .thread_stack_size(STACK)
            .enable_all()
            .build()?;
        let engine = Arc::new(Local { post: runtime(MEMORY_OF_POST_PLANS)? });
        Ok(Self {
            engine,
            workers: Workers(Some(workers)),
            memory: Arc::new(Semaphore::new(MEMORY / PAGE)),
            patience: PATIENCE,
        })
    }

    /// Waits until the memory of a question is free, first come first served; None when that takes too long. What it
    /// takes is known from its plan and the catalog, and it is given back when the outcome leaves, so neither the wait
    /// nor a refusal tells of data more than the time classes do. With its own memory no question can fail another.
    pub async fn reserve(&self, plan: &BoundedPlan) -> Option<Reservation> {
        let pages = u32::try_from(plan.memory().min(MEMORY).div_ceil(PAGE)).unwrap_or(u32::MAX);
        let free = Arc::clone(&self.memory).acquire_many_owned(pages);
        let pages = tokio::time::timeout(self.patience, free).await.ok()?.ok()?;
        Some(Reservation { _pages: pages })
    }

    /// Runs a plan over released numbers.
    pub(super) async fn run(&self, plan: &LogicalPlan) -> Result<Vec<RecordBatch>> {
        let (engine, plan) = (Arc::clone(&self.engine), plan.clone());
        self.on_workers(async move { engine.post(&plan).await }).await
    }

    /// Runs V, within the memory that was reserved for it.
    async fn bounded(&self, v: Arc<dyn ExecutionPlan>, memory: usize) -> Result<Vec<RecordBatch>> {
        let runtime = runtime(memory)?;
        self.on_workers(async move {
            let context = SessionContext::new_with_config_rt(Layout::default().config(), runtime);
            run(v, context.task_ctx()).await
        })
        .await
    }

    /// Runs work of the engine on its own threads. A panic of the engine is an error like any other; a run that is
    /// dropped ends.
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
        config.options_mut().optimizer.skip_failed_rules = false;
        SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(Arc::clone(&self.post))
            .with_default_features()
            .with_optimizer_rules(rules())
            .build()
    }

    async fn post(&self, plan: &LogicalPlan) -> Result<Vec<RecordBatch>> {
        let state = self.state(Layout::default().partitions.get());
        let optimized = state.optimize(plan)?;
        let physical = state.query_planner().create_physical_plan(&optimized, &state).await?;
        run(physical, SessionContext::new_with_state(state).task_ctx()).await
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place where plans run")]
async fn run(plan: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> Result<Vec<RecordBatch>> {
    collect(plan, context).await
}

/// A runtime that holds so many bytes at most, and spills to disk what can be spilled.
fn runtime(bytes: usize) -> Result<Arc<RuntimeEnv>> {
    Ok(Arc::new(RuntimeEnvBuilder::new().with_memory_pool(Arc::new(FairSpillPool::new(bytes))).build()?))
}

impl Executor for LocalExecutor {
    async fn execute(&self, v: Arc<dyn ExecutionPlan>, memory: usize) -> Result<RawBatches, Failed> {
        match self.bounded(v, memory).await {
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
    use std::{
        pin::Pin,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use epiledger_privacy::clock::Clock;
    use tokio::sync::Notify;

    use super::*;
    use crate::{
        api::{Principal, PrivacyAsk, QueryError, QueryRequest, Role},
        open::{DEMO_PROTOCOL, OpenOptions, create_demo, demo_principal},
        query::Engine,
    };

    /// Holds an answer back at its time class until the gate opens; no deadline comes.
    #[derive(Clone, Default)]
    struct Gate {
        sleepers: Arc<AtomicUsize>,
        open: Arc<Notify>,
    }

    impl Clock for Gate {
        fn now(&self) -> Duration {
            Duration::ZERO
        }

        fn sleep_until<'a>(&'a self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
            let deadline = self.sleepers.fetch_add(1, Ordering::SeqCst) == 0;
            Box::pin(async move { if deadline { std::future::pending().await } else { self.open.notified().await } })
        }
    }

    /// A demo folder's engine under this clock, a researcher, and a question.
    async fn world(data: &std::path::Path, immediate: bool, gate: &Gate) -> (Arc<Engine>, Principal, QueryRequest) {
        let folder = data.to_owned();
        tokio::task::spawn_blocking(move || create_demo(&folder, 60, 1, &mut |_| {})).await.unwrap().unwrap();
        let options = OpenOptions { immediate, ..OpenOptions::default() };
        let engine = Engine::open_with_clock(data, options, Box::new(gate.clone())).await.unwrap();
        let who = Principal {
            name: demo_principal(Role::Researcher).to_owned(),
            key_id: "test".to_owned(),
            role: Role::Researcher,
            protocols: vec![DEMO_PROTOCOL.to_owned()],
        };
        let privacy = Some(PrivacyAsk::Rho("0.001".to_owned()));
        let request = QueryRequest { sql: "SELECT COUNT(*) FROM person".into(), privacy, ..QueryRequest::default() };
        (engine, who, request)
    }

    /// While others hold all memory, a question waits, is told that nothing was spent, and nothing was.
    #[tokio::test]
    async fn a_question_without_memory_is_refused_before_its_intent() {
        let dir = tempfile::tempdir().unwrap();
        let (mut engine, who, request) = world(&dir.path().join("data"), true, &Gate::default()).await;
        Arc::get_mut(&mut engine).unwrap().executor.patience = Duration::from_millis(50);
        let free = Arc::clone(&engine.executor.memory);
        let held = free.acquire_many(u32::try_from(MEMORY / PAGE).unwrap()).await.unwrap();
        let (entries, budget) = (engine.audit().size(), engine.budget(&who));
        let refused = engine.query(&who, request.clone()).await.unwrap_err();
        assert!(matches!(&refused, QueryError::Unavailable(why) if why.contains("nothing was spent")), "{refused:?}");
        assert_eq!((engine.audit().size(), engine.budget(&who)), (entries, budget));
        drop(held);
        assert!(engine.query(&who, request).await.is_ok());
        assert!(engine.audit().size() > entries, "an intent and its outcome");
    }

    /// What a plan may hold is reserved until its answer leaves, and is free afterwards.
    #[tokio::test]
    async fn a_questions_memory_is_its_own_until_its_outcome_leaves() {
        let dir = tempfile::tempdir().unwrap();
        let gate = Gate::default();
        let (engine, who, request) = world(&dir.path().join("data"), false, &gate).await;
        let (_, plan, _) = engine.planned(&who, &request).unwrap();
        let (all, of_the_plan) = (MEMORY / PAGE, plan.memory().div_ceil(PAGE));
        let free = || engine.executor.memory.available_permits();
        assert!(free() == all && of_the_plan > 200, "{} of {of_the_plan}", free());
        let asked = {
            let engine = Arc::clone(&engine);
            tokio::spawn(async move { engine.query(&who, request).await })
        };
        // Its deadline, then its time class: the run has ended, and its answer waits.
        while gate.sleepers.load(Ordering::SeqCst) < 2 {
            assert!(!asked.is_finished());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(free(), all - of_the_plan);
        gate.open.notify_one();
        asked.await.unwrap().unwrap();
        assert_eq!(free(), all);
    }
}
