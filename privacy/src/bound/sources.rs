//! The data behind a plan's tables: guarded scans under the consent filter, and the snapshot's public rows.

use std::{collections::BTreeMap, sync::Arc};

use datafusion::{
    arrow::datatypes::Schema,
    common::{
        Column, DataFusionError, Result,
        tree_node::{Transformed, TreeNode},
    },
    datasource::{MemTable, provider_as_source},
    logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Operator, TableScan, binary_expr, lit},
};

use super::scan::{GuardedTable, ranges::Blocks};
use crate::{
    catalog::{CONSENT, Catalog, UNIT},
    snapshot::Snapshot,
};

/// Puts the data behind the names: private scans become guarded scans under the consent filter, public
/// scans read the snapshot's tables. `tables` are the private ones.
pub(super) fn with_sources(
    plan: LogicalPlan,
    tables: &[String],
    catalog: &Catalog,
    snapshot: &Snapshot,
    purpose_bit: i32,
    scan_key: [u8; 16],
) -> Result<LogicalPlan> {
    let files = tables.iter().filter_map(|table| snapshot.private.get(table)).flatten();
    let blocks = Arc::new(Blocks::of(files));
    let mut providers: BTreeMap<String, Arc<GuardedTable>> = BTreeMap::new();
    let swapped = plan.transform_up(|node| match node {
        LogicalPlan::TableScan(scan) => {
            let name = scan.table_name.table().to_owned();
            let table = catalog
                .table(&name)
                .ok_or_else(|| DataFusionError::Internal("a scan of a table that the catalog lacks".into()))?;
            if !scan.filters.is_empty() || scan.fetch.is_some() {
                return Err(DataFusionError::Internal("a scan with a filter or a limit of its own".into()));
            }
            match table.private {
                None => public_scan(&scan, &name, snapshot).map(Transformed::yes),
                Some(contribution) => {
                    let provider = providers.entry(name.clone()).or_insert_with(|| {
                        let stored = table.stored_schema();
                        let visible =
                            stored.fields().iter().filter(|f| f.name() == CONSENT || !f.name().starts_with('_'));
                        let visible: Vec<_> = visible.cloned().collect();
                        Arc::new(GuardedTable {
                            schema: Arc::new(Schema::new(visible)),
                            blocks: Arc::clone(&blocks),
                            files: snapshot.private.get(&name).cloned().unwrap_or_default(),
                            scan_rows: contribution.scan_rows,
                            key: scan_key,
                        })
                    });
                    if provider.schema.fields().first().is_none_or(|f| f.name() != UNIT) {
                        return Err(DataFusionError::Internal("a private table must begin with the unit".into()));
                    }
                    private_scan(&scan, Arc::clone(provider), purpose_bit).map(Transformed::yes)
                }
            }
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(swapped.data)
}

fn columns_of(scan: &TableScan) -> Vec<Expr> {
    scan.projected_schema
        .iter()
        .map(|(qualifier, field)| Expr::Column(Column::new(qualifier.cloned(), field.name())))
        .collect()
}

fn private_scan(scan: &TableScan, provider: Arc<GuardedTable>, purpose_bit: i32) -> Result<LogicalPlan> {
    let consent = Expr::Column(Column::new(Some(scan.table_name.clone()), CONSENT));
    let covered = binary_expr(binary_expr(consent, Operator::BitwiseAnd, lit(purpose_bit)), Operator::NotEq, lit(0i32));
    LogicalPlanBuilder::scan(scan.table_name.clone(), provider_as_source(provider), None)?
        .filter(covered)?
        .project(columns_of(scan))?
        .build()
}

fn public_scan(scan: &TableScan, name: &str, snapshot: &Snapshot) -> Result<LogicalPlan> {
    let batches = snapshot
        .public
        .get(name)
        .map(|table| &table.rows)
        .ok_or_else(|| DataFusionError::Internal("a public table is not in the snapshot".into()))?;
    let schema = batches
        .first()
        .map(datafusion::arrow::record_batch::RecordBatch::schema)
        .ok_or_else(|| DataFusionError::Internal("a public table is empty".into()))?;
    let table = Arc::new(MemTable::try_new(schema, vec![batches.clone()])?);
    LogicalPlanBuilder::scan(scan.table_name.clone(), provider_as_source(table), None)?
        .project(columns_of(scan))?
        .build()
}
