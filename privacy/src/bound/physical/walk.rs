//! The second walk, over the plan that runs: an exhaustive allow-list of its nodes, with the patient followed through
//! them by position. An unknown node, one that cuts rows off, an expression that could fail, or an operator that
//! would mix patients is refused. It repeats [`crate::bound::walk`]'s rules on what the optimizer made.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::FieldRef,
    catalog::memory::MemorySourceConfig,
    common::{JoinSide, JoinType},
    datasource::source::DataSourceExec,
    functions_aggregate as aggregates,
    physical_expr::{PhysicalExpr, expressions::Column},
    physical_plan::{
        ExecutionPlan,
        aggregates::AggregateExec,
        coalesce_partitions::CoalescePartitionsExec,
        coop::CooperativeExec,
        empty::EmptyExec,
        filter::FilterExec,
        joins::{
            CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec,
            utils::{ColumnIndex, JoinFilter, JoinOn},
        },
        placeholder_row::PlaceholderRowExec,
        projection::ProjectionExec,
        repartition::RepartitionExec,
        sorts::{partial_sort::PartialSortExec, sort::SortExec, sort_preserving_merge::SortPreservingMergeExec},
        union::{InterleaveExec, UnionExec},
        windows::{BoundedWindowAggExec, WindowAggExec, WindowExpr},
    },
};

use super::{expr, retract::RetractExec};
use crate::{
    bound::{operator::exec::BoundExec, scan::GuardedScan},
    refusal::{Code, PlanError},
};

/// What is known of a node's rows.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Are they patients' rows?
    pub(super) private: bool,
    /// For each column, whether it is the patient, never NULL.
    unit: Vec<bool>,
    /// There are none: the optimizer saw that a condition never holds, and dropped what was below.
    empty: bool,
}

impl Seen {
    pub(super) fn is_unit(&self, column: usize) -> bool {
        self.unit.get(column).copied().unwrap_or(false)
    }

    fn public(columns: usize) -> Self {
        Self { private: false, unit: vec![false; columns], empty: false }
    }

    /// The columns at these positions of `self`; None for what is not a bare column.
    fn at(&self, positions: impl Iterator<Item = Option<usize>>) -> Self {
        let unit = positions.map(|position| position.is_some_and(|position| self.is_unit(position))).collect();
        Self { private: self.private, unit, empty: self.empty }
    }
}

fn refused(words: &str) -> PlanError {
    PlanError::new(Code::NonTotalFn, format!("the plan that would run {words}"))
}

/// Walks a whole plan, which the operator ends.
pub(super) fn walk(plan: &Arc<dyn ExecutionPlan>) -> Result<(), PlanError> {
    if let Some(cooperative) = plan.downcast_ref::<CooperativeExec>() {
        return walk(cooperative.input());
    }
    let bound = plan.downcast_ref::<BoundExec>().ok_or_else(|| refused("does not end in the bounding operator"))?;
    let [input] = bound.children()[..] else { return Err(refused("has a bounding operator of several inputs")) };
    let input = seen(input)?;
    if input.empty || input.private && input.is_unit(0) { Ok(()) } else { Err(refused("does not hand the patient on")) }
}

/// Walks a part of a plan.
pub(super) fn seen(plan: &Arc<dyn ExecutionPlan>) -> Result<Seen, PlanError> {
    if plan.fetch().is_some() {
        return Err(refused("cuts rows off"));
    }
    let inputs = plan.children().into_iter().map(seen).collect::<Result<Vec<_>, _>>()?;
    let columns = plan.schema().fields().len();
    if let Some(scan) = plan.downcast_ref::<GuardedScan>() {
        let unit = scan.unit();
        let unit = (0..columns).map(|column| Some(column) == unit).collect();
        return Ok(Seen { private: true, unit, empty: false });
    }
    if inputs.is_empty() {
        let empty = plan.is::<EmptyExec>();
        let in_memory = empty
            || plan.is::<PlaceholderRowExec>()
            || plan.downcast_ref::<DataSourceExec>().is_some_and(|s| s.data_source().is::<MemorySourceConfig>());
        return if in_memory {
            Ok(Seen { empty, ..Seen::public(columns) })
        } else {
            Err(refused("reads an unknown source"))
        };
    }
    if plan.is::<UnionExec>() || plan.is::<InterleaveExec>() {
        return all_alike(&inputs, columns);
    }
    match inputs.as_slice() {
        [input] => unary(plan, input),
        [left, right] => join(plan, left, right),
        _ => Err(refused("has an unknown operator")),
    }
}

