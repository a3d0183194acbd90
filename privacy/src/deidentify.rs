//! De-identification: the only way out of a record.
//!
//! One patient's consented records go in, rows that carry no direct identifier come out, generalized to the catalog's
//! profile (45 CFR 164.514). Fields pass by an allow-list; unknown ones drop, free text drops, and a bundle with one
//! of Safe Harbor's identifiers is refused naming the field, never the value. Every row is a function of its own
//! patient's records and of the catalog alone.

mod category;
mod fields;
mod layout;
mod place;
mod pseudonym;
mod rows;

use serde_json::Value;

pub use category::{condition_category, listed_conditions};
pub use place::zip3;
pub use pseudonym::PseudonymKey;

use self::layout::{Fit, Layout};
use self::rows::Context;
use crate::catalog::{Catalog, Profile};
use crate::consent::Consented;
use crate::day::Day;
use crate::research::PRIVATE_TABLES;

/// The bundle format that is understood.
pub const BUNDLE_FORMAT: &str = "omop-rows/1";

/// One stored value. The order is null first, then by value: it makes a patient's rows sortable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cell {
    /// No value.
    Null,
    /// A whole number.
    Int(i64),
    /// Days since 1970-01-01.
    Day(i32),
    /// A fixed-point number in units of its column's grid.
    Decimal(i64),
    /// A text.
    Text(String),
}

/// One row of a private table: the visible cells in catalog order, then lineage.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    cells: Vec<Cell>,
    consent: i32,
    transaction: u64,
}

impl Row {
    /// The visible cells, in the order of the catalog's columns.
    #[must_use]
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// Bit set of the purposes that may read it (see [`crate::consent`]).
    #[must_use]
    pub fn consent(&self) -> i32 {
        self.consent
    }

    /// Ledger index of the record that it comes from.
    #[must_use]
    pub fn transaction(&self) -> u64 {
        self.transaction
    }
}

/// One patient's rows, fit for the research tables. Only [`DeIdentifier::patient`] makes one.
///
/// ```
/// use epiledger_privacy::consent::Consented;
/// use epiledger_privacy::deidentify::{DeIdentified, DeIdentifier};
/// fn rows(how: &DeIdentifier, records: Vec<Consented>) -> Option<DeIdentified> {
///     how.patient(5, &records).0
/// }
/// ```
///
/// A record that was not admitted is of the wrong type, and rows can't be made up:
///
/// ```compile_fail,E0308
/// use epiledger_privacy::consent::Record;
/// use epiledger_privacy::deidentify::{DeIdentified, DeIdentifier};
/// fn rows(how: &DeIdentifier, records: Vec<Record>) -> Option<DeIdentified> {
///     how.patient(5, &records).0
/// }
/// ```
///
/// ```compile_fail,E0451
/// use epiledger_privacy::consent::Consented;
/// use epiledger_privacy::deidentify::{DeIdentified, DeIdentifier};
/// fn rows(_how: &DeIdentifier, _records: Vec<Consented>) -> Option<DeIdentified> {
///     Some(DeIdentified { person: 5, tables: Default::default(), moved: 0, dropped: 0 })
/// }
/// ```
#[derive(Debug)]
pub struct DeIdentified {
    person: i64,
    tables: [Vec<Row>; PRIVATE_TABLES.len()],
    moved: u64,
    dropped: u64,
}

impl DeIdentified {
    /// The patient's pseudonym.
    #[must_use]
    pub fn person(&self) -> i64 {
        self.person
    }

    /// The patient's rows by table in the order of [`PRIVATE_TABLES`], each table's rows sorted.
    #[must_use]
    pub fn tables(&self) -> &[Vec<Row>; PRIVATE_TABLES.len()] {
        &self.tables
    }

    /// Values that were moved to the nearest declared bound, or to null where the column has no value for them.
    #[must_use]
    pub fn moved(&self) -> u64 {
        self.moved
    }

    /// Rows that lay outside of the declared days.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// Why a record gives no rows. It tells a field's name, never its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not a JSON object of the known format.
    #[error("the bundle is not JSON of the format {BUNDLE_FORMAT}; the provider must send it again")]
    Bundle,
    /// A direct identifier.
    #[error("the field `{field}` holds a direct identifier; the provider must drop it before signing")]
    Identifier {
        /// The field's name.
        field: String,
    },
    /// A row that can't be read.
    #[error("a row of {table} has no readable `{field}`; the provider must correct it")]
    Row {
        /// The table.
        table: &'static str,
        /// The column, empty when the row as a whole does not fit.
        field: &'static str,
    },
    /// Rows of a patient of whom no readable record tells who they are.
    #[error("no readable record of this patient has a person row")]
    NoPerson,
}

/// A record that gives no rows, and why.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its ledger index.
    pub transaction: u64,
    /// Why.
    pub fault: Fault,
}

