//! `audit.entries` as a table, in a context of its own: what the board may ask of the audit log in SQL.
//!
//! The context has that one table, no file format, no store, no disk, no table function, and only the functions named
//! here; so no text reaches a private table or a file, and none makes a value longer than what the log holds.
//! Time, memory, rows and bytes are limited, and one question runs at a time.

mod entries;

use std::{sync::Arc, time::Duration};

use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    catalog::{
        CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider, streaming::StreamingTable,
    },
    common::{
        DataFusionError, Result,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    execution::{
        SessionStateDefaults,
        context::{SQLOptions, SessionContext},
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        memory_pool::GreedyMemoryPool,
        object_store::ObjectStoreUrl,
        runtime_env::RuntimeEnvBuilder,
        session_state::SessionStateBuilder,
    },
    logical_expr::{Expr, LogicalPlan, Operator},
    physical_plan::{execute_stream, streaming::PartitionStream},
    prelude::SessionConfig,
};
use futures::TryStreamExt;
use tokio::{runtime::Builder, sync::Semaphore};

use self::entries::Entries;
use super::local::{Abort, Workers};
use crate::query::Engine;

/// Longest question, bytes.
const MAX_TEXT: usize = 16 * 1024;

/// Time for one question.
const PATIENCE: Duration = Duration::from_secs(10);

/// Memory that one question's operators may hold, bytes.
const MEMORY: usize = 128 << 20;

/// Rows of an answer.
const MOST_ROWS: usize = 10_000;

/// Bytes of an answer, in Arrow's form.
const MOST_BYTES: usize = 16 << 20;

/// Stack of the worker, reserved and not used: deep expressions are planned by recursion.
const STACK: usize = 64 << 20;

/// Scalar functions that give nothing longer than what they take.
const SCALARS: [&str; 36] = [
    "abs",
    "btrim",
    "ceil",
    "character_length",
    "coalesce",
    "contains",
    "date_bin",
    "date_part",
    "date_trunc",
    "ends_with",
    "floor",
    "greatest",
    "initcap",
    "least",
    "left",
    "lower",
    "ltrim",
    "now",
    "nullif",
    "nvl",
    "octet_length",
    "regexp_count",
    "regexp_like",
    "reverse",
    "right",
    "round",
    "rtrim",
    "split_part",
    "starts_with",
    "strpos",
    "substr",
    "to_date",
    "to_timestamp",
    "trunc",
    "upper",
    "isnan",
];

/// Aggregates whose state does not grow with their input, or is counted by the memory pool.
const AGGREGATES: [&str; 8] = ["count", "sum", "min", "max", "avg", "bool_and", "bool_or", "approx_distinct"];

/// Why the board's question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum AuditQueryError {
    /// The text is not a question of this context; the caller's to correct.
    #[error("{0}")]
    Refused(String),
    /// It needs more time or memory than one question gets.
    #[error("{0}")]
    Limit(String),
    /// Another question runs.
    #[error("another question over the audit log is running: try again when it has ended")]
    Busy,
    /// The log can't be read.
    #[error("{0}")]
    Failed(String),
}

/// The answer to a question over the audit log.
#[derive(Debug)]
pub struct AuditAnswer {
    /// Its columns.
    pub schema: SchemaRef,
    /// Its rows.
    pub batches: Vec<RecordBatch>,
    /// Were rows left out at the limit?
    pub truncated: bool,
}

/// Runs the board's questions, on a thread of its own.
pub struct AuditExecutor {
    workers: Workers,
    turn: Semaphore,
}

impl AuditExecutor {
    /// An executor.
    ///
    /// # Errors
    /// The thread can't be started.
    pub fn new() -> Result<Self> {
        let workers = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("audit")
            .thread_stack_size(STACK)
            .enable_all()
            .build()?;
        Ok(Self { workers: Workers(Some(workers)), turn: Semaphore::new(1) })
    }

    /// Answers one question; `engine` gives the entries and the texts behind their commitments.
    ///
    /// # Errors
    /// The text is refused, a limit is passed, another question runs, or the log can't be read.
    pub async fn answer(&self, engine: &Arc<Engine>, sql: String) -> Result<AuditAnswer, AuditQueryError> {
        if sql.len() > MAX_TEXT {
            return Err(AuditQueryError::Refused(format!(
                "a question over the audit log has at most {MAX_TEXT} bytes"
            )));
        }
        let turn = tokio::time::timeout(PATIENCE, self.turn.acquire()).await;
        let _turn = turn.map_err(|_| AuditQueryError::Busy)?.map_err(|_| AuditQueryError::Busy)?;
        let workers = self.workers.0.as_ref().ok_or(AuditQueryError::Busy)?;
        let entries = Entries::new(engine);
        let task = workers.spawn(async move { run(entries, &sql).await });
        let _abort = Abort(task.abort_handle());
        match tokio::time::timeout(PATIENCE, task).await {
            Ok(Ok(result)) => result.map_err(of),
            Ok(Err(died)) => Err(AuditQueryError::Failed(died.to_string())),
            Err(_) => {
                let seconds = PATIENCE.as_secs();
                Err(AuditQueryError::Limit(format!("the question takes more than {seconds} s: ask for less at once")))
            }
        }
    }
}

