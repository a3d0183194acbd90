//! The plan above the released aggregate: it reads the noisy table and public tables, and nothing of patients.
//!
//! It can leak nothing, since it sees released numbers alone. It is still an allow-list, so that it can neither fail
//! in a way that tells more than its answer nor reach a private table by another name.

use datafusion::common::TableReference;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::{ScalarFunction, WindowFunctionDefinition};
use datafusion::logical_expr::{
    BinaryExpr, Cast, Distinct, Expr, ExprSchemable, LogicalPlan, Operator, ScalarUDF, TryCast,
};

use crate::catalog::Catalog;
use crate::functions::{self, Arithmetic, Operation, Text};
use crate::query::NOISY;
use crate::refusal::{Code, PlanError};

/// Walks a post plan.
///
/// # Errors
/// `NESTED_DP` when it reads a private table; the refusal of a node or function that is not part of the dialect.
pub(crate) fn check_post(plan: &LogicalPlan, catalog: &Catalog) -> Result<(), PlanError> {
    let mut refused: Option<PlanError> = None;
    let walked = plan.apply_with_subqueries(|node| {
        refused = check_node(node, catalog).err().or_else(|| check_functions(node).err());
        Ok(if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    match (refused, walked) {
        (Some(refusal), _) => Err(refusal),
        (None, Err(_)) => Err(PlanError::new(Code::NonTotalFn, "the plan above the aggregate cannot be read")),
        (None, Ok(_)) => Ok(()),
    }
}

fn check_node(node: &LogicalPlan, catalog: &Catalog) -> Result<(), PlanError> {
    match node {
        LogicalPlan::TableScan(scan) => match &scan.table_name {
            TableReference::Bare { table } if table.as_ref() == NOISY => Ok(()),
            TableReference::Bare { table } => match catalog.table(table) {
                Some(known) if known.private.is_none() => Ok(()),
                Some(_) => Err(PlanError::new(Code::NestedDp, "a released result meets patients' rows again")),
                None => Err(PlanError::new(Code::UnknownName, "a table that is not in the catalog")),
            },
            _ => Err(PlanError::new(Code::UnknownName, "a table that is not in the catalog")),
        },
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Aggregate(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::EmptyRelation(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Values(_)
        | LogicalPlan::Distinct(Distinct::All(_)) => Ok(()),
        LogicalPlan::RecursiveQuery(_) => Err(PlanError::new(Code::Recursive, "a recursive query")),
        LogicalPlan::Distinct(Distinct::On(_))
        | LogicalPlan::Unnest(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::Extension(_) => {
            Err(PlanError::new(Code::NonTotalFn, "the plan has an operator that is not part of the dialect"))
        }
        LogicalPlan::Explain(_)
        | LogicalPlan::Analyze(_)
        | LogicalPlan::Dml(_)
        | LogicalPlan::Ddl(_)
        | LogicalPlan::Copy(_)
        | LogicalPlan::DescribeTable(_)
        | LogicalPlan::Statement(_) => Err(PlanError::new(Code::NotAQuery, "the statement is not a question")),
    }
}

/// Aggregates and windows that may be taken over released numbers.
const FOLDS: [&str; 20] = [
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "median",
    "stddev",
    "stddev_pop",
    "var",
    "var_pop",
    "corr",
    "bool_and",
    "bool_or",
    "row_number",
    "rank",
    "dense_rank",
    "percent_rank",
    "lag",
    "lead",
    "first_value",
];

fn check_functions(node: &LogicalPlan) -> Result<(), PlanError> {
    let mut refused = None;
    let mut refuse = |name: &str| {
        refused = Some(PlanError::new(Code::NonTotalFn, format!("the function {name} is not part of the dialect")));
        Ok(TreeNodeRecursion::Stop)
    };
    let walked = node.apply_expressions(|expr| {
        expr.apply(|expr| match expr {
            Expr::ScalarFunction(call) if !functions::allowed(&call.func) => refuse(call.func.name()),
            Expr::AggregateFunction(fold) if !FOLDS.contains(&fold.func.name()) => refuse(fold.func.name()),
            Expr::WindowFunction(window) => {
                let name = match &window.fun {
                    WindowFunctionDefinition::AggregateUDF(udf) => udf.name(),
                    WindowFunctionDefinition::WindowUDF(udf) => udf.name(),
                };
                if FOLDS.contains(&name) || name == "last_value" {
                    Ok(TreeNodeRecursion::Continue)
                } else {
                    refuse(name)
                }
            }
            Expr::SimilarTo(_) | Expr::Unnest(_) | Expr::HigherOrderFunction(_) | Expr::Lambda(_) => {
                refuse("of lists and patterns")
            }
            Expr::ScalarVariable(_, _) | Expr::Placeholder(_) => refuse("of variables"),
            _ => Ok(TreeNodeRecursion::Continue),
        })
    });
    match (refused, walked) {
        (Some(refusal), _) => Err(refusal),
        (None, Err(_)) => Err(PlanError::new(Code::NonTotalFn, "an expression above the aggregate cannot be read")),
        (None, Ok(_)) => Ok(()),
    }
}

/// Rewrites arithmetic and casts so that they give NULL where they would fail.
///
/// # Errors
/// `TYPE_MISMATCH` when the rewritten plan does not fit together.
pub(crate) fn total_post(plan: LogicalPlan) -> Result<LogicalPlan, PlanError> {
    let rewritten = plan.transform_up_with_subqueries(|node| {
        let inputs: Vec<_> = node.inputs().into_iter().map(|input| input.schema().as_ref().clone()).collect();
        let mut schema = inputs.first().cloned().unwrap_or_else(|| node.schema().as_ref().clone());
        for other in inputs.iter().skip(1) {
            schema.merge(other);
        }
        let preserver = datafusion::logical_expr::expr_rewriter::NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = preserver.save(&expr);
            let new = expr.transform_up(|expr| one(expr, &schema))?;
            Ok(new.update_data(|expr| name.restore(expr)))
        })?
        .map_data(LogicalPlan::recompute_schema)
    });
    rewritten
        .map(|rewritten| rewritten.data)
        .map_err(|_| PlanError::new(Code::TypeMismatch, "the part above the aggregate does not fit together"))
}

fn one(expr: Expr, schema: &datafusion::common::DFSchema) -> Result<Transformed<Expr>, DataFusionError> {
    let call = |func: ScalarUDF, args: Vec<Expr>| {
        Transformed::yes(Expr::ScalarFunction(ScalarFunction { func: std::sync::Arc::new(func), args }))
    };
    Ok(match expr {
        Expr::Cast(Cast { expr, field }) => Transformed::yes(Expr::TryCast(TryCast { expr, field })),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let numbers = left.get_type(schema)?.is_numeric() && right.get_type(schema)?.is_numeric();
            let operation = match op {
                Operator::Plus => Operation::Add,
                Operator::Minus => Operation::Subtract,
                Operator::Multiply => Operation::Multiply,
                Operator::Divide => Operation::Divide,
                Operator::Modulo => Operation::Remainder,
                Operator::StringConcat => return Ok(call(Text::Join.into(), vec![*left, *right])),
                _ => return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right }))),
            };
            if numbers {
                call(Arithmetic::new(operation).into(), vec![*left, *right])
            } else {
                Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right }))
            }
        }
        Expr::Negative(inner) if inner.get_type(schema)?.is_numeric() => {
            call(Arithmetic::new(Operation::Negate).into(), vec![*inner])
        }
        other => Transformed::no(other),
    })
}
