//! Where each column of an answer comes from: a post plan rewritten to carry its base columns along.
//!
//! The base columns are the noisy table's (`__base0..`), the number of the cell (`__cell`) and those of public
//! tables. With them beside each row, a value can be computed again from other noisy numbers, which is what its
//! interval needs, whatever HAVING, ORDER BY and LIMIT did to the rows.

use std::sync::Arc;

use datafusion::{
    arrow::{array::UInt64Array, datatypes::Field, record_batch::RecordBatch},
    common::{
        Column, DFSchema, Result,
        tree_node::{Transformed, TreeNode},
    },
    datasource::{MemTable, provider_as_source},
    logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Projection, TableScan},
};
use epiledger_privacy::query::NOISY;

/// Number of the noisy table's row.
pub const CELL: &str = "__cell";

/// The carried copy of the noisy table's column `index`.
#[must_use]
pub fn base(index: usize) -> String {
    format!("__base{index}")
}

const PUBLIC: &str = "__public";

/// A post plan that carries its base columns.
pub struct Carried {
    /// Visible columns first, in their order, then the carried ones.
    pub plan: LogicalPlan,
    /// How many columns are visible.
    pub visible: usize,
    /// For each visible column its expression over carried columns; None where it can't be traced
    /// (an aggregate or a window over released numbers, a union).
    pub lineage: Vec<Option<Expr>>,
}

/// The tables that a post plan reads.
pub trait Tables {
    /// Rows of a public table.
    fn public(&self, name: &str) -> Option<Vec<RecordBatch>>;
}

struct Walked {
    plan: LogicalPlan,
    /// One for each column of `plan`, carried ones included.
    lineage: Vec<Option<Expr>>,
}

/// Rewrites `post` to read `noisy` and to carry its base columns.
///
/// # Errors
/// The plan can't be rebuilt.
pub fn carry(post: &LogicalPlan, noisy: &RecordBatch, tables: &dyn Tables) -> Result<Carried> {
    let mut walk = Walk { noisy, tables, public: 0 };
    let Walked { plan, lineage } = walk.node(post)?;
    // Joins interleave carried columns; put the visible ones first.
    let mut order: Vec<usize> = (0..lineage.len()).collect();
    order.sort_by_key(|index| is_carried(plan.schema().field(*index).name()));
    let visible = order.iter().filter(|index| !is_carried(plan.schema().field(**index).name())).count();
    let columns = order.iter().map(|index| column(plan.schema(), *index)).collect();
    let lineage = order.iter().take(visible).map(|index| lineage.get(*index).cloned().flatten()).collect();
    let plan = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?);
    Ok(Carried { plan, visible, lineage })
}

/// Is this the name of a carried column? No identifier of a question begins with two underscores and these words.
#[must_use]
pub fn is_carried(name: &str) -> bool {
    name == CELL || name.starts_with("__base") || name.starts_with(PUBLIC)
}

fn column(schema: &DFSchema, index: usize) -> Expr {
    let (qualifier, field) = schema.qualified_field(index);
    Expr::Column(Column::new(qualifier.cloned(), field.name()))
}

fn carried(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

struct Walk<'a> {
    noisy: &'a RecordBatch,
    tables: &'a dyn Tables,
    public: usize,
}

