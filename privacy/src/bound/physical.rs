//! From the bounded plan to the one that runs, before anything is paid: fixed lists of rules, then a second walk.
//!
//! Each patient stays in the partition that the scan gave it: ranges of patients satisfy every join, fold and window
//! on the patient, nothing is repartitioned to make more partitions, and joins are chosen for it ([`joins`]). Where
//! an operator loses the order or the ranges all the same, [`EnsureRequirements`] sorts or merges below the bounding
//! operator, which checks what it gets. What came out is walked again ([`walk`]): the rules are trusted to keep a
//! plan's meaning, not to keep it total.

mod expr;
mod joins;
mod retract;
mod walk;

use std::{num::NonZeroUsize, sync::Arc};

use datafusion::{
    common::{
        DataFusionError, Result,
        tree_node::{Transformed, TransformedResult, TreeNode},
    },
    execution::{
        config::SessionConfig,
        session_state::{SessionState, SessionStateBuilder},
    },
    logical_expr::LogicalPlan,
    optimizer::{Optimizer, OptimizerRule},
    physical_optimizer::{
        PhysicalOptimizerRule, combine_partial_final_agg::CombinePartialFinalAggregate, ensure_coop::EnsureCooperative,
        ensure_requirements::EnsureRequirements, sanity_checker::SanityCheckPlan,
    },
    physical_plan::{
        ExecutionPlan, ExecutionPlanProperties,
        aggregates::{AggregateExec, AggregateMode},
        sorts::{partial_sort::PartialSortExec, sort::SortExec},
    },
};
use futures::FutureExt;

use self::retract::{Claim, RetractExec};
use super::operator::{Shape, exec::BoundExec};
use crate::refusal::{Code, PlanError};

/// Logical rules that bounded plans pass, in this order. A fixed list: a new rule of a later DataFusion is reviewed
/// before it touches a private plan. `simplify_expressions` is not one of them: it makes `x IN (1) AND x IN (2)` false and
/// `x NOT IN (1) OR x NOT IN (2)` true where `x` is NULL, and takes two columns in such lists for two values. What it is
/// for is done before: constants are folded by the first walk, which also keeps every expression total.
const RULES: [&str; 16] = [
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

/// DataFusion's rules of that list, in its order.
#[must_use]
pub fn rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let known = Optimizer::new().rules;
    RULES.iter().filter_map(|name| known.iter().find(|rule| rule.name() == *name).cloned()).collect()
}

/// How a plan is laid out. It changes nothing in the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Partitions that run side by side.
    pub partitions: NonZeroUsize,
    /// Rows of a batch.
    pub batch_rows: NonZeroUsize,
}

impl Default for Layout {
    /// A partition for each core.
    fn default() -> Self {
        let partitions = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self { partitions, batch_rows: const { NonZeroUsize::new(8192).unwrap() } }
    }
}

impl Layout {
    /// DataFusion's options for planning and running bounded plans.
    #[must_use]
    pub fn config(self) -> SessionConfig {
        let mut config = SessionConfig::new()
            .with_target_partitions(self.partitions.get())
            .with_batch_size(self.batch_rows.get())
            .with_collect_statistics(false)
            .with_round_robin_repartition(false);
        let optimizer = &mut config.options_mut().optimizer;
        optimizer.skip_failed_rules = false;
        optimizer.repartition_file_scans = false;
        optimizer.enable_dynamic_filter_pushdown = false;
        optimizer.prefer_existing_sort = true;
        // Partitions by patient satisfy keys that contain the patient, however few the partitions are.
        optimizer.subset_repartition_threshold = 1;
        optimizer.preserve_file_partitions = 1;
        config
    }

    fn state(self) -> SessionState {
        SessionStateBuilder::new()
            .with_config(self.config())
            .with_optimizer_rules(rules())
            .with_physical_optimizer_rules(Vec::new())
            .build()
    }
}

/// The plan that runs.
///
/// # Errors
/// `NON_TOTAL_FN` for a plan that does not pass the second walk; `NOT_A_QUERY` for one that can't be laid out.
pub(super) fn planned(
    plan: &LogicalPlan,
    shape: &Arc<Shape>,
    layout: Layout,
) -> std::result::Result<Arc<dyn ExecutionPlan>, PlanError> {
    let internal = |_| PlanError::new(Code::NotAQuery, "the question could not be laid out as a plan that runs");
    let physical = laid_out(plan, Some(shape), layout).map_err(internal)?;
    walk::walk(&physical)?;
    Ok(physical)
}

/// Lays a plan out, under the operator where there is one.
pub(super) fn laid_out(
    plan: &LogicalPlan,
    shape: Option<&Arc<Shape>>,
    layout: Layout,
) -> Result<Arc<dyn ExecutionPlan>> {
    let state = layout.state();
    let logical = state.optimize(plan)?;
    // Our sources answer at once, so planning never waits.
    let planned = state.query_planner().create_physical_plan(&logical, &state).now_or_never();
    let planned = planned.ok_or_else(|| DataFusionError::Internal("planning waited".into()))??;
    let mut physical = groups_claim_nothing(joins::chosen(planned)?)?;
    if let Some(shape) = shape {
        physical = Arc::new(BoundExec::new(physical, Arc::clone(shape))?);
    }
    let options = state.config_options();
    physical = EnsureRequirements::new().optimize(physical, options)?;
    physical = CombinePartialFinalAggregate::new().optimize(physical, options)?;
    physical = sorts_by_patient(physical)?;
    // Not `ProjectionPushdown`: below a sort-merge join it moves columns that the join's filter goes on reading where they
    // were. Plans come narrow from `optimize_projections`.
    physical = EnsureCooperative::new().optimize(physical, options)?;
    SanityCheckPlan::new().optimize(physical, options)
}

/// Takes back of each aggregate's groups that they are unique in some columns; see [`retract`].
fn groups_claim_nothing(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        // The first of two steps stays right below the second, so that they can become one again.
        let ends = node.downcast_ref::<AggregateExec>().is_some_and(|fold| *fold.mode() != AggregateMode::Partial);
        Ok(match ends {
            true => Transformed::yes(Arc::new(RetractExec::new(node, Claim::Uniqueness)) as Arc<dyn ExecutionPlan>),
            false => Transformed::no(node),
        })
    })
    .data()
}

/// A sort of rows that are in order of their patient already sorts patient by patient, and holds one at a time.
fn sorts_by_patient(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        let Some(sort) = node.downcast_ref::<SortExec>() else { return Ok(Transformed::no(node)) };
        let input = sort.input();
        let order = sort.expr();
        let first = order.first().clone();
        if order.len() < 2 || sort.fetch().is_some() || !input.equivalence_properties().ordering_satisfy([first])? {
            return Ok(Transformed::no(node));
        }
        let sorted = PartialSortExec::new(order.clone(), Arc::clone(input), 1)
            .with_preserve_partitioning(sort.preserve_partitioning());
        Ok(Transformed::yes(Arc::new(sorted) as Arc<dyn ExecutionPlan>))
    })
    .data()
}

#[cfg(test)]
mod tests;