fn unary(plan: &Arc<dyn ExecutionPlan>, input: &Seen) -> Result<Seen, PlanError> {
    let children = plan.children();
    let schema = match plan.downcast_ref::<AggregateExec>() {
        // The last stage of a fold names the columns of the first one's input.
        Some(fold) => fold.input_schema(),
        None => children.first().ok_or_else(|| refused("lacks an input"))?.schema(),
    };
    check_all(plan, &schema)?;
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        return Ok(projected(input.clone(), filter.projection().as_deref()));
    }
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        return Ok(input.at(projection.expr().iter().map(|column| position(&column.expr))));
    }
    if let Some(fold) = plan.downcast_ref::<AggregateExec>() {
        return folded(fold, input);
    }
    if let Some(window) = plan.downcast_ref::<WindowAggExec>() {
        return windowed(window.window_expr(), input);
    }
    if let Some(window) = plan.downcast_ref::<BoundedWindowAggExec>() {
        return windowed(window.window_expr(), input);
    }
    let moves_rows_only = plan.is::<SortExec>()
        || plan.is::<PartialSortExec>()
        || plan.is::<SortPreservingMergeExec>()
        || plan.is::<CoalescePartitionsExec>()
        || plan.is::<RepartitionExec>()
        || plan.is::<CooperativeExec>()
        || plan.is::<RetractExec>();
    if moves_rows_only { Ok(input.clone()) } else { Err(refused("has an unknown operator")) }
}

fn folded(fold: &AggregateExec, input: &Seen) -> Result<Seen, PlanError> {
    let known = [
        aggregates::count::count_udaf(),
        aggregates::sum::sum_udaf(),
        aggregates::average::avg_udaf(),
        aggregates::min_max::min_udaf(),
        aggregates::min_max::max_udaf(),
    ];
    if fold.group_expr().has_grouping_set()
        || fold.limit_options().is_some()
        || !fold.aggr_expr().iter().all(|aggregate| known.iter().any(|known| *aggregate.fun() == **known))
    {
        return Err(refused("has an unknown aggregate"));
    }
    let keys: Vec<Option<usize>> = fold.group_expr().expr().iter().map(|(key, _)| position(key)).collect();
    if input.private && !keys.iter().flatten().any(|key| input.is_unit(*key)) {
        return Err(refused("folds several patients' rows"));
    }
    let results = fold.schema().fields().len().saturating_sub(keys.len());
    // Without keys there is a row even of no rows.
    let empty = input.empty && !keys.is_empty();
    Ok(Seen { empty, ..input.at(keys.into_iter().chain(std::iter::repeat_n(None, results))) })
}

fn windowed(windows: &[Arc<dyn WindowExpr>], input: &Seen) -> Result<Seen, PlanError> {
    let by_patient = |window: &Arc<dyn WindowExpr>| {
        window.partition_by().iter().any(|key| position(key).is_some_and(|key| input.is_unit(key)))
    };
    if input.private && !windows.iter().all(by_patient) {
        return Err(refused("reads several patients' rows in a window"));
    }
    let results = windows.len();
    Ok(input.at((0..input.unit.len()).map(Some).chain(std::iter::repeat_n(None, results))))
}