fn of(error: DataFusionError) -> AuditQueryError {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => {
            AuditQueryError::Limit("the question needs more memory than it gets: ask for less at once".into())
        }
        DataFusionError::External(cause) => AuditQueryError::Failed(cause.to_string()),
        root => AuditQueryError::Refused(root.strip_backtrace()),
    }
}

#[expect(clippy::disallowed_methods, reason = "the context holds audit.entries alone, which the board reads as it is")]
async fn run(entries: Entries, sql: &str) -> Result<AuditAnswer> {
    let context = context(entries)?;
    let plan = context.state().create_logical_plan(sql).await?;
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false).verify_plan(&plan)?;
    allowed(&plan)?;
    let state = context.state();
    let plan = state.optimize(&plan)?;
    one_join(&plan)?;
    let physical = state.query_planner().create_physical_plan(&plan, &state).await?;
    let schema = physical.schema();
    let mut stream = execute_stream(physical, context.task_ctx())?;
    let mut answer = AuditAnswer { schema, batches: Vec::new(), truncated: false };
    let (mut rows, mut bytes) = (0, 0);
    while let Some(batch) = stream.try_next().await? {
        let room = MOST_ROWS - rows;
        // Known only when the next row comes.
        if batch.num_rows() > 0 && (room == 0 || bytes > MOST_BYTES) {
            answer.truncated = true;
            break;
        }
        answer.truncated = batch.num_rows() > room;
        let batch = if answer.truncated { batch.slice(0, room) } else { batch };
        rows += batch.num_rows();
        bytes += batch.get_array_memory_size();
        answer.batches.push(batch);
        if answer.truncated {
            break;
        }
    }
    Ok(answer)
}

/// A context that knows `audit.entries` and nothing else.
fn context(entries: Entries) -> Result<SessionContext> {
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(GreedyMemoryPool::new(MEMORY)))
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
        .build_arc()?;
    // No store at all: whatever a text names, there is nothing to open.
    runtime.deregister_object_store(ObjectStoreUrl::local_filesystem().as_ref())?;
    let mut config = SessionConfig::new()
        .with_target_partitions(1)
        .with_information_schema(false)
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema("epiledger", "audit");
    config.options_mut().execution.enable_recursive_ctes = false;
    let named = |names: &[&str], name: &str| names.contains(&name);
    let scalars = SessionStateDefaults::default_scalar_functions();
    let aggregates = SessionStateDefaults::default_aggregate_functions();
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_expr_planners(SessionStateDefaults::default_expr_planners())
        .with_scalar_functions(scalars.into_iter().filter(|f| named(&SCALARS, f.name())).collect())
        .with_aggregate_functions(aggregates.into_iter().filter(|f| named(&AGGREGATES, f.name())).collect())
        .with_window_functions(SessionStateDefaults::default_window_functions())
        .build();
    let context = SessionContext::new_with_state(state);
    let table = StreamingTable::try_new(Arc::clone(entries.schema()), vec![Arc::new(entries)])?;
    let audit = MemorySchemaProvider::new();
    audit.register_table("entries".into(), Arc::new(table))?;
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema("audit", Arc::new(audit))?;
    context.register_catalog("epiledger", Arc::new(catalog));
    Ok(context)
}

/// Refuses a second join: the product of three tables is collected before it is counted, and neither memory pool nor
/// deadline sees it grow. Sub-queries are joins by now.
fn one_join(plan: &LogicalPlan) -> Result<()> {
    let mut joins = 0;
    plan.apply_with_subqueries(|node| {
        joins += u32::from(matches!(node, LogicalPlan::Join(_)));
        Ok(TreeNodeRecursion::Continue)
    })?;
    match joins {
        0 | 1 => Ok(()),
        _ => Err(DataFusionError::Plan("one join in a question over the audit log, or one sub-query".into())),
    }
}

/// Refuses what makes values longer than the log's own: text that doubles itself passes every other limit.
fn allowed(plan: &LogicalPlan) -> Result<()> {
    let refuse = |what: &str| DataFusionError::Plan(format!("{what} is not offered over the audit log"));
    plan.apply_with_subqueries(|node| {
        if matches!(
            node,
            LogicalPlan::RecursiveQuery(_) | LogicalPlan::Unnest(_) | LogicalPlan::Explain(_) | LogicalPlan::Analyze(_)
        ) {
            return Err(refuse(node.display().to_string().split(':').next().unwrap_or("this")));
        }
        node.apply_expressions(|expr| {
            expr.apply(|expr| match expr {
                Expr::BinaryExpr(binary) if binary.op == Operator::StringConcat => Err(refuse("`||`")),
                _ => Ok(TreeNodeRecursion::Continue),
            })
        })
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_function_exists() {
        let scalars = SessionStateDefaults::default_scalar_functions();
        for name in SCALARS {
            assert!(scalars.iter().any(|f| f.name() == name), "{name}");
        }
        let aggregates = SessionStateDefaults::default_aggregate_functions();
        for name in AGGREGATES {
            assert!(aggregates.iter().any(|f| f.name() == name), "{name}");
        }
    }
}
