//! Two private tables whose rows hold what breaks things, and neighbours of them.

use std::{collections::BTreeMap, fs::File, path::Path, sync::Arc};

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::parquet::arrow::ArrowWriter;
use epiledger_privacy::catalog::{Catalog, Column, Contribution, Kind, Profile, Table};
use epiledger_privacy::snapshot::{PublicTable, Snapshot, StoredFile};
use rand::{RngExt, rngs::StdRng};

pub fn catalog() -> Catalog {
    let column = |name: &str, kind: Kind, nullable: bool, domain: &[&str]| Column {
        name: name.into(),
        kind,
        nullable,
        domain: (!domain.is_empty()).then(|| domain.iter().map(|v| (*v).to_owned()).collect()),
    };
    let day = || Kind::Date { low: "2020-01-01".into(), high: "2020-12-31".into(), year_only: false };
    let unit = || column("person_id", Kind::Id, false, &[]);
    let person = vec![
        unit(),
        column("county", Kind::Text, true, &["north", "south", "west"]),
        column("sex", Kind::Text, false, &["f", "m"]),
        column("born", Kind::Integer { low: 1900, high: 2020 }, true, &[]),
        column("note", Kind::Text, true, &[]),
    ];
    let visit = vec![
        unit(),
        column("kind", Kind::Text, true, &[]),
        column("code", Kind::Text, false, &[]),
        column("day", day(), false, &[]),
        column("until", day(), true, &[]),
        column("cost", Kind::Decimal { scale: 2, low: -500, high: 1_000 }, true, &[]),
        column("score", Kind::Integer { low: -100, high: 100 }, true, &[]),
    ];
    let region = vec![
        column("region_code", Kind::Text, false, &[]),
        column("name", Kind::Text, false, &[]),
        column("people", Kind::Integer { low: 0, high: 1_000_000 }, false, &[]),
    ];
    let calendar =
        vec![column("day", day(), false, &[]), column("year", Kind::Integer { low: 2020, high: 2020 }, false, &[])];
    let private = |scan_rows, rows, groups| Some(Contribution { scan_rows, rows, groups });
    let table = |private, declared_rows, columns| Table { private, declared_rows, columns };
    Catalog {
        dataset: "clinic".into(),
        data_cut: "2020-12-31".into(),
        profile: Profile::ExpertDetermination,
        declared_patients: 1_000,
        tables: BTreeMap::from([
            ("person".to_owned(), table(private(1, 1, 1), 1_000, person)),
            ("visit".to_owned(), table(private(20, 2, 3), 10_000, visit)),
            ("region".to_owned(), table(None, 10, region)),
            ("calendar".to_owned(), table(None, 400, calendar)),
        ]),
    }
}

/// One patient's rows, by table.
pub type Patient = BTreeMap<String, Vec<Vec<ScalarValue>>>;

const TEXTS: [&str; 16] = [
    "",
    " ",
    "a",
    "NaN",
    "-inf",
    "1e999",
    "2020-02-30",
    "2020-02-29",
    "-262143-01-01",
    "99999999999999999999999999999999999999999",
    "%_\\",
    "\u{df}\u{130}\u{fb03}",
    "\0",
    "true",
    "0.1",
    "9223372036854775808",
];
const INTS: [i64; 8] = [0, 1, -1, 2, i64::MAX, i64::MIN, 1_000_000_000_000_000_000, -7];
const DECIMALS: [i128; 6] = [0, 1, -1, 999_999_999_999_999_999, -999_999_999_999_999_999, 12_345];
const DAYS: [i32; 8] = [0, i32::MIN, i32::MAX, -719_163, -719_162, 2_932_896, -96_465_293, 18_321];

