//! Random schemas, and tables of them whose rows sit on every edge: NULLs, ties, the ends of declared ranges and what
//! lies past them, patients with more rows than M and in more groups than G, rows under other consents.

use std::{collections::BTreeMap, fs::File, path::Path, sync::Arc};

use arrow::array::{ArrayRef, Date32Array, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringArray};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::properties::WriterProperties;
use epiledger_privacy::catalog::{Catalog, Column, Contribution, Kind, Profile, Table};
use epiledger_privacy::snapshot::{PublicTable, Snapshot, StoredFile};
use rand::{RngExt, rngs::StdRng, seq::SliceRandom};

/// A value: whole numbers, ids, days since 1970-01-01 and decimals in grid units are integers. NULL sorts last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cell {
    Truth(bool),
    Int(i128),
    Text(String),
    Null,
}

/// One row of a private table without its patient.
#[derive(Clone, Debug)]
pub struct Row {
    pub consent: i32,
    /// The catalog's columns behind the first.
    pub cells: Vec<Cell>,
}

/// One patient's rows by table.
#[derive(Clone, Debug)]
pub struct Patient {
    pub id: i64,
    pub rows: BTreeMap<String, Vec<Row>>,
}

/// A schema with its tables.
pub struct World {
    pub catalog: Catalog,
    pub patients: Vec<Patient>,
    /// Rows of the public table `region`.
    pub regions: Vec<[Cell; 3]>,
}

/// 2020-01-01.
pub const FIRST_DAY: i32 = 18_262;

pub const PLACES: [&str; 4] = ["north", "south", "west", "elsewhere"];
const WORDS: [&str; 5] = ["a", "b", "c", "", "\u{e9}'\""];

pub fn day(days: i128) -> String {
    epiledger_privacy::day::Day(i32::try_from(days).unwrap()).to_string()
}

fn column(rng: &mut StdRng, name: String) -> Column {
    let mut domain = None;
    let kind = match rng.random_range(0..9) {
        0 | 1 => {
            let mut places = PLACES[..3].to_vec();
            places.truncate(rng.random_range(1..=3));
            domain = Some(places.into_iter().map(str::to_owned).collect());
            Kind::Text
        }
        2 => Kind::Text,
        3 => Kind::Id,
        4 => {
            let low = FIRST_DAY + rng.random_range(0..60);
            let high = low + rng.random_range(0..120);
            Kind::Date { low: day(low.into()), high: day(high.into()), year_only: false }
        }
        5 => {
            domain = Some(vec!["0".to_owned(), "1".to_owned(), "2".to_owned()]);
            Kind::Integer { low: 0, high: 3 }
        }
        6 | 7 => {
            let (low, high) = range(rng);
            Kind::Integer { low, high }
        }
        _ => {
            let (low, high) = range(rng);
            Kind::Decimal { scale: rng.random_range(0..5), low, high }
        }
    };
    Column { name, kind, nullable: rng.random_range(0..3) > 0, domain }
}

/// From one value to ranges whose quantiles have a step and whose squares a unit.
fn range(rng: &mut StdRng) -> (i64, i64) {
    let low = rng.random_range(-60..60);
    let width = [0, 1, 2, 7, 90, 5_000, 70_001, 900_000][rng.random_range(0..8)];
    (low, low + width)
}

/// `alpha` has one row a patient, `visit` and `drug` several; `visit_id` should tell a patient's visits apart.
pub fn catalog(rng: &mut StdRng) -> Catalog {
    let unit = || Column { name: "person_id".into(), kind: Kind::Id, nullable: false, domain: None };
    let mut tables = BTreeMap::new();
    for (name, prefix) in [("alpha", 'a'), ("visit", 'v'), ("drug", 'd')] {
        let one = name == "alpha";
        let mut columns = vec![unit()];
        if !one {
            let nullable = name == "drug";
            columns.push(Column { name: "visit_id".into(), kind: Kind::Id, nullable, domain: None });
        }
        let more = rng.random_range(2..6);
        columns.extend((0..more).map(|at| column(rng, format!("{prefix}{at}"))));
        // Every table has something to sum.
        let (low, high) = range(rng);
        columns.push(Column {
            name: format!("{prefix}x"),
            kind: Kind::Integer { low, high },
            nullable: true,
            domain: None,
        });
        let most = |rng: &mut StdRng, n: u64| if one { 1 } else { rng.random_range(1..=n) };
        let private = Contribution { scan_rows: most(rng, 12), rows: most(rng, 4), groups: most(rng, 4) };
        let private = if one { private } else { Contribution { scan_rows: private.scan_rows.max(2), ..private } };
        tables.insert(name.to_owned(), Table { private: Some(private), declared_rows: 1_000, columns });
    }
    let public = vec![
        Column { name: "region_code".into(), kind: Kind::Text, nullable: false, domain: None },
        Column { name: "side".into(), kind: Kind::Text, nullable: true, domain: None },
        Column { name: "size".into(), kind: Kind::Integer { low: 0, high: 9 }, nullable: false, domain: None },
    ];
    tables.insert("region".to_owned(), Table { private: None, declared_rows: 4, columns: public });
    Catalog {
        dataset: "random".into(),
        data_cut: "2020-12-31".into(),
        profile: Profile::ExpertDetermination,
        declared_patients: 1_000,
        tables,
    }
}

