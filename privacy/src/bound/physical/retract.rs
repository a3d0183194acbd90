//! The node that takes back what its input claims and does not keep. Two claims of DataFusion 55.2 are wrong:
//!
//! - An outer sort-merge join with a filter claims the order of the side that it keeps, and at its end lets rows go
//!   before earlier ones that still wait for their batch to fill (apache/datafusion#24573).
//! - An aggregate claims that its groups differ in their keys, which is true; a projection above it repeats that of
//!   whatever columns stand at the keys' places now. Rows that are thought to differ in the columns that sort them
//!   need no further sort key, so ranks were counted in the order of an earlier window.
//!
//! Above this node whoever needs an order gets a sort. No sort is pushed through it, down to where the claim still stands:
//! it does not say that it keeps its input's order, which is what a planner asks before it pushes.

use std::{fmt, sync::Arc};

use datafusion::{
    common::{Constraints, Result, tree_node::TreeNodeRecursion},
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::{EquivalenceProperties, PhysicalExpr},
    physical_plan::{
        ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
        ReplaceChildrenOptions,
    },
};

use crate::bound::scan::storage_fault;

/// The rows of its input, with fewer claims.
#[derive(Debug)]
pub(super) struct RetractExec {
    input: Arc<dyn ExecutionPlan>,
    claim: Claim,
    properties: Arc<PlanProperties>,
}

/// What is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// Any order of the rows, and all else that is said of them.
    Order,
    /// That no two rows are alike in some columns.
    Uniqueness,
}

impl RetractExec {
    pub(super) fn new(input: Arc<dyn ExecutionPlan>, claim: Claim) -> Self {
        let claimed = match claim {
            Claim::Order => EquivalenceProperties::new(input.schema()),
            Claim::Uniqueness => input.equivalence_properties().clone().with_constraints(Constraints::default()),
        };
        let properties = PlanProperties::new(
            claimed,
            input.output_partitioning().clone(),
            input.pipeline_behavior(),
            input.boundedness(),
        );
        Self { input, claim, properties: Arc::new(properties) }
    }
}

impl DisplayAs for RetractExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RetractExec: claim={:?}", self.claim)
    }
}

impl ExecutionPlan for RetractExec {
    fn name(&self) -> &'static str {
        "RetractExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = <[_; 1]>::try_from(children).map_err(|_| storage_fault("a node of several inputs"))?;
        Ok(Arc::new(Self::new(input, self.claim)))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    #[expect(clippy::disallowed_methods, reason = "a plan node runs its child when it is run itself")]
    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.input.execute(partition, context)
    }
}
