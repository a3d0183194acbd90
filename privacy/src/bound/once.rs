//! The node that counts a patient once over all windows of a series. It stands right under the bounding operator.
//!
//! It lets a row through when its period is one of the window's and its patient is not among those that earlier windows
//! counted, and notes the patient. So it drops rows of a unit by that unit's own rows and by whether that unit was
//! noted before: lemma 1 of `bound.md` holds of it.

use std::{
    collections::{BTreeSet, HashSet},
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use datafusion::{
    arrow::{
        array::{AsArray, BooleanArray, RecordBatch},
        compute::{cast, filter_record_batch},
        datatypes::{DataType, Date32Type, Int64Type},
    },
    common::{
        DataFusionError, Result,
        tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion},
    },
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::PhysicalExpr,
    physical_plan::{
        ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
        stream::RecordBatchStreamAdapter,
    },
};
use futures::TryStreamExt;

use super::{BoundedPlan, operator::exec::BoundExec, scan::storage_fault};
use crate::{
    catalog::Catalog, params::PrivacyParams, query::Query, refusal::PlanError, series::Window, snapshot::Snapshot,
};

/// What makes a plan one of a series.
#[derive(Clone)]
pub(super) struct Of {
    pub(super) window: Window,
    /// The canonical text without what changes from window to window.
    pub(super) text: String,
    pub(super) once: Arc<Once>,
}

impl BoundedPlan {
    /// The periods that it releases, when it is of a series.
    #[must_use]
    pub fn window(&self) -> Option<&Window> {
        self.series.as_ref().map(|of| &of.window)
    }

    pub(crate) fn once(&self) -> Option<&Arc<Once>> {
        self.series.as_ref().map(|of| &of.once)
    }

    pub(crate) fn series_text(&self) -> &str {
        self.series.as_ref().map_or("", |of| &of.text)
    }
}

/// As [`super::bound`], for a window of a series: its key is a period, and each patient is counted once over all windows.
///
/// # Errors
/// As there; also where the question can't be a series.
pub fn bound_window(
    query: &Query,
    catalog: &Catalog,
    snapshot: &Snapshot,
    params: &PrivacyParams,
    window: &Window,
) -> std::result::Result<BoundedPlan, PlanError> {
    super::bound_in(query, catalog, snapshot, params, Some(window))
}

/// Whom a series has counted, and whom this window counts.
pub(crate) struct Once {
    /// First day of the window, and the first one after it.
    days: (i32, i32),
    before: OnceLock<HashSet<i64>>,
    now: Mutex<BTreeSet<i64>>,
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whose pseudonyms it holds is nobody's to print.
        f.debug_struct("Once").field("days", &self.days).finish_non_exhaustive()
    }
}

impl Once {
    /// Names those who were counted before. False when that was done already: a plan of a series runs once.
    pub(crate) fn begin(&self, counted: HashSet<i64>) -> bool {
        self.before.set(counted).is_ok()
    }

    pub(super) fn of(window: &Window) -> Arc<Self> {
        // A window whose days are none has no cells, and counts nobody.
        Arc::new(Self { days: window.days().unwrap_or_default(), before: OnceLock::new(), now: Mutex::default() })
    }

    /// Those whom this window counts, ascending.
    pub(crate) fn counted(&self) -> Vec<i64> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    /// The rows of a batch (unit, period, ..) that count.
    fn admit(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let before = self.before.get().ok_or_else(|| storage_fault("a series was not begun"))?;
        let units = batch.column(0).as_primitive_opt::<Int64Type>();
        let units = units.ok_or_else(|| storage_fault("the unit is not a 64-bit integer"))?;
        let periods = cast(batch.column(1), &DataType::Date32)?;
        let (from, to) = self.days;
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let admitted = units.iter().zip(periods.as_primitive::<Date32Type>()).map(|row| match row {
            (Some(unit), Some(day)) if from <= day && day < to && !before.contains(&unit) => {
                now.insert(unit);
                Some(true)
            }
            _ => Some(false),
        });
        Ok(filter_record_batch(batch, &admitted.collect::<BooleanArray>())?)
    }
}

/// [`Once`] as a physical node.
#[derive(Debug)]
struct OnceExec {
    input: Arc<dyn ExecutionPlan>,
    once: Arc<Once>,
}

/// Puts the node between the operator and its input. The plan was walked; the node only drops rows.
pub(super) fn under(plan: Arc<dyn ExecutionPlan>, once: &Arc<Once>) -> Result<Arc<dyn ExecutionPlan>> {
    let mut placed = 0;
    let plan = plan.transform_down(|node| {
        let inputs: Vec<_> = node.children().into_iter().cloned().collect();
        let (true, [input]) = (node.is::<BoundExec>(), inputs.as_slice()) else { return Ok(Transformed::no(node)) };
        placed += 1;
        let input = Arc::new(OnceExec { input: Arc::clone(input), once: Arc::clone(once) });
        Ok(Transformed::new(
            node.replace_children(vec![input], ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))?,
            true,
            TreeNodeRecursion::Jump,
        ))
    });
    let plan = plan.data()?;
    if placed == 1 { Ok(plan) } else { Err(DataFusionError::Internal("no operator that could count once".into())) }
}

impl DisplayAs for OnceExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OnceExec")
    }
}

impl ExecutionPlan for OnceExec {
    fn name(&self) -> &'static str {
        "OnceExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = <[_; 1]>::try_from(children).map_err(|_| storage_fault("a node of several inputs"))?;
        Ok(Arc::new(Self { input, once: Arc::clone(&self.once) }))
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
        let once = Arc::clone(&self.once);
        let rows = self.input.execute(partition, context)?;
        let admitted = rows.and_then(move |batch| std::future::ready(once.admit(&batch)));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), admitted)))
    }
}
