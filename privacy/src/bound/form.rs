//! V before it is laid out: P under the operator, or the relational form.

use std::sync::Arc;

use datafusion::{common::Result, logical_expr::LogicalPlan, physical_plan::ExecutionPlan};

use super::{
    operator::Shape,
    physical::{self, Layout},
    relational::{self, Parts},
};
use crate::refusal::{Code, PlanError};

/// V before it is laid out.
pub(super) struct Form {
    pub(super) parts: Parts,
    /// P, when the operator computes V of it; else V in relational form.
    plan: LogicalPlan,
    shape: Option<Arc<Shape>>,
}

impl Form {
    pub(super) fn of(parts: Parts) -> Result<Self> {
        let p = parts.reduced()?;
        let keys = p.schema().fields().iter().skip(1).take(parts.keys.len()).map(|f| f.data_type().clone()).collect();
        let shape = Shape::of(&parts, keys)?.map(Arc::new);
        let plan = if shape.is_some() { p } else { relational::bounded(&parts)? };
        Ok(Self { parts, plan, shape })
    }

    /// The plan that runs.
    pub(super) fn planned(&self, layout: Layout) -> Result<Arc<dyn ExecutionPlan>, PlanError> {
        physical::planned(&self.plan, self.shape.as_ref(), layout)
    }

    /// The relational form of the same V, for tests.
    pub(super) fn relational(&self, layout: Layout) -> Result<Arc<dyn ExecutionPlan>, PlanError> {
        let plan = relational::bounded(&self.parts)
            .map_err(|_| PlanError::new(Code::NotAQuery, "the relational form could not be built"))?;
        physical::planned(&plan, None, layout)
    }
}