impl Walk<'_> {
    fn node(&mut self, node: &LogicalPlan) -> Result<Walked> {
        if let LogicalPlan::TableScan(scan) = node {
            return self.scan(scan);
        }
        let inputs = node.inputs().into_iter().map(|input| self.node(input)).collect::<Result<Vec<_>>>()?;
        match node {
            LogicalPlan::Projection(projection) => match inputs.into_iter().next() {
                Some(input) => project(&projection.expr, input),
                None => Ok(opaque(node.clone())),
            },
            LogicalPlan::Filter(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Join(_) => {
                let lineage: Vec<_> = inputs.iter().flat_map(|input| input.lineage.clone()).collect();
                let plans = inputs.into_iter().map(|input| input.plan).collect();
                let plan = node.with_new_exprs(node.expressions(), plans)?;
                let lineage = if lineage.len() == plan.schema().fields().len() {
                    lineage
                } else {
                    // A semi-join keeps one side.
                    lineage.into_iter().take(plan.schema().fields().len()).collect()
                };
                Ok(Walked { plan, lineage })
            }
            // Rows no longer stand for cells: the values are shown without intervals.
            _ => {
                let plans = inputs
                    .into_iter()
                    .zip(node.inputs())
                    .map(|(input, old)| visible_part(input, old))
                    .collect::<Result<Vec<_>>>()?;
                Ok(opaque(node.with_new_exprs(node.expressions(), plans)?))
            }
        }
    }

    fn scan(&mut self, scan: &TableScan) -> Result<Walked> {
        let name = scan.table_name.table();
        let (batches, noisy) = if name == NOISY {
            (vec![with_cell(self.noisy)?], true)
        } else {
            (self.tables.public(name).unwrap_or_default(), false)
        };
        let schema = batches.first().map_or_else(|| scan.source.schema(), RecordBatch::schema);
        let provider = provider_as_source(Arc::new(MemTable::try_new(schema, vec![batches])?));
        let plan = LogicalPlanBuilder::scan(scan.table_name.clone(), provider, None)?.build()?;
        let mut columns = Vec::new();
        let mut copies = Vec::new();
        let mut lineage = Vec::new();
        for (index, field) in scan.projected_schema.fields().iter().enumerate() {
            let copy = if noisy {
                // Projections of the scan keep the noisy table's numbering by name, `c<i>`.
                field.name().trim_start_matches('c').parse().map_or_else(|_| base(index), base)
            } else {
                self.public += 1;
                format!("{PUBLIC}{}", self.public)
            };
            let original = column(&scan.projected_schema, index);
            columns.push(original.clone());
            copies.push(original.alias(&copy));
            lineage.push(Some(carried(&copy)));
        }
        lineage.extend(lineage.clone());
        columns.extend(copies);
        if noisy {
            columns.push(Expr::Column(Column::new(Some(scan.table_name.clone()), CELL)));
            lineage.push(Some(carried(CELL)));
        }
        let plan = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?);
        Ok(Walked { plan, lineage })
    }
}

fn with_cell(noisy: &RecordBatch) -> Result<RecordBatch> {
    let cells = UInt64Array::from_iter_values(0..noisy.num_rows() as u64);
    let mut fields: Vec<Field> = noisy.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
    fields.push(Field::new(CELL, datafusion::arrow::datatypes::DataType::UInt64, true));
    let mut columns = noisy.columns().to_vec();
    columns.push(Arc::new(cells));
    Ok(RecordBatch::try_new(Arc::new(datafusion::arrow::datatypes::Schema::new(fields)), columns)?)
}

/// The projection, then every carried column of its input; expressions in terms of carried columns.
fn project(exprs: &[Expr], input: Walked) -> Result<Walked> {
    let mut columns = exprs.to_vec();
    let mut lineage = Vec::new();
    for expr in exprs {
        let mut traced = true;
        let expr = expr.clone().unalias_nested().data.transform_up(|e| match &e {
            Expr::Column(column) => {
                let found = input
                    .plan
                    .schema()
                    .maybe_index_of_column(column)
                    .and_then(|i| input.lineage.get(i).cloned().flatten());
                match found {
                    Some(source) => Ok(Transformed::yes(source)),
                    None => {
                        traced = false;
                        Ok(Transformed::no(e))
                    }
                }
            }
            Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::WindowFunction(_) => {
                traced = false;
                Ok(Transformed::no(e))
            }
            _ => Ok(Transformed::no(e)),
        })?;
        lineage.push(traced.then_some(expr.data));
    }
    for index in 0..input.plan.schema().fields().len() {
        if is_carried(input.plan.schema().field(index).name()) {
            columns.push(column(input.plan.schema(), index));
            lineage.push(input.lineage.get(index).cloned().flatten());
        }
    }
    let plan = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(input.plan))?);
    Ok(Walked { plan, lineage })
}

/// The columns that the old input had, without the carried ones.
fn visible_part(input: Walked, old: &LogicalPlan) -> Result<LogicalPlan> {
    let columns = (0..old.schema().fields().len()).map(|index| column(old.schema(), index)).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(input.plan))?))
}

fn opaque(plan: LogicalPlan) -> Walked {
    let lineage = vec![None; plan.schema().fields().len()];
    Walked { plan, lineage }
}
