//! The rows of the small world, from a seed: in memory, and in files as the guarded scan reads them.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, AsArray, Date32Array, Decimal128Array, Int32Array, Int64Array, StringArray, UInt32Array,
};
use datafusion::arrow::compute::{SortColumn, lexsort_to_indices, take_record_batch};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::parquet::arrow::ArrowWriter;
use epiledger_privacy::loss::{Delta, Rho};
use epiledger_privacy::params::PrivacyParams;
use epiledger_privacy::snapshot::{PublicTable, Snapshot, StoredFile};

use crate::dice::Dice;
use crate::small::catalog;

/// First and last day: all of 2019 and 2020.
const DAYS: (i32, i32) = (17_897, 18_627);

fn ints(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn texts(values: Vec<Option<&str>>) -> ArrayRef {
    Arc::new(StringArray::from(values))
}

/// The rows of every table, by patient.
pub(crate) fn tables(seed: u64) -> BTreeMap<String, RecordBatch> {
    let mut dice = Dice(seed);
    let whole = |n: u64| i64::try_from(n).unwrap();
    let day = |dice: &mut Dice| DAYS.0 + i32::try_from(dice.roll(731)).unwrap();
    let people: Vec<i64> = (1..=40).collect();
    let born: Vec<Option<i64>> =
        people.iter().map(|_| (dice.roll(9) > 0).then(|| 1940 + whole(dice.roll(61)))).collect();
    let sex = people.iter().map(|_| Some(dice.pick(&["f", "m"]))).collect();
    let county = people.iter().map(|_| Some(dice.pick(&["A", "B", "C", ""])).filter(|c| !c.is_empty())).collect();
    // Some visits are of people who are in no other table.
    let visitors: Vec<i64> = (0..120).map(|_| 1 + whole(dice.roll(45))).collect();
    let kind = visitors.iter().map(|_| Some(dice.pick(&["AMB", "IMP", "EMER"]))).collect();
    let visit_days: Vec<i32> = visitors.iter().map(|_| day(&mut dice)).collect();
    let cost: Vec<Option<i128>> =
        visitors.iter().map(|_| (dice.roll(5) > 0).then(|| i128::from(dice.roll(10_001)))).collect();
    // A drug is given at one of the patient's visits, or at none; sometimes on its day.
    let mut drug: (Vec<i64>, Vec<Option<i64>>, Vec<i32>) = Default::default();
    for _ in 0..80 {
        let visit = usize::try_from(dice.roll(120)).unwrap();
        drug.0.push(visitors[visit]);
        drug.1.push((dice.roll(3) > 0).then(|| whole(visit as u64)));
        drug.2.push(if dice.roll(2) == 0 { visit_days[visit] } else { day(&mut dice) });
    }
    let code = drug.0.iter().map(|_| Some(dice.pick(&["a", "b", "c"]))).collect();
    let supply: Vec<Option<i64>> = drug.0.iter().map(|_| (dice.roll(4) > 0).then(|| whole(dice.roll(91)))).collect();
    let dead: Vec<i64> = people.iter().copied().filter(|_| dice.roll(4) == 0).collect();
    let died: Vec<i32> = dead.iter().map(|_| day(&mut dice)).collect();
    let noted: Vec<i64> = (0..30).map(|_| 1 + whole(dice.roll(20))).collect();
    let visit_ids: Vec<i64> = (0..120).collect();
    let calendar: Vec<i32> = (DAYS.0..=DAYS.1).collect();
    let years: Vec<i64> = calendar.iter().map(|d| if *d < DAYS.0 + 365 { 2019 } else { 2020 }).collect();
    let months: Vec<i64> = calendar.iter().map(|d| i64::from((d - DAYS.0) % 365 / 31 + 1)).collect();
    let cost = Decimal128Array::from(cost).with_precision_and_scale(18, 2).unwrap();
    let columns: [(&str, Vec<ArrayRef>); 8] = [
        ("person", vec![ints(&people), Arc::new(Int64Array::from(born)), texts(sex), texts(county)]),
        (
            "visit",
            vec![
                ints(&visitors),
                ints(&visit_ids),
                texts(kind),
                Arc::new(Date32Array::from(visit_days)),
                Arc::new(cost),
            ],
        ),
        (
            "drug",
            vec![
                ints(&drug.0),
                Arc::new(Int64Array::from(drug.1)),
                texts(code),
                Arc::new(Date32Array::from(drug.2)),
                Arc::new(Int64Array::from(supply)),
            ],
        ),
        ("death", vec![ints(&dead), Arc::new(Date32Array::from(died))]),
        ("noted", vec![ints(&noted), texts(vec![None; noted.len()])]),
        ("nobody", vec![ints(&[]), Arc::new(Date32Array::from(Vec::<i32>::new()))]),
        (
            "region",
            vec![
                texts(vec![Some("A"), Some("B"), Some("D"), Some("S")]),
                texts(vec![Some("Alpha"), Some("Beta"), Some("Delta"), Some("State")]),
                ints(&[5, 6, 7, 9]),
                texts(vec![Some("S"), Some("S"), Some("S"), None]),
            ],
        ),
        ("calendar", vec![Arc::new(Date32Array::from(calendar)), ints(&years), ints(&months)]),
    ];
    let catalog = catalog();
    let table = |(name, arrays): (&str, Vec<ArrayRef>)| {
        let batch = RecordBatch::try_new(catalog.table(name).unwrap().schema(), arrays).unwrap();
        (name.to_owned(), batch)
    };
    columns.into_iter().map(table).collect()
}

/// The same tables as files of two ranges of patients each, and public ones beside them.
pub(crate) fn snapshot(dir: &Path, tables: &BTreeMap<String, RecordBatch>) -> Snapshot {
    laid_out(dir, tables, 17, false)
}

/// The same tables as files of the patients up to `last` and of the others; a patient's rows backwards when `turned`.
pub(crate) fn laid_out(dir: &Path, tables: &BTreeMap<String, RecordBatch>, last: i64, turned: bool) -> Snapshot {
    let catalog = catalog();
    let mut snapshot = Snapshot { number: 1, cut_at: "2020-12-31".into(), synthetic: true, ..Snapshot::default() };
    for (name, batch) in tables {
        let table = catalog.table(name).unwrap();
        if table.private.is_none() {
            let table = PublicTable { rows: vec![batch.clone()], ..PublicTable::default() };
            snapshot.public.insert(name.clone(), table);
            continue;
        }
        let number = |row: usize| i64::try_from(row).unwrap() * if turned { -1 } else { 1 };
        let place: Int64Array = (0..batch.num_rows()).map(number).collect();
        let by = [Arc::clone(batch.column(0)), Arc::new(place)].map(|values| SortColumn { values, options: None });
        let sorted = take_record_batch(batch, &lexsort_to_indices(&by, None).unwrap()).unwrap();
        let units = sorted.column(0).as_primitive::<Int64Type>().values().to_vec();
        let cut = units.partition_point(|unit| *unit <= last);
        let mut files = Vec::new();
        for (number, (start, length)) in [(0, cut), (cut, units.len() - cut)].into_iter().enumerate() {
            if length == 0 {
                continue;
            }
            let rows = sorted.slice(start, length);
            let mut arrays = rows.columns().to_vec();
            arrays.push(Arc::new(Int32Array::from(vec![7; length])));
            arrays.push(ints(&vec![0; length]));
            let stored = RecordBatch::try_new(table.stored_schema(), arrays).unwrap();
            let path = dir.join(format!("{name}-{number}.parquet"));
            let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), stored.schema(), None).unwrap();
            writer.write(&stored).unwrap();
            writer.close().unwrap();
            files.push(StoredFile {
                path: path.to_string_lossy().trim_start_matches('/').to_owned(),
                size: path.metadata().unwrap().len(),
                low: units[start],
                high: units[start + length - 1],
            });
        }
        snapshot.private.insert(name.clone(), files);
    }
    snapshot
}

/// A price for anything.
pub(crate) fn params() -> PrivacyParams {
    PrivacyParams {
        rho: Rho::parse("0.1").unwrap(),
        query_delta: Delta::parse("0.000001").unwrap(),
        k_min: 11,
        id_space: "small".into(),
        policy: 1,
        purpose_bit: 2,
        secret: [9; 32],
    }
}

/// Visits in which `patient` has `times` visits under one id and no other, and the same without that patient.
pub(crate) fn repeated_visits(visits: &RecordBatch, patient: i64, times: u32) -> (RecordBatch, RecordBatch) {
    let units = visits.column(0).as_primitive::<Int64Type>().values();
    let rows = |of: &dyn Fn(i64) -> bool| -> Vec<u32> {
        (0_u32..).zip(units.iter()).filter(|(_, unit)| of(**unit)).map(|(row, _)| row).collect()
    };
    let others = rows(&|unit| unit != patient);
    let mut heavy = others.clone();
    let one = rows(&|unit| unit == patient)[0];
    heavy.extend(std::iter::repeat_n(one, times.try_into().unwrap()));
    let taken = |rows: Vec<u32>| take_record_batch(visits, &UInt32Array::from(rows)).unwrap();
    (taken(heavy), taken(others))
}
