//! What the SQL planner may know: the catalog's visible columns and the dialect's functions, nothing else.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::{Result, TableReference, plan_err};
use datafusion::functions_aggregate::planner::AggregateFunctionPlanner;
use datafusion::functions_window::planner::WindowFunctionPlanner;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::logical_plan::builder::LogicalTableSource;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, PlannerResult};
use datafusion::logical_expr::{
    AggregateUDF, ColumnarValue, Expr, HigherOrderUDF, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    TableSource, Volatility, WindowUDF,
};
use datafusion::scalar::ScalarValue;
use epiledger_privacy::catalog::Catalog;
use epiledger_privacy::functions;

use crate::names;

/// The planner's view of one catalog.
pub(crate) struct Context<'a> {
    catalog: &'a Catalog,
    today: ScalarValue,
    planners: Vec<Arc<dyn ExprPlanner>>,
    options: ConfigOptions,
}

impl<'a> Context<'a> {
    /// The view of a catalog whose data ends on `today`, in days since 1970-01-01.
    pub(crate) fn new(catalog: &'a Catalog, today: i32) -> Self {
        Self {
            catalog,
            today: ScalarValue::Date32(Some(today)),
            planners: vec![Arc::new(Syntax), Arc::new(AggregateFunctionPlanner), Arc::new(WindowFunctionPlanner)],
            options: ConfigOptions::default(),
        }
    }
}

impl ContextProvider for Context<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        match &name {
            TableReference::Bare { table } => match self.catalog.table(table) {
                Some(found) => Ok(Arc::new(LogicalTableSource::new(found.schema()))),
                None => plan_err!("no such table"),
            },
            _ => plan_err!("no such table"),
        }
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        let constant = |value: ScalarValue| Some(Arc::new(ScalarUDF::from(Constant { value, signature: nullary() })));
        match name {
            today if names::TODAY.contains(&today) => constant(self.today.clone()),
            names::PI => constant(ScalarValue::from(std::f64::consts::PI)),
            other => functions::scalar(other),
        }
    }

    fn get_higher_order_meta(&self, _: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        names::aggregate(name)
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        names::window(name)
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        functions::names().map(str::to_owned).collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// SQL's own spellings of functions: EXTRACT(.. FROM ..), SUBSTRING(.. FROM .. FOR ..), POSITION(.. IN ..).
#[derive(Debug)]
struct Syntax;

fn called(name: &str, args: Vec<Expr>) -> PlannerResult<Vec<Expr>> {
    match functions::scalar(name) {
        Some(func) => PlannerResult::Planned(Expr::ScalarFunction(ScalarFunction { func, args })),
        None => PlannerResult::Original(args),
    }
}

impl ExprPlanner for Syntax {
    fn plan_extract(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        // EXTRACT(YEAR FROM age(a, b)) is how PostgreSQL asks for what age(a, b) is here.
        if let [Expr::Literal(part, _), age @ Expr::ScalarFunction(call)] = args.as_slice()
            && call.func.name() == "age"
            && part.try_as_str().flatten().is_some_and(|part| part.eq_ignore_ascii_case("year"))
        {
            return Ok(PlannerResult::Planned(age.clone()));
        }
        Ok(called("date_part", args))
    }

    fn plan_substring(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(called("substr", args))
    }

    fn plan_position(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(called("strpos", args))
    }
}

/// `now()` and `pi()` while they are planned; [`constant`] puts the value in their place.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Constant {
    value: ScalarValue,
    signature: Signature,
}

fn nullary() -> Signature {
    Signature::nullary(Volatility::Immutable)
}

impl ScalarUDFImpl for Constant {
    fn name(&self) -> &'static str {
        if self.value.data_type() == DataType::Date32 { "now" } else { names::PI }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.value.data_type())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(self.value.clone()))
    }
}

/// The value, when this is a call for a constant.
pub(crate) fn constant(expr: &Expr) -> Option<Expr> {
    let Expr::ScalarFunction(call) = expr else { return None };
    let constant = call.func.inner().downcast_ref::<Constant>()?;
    Some(Expr::Literal(constant.value.clone(), None))
}