fn number(rng: &mut StdRng, low: i64, high: i64) -> i128 {
    let (low, high) = (i128::from(low), i128::from(high));
    let middle = (low + high).div_euclid(2);
    match rng.random_range(0..12) {
        0 => low,
        1 => high,
        2 => middle,
        3 => low - 1,
        4 => high + 1,
        5 => [1_000_000_000_000_000, -1_000_000_000_000_000, 0][rng.random_range(0..3)],
        _ => rng.random_range(low - 2..=high + 2),
    }
}

fn cell(rng: &mut StdRng, column: &Column) -> Cell {
    if column.nullable && rng.random_range(0..5) == 0 {
        return Cell::Null;
    }
    match (&column.kind, &column.domain) {
        (Kind::Text, Some(_)) => Cell::Text(PLACES[rng.random_range(0..PLACES.len())].to_owned()),
        (Kind::Text, None) => Cell::Text(WORDS[rng.random_range(0..WORDS.len())].to_owned()),
        (Kind::Id, _) => Cell::Int(rng.random_range(0..6)),
        (Kind::Date { .. }, _) => Cell::Int((FIRST_DAY + rng.random_range(-40..220)).into()),
        (Kind::Integer { .. }, Some(_)) => Cell::Int(rng.random_range(-1..5)),
        (Kind::Integer { low, high } | Kind::Decimal { low, high, .. }, _) => Cell::Int(number(rng, *low, *high)),
    }
}

pub fn world(rng: &mut StdRng) -> World {
    let catalog = catalog(rng);
    let count = [0, 1, 3, 8, 14][rng.random_range(0..5)];
    let patients = (0..count).map(|at| patient(rng, &catalog, at * 3 - 7)).collect();
    let side = |rng: &mut StdRng| {
        [Cell::Text("left".into()), Cell::Text("right".into()), Cell::Null][rng.random_range(0..3)].clone()
    };
    let regions = ["north", "south", "elsewhere", "a"]
        .map(|code| [Cell::Text(code.into()), side(rng), Cell::Int(rng.random_range(0..4))])
        .to_vec();
    World { catalog, patients, regions }
}

fn patient(rng: &mut StdRng, catalog: &Catalog, id: i64) -> Patient {
    // One whose rows are all alike, as often as not within one group, and one with many of all kinds.
    let alike = rng.random_range(0..4) == 0;
    let most = if rng.random_range(0..2) == 0 { 24 } else { 5 };
    let private = catalog.tables.iter().filter_map(|(name, table)| Some((name, table, table.private?)));
    let rows = private.map(|(name, table, bounds)| {
        let count =
            if bounds.scan_rows == 1 { usize::from(rng.random_range(0..8) > 0) } else { rng.random_range(0..=most) };
        let fresh = |rng: &mut StdRng, at: usize| {
            let mut cells: Vec<Cell> = table.columns.iter().skip(1).map(|c| cell(rng, c)).collect();
            // Ids tell most visits apart, and some not: their patient is past the allowance of a join by them.
            if name == "visit" && rng.random_range(0..12) > 0 {
                cells[0] = Cell::Int(at as i128);
            }
            Row { consent: [7, 7, 7, 7, 2, 4, 0][rng.random_range(0..7)], cells }
        };
        let mut first = fresh(rng, 0);
        if alike && table.private.is_some_and(|bounds| bounds.scan_rows != 1) {
            first.cells[0] = Cell::Int(0);
        }
        let rows = (0..count).map(|at| if alike { first.clone() } else { fresh(rng, at) }).collect();
        (name.clone(), rows)
    });
    Patient { id, rows: rows.collect() }
}