fn join(plan: &Arc<dyn ExecutionPlan>, left: &Seen, right: &Seen) -> Result<Seen, PlanError> {
    let none = JoinOn::new();
    let (kind, on, filter, projection) = if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        (*join.join_type(), join.on(), join.filter(), join.projection.as_deref())
    } else if let Some(join) = plan.downcast_ref::<SortMergeJoinExec>() {
        (join.join_type(), join.on(), join.filter().as_ref(), None)
    } else if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
        (*join.join_type(), &none[..], join.filter(), join.projection().as_deref())
    } else if plan.is::<CrossJoinExec>() {
        (JoinType::Inner, &none[..], None, None)
    } else {
        return Err(refused("has an unknown operator"));
    };
    if let [l, r] = plan.children()[..] {
        on.iter().try_for_each(|(a, b)| expr::check(a, &l.schema()).and_then(|()| expr::check(b, &r.schema())))?;
    }
    if let Some(filter) = filter {
        expr::check(filter.expression(), filter.schema())?;
        reads_what_it_names(filter, plan)?;
    }
    let pair = |(l, r): &(Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>)| {
        position(l).is_some_and(|l| left.is_unit(l)) && position(r).is_some_and(|r| right.is_unit(r))
    };
    if left.private && right.private && !on.iter().any(pair) {
        return Err(refused("joins two patients' rows"));
    }
    let lost = |side: &Seen| Seen { unit: vec![false; side.unit.len()], ..side.clone() };
    let empty = match kind {
        JoinType::Inner => left.empty || right.empty,
        JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti => left.empty,
        JoinType::Right | JoinType::RightSemi | JoinType::RightAnti => right.empty,
        _ => left.empty && right.empty,
    };
    // The side whose rows all come out, or that alone comes out, must be the private one.
    let kept = match kind {
        JoinType::Inner => true,
        JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti => left.private || !right.private,
        JoinType::Right | JoinType::RightSemi | JoinType::RightAnti => right.private || !left.private,
        JoinType::Full => !left.private && !right.private,
        JoinType::LeftMark | JoinType::RightMark => false,
    };
    if !kept {
        return Err(refused("picks public rows by patients' rows"));
    }
    let (left, right) = match kind {
        JoinType::Left => (left.clone(), lost(right)),
        JoinType::Right => (lost(left), right.clone()),
        JoinType::LeftSemi | JoinType::LeftAnti => (left.clone(), Seen::public(0)),
        JoinType::RightSemi | JoinType::RightAnti => (Seen::public(0), right.clone()),
        _ => (left.clone(), right.clone()),
    };
    let both = Seen { private: left.private || right.private, unit: [left.unit, right.unit].concat(), empty };
    Ok(projected(both, projection))
}

/// A filter holds names and types of its own beside the places that it reads: a rule that moved columns below it and
/// forgot it would have it read others, or none, once there are rows.
fn reads_what_it_names(filter: &JoinFilter, plan: &Arc<dyn ExecutionPlan>) -> Result<(), PlanError> {
    let [left, right] = plan.children()[..] else { return Err(refused("has a join of other than two inputs")) };
    let (left, right) = (left.schema(), right.schema());
    let as_named = |(column, named): (&ColumnIndex, &FieldRef)| {
        let side = if column.side == JoinSide::Left { &left } else { &right };
        let read = side.fields().get(column.index);
        read.is_some_and(|read| read.name() == named.name() && read.data_type() == named.data_type())
    };
    let named = filter.schema().fields();
    if named.len() == filter.column_indices().len() && filter.column_indices().iter().zip(named).all(as_named) {
        return Ok(());
    }
    Err(refused("has a join whose filter reads other columns than it names"))
}

/// The column that an expression is, if it is nothing else.
fn position(expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    expr.downcast_ref::<Column>().map(Column::index)
}

fn projected(of: Seen, projection: Option<&[usize]>) -> Seen {
    match projection {
        Some(columns) => of.at(columns.iter().copied().map(Some)),
        None => of,
    }
}

fn all_alike(inputs: &[Seen], columns: usize) -> Result<Seen, PlanError> {
    let private = inputs.iter().any(|input| input.private);
    let with_rows = || inputs.iter().filter(|input| !input.empty);
    if with_rows().any(|input| input.private != private) {
        return Err(refused("puts patients' rows and others together"));
    }
    let unit = (0..columns).map(|column| with_rows().all(|input| input.is_unit(column))).collect();
    Ok(Seen { private, unit, empty: inputs.iter().all(|input| input.empty) })
}

fn check_all(plan: &Arc<dyn ExecutionPlan>, schema: &datafusion::arrow::datatypes::Schema) -> Result<(), PlanError> {
    use datafusion::common::tree_node::TreeNodeRecursion;
    let mut found = Ok(());
    let visited = plan.apply_expressions(&mut |expr| {
        if found.is_ok() {
            found = expr::check(expr, schema);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    visited.map_err(|_| refused("has an operator that hides its expressions"))?;
    found
}
