//! A catalog, and a question asked of it: of this crate, and of the core behind it.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Date32Array, Decimal128Array, Int64Array, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::record_batch::RecordBatch;
use epiledger_privacy::bound::bound;
use epiledger_privacy::catalog::{Catalog, Profile};
use epiledger_privacy::loss::{Delta, Rho};
use epiledger_privacy::params::PrivacyParams;
use epiledger_privacy::query::Query;
use epiledger_privacy::refusal::PlanError;
use epiledger_privacy::research::{Region, research_catalog};
use epiledger_privacy::snapshot::{PublicTable, Snapshot};
use epiledger_sql::{SqlError, Value, bind, parse};

pub fn catalog(profile: Profile) -> Catalog {
    let region = |code: &str, name: &str| Region {
        region_code: code.into(),
        name: name.into(),
        parent_code: Some("MA".into()),
        level: "county".into(),
        population_year: 2020,
        population: 1,
    };
    let regions = [region("25017", "Middlesex"), region("25025", "Suffolk"), region("25027", "Worcester")];
    research_catalog("2025-12-31", profile, 20_000, &regions)
}

/// Public tables of one row each.
fn snapshot(catalog: &Catalog) -> Snapshot {
    let mut snapshot = Snapshot { number: 1, cut_at: "2025-12-31".into(), ..Snapshot::default() };
    for (name, table) in catalog.tables.iter().filter(|(_, table)| table.private.is_none()) {
        let value = |data_type: &DataType| -> ArrayRef {
            match data_type {
                DataType::Utf8 => Arc::new(StringArray::from(vec!["25017"])),
                DataType::Date32 => Arc::new(Date32Array::from(vec![18_262])),
                DataType::Decimal128(precision, scale) => {
                    let weight = Decimal128Array::from(vec![1]).with_precision_and_scale(*precision, *scale);
                    Arc::new(weight.unwrap())
                }
                _ => Arc::new(Int64Array::from(vec![2020])),
            }
        };
        let columns = table.schema().fields().iter().map(|field| value(field.data_type())).collect();
        let rows = vec![RecordBatch::try_new(table.schema(), columns).unwrap()];
        snapshot.public.insert(name.clone(), PublicTable { rows, ..PublicTable::default() });
    }
    snapshot
}

fn params() -> PrivacyParams {
    PrivacyParams {
        rho: Rho::parse("0.0005").unwrap(),
        query_delta: Delta::parse("0.000000001").unwrap(),
        k_min: 11,
        id_space: "research".into(),
        policy: 1,
        purpose_bit: 2,
        secret: [9; 32],
    }
}

/// How a question ends.
pub enum Asked {
    /// By this crate and by the core.
    Accepted,
    /// Here, with its place.
    Refused(Box<SqlError>),
    /// By the core alone, without a place: this crate should have seen it.
    RefusedByTheCore(PlanError),
}

/// From the text to the bounded plan.
pub fn ask(sql: &str, catalog: &Catalog, values: &BTreeMap<String, Value>) -> Asked {
    match parse(sql).and_then(|parsed| bind(&parsed, catalog, values)) {
        Ok(query) => core(&query, catalog),
        Err(refusal) => Asked::Refused(Box::new(refusal)),
    }
}

/// What the core says of a question that this crate accepts.
pub fn core(query: &Query, catalog: &Catalog) -> Asked {
    match bound(query, catalog, &snapshot(catalog), &params()) {
        Ok(_) => Asked::Accepted,
        Err(refusal) => Asked::RefusedByTheCore(refusal),
    }
}

/// The text that a refusal points at; none when it points outside of the question.
pub fn pointed_at(sql: &str, refusal: &SqlError) -> Option<String> {
    let (line, column, length) = refusal.span();
    let place = |n: u64| usize::try_from(n).ok();
    let before: usize = sql.split('\n').take(place(line)? - 1).map(|line| line.chars().count() + 1).sum();
    let start = before + place(column)?.checked_sub(1)?;
    let found: String = sql.chars().skip(start).take(place(length)?).collect();
    (found.chars().count() == place(length)? || sql.trim().is_empty()).then_some(found)
}

/// The question's name in the release cache.
pub fn cache_key(sql: &str, catalog: &Catalog, values: &BTreeMap<String, Value>) -> String {
    let query = parse(sql).and_then(|parsed| bind(&parsed, catalog, values)).unwrap_or_else(|e| panic!("{sql}: {e}"));
    bound(&query, catalog, &snapshot(catalog), &params()).unwrap().cache_key().to_owned()
}
