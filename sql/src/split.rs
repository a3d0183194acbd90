//! The released aggregate, and what is above it.
//!
//! Going up from the scans, rows of patients stay rows of patients until an aggregate over them leaves the patient out
//! of its keys: that one is released, and everything above it reads its noisy result. Two such aggregates in one
//! question are two releases, and refused, unless they are the same (a WITH name used twice).

use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Column, JoinType, NullEquality, TableReference};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::logical_plan::builder::LogicalTableSource;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, Projection, TableScanBuilder};
use epiledger_privacy::catalog::{Catalog, UNIT};
use epiledger_privacy::query::{NOISY, groups_by_unit, noisy_column};
use epiledger_privacy::refusal::{Code, PlanError};

/// What the rows of a plan are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rows {
    /// Of public tables alone.
    Public,
    /// Of patients.
    Patients,
    /// Released numbers, perhaps with public rows.
    Noisy,
}

/// Splits a planned question into its private and its post plan.
///
/// # Errors
/// A refusal of the plan: rows of patients at the top, a released result that meets patients' rows again, or what the
/// core refuses below an aggregate.
pub(crate) fn split(plan: LogicalPlan, catalog: &Catalog) -> Result<(LogicalPlan, LogicalPlan), PlanError> {
    let mut split = Split { catalog, released: None };
    let (post, rows) = split.node(&plan)?;
    match (rows, split.released) {
        (Rows::Noisy, Some(private)) => Ok((LogicalPlan::Aggregate(private), post)),
        (Rows::Patients, _) => Err(rows_of_patients(&plan, catalog)),
        _ => Err(PlanError::new(
            Code::NotAQuery,
            "the question reads no patients' rows; public tables are free at /v1/datasets",
        )),
    }
}

/// Which of the two codes fits an answer made of patients' rows.
fn rows_of_patients(plan: &LogicalPlan, catalog: &Catalog) -> PlanError {
    fn grouped(plan: &LogicalPlan) -> bool {
        match plan {
            LogicalPlan::Aggregate(_) => true,
            LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => {
                plan.inputs().into_iter().any(grouped)
            }
            LogicalPlan::SubqueryAlias(alias) => grouped(&alias.input),
            _ => false,
        }
    }
    let shown = plan.schema().iter().map(|field| Expr::Column(Column::from(field))).collect();
    let by_shown = Aggregate::try_new(Arc::new(plan.clone()), shown, Vec::new());
    let unit_shown = plan.schema().fields().iter().any(|field| field.name() == UNIT)
        || by_shown.is_ok_and(|groups| groups_by_unit(&groups, catalog).unwrap_or(false));
    if grouped(plan) && unit_shown {
        PlanError::new(Code::UnitInOutput, "the answer would name patients")
    } else {
        PlanError::new(Code::RowLevelOutput, "the answer would be rows about single patients")
    }
}

struct Split<'a> {
    catalog: &'a Catalog,
    released: Option<Aggregate>,
}

