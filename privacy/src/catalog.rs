//! What is public about the data: tables, the privacy unit, bounds, key domains and sizes.
//!
//! Everything here is typed by a steward or comes from published files, never from patient data
//! (the promise of `THREAT_MODEL.md` rests on it). The catalog's SHA-256 is part of the policy.

use std::collections::BTreeMap;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The privacy unit's column in every private table: one patient, an Int64 pseudonym.
pub const UNIT: &str = "person_id";

/// Hidden column: bit set of the purposes the patient's consent covers (see [`crate::consent`]).
pub const CONSENT: &str = "_consent";

/// How far dates and places are generalized (45 CFR 164.514(b)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// State and ZIP3, years, ages over 89 as 90+.
    SafeHarbor,
    /// County and day, under an expert's determination on the ledger.
    ExpertDetermination,
}

/// A column's type, and for numbers the declared range on the fixed-point grid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type", deny_unknown_fields)]
pub enum Kind {
    /// Text.
    Text,
    /// A calendar date within the declared range, inclusive, `YYYY-MM-DD`.
    Date {
        /// First day.
        low: String,
        /// Last day.
        high: String,
        /// True when the profile keeps only the year (finer grouping is refused, `PRECISION`).
        #[serde(default)]
        year_only: bool,
    },
    /// A 64-bit integer without declared bounds: it can be counted and compared, not summed.
    Id,
    /// A 64-bit integer within `low..=high`.
    Integer {
        /// Least value.
        low: i64,
        /// Greatest value.
        high: i64,
    },
    /// A fixed-point number Decimal128(18, scale); bounds in grid units (value x 10^scale).
    Decimal {
        /// Digits after the point.
        scale: i8,
        /// Least value in grid units.
        low: i64,
        /// Greatest value in grid units.
        high: i64,
    },
}

impl Kind {
    /// The Arrow type of the column, in storage and in SQL.
    #[must_use]
    pub fn arrow(&self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Date { .. } => DataType::Date32,
            Self::Id | Self::Integer { .. } => DataType::Int64,
            Self::Decimal { scale, .. } => DataType::Decimal128(18, *scale),
        }
    }
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name, lower case.
    pub name: String,
    /// Its type and range.
    pub kind: Kind,
    /// May it be NULL?
    #[serde(default)]
    pub nullable: bool,
    /// Its public keys, when it has a declared domain of values (text columns, small integers as text).
    #[serde(default)]
    pub domain: Option<Vec<String>>,
}

/// Contribution bounds of a private table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contribution {
    /// M: most rows of one patient that a scan reads; 1 makes the table one row per patient.
    pub scan_rows: u64,
    /// R: most rows of one patient that count in one group.
    pub rows: u64,
    /// G: most groups that one patient touches, when the keys do not depend on the patient alone.
    pub groups: u64,
}

/// One table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Contribution bounds; null for a public table.
    pub private: Option<Contribution>,
    /// Declared number of rows, an upper limit; it chooses the deadline class and guards sums.
    pub declared_rows: u64,
    /// Visible columns, in order. A private table's first column is [`UNIT`].
    pub columns: Vec<Column>,
}

impl Table {
    /// The visible columns as an Arrow schema.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        let fields: Vec<Field> = self.columns.iter().map(|c| Field::new(&c.name, c.kind.arrow(), c.nullable)).collect();
        SchemaRef::new(Schema::new(fields))
    }

    /// The stored columns of a private table: the visible ones, then the hidden [`CONSENT`] and lineage.
    #[must_use]
    pub fn stored_schema(&self) -> SchemaRef {
        let mut fields: Vec<Field> = self.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
        if self.private.is_some() {
            fields.push(Field::new(CONSENT, DataType::Int32, false));
            fields.push(Field::new("_transaction", DataType::Int64, false));
        }
        SchemaRef::new(Schema::new(fields))
    }

    /// The named column.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }
}

/// The declared, public description of one dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    /// The dataset's name.
    pub dataset: String,
    /// Day the data ends, `YYYY-MM-DD`: a constant, not read from data. `now()` in SQL.
    pub data_cut: String,
    /// The de-identification profile.
    pub profile: Profile,
    /// Declared number of patients, an upper limit.
    pub declared_patients: u64,
    /// Tables by name.
    pub tables: BTreeMap<String, Table>,
}

impl Catalog {
    /// The named table.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.get(name)
    }

    /// Lower-case hex SHA-256 over the catalog's JSON (struct order, no spaces).
    #[must_use]
    pub fn hash(&self) -> String {
        // Serializing strings, integers and maps with string keys can't fail; an empty text would match no policy.
        let text = serde_json::to_vec(self).unwrap_or_default();
        Sha256::digest(text).iter().map(|b| format!("{b:02x}")).collect()
    }
}
