//! How joins run. Two private sides meet on the patient, in order, patient by patient; a public side is the one that
//! is held in memory.

use std::sync::Arc;

use datafusion::{
    arrow::{
        compute::SortOptions,
        datatypes::{FieldRef, Schema},
    },
    common::{
        JoinSide, JoinType, NullEquality, Result,
        tree_node::{Transformed, TransformedResult, TreeNode},
    },
    logical_expr::Operator,
    physical_expr::{
        PhysicalExpr,
        expressions::{BinaryExpr, Column},
    },
    physical_plan::{
        ExecutionPlan,
        joins::{
            CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PartitionMode, SortMergeJoinExec,
            utils::{ColumnIndex, JoinFilter, JoinOn},
        },
    },
};

use super::{
    retract::{Claim, RetractExec},
    walk::{Seen, seen},
};

/// Rewrites the joins of a plan from the leaves up.
pub(super) fn chosen(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let left_is_private = |left: &Arc<dyn ExecutionPlan>, right: &Arc<dyn ExecutionPlan>| {
        seen(left).is_ok_and(|s| s.private) && !seen(right).is_ok_and(|s| s.private)
    };
    plan.transform_up(|node| {
        let rewritten = if let Some(join) = node.downcast_ref::<HashJoinExec>() {
            match (seen(join.left()), seen(join.right())) {
                (Ok(left), Ok(right)) if left.private && right.private => by_patient(join, &left, &right)?,
                (Ok(left), _) if left.private => Some(join.swap_inputs(PartitionMode::CollectLeft)?),
                _ => Some(join.builder().with_partition_mode(PartitionMode::CollectLeft).build_exec()?),
            }
        } else if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
            left_is_private(join.left(), join.right()).then(|| join.swap_inputs()).transpose()?
        } else if let Some(join) = node.downcast_ref::<CrossJoinExec>() {
            left_is_private(join.left(), join.right()).then(|| join.swap_inputs()).transpose()?
        } else {
            None
        };
        Ok(rewritten.map_or_else(|| Transformed::no(Arc::clone(&node)), Transformed::yes))
    })
    .data()
}

/// Merges on the patient alone, so that both sides keep their ranges and their order; other equalities are tested on
/// the pairs of a patient.
fn by_patient(join: &HashJoinExec, left: &Seen, right: &Seen) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let is_unit = |expr: &Arc<dyn PhysicalExpr>, side: &Seen| {
        expr.downcast_ref::<Column>().is_some_and(|column| side.is_unit(column.index()))
    };
    let (units, others): (JoinOn, JoinOn) =
        join.on().iter().cloned().partition(|(l, r)| is_unit(l, left) && is_unit(r, right));
    let mut units = units.into_iter();
    let Some(unit) = units.next() else { return Ok(None) };
    let mut filter = Filter::of(join);
    for (l, r) in others {
        let (Some(l), Some(r)) = (l.downcast_ref::<Column>(), r.downcast_ref::<Column>()) else { return Ok(None) };
        filter.and_equal(join, l.index(), r.index());
    }
    let order = vec![SortOptions::default()];
    let merged = SortMergeJoinExec::try_new(
        Arc::clone(join.left()),
        Arc::clone(join.right()),
        vec![unit],
        filter.left_first()?,
        *join.join_type(),
        order,
        join.null_equality(),
    )?;
    let outer = matches!(merged.join_type(), JoinType::Left | JoinType::Right | JoinType::Full);
    let filtered = merged.filter().is_some();
    let merged: Arc<dyn ExecutionPlan> = Arc::new(merged);
    Ok(Some(if outer && filtered { Arc::new(RetractExec::new(merged, Claim::Order)) } else { merged }))
}

/// A join's condition beside its equalities, and the columns that it reads.
#[derive(Default)]
struct Filter {
    condition: Option<Arc<dyn PhysicalExpr>>,
    columns: Vec<ColumnIndex>,
    fields: Vec<FieldRef>,
}

impl Filter {
    fn of(join: &HashJoinExec) -> Self {
        join.filter().map_or_else(Self::default, |filter| Self {
            condition: Some(Arc::clone(filter.expression())),
            columns: filter.column_indices().to_vec(),
            fields: filter.schema().fields().to_vec(),
        })
    }

    /// Adds `left.l = right.r`, where NULL equals what it equals in the join.
    fn and_equal(&mut self, join: &HashJoinExec, l: usize, r: usize) {
        let equals = match join.null_equality() {
            NullEquality::NullEqualsNothing => Operator::Eq,
            NullEquality::NullEqualsNull => Operator::IsNotDistinctFrom,
        };
        let left = self.column(join.left(), JoinSide::Left, l);
        let right = self.column(join.right(), JoinSide::Right, r);
        let equal: Arc<dyn PhysicalExpr> = Arc::new(BinaryExpr::new(left, equals, right));
        self.condition = Some(match self.condition.take() {
            Some(condition) => Arc::new(BinaryExpr::new(condition, Operator::And, equal)),
            None => equal,
        });
    }

    fn column(&mut self, of: &Arc<dyn ExecutionPlan>, side: JoinSide, index: usize) -> Arc<dyn PhysicalExpr> {
        let (field, at) = (Arc::new(of.schema().field(index).clone()), self.columns.len());
        let column = Arc::new(Column::new(field.name(), at));
        self.columns.push(ColumnIndex { index, side });
        self.fields.push(field);
        column
    }

    /// As a sort-merge join reads it: the left side's columns, then the right side's. It also puts rows without a
    /// partner through the filter, with NULLs in the partner's columns, whatever those hold where they are stored: so
    /// every column is nullable here, or a question would fail for a patient that one side lacks.
    fn left_first(self) -> Result<Option<JoinFilter>> {
        let Self { condition: Some(condition), columns, fields } = self else { return Ok(None) };
        let sides: &[ColumnIndex] = &columns;
        let of = |side: JoinSide| (0..sides.len()).filter(move |at| sides.get(*at).is_some_and(|c| c.side == side));
        let order: Vec<usize> = of(JoinSide::Left).chain(of(JoinSide::Right)).collect();
        let condition = condition.transform_up(|e| match e.downcast_ref::<Column>() {
            Some(column) => {
                let at = order.iter().position(|old| *old == column.index()).unwrap_or(column.index());
                Ok(Transformed::yes(Arc::new(Column::new(column.name(), at)) as Arc<dyn PhysicalExpr>))
            }
            None => Ok(Transformed::no(e)),
        })?;
        let fields: Vec<_> =
            order.iter().filter_map(|at| fields.get(*at)).map(|f| f.as_ref().clone().with_nullable(true)).collect();
        let columns = order.iter().filter_map(|at| columns.get(*at).cloned()).collect();
        Ok(Some(JoinFilter::new(condition.data, columns, Arc::new(Schema::new(fields)))))
    }
}
