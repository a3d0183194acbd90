//! Comma joins: `FROM a, b WHERE a.x = b.x` says what `FROM a JOIN b ON a.x = b.x` says. The equalities of the
//! condition, and those that follow from them, go down to the inner joins that they connect; they stay above too.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, JoinType, Result};
use datafusion::logical_expr::{BinaryExpr, Expr, Filter, Join, LogicalPlan, Operator};

/// Connects inner joins by the equalities of the filters above them.
pub(crate) fn connect(plan: LogicalPlan) -> Result<LogicalPlan> {
    let connected = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::Filter(Filter { predicate, input, .. }) = &node else {
            return Ok(Transformed::no(node));
        };
        let LogicalPlan::Join(join) = input.as_ref() else {
            return Ok(Transformed::no(node));
        };
        if join.join_type != JoinType::Inner {
            return Ok(Transformed::no(node));
        }
        let mut classes = Classes::default();
        classes.learn(predicate);
        classes.learn_joins(input);
        let input = connected(input, &classes)?;
        Ok(Transformed::yes(LogicalPlan::Filter(Filter::try_new(predicate.clone(), Arc::new(input))?)))
    })?;
    Ok(connected.data)
}

/// Columns that a condition makes equal.
#[derive(Default)]
struct Classes(Vec<Vec<Column>>);

impl Classes {
    fn learn(&mut self, predicate: &Expr) {
        for part in conjuncts(predicate) {
            if let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = part
                && let (Expr::Column(a), Expr::Column(b)) = (left.as_ref(), right.as_ref())
            {
                self.equate(a, b);
            }
        }
    }

    fn learn_joins(&mut self, plan: &LogicalPlan) {
        if let LogicalPlan::Join(join) = plan
            && join.join_type == JoinType::Inner
        {
            for (a, b) in &join.on {
                if let (Expr::Column(a), Expr::Column(b)) = (a, b) {
                    self.equate(a, b);
                }
            }
            if let Some(filter) = &join.filter {
                self.learn(filter);
            }
            self.learn_joins(&join.left);
            self.learn_joins(&join.right);
        }
    }

    fn equate(&mut self, a: &Column, b: &Column) {
        let mut joined = vec![a.clone(), b.clone()];
        self.0.retain(|class| {
            let meets = class.contains(a) || class.contains(b);
            if meets {
                joined.extend(class.iter().cloned());
            }
            !meets
        });
        self.0.push(joined);
    }
}

fn connected(plan: &LogicalPlan, classes: &Classes) -> Result<LogicalPlan> {
    let LogicalPlan::Join(join) = plan else {
        return Ok(plan.clone());
    };
    if join.join_type != JoinType::Inner {
        return Ok(plan.clone());
    }
    let (left, right) = (connected(&join.left, classes)?, connected(&join.right, classes)?);
    let mut conditions: Vec<Expr> = join.filter.iter().cloned().collect();
    for class in &classes.0 {
        let of = |side: &LogicalPlan| class.iter().find(|c| side.schema().has_column(c)).cloned();
        if let (Some(l), Some(r)) = (of(&left), of(&right)) {
            let new = Expr::Column(l).eq(Expr::Column(r));
            let known = conditions.iter().any(|condition| conjuncts(condition).contains(&&new));
            if !known {
                conditions.push(new);
            }
        }
    }
    let joined = Join::try_new(
        Arc::new(left),
        Arc::new(right),
        join.on.clone(),
        conditions.into_iter().reduce(Expr::and),
        JoinType::Inner,
        join.join_constraint,
        join.null_equality,
        false,
    )?;
    Ok(LogicalPlan::Join(joined))
}

/// The parts of a condition that all must hold, in order.
pub(crate) fn conjuncts(expr: &Expr) -> Vec<&Expr> {
    let mut found = Vec::new();
    let mut open = vec![expr];
    while let Some(next) = open.pop() {
        match next {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                open.extend([right.as_ref(), left.as_ref()]);
            }
            other => found.push(other),
        }
    }
    found
}