/// The catalog does not hold the research tables.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the catalog lacks the research table `{table}` or one of its dates; write the catalog anew")]
pub struct BadCatalog {
    /// The table, or `data_cut`.
    pub table: &'static str,
}

/// Makes rows under one catalog and one pseudonym key.
pub struct DeIdentifier {
    key: PseudonymKey,
    profile: Profile,
    data_cut: Day,
    layouts: Vec<Layout>,
}

/// One record's rows by table, not yet in the patient's.
type Rows = [Vec<Row>; PRIVATE_TABLES.len()];

/// Reads one row.
type Reader = fn(&Value, &Context<'_>) -> Result<Vec<Cell>, Fault>;

/// Readers in the order of [`PRIVATE_TABLES`]; `true` for the tables of one row a patient, an object in the bundle.
const READERS: [(bool, Reader); PRIVATE_TABLES.len()] = [
    (true, rows::person),
    (true, rows::observation_period),
    (false, rows::visit),
    (false, rows::condition),
    (false, rows::drug),
    (false, rows::measurement),
    (false, rows::procedure),
    (true, rows::death),
];

impl DeIdentifier {
    /// A de-identifier for the catalog's tables and profile.
    ///
    /// # Errors
    /// [`BadCatalog`] when a research table is missing from the catalog.
    pub fn new(catalog: &Catalog, key: PseudonymKey) -> Result<Self, BadCatalog> {
        let data_cut = Day::parse(&catalog.data_cut).ok_or(BadCatalog { table: "data_cut" })?;
        let layouts = PRIVATE_TABLES
            .into_iter()
            .map(|table| Layout::of(table, catalog).ok_or(BadCatalog { table }))
            .collect::<Result<_, _>>()?;
        Ok(Self { key, profile: catalog.profile, data_cut, layouts })
    }

    /// The rows of one patient, from the newest version of each of the patient's records.
    ///
    /// A record that can't be read is refused as a whole. Of the tables with one row a patient the row with the
    /// highest ledger index stands. Without a person row there are no rows.
    #[must_use]
    pub fn patient(&self, person: i64, records: &[Consented]) -> (Option<DeIdentified>, Vec<Refused>) {
        let mut out = DeIdentified { person, tables: Rows::default(), moved: 0, dropped: 0 };
        let mut refused = Vec::new();
        let mut read = Vec::new();
        for record in records {
            let transaction = record.record().transaction;
            match self.record(person, record, &mut out) {
                Ok(()) => read.push(transaction),
                Err(fault) => refused.push(Refused { transaction, fault }),
            }
        }
        for (rows, (single, _)) in out.tables.iter_mut().zip(READERS) {
            if single {
                let newest = rows.iter().map(Row::transaction).max();
                rows.retain(|row| Some(row.transaction) == newest);
                rows.truncate(1);
            }
            rows.sort_unstable();
        }
        if out.tables.first().is_none_or(Vec::is_empty) {
            refused.extend(read.into_iter().map(|transaction| Refused { transaction, fault: Fault::NoPerson }));
            refused.sort_by_key(|r| r.transaction);
            return (None, refused);
        }
        (Some(out), refused)
    }

    /// Adds one record's rows to the patient's, all or none.
    fn record(&self, person: i64, consented: &Consented, out: &mut DeIdentified) -> Result<(), Fault> {
        let record = consented.record();
        let Ok(Value::Object(bundle)) = serde_json::from_slice(&record.rows) else {
            return Err(Fault::Bundle);
        };
        if bundle.get("format").and_then(Value::as_str) != Some(BUNDLE_FORMAT) {
            return Err(Fault::Bundle);
        }
        let context = Context {
            person,
            provider: &record.provider,
            record: &record.record_id,
            key: &self.key,
            profile: self.profile,
            data_cut: self.data_cut,
        };
        let known = |name: &str| name == "format" || PRIVATE_TABLES.contains(&name);
        fields::refuse_identifiers(bundle.keys().map(String::as_str).filter(|name| !known(name)))?;
        let mut tables = Rows::default();
        let (mut moved, mut dropped) = (0, 0);
        for (((table, name), (single, read)), layout) in
            tables.iter_mut().zip(PRIVATE_TABLES).zip(READERS).zip(&self.layouts)
        {
            let found = match (bundle.get(name), single) {
                (None | Some(Value::Null), _) => &[],
                (Some(Value::Array(rows)), false) => rows.as_slice(),
                (Some(row @ Value::Object(_)), true) => std::slice::from_ref(row),
                _ => return Err(Fault::Row { table: name, field: "" }),
            };
            for row in found {
                let mut cells = read(row, &context)?;
                match layout.fit(&mut cells)? {
                    Fit::Dropped => dropped += 1,
                    Fit::Kept(count) => {
                        moved += count;
                        table.push(Row { cells, consent: consented.purposes(), transaction: record.transaction });
                    }
                }
            }
        }
        for (into, rows) in out.tables.iter_mut().zip(tables) {
            into.extend(rows);
        }
        out.moved += moved;
        out.dropped += dropped;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