impl Split<'_> {
    fn node(&mut self, plan: &LogicalPlan) -> Result<(LogicalPlan, Rows), PlanError> {
        self.expressions(plan)?;
        match plan {
            LogicalPlan::TableScan(scan) => Ok((plan.clone(), self.table(&scan.table_name))),
            LogicalPlan::Aggregate(aggregate) => {
                let (input, rows) = self.node(&aggregate.input)?;
                match rows {
                    Rows::Patients if groups_by_unit(aggregate, self.catalog)? => Ok((plan.clone(), rows)),
                    Rows::Patients => Ok((self.release(aggregate)?, Rows::Noisy)),
                    _ => Ok((over(plan, vec![input])?, rows)),
                }
            }
            _ => {
                let mut inputs = Vec::new();
                let mut kinds = Vec::new();
                for input in plan.inputs() {
                    let (input, rows) = self.node(input)?;
                    inputs.push(input);
                    kinds.push(rows);
                }
                let has = |kind: Rows| kinds.contains(&kind);
                let sets = match plan {
                    LogicalPlan::Union(_) => true,
                    // INTERSECT and EXCEPT are joins in which NULL equals NULL.
                    LogicalPlan::Join(join) => join.null_equality == NullEquality::NullEqualsNull,
                    _ => false,
                };
                if let LogicalPlan::Join(join) = plan
                    && !sets
                    && matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti)
                    && kinds == [Rows::Public, Rows::Patients]
                {
                    return Err(PlanError::new(
                        Code::PrivateSubqueryInExpr,
                        "public rows are picked by patients' rows",
                    ));
                }
                if has(Rows::Noisy) && has(Rows::Patients) {
                    return Err(if sets {
                        PlanError::new(Code::SetopMixed, "a released result and patients' rows in one set operation")
                    } else {
                        PlanError::new(Code::NestedDp, "a released result meets patients' rows again")
                    });
                }
                if has(Rows::Patients) {
                    return Ok((plan.clone(), Rows::Patients));
                }
                let rows = if has(Rows::Noisy) { Rows::Noisy } else { Rows::Public };
                Ok((over(plan, inputs)?, rows))
            }
        }
    }

    fn table(&self, name: &TableReference) -> Rows {
        match self.catalog.table(name.table()) {
            Some(table) if table.private.is_none() => Rows::Public,
            // A name that is not known is the core's to refuse.
            _ => Rows::Patients,
        }
    }

    /// Sub-queries that are still inside expressions may read public tables alone.
    fn expressions(&self, plan: &LogicalPlan) -> Result<(), PlanError> {
        let mut private = false;
        let walked = plan.apply_subqueries(|subquery| {
            subquery.apply_with_subqueries(|node| {
                if let LogicalPlan::TableScan(scan) = node {
                    private |= self.table(&scan.table_name) == Rows::Patients;
                }
                Ok(TreeNodeRecursion::Continue)
            })
        });
        if private || walked.is_err() {
            return Err(PlanError::new(
                Code::PrivateSubqueryInExpr,
                "a sub-query over patients' rows is not tied to the patient",
            ));
        }
        Ok(())
    }

    /// Releases an aggregate.
    fn release(&mut self, aggregate: &Aggregate) -> Result<LogicalPlan, PlanError> {
        match &self.released {
            Some(other) if other != aggregate => {
                return Err(PlanError::new(
                    Code::AggUnsupported,
                    "the question releases two different aggregates; ask one GROUP BY at a time",
                ));
            }
            _ => self.released = Some(aggregate.clone()),
        }
        noisy_in_place_of(aggregate)
    }
}

/// The noisy table in the aggregate's place, under the aggregate's own names.
///
/// # Errors
/// `TYPE_MISMATCH`: it does not fit there.
pub fn noisy_in_place_of(aggregate: &Aggregate) -> Result<LogicalPlan, PlanError> {
    let fields = aggregate.schema.fields().iter().enumerate();
    let columns: Vec<Field> =
        fields.map(|(index, field)| Field::new(noisy_column(index), field.data_type().clone(), true)).collect();
    let source = Arc::new(LogicalTableSource::new(Arc::new(Schema::new(columns))));
    let noisy = TableReference::bare(NOISY);
    let scan = fits(TableScanBuilder::new(noisy.clone(), source).build())?;
    let named = aggregate.schema.iter().enumerate().map(|(index, (qualifier, field))| {
        Expr::Column(Column::new(Some(noisy.clone()), noisy_column(index)))
            .alias_qualified(qualifier.cloned(), field.name())
    });
    let named: Vec<Expr> = named.collect();
    let plan = Projection::try_new(named, Arc::new(LogicalPlan::TableScan(scan)));
    Ok(LogicalPlan::Projection(fits(plan)?))
}

fn over(plan: &LogicalPlan, inputs: Vec<LogicalPlan>) -> Result<LogicalPlan, PlanError> {
    if inputs.is_empty() {
        return Ok(plan.clone());
    }
    fits(plan.with_new_exprs(plan.expressions(), inputs))
}

fn fits<T>(result: Result<T, DataFusionError>) -> Result<T, PlanError> {
    result.map_err(|_| PlanError::new(Code::TypeMismatch, "the part above the aggregate does not fit together"))
}
