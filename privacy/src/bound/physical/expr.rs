//! The allow-list over physical expressions: total ones, whatever the rows hold.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::{DataType, Schema},
    logical_expr::Operator,
    physical_expr::{
        PhysicalExpr, ScalarFunctionExpr,
        expressions::{
            BinaryExpr, CaseExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr,
            TryCastExpr,
        },
    },
};

use crate::{
    bound::integer,
    functions,
    refusal::{Code, PlanError},
};

/// Refuses an expression with a part that is not on the list. `schema` is what its columns are of.
pub(super) fn check(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Result<(), PlanError> {
    let leaf = expr.is::<Column>() || expr.is::<Literal>();
    let total = leaf
        || expr.is::<NotExpr>()
        || expr.is::<IsNullExpr>()
        || expr.is::<IsNotNullExpr>()
        || expr.is::<InListExpr>()
        || expr.is::<LikeExpr>()
        || expr.is::<CaseExpr>()
        || expr.is::<TryCastExpr>()
        || expr.downcast_ref::<BinaryExpr>().is_some_and(|binary| total_operator(binary, schema))
        || expr.downcast_ref::<CastExpr>().is_some_and(|cast| widens(cast, schema))
        || expr
            .downcast_ref::<ScalarFunctionExpr>()
            .is_some_and(|call| functions::allowed(call.fun()) || integer::is_clamp(call.fun()));
    if !total {
        return Err(PlanError::new(Code::NonTotalFn, "the plan that would run has an expression that could fail"));
    }
    expr.children().into_iter().try_for_each(|part| check(part, schema))
}

fn total_operator(binary: &BinaryExpr, schema: &Schema) -> bool {
    match binary.op() {
        Operator::And
        | Operator::Or
        | Operator::Eq
        | Operator::NotEq
        | Operator::Lt
        | Operator::LtEq
        | Operator::Gt
        | Operator::GtEq
        | Operator::IsDistinctFrom
        | Operator::IsNotDistinctFrom => true,
        // The consent filter.
        Operator::BitwiseAnd => {
            [binary.left(), binary.right()].into_iter().all(|side| side.data_type(schema).is_ok_and(|t| t.is_integer()))
        }
        _ => false,
    }
}

/// Does this cast keep every value?
fn widens(cast: &CastExpr, schema: &Schema) -> bool {
    let Ok(from) = cast.expr().data_type(schema) else { return false };
    matches!(
        (&from, cast.cast_type()),
        (DataType::Null, _)
            | (DataType::Int8, DataType::Int16 | DataType::Int32 | DataType::Int64)
            | (DataType::Int16, DataType::Int32 | DataType::Int64)
            | (DataType::Int32, DataType::Int64)
            | (DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64, DataType::Float64)
            | (DataType::Float32, DataType::Float64)
    ) || from == *cast.cast_type()
}