fn array(kind: &Kind, cells: &[&Cell]) -> ArrayRef {
    let ints = || {
        cells.iter().map(|cell| match cell {
            Cell::Int(n) => Some(*n),
            _ => None,
        })
    };
    match kind {
        Kind::Text => Arc::new(StringArray::from_iter(cells.iter().map(|cell| match cell {
            Cell::Text(text) => Some(text.as_str()),
            _ => None,
        }))),
        Kind::Date { .. } => Arc::new(Date32Array::from_iter(ints().map(|n| n.map(|n| i32::try_from(n).unwrap())))),
        Kind::Id | Kind::Integer { .. } => {
            Arc::new(Int64Array::from_iter(ints().map(|n| n.map(|n| i64::try_from(n).unwrap()))))
        }
        Kind::Decimal { scale, .. } => {
            Arc::new(Decimal128Array::from_iter(ints()).with_precision_and_scale(18, *scale).unwrap())
        }
    }
}

/// Columns of a private table as they are stored, or those of them that are named by position: the patient and the
/// consent are always there.
pub fn stored(table: &Table, rows: &[(i64, &Row)], of: impl Fn(usize) -> bool) -> Vec<ArrayRef> {
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_iter_values(rows.iter().map(|(id, _)| *id)))];
    for (at, column) in table.columns.iter().enumerate().skip(1).filter(|(at, _)| of(*at)) {
        arrays.push(array(&column.kind, &rows.iter().map(|(_, row)| &row.cells[at - 1]).collect::<Vec<_>>()));
    }
    arrays.push(Arc::new(Int32Array::from_iter_values(rows.iter().map(|(_, row)| row.consent))));
    arrays
}

impl World {
    /// Writes all patients but `without`, each table into files of its own at random cuts between patients, a
    /// patient's rows in random order.
    pub fn write(&self, rng: &mut StdRng, dir: &Path, without: Option<i64>) -> Snapshot {
        let mut snapshot = Snapshot { number: 1, cut_at: "2020-12-31".into(), synthetic: true, ..Snapshot::default() };
        let patients: Vec<&Patient> = self.patients.iter().filter(|p| Some(p.id) != without).collect();
        // One set of cuts, as one ingest makes them.
        let files = rng.random_range(1..4);
        let size = patients.len().div_ceil(files).max(1);
        for (name, table) in &self.catalog.tables {
            if table.private.is_none() {
                let column = |at: usize| self.regions.iter().map(|row| &row[at]).collect::<Vec<_>>();
                let arrays = table.columns.iter().enumerate().map(|(at, c)| array(&c.kind, &column(at))).collect();
                let rows = vec![RecordBatch::try_new(table.schema(), arrays).unwrap()];
                snapshot.public.insert(name.clone(), PublicTable { rows, ..PublicTable::default() });
                continue;
            }
            let schema = table.stored_schema();
            let files = snapshot.private.entry(name.clone()).or_default();
            for (number, chunk) in patients.chunks(size).enumerate() {
                let mut rows: Vec<(i64, &Row)> = Vec::new();
                for patient in chunk {
                    let mut own: Vec<_> = patient.rows[name].iter().map(|row| (patient.id, row)).collect();
                    own.shuffle(rng);
                    rows.extend(own);
                }
                if rows.is_empty() {
                    continue;
                }
                let mut arrays = stored(table, &rows, |_| true);
                arrays.push(Arc::new(Int64Array::from(vec![0; rows.len()])));
                let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap();
                let path = dir.join(format!("{name}-{number}-{}.parquet", without.unwrap_or(-99)));
                let group = rng.random_range(1..40);
                let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group)).build();
                let file = File::create(&path).unwrap();
                let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties)).unwrap();
                writer.write(&batch).unwrap();
                writer.close().unwrap();
                files.push(StoredFile {
                    path: path.to_string_lossy().trim_start_matches('/').to_owned(),
                    size: path.metadata().unwrap().len(),
                    low: chunk[0].id,
                    high: chunk[chunk.len() - 1].id,
                });
            }
        }
        snapshot
    }
}