fn cell(rng: &mut StdRng, column: &Column, hostile: bool) -> ScalarValue {
    if column.nullable && rng.random_range(0..5) == 0 {
        return ScalarValue::try_from(&column.kind.arrow()).unwrap();
    }
    match (&column.kind, &column.domain) {
        (Kind::Text, Some(domain)) if !hostile || rng.random() => {
            ScalarValue::from(domain[rng.random_range(0..domain.len())].as_str())
        }
        (Kind::Text, _) if hostile && rng.random_range(0..4) == 0 => ScalarValue::from("\u{e9}".repeat(2_040)),
        (Kind::Text, _) if hostile => ScalarValue::from(TEXTS[rng.random_range(0..TEXTS.len())]),
        (Kind::Text, _) => ScalarValue::from(["a", "b", "12"][rng.random_range(0..3)]),
        (Kind::Date { .. }, _) if hostile => ScalarValue::Date32(Some(DAYS[rng.random_range(0..DAYS.len())])),
        (Kind::Date { .. }, _) => ScalarValue::Date32(Some(18_262 + rng.random_range(0..366))),
        (Kind::Decimal { scale, .. }, _) => {
            let value =
                if hostile { DECIMALS[rng.random_range(0..DECIMALS.len())] } else { rng.random_range(-600..1_100) };
            ScalarValue::Decimal128(Some(value), 18, *scale)
        }
        (Kind::Integer { .. } | Kind::Id, _) => {
            let value = if hostile { INTS[rng.random_range(0..INTS.len())] } else { rng.random_range(-120..120) };
            ScalarValue::Int64(Some(value))
        }
    }
}

/// A patient whose values lie within their declared ranges, or one that somebody made up to break things.
pub fn patient(rng: &mut StdRng, catalog: &Catalog, hostile: bool) -> Patient {
    let private = catalog.tables.iter().filter(|(_, table)| table.private.is_some());
    let mut rows = |table: &Table| -> Vec<Vec<ScalarValue>> {
        let most = match table.private {
            Some(bounds) if bounds.scan_rows > 1 => {
                if hostile {
                    40
                } else {
                    5
                }
            }
            _ => 1,
        };
        let count = if most == 1 { 1 } else { rng.random_range(0..=most) };
        (0..count).map(|_| table.columns.iter().skip(1).map(|column| cell(rng, column, hostile)).collect()).collect()
    };
    private.map(|(name, table)| (name.clone(), rows(table))).collect()
}

/// Writes the patients, numbered in their order, one file for each private table.
pub fn write(dir: &Path, catalog: &Catalog, patients: &[(i64, &Patient)]) -> Snapshot {
    let mut snapshot = Snapshot { number: 1, cut_at: "2020-12-31".into(), ..Snapshot::default() };
    for (name, table) in &catalog.tables {
        if table.private.is_none() {
            let rows = vec![public(name, &table.schema())];
            snapshot.public.insert(name.clone(), PublicTable { rows, ..PublicTable::default() });
            continue;
        }
        let rows: Vec<(i64, &Vec<ScalarValue>)> =
            patients.iter().flat_map(|(id, patient)| patient[name].iter().map(move |row| (*id, row))).collect();
        if rows.is_empty() {
            snapshot.private.insert(name.clone(), Vec::new());
            continue;
        }
        let schema = table.stored_schema();
        let mut columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_iter_values(rows.iter().map(|(id, _)| *id)))];
        for index in 0..table.columns.len() - 1 {
            columns.push(ScalarValue::iter_to_array(rows.iter().map(|(_, row)| row[index].clone())).unwrap());
        }
        columns.push(Arc::new(Int32Array::from(vec![7; rows.len()])));
        columns.push(Arc::new(Int64Array::from(vec![0; rows.len()])));
        let path = dir.join(format!("{name}.parquet"));
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
        let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), schema, None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let stored = StoredFile {
            path: path.to_string_lossy().trim_start_matches('/').to_owned(),
            size: path.metadata().unwrap().len(),
            low: rows[0].0,
            high: rows[rows.len() - 1].0,
        };
        snapshot.private.insert(name.clone(), vec![stored]);
    }
    snapshot
}

fn public(name: &str, schema: &SchemaRef) -> RecordBatch {
    let columns: Vec<ArrayRef> = if name == "region" {
        vec![
            Arc::new(StringArray::from(vec!["north", "south", "west"])),
            Arc::new(StringArray::from(vec!["North", "South", "West"])),
            Arc::new(Int64Array::from(vec![10, 0, 1_000_000])),
        ]
    } else {
        let days = arrow::array::Date32Array::from_iter_values(18_262..18_628);
        vec![Arc::new(days), Arc::new(Int64Array::from(vec![2020; 366]))]
    };
    assert!(
        schema
            .fields()
            .iter()
            .zip(&columns)
            .all(|(f, c)| f.data_type() == c.data_type() || *f.data_type() == DataType::Null)
    );
    RecordBatch::try_new(Arc::clone(schema), columns).unwrap()
}
