//! V before it is laid out: P, reduced to what is counted, under the operator.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::DataType,
    common::{Column, Result, ScalarValue},
    logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, ident},
    physical_plan::ExecutionPlan,
};

use super::{
    integer::{ClampRange, clamp},
    measure::Needed,
    operator::Shape,
    physical::{self, Layout},
};
use crate::refusal::PlanError;

/// Columns that no SQL can name: the parser's identifiers never reach these plans.
pub(super) const UNIT_COLUMN: &str = "__unit";

pub(super) fn key_column(index: usize) -> String {
    format!("__key{index}")
}

pub(super) fn value_column(index: usize) -> String {
    format!("__value{index}")
}

/// Everything that V is made of, all of it decided from text and catalog.
pub(super) struct Parts {
    /// P: the walked private sub-plan.
    pub(super) input: LogicalPlan,
    /// Its unit, bare and non-null.
    pub(super) unit: Column,
    /// Group expressions over P.
    pub(super) keys: Vec<Expr>,
    /// Public cells; None for unknown keys.
    pub(super) cells: Option<Vec<Vec<ScalarValue>>>,
    /// Values that are counted or summed.
    pub(super) values: Vec<(Expr, Option<ClampRange>)>,
    /// Which integers V must hold, in order.
    pub(super) needed: Vec<Needed>,
    /// R.
    pub(super) rows: u64,
    /// G.
    pub(super) groups: u64,
    /// Most rows of a unit in P, where they are not the scan's to cap.
    pub(super) allowance: Option<u64>,
    /// k_q.
    pub(super) group_key: [u8; 16],
}

impl Parts {
    /// P, reduced to the unit, the keys and the clamped values.
    pub(super) fn reduced(&self) -> Result<LogicalPlan> {
        let mut columns = vec![Expr::Column(self.unit.clone()).alias(UNIT_COLUMN)];
        let keys = self.keys.iter().enumerate();
        columns.extend(keys.map(|(index, key)| key.clone().unalias_nested().data.alias(key_column(index))));
        for (index, (value, range)) in self.values.iter().enumerate() {
            let value = value.clone();
            let value = range.map_or(value.clone(), |range| clamp(value, range));
            columns.push(value.alias(value_column(index)));
        }
        LogicalPlanBuilder::from(self.input.clone()).project(columns)?.filter(ident(UNIT_COLUMN).is_not_null())?.build()
    }
}

/// V before it is laid out.
pub(super) struct Form {
    pub(super) parts: Parts,
    /// P, reduced.
    plan: LogicalPlan,
    pub(super) shape: Arc<Shape>,
}

impl Form {
    pub(super) fn of(parts: Parts) -> Result<Self> {
        let plan = parts.reduced()?;
        let mut types = plan.schema().fields().iter().skip(1).map(|field| field.data_type().clone());
        let keys = types.by_ref().take(parts.keys.len()).collect();
        let shape = Arc::new(Shape::of(&parts, keys, types.collect())?);
        Ok(Self { parts, plan, shape })
    }

    /// Types of the keys.
    pub(super) fn key_types(&self) -> &[DataType] {
        self.shape.keys()
    }

    /// The plan that runs.
    pub(super) fn planned(&self, layout: Layout) -> Result<Arc<dyn ExecutionPlan>, PlanError> {
        physical::planned(&self.plan, &self.shape, layout)
    }
}
