//! operator = relational form = plain arithmetic, over random tables, keys, bounds and layouts.

#![expect(clippy::disallowed_methods, reason = "compares exact numbers of made-up records")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    hash::Hasher,
    path::Path,
    sync::Arc,
};

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, Date32Array, FixedSizeBinaryArray, Int64Array, RecordBatch, StringArray},
        datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
        row::{RowConverter, SortField},
        util::display::array_value_to_string,
    },
    common::{Column, Result, ScalarValue},
    datasource::provider_as_source,
    logical_expr::LogicalPlanBuilder,
    parquet::arrow::ArrowWriter,
    physical_plan::{ExecutionPlan, collect, displayable},
    prelude::{SessionContext, col},
};
use proptest::prelude::*;
use siphasher::sip128::{Hasher128, SipHasher24};

use super::{Shape, groups::Groups, unit::Units};
use crate::{
    bound::{
        form::{Form, Parts},
        integer::ClampRange,
        measure::Needed,
        physical::Layout,
        scan::{GuardedTable, ranges::Blocks},
        values::Candidates,
    },
    snapshot::StoredFile,
};

const RANGE: ClampRange = ClampRange { scale: 0, low: -7, high: 20 };
const KEY: [u8; 16] = [3; 16];

/// Of -7..20 each second number.
const CANDIDATES: Candidates = Candidates { range: RANGE, step: 2, count: 15 };

/// person, text key, date key, summed value, counted value.
type Row = (i64, Option<u8>, Option<i32>, Option<i64>, Option<u8>);

type Key = (Option<u8>, Option<i32>);

#[derive(Clone, Debug)]
struct Case {
    rows: Vec<Row>,
    keys: usize,
    public: bool,
    files: usize,
    partitions: usize,
    batch: usize,
    scan_rows: u64,
    r: u64,
    g: u64,
    d: u64,
    allowance: Option<u64>,
}

fn case() -> impl Strategy<Value = Case> {
    let row = (
        0i64..25,
        prop::option::weighted(0.9, 0u8..5),
        prop::option::weighted(0.9, 0i32..3),
        prop::option::weighted(0.9, -30i64..40),
        prop::option::weighted(0.7, 0u8..5),
    );
    let sizes = (0usize..3, any::<bool>(), 1usize..6, 1usize..5, 1usize..20);
    let bounds = (prop_oneof![1u64..6, Just(1000)], 1u64..5, 1u64..5, 1u64..4, prop::option::of(1u64..8));
    (prop::collection::vec(row, 0..120), sizes, bounds).prop_map(|(mut rows, sizes, bounds)| {
        rows.sort_by_key(|row| row.0);
        let (keys, public, files, partitions, batch) = sizes;
        let (scan_rows, r, g, d, allowance) = bounds;
        Case { rows, keys, public, files, partitions, batch, scan_rows, r, g, d, allowance }
    })
}

const TEXTS: [&str; 5] = ["", "a", "b", "c", "a longer key than the others, past one block of Arrow's encoding"];

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("person_id", DataType::Int64, false),
        Field::new("text", DataType::Utf8, true),
        Field::new("day", DataType::Date32, true),
        Field::new("x", DataType::Int64, true),
        Field::new("y", DataType::Utf8, true),
    ]))
}

fn text(key: Option<u8>) -> Option<&'static str> {
    key.map(|key| TEXTS[usize::from(key) % TEXTS.len()])
}

fn batch(rows: &[Row]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| text(row.1)).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.2).collect::<Date32Array>()),
        Arc::new(rows.iter().map(|row| row.3).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| text(row.4)).collect::<StringArray>()),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn cells(case: &Case) -> Option<Vec<Vec<ScalarValue>>> {
    let texts = [None, Some("a"), Some("c"), Some("nobody has it")].map(|t| ScalarValue::Utf8(t.map(str::to_owned)));
    let days = [Some(0), Some(2), None].map(ScalarValue::Date32);
    match case.keys {
        0 => Some(vec![Vec::new()]),
        1 if case.public => Some(texts.iter().map(|t| vec![t.clone()]).collect()),
        _ if case.public => Some(texts.iter().flat_map(|t| days.iter().map(|d| vec![t.clone(), d.clone()])).collect()),
        _ => None,
    }
}

fn form(case: &Case, dir: &Path) -> Form {
    let people: Vec<i64> = case.rows.iter().map(|row| row.0).collect();
    let width = 25i64.div_euclid(case.files as i64) + 1;
    let files: Vec<StoredFile> = (0..case.files as i64)
        .map(|number| {
            let (low, high) = (number * width, number * width + width - 1);
            let start = people.partition_point(|p| *p < low);
            let end = people.partition_point(|p| *p <= high);
            let path = dir.join(format!("{number}.parquet"));
            let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), schema(), None).unwrap();
            writer.write(&batch(&case.rows[start..end])).unwrap();
            writer.close().unwrap();
            let path_in_store = path.to_string_lossy().trim_start_matches('/').to_owned();
            StoredFile { path: path_in_store, size: path.metadata().unwrap().len(), low, high }
        })
        .collect();
    let table = GuardedTable {
        schema: schema(),
        blocks: Arc::new(Blocks::of(files.iter())),
        files,
        scan_rows: case.scan_rows,
        key: [5; 16],
    };
    let input = LogicalPlanBuilder::scan("t", provider_as_source(Arc::new(table)), None).unwrap().build().unwrap();
    Form::of(Parts {
        input,
        unit: Column::from_qualified_name("t.person_id"),
        keys: [col("t.text"), col("t.day")].into_iter().take(case.keys).collect(),
        cells: cells(case),
        values: vec![(col("t.x"), Some(RANGE)), (col("t.y"), None)],
        needed: vec![
            Needed::Patients,
            Needed::Rows,
            Needed::Count(0),
            Needed::Total(0),
            Needed::Centred(0),
            Needed::Count(1),
            Needed::Having(1),
            Needed::Squares(0),
            Needed::Distinct { value: 1, limit: case.d },
            Needed::Medians { value: 0, candidates: CANDIDATES },
        ],
        rows: case.r,
        groups: case.g,
        allowance: case.allowance,
        group_key: KEY,
    })
    .unwrap()
}

type V = BTreeMap<Vec<String>, Vec<i64>>;

fn run(plan: Arc<dyn ExecutionPlan>, keys: usize, layout: Layout) -> Result<V> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let batches = runtime.block_on(collect(plan, SessionContext::new_with_config(layout.config()).task_ctx()))?;
    let mut found = V::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let key = batch.columns()[..keys].iter().map(|c| array_value_to_string(c, row).unwrap()).collect();
            let values: Vec<i64> = batch.columns()[keys..].iter().flat_map(|column| numbers(column, row)).collect();
            if values.iter().any(|v| *v != 0) {
                assert!(found.insert(key, values).is_none(), "a group came twice");
            }
        }
    }
    Ok(found)
}

/// An integer, or how many patients chose each candidate.
fn numbers(column: &ArrayRef, row: usize) -> Vec<i64> {
    let of = |column: &Int64Array| column.iter().map(Option::unwrap_or_default).collect();
    match column.as_list_opt::<i32>() {
        Some(lists) => of(lists.value(row).as_primitive::<Int64Type>()),
        None => of(&column.as_primitive::<Int64Type>().slice(row, 1)),
    }
}

fn encode(columns: &[ArrayRef]) -> Vec<u8> {
    let fields = columns.iter().map(|c| SortField::new(c.data_type().clone())).collect();
    RowConverter::new(fields).unwrap().convert_columns(columns).unwrap().row(0).data().to_vec()
}

fn hash(columns: &[ArrayRef]) -> u128 {
    let mut hasher = SipHasher24::new_with_key(&KEY);
    hasher.write(&encode(columns));
    hasher.finish128().as_u128()
}

fn of_unit(unit: i64, key: &Key, keys: usize) -> Vec<ArrayRef> {
    let all: [ArrayRef; 3] = [
        Arc::new(Int64Array::from(vec![unit])),
        Arc::new(StringArray::from(vec![text(key.0)])),
        Arc::new(Date32Array::from(vec![key.1])),
    ];
    all[..=keys].to_vec()
}

/// Hash and encoding of (unit, keys), row by row.
fn rank(unit: i64, key: &Key, keys: usize) -> (u128, Vec<u8>) {
    let all = of_unit(unit, key, keys);
    (hash(&all), if keys == 0 { Vec::new() } else { encode(&all[1..]) })
}

/// The D values of a unit in a group that are least by the hash of (unit, keys, value), as hashes.
fn kept(unit: i64, key: &Key, keys: usize, values: impl Iterator<Item = u8>, d: u64) -> Vec<u128> {
    let ranked = values.map(|value| {
        let value = hash(&[Arc::new(StringArray::from(vec![text(Some(value))])) as ArrayRef]);
        let bytes = FixedSizeBinaryArray::try_from_iter(std::iter::once(value.to_be_bytes())).unwrap();
        let mut all = of_unit(unit, key, keys);
        all.push(Arc::new(bytes));
        (hash(&all), value)
    });
    ranked.collect::<BTreeSet<_>>().into_iter().take(d as usize).map(|(_, value)| value).collect()
}

/// V as `bound.md` states it, in big integers, for a case whose row cap cuts nothing.
fn reference(case: &Case) -> V {
    let public = cells(case);
    let is_cell = |key: &Key| {
        let values = [ScalarValue::Utf8(text(key.0).map(str::to_owned)), ScalarValue::Date32(key.1)];
        case.keys == 0 || public.as_ref().is_none_or(|cells| cells.iter().any(|cell| cell[..] == values[..case.keys]))
    };
    let mut units: BTreeMap<i64, BTreeMap<Key, Vec<&Row>>> = BTreeMap::new();
    for row in &case.rows {
        let key = (row.1.filter(|_| case.keys > 0), row.2.filter(|_| case.keys > 1));
        if is_cell(&key) {
            units.entry(row.0).or_default().entry(key).or_default().push(row);
        }
    }
    let mut v: BTreeMap<Vec<String>, Vec<i128>> = BTreeMap::new();
    let mut different: BTreeMap<Vec<String>, BTreeSet<u128>> = BTreeMap::new();
    let within = |groups: &BTreeMap<Key, Vec<&Row>>| {
        case.allowance.is_none_or(|most| groups.values().map(Vec::len).sum::<usize>() as u64 <= most)
    };
    for (unit, groups) in units.into_iter().filter(|(_, groups)| within(groups)) {
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by_key(|(key, _)| rank(unit, key, case.keys));
        for (key, rows) in groups.into_iter().take(case.g as usize) {
            let r = i128::from(case.r);
            let x: Vec<i128> = rows.iter().filter_map(|row| row.3).map(|x| i128::from(x.clamp(-7, 20))).collect();
            let (n, total) = (x.len() as i128, x.iter().sum::<i128>());
            let centred: i128 = x.iter().map(|x| x - 6).sum();
            let weigh = |sum: i128| if n > r { sum * r / n } else { sum };
            let counted = rows.iter().filter(|row| row.4.is_some()).count() as i128;
            // h = 14, w = 1.
            let squares: i128 = x.iter().map(|x| (x - 6) * (x - 6) - 14 * 14 / 2).sum();
            let mut part = vec![1, (rows.len() as i128).min(r), n.min(r), weigh(total), weigh(centred), counted.min(r)];
            part.extend([counted.min(1), weigh(squares), 0]);
            let mut candidates: Vec<usize> = x.iter().map(|x| usize::try_from((x + 7 + 1) / 2).unwrap()).collect();
            candidates.sort_unstable();
            let median = candidates.len().checked_sub(1).map(|last| candidates[last / 2]);
            part.extend((0..CANDIDATES.count as usize).map(|candidate| i128::from(median == Some(candidate))));
            let names = [text(key.0).unwrap_or("").to_owned(), day(key.1)][..case.keys].to_vec();
            let sums = v.entry(names.clone()).or_insert_with(|| vec![0; part.len()]);
            sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
            let values = rows.iter().filter_map(|row| row.4);
            different.entry(names).or_default().extend(kept(unit, &key, case.keys, values, case.d));
        }
    }
    for (names, values) in different {
        v.get_mut(&names).unwrap()[DISTINCT] = values.len() as i128;
    }
    v.into_iter().map(|(k, v)| (k, v.into_iter().map(|v| i64::try_from(v).unwrap()).collect())).collect()
}

/// Where the different values are counted.
const DISTINCT: usize = 8;

fn day(day: Option<i32>) -> String {
    day.map_or_else(String::new, |day| array_value_to_string(&Date32Array::from(vec![day]), 0).unwrap())
}

fn layout(case: &Case) -> Layout {
    Layout { partitions: case.partitions.try_into().unwrap(), batch_rows: case.batch.try_into().unwrap() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn operator_relational_form_and_arithmetic_agree(mut case in case()) {
        // The empty text prints as NULL does.
        case.rows.iter_mut().for_each(|row| row.1 = row.1.map(|key| key.max(1)));
        let dir = tempfile::tempdir().unwrap();
        let form = form(&case, dir.path());
        let layout = layout(&case);
        let streamed = run(form.planned(layout).unwrap(), case.keys, layout).unwrap();
        let relational = run(form.relational(layout).unwrap(), case.keys, layout).unwrap();
        prop_assert_eq!(&streamed, &relational, "operator and relational form");
        if case.scan_rows == 1000 {
            prop_assert_eq!(&streamed, &reference(&case), "operator and arithmetic");
        }
    }
}

#[test]
fn a_scan_reaches_the_operator_without_moving_a_row() {
    let rows: Vec<Row> = (0..200).map(|n| (n / 8, Some((n % 3) as u8), Some(0), Some(n), None)).collect();
    let case = Case {
        rows,
        keys: 1,
        public: false,
        files: 5,
        partitions: 4,
        batch: 50,
        scan_rows: 1000,
        r: 9,
        g: 9,
        d: 2,
        allowance: None,
    };
    let dir = tempfile::tempdir().unwrap();
    let plan = form(&case, dir.path()).planned(layout(&case)).unwrap();
    let shown = displayable(plan.as_ref()).indent(false).to_string();
    for moved in ["Repartition", "Sort", "Coalesce"] {
        assert!(!shown.contains(moved), "{shown}");
    }
}

#[test]
fn one_patient_reaches_every_bound() {
    let row = |key: u8, x: i64, y: u8| (4, Some(key), Some(0), Some(x), Some(y));
    let mut case = Case {
        rows: Vec::new(),
        keys: 1,
        public: false,
        files: 1,
        partitions: 1,
        batch: 9,
        scan_rows: 1000,
        r: 3,
        g: 2,
        d: 2,
        allowance: None,
    };
    // R = 3 rows, D = 2 of 5 values, and squares of h^2 - floor(h^2/2) = 98.
    for (x, total, centred, squares, candidate) in [(99, 60, 42, 294, 14), (-99, -21, -39, 213, 0)] {
        case.rows = (0..20).map(|n| row(1 + n % 4, x, n / 4)).collect();
        let dir = tempfile::tempdir().unwrap();
        let v = run(form(&case, dir.path()).planned(layout(&case)).unwrap(), 1, layout(&case)).unwrap();
        let mut expected = vec![1, 3, 3, total, centred, 3, 1, squares, 2];
        expected.extend((0..15).map(|index| i64::from(index == candidate)));
        assert_eq!(v.into_values().collect::<Vec<_>>(), vec![expected; 2]);
    }
}

fn shape() -> Arc<Shape> {
    let case = Case {
        rows: Vec::new(),
        keys: 0,
        public: true,
        files: 1,
        partitions: 1,
        batch: 9,
        scan_rows: 9,
        r: 3,
        g: 1,
        d: 2,
        allowance: None,
    };
    let dir = tempfile::tempdir().unwrap();
    form(&case, dir.path()).shape
}

fn p(units: &[Option<i64>]) -> RecordBatch {
    let units: ArrayRef = Arc::new(Int64Array::from(units.to_vec()));
    let x: ArrayRef = Arc::new(Int64Array::from(vec![Some(5); units.len()]));
    let y: ArrayRef = Arc::new(StringArray::from(vec!["a"; units.len()]));
    RecordBatch::try_from_iter([("u", units), ("x", x), ("y", y)]).unwrap()
}

fn v(units: Units) -> (Groups, Option<(i64, i64)>) {
    units.finish()
}

/// What the memory of a question is told: at the least a slot of eight bytes and a group of four for each row.
#[test]
fn rows_that_are_held_are_counted() {
    let mut units = Units::new(shape()).unwrap();
    let empty = units.size();
    units.push(&p(&vec![Some(1); 10_000])).unwrap();
    let held = units.size() - empty;
    assert!((120_000..4_000_000).contains(&held), "{held}");
}

#[test]
fn a_patient_that_comes_back_is_a_storage_fault() {
    for batches in [vec![vec![Some(1), Some(2), Some(1)]], vec![vec![Some(2)], vec![Some(1)]]] {
        let mut units = Units::new(shape()).unwrap();
        let result: Result<()> = batches.iter().try_for_each(|batch| units.push(&p(batch)));
        assert_eq!(result.unwrap_err().to_string(), "Execution error: storage fault: patients are out of order");
    }
}

#[test]
fn a_patient_in_two_partitions_is_a_storage_fault() {
    let part = |units: &[Option<i64>]| {
        let mut open = Units::new(shape()).unwrap();
        open.push(&p(units)).unwrap();
        v(open)
    };
    let fault = super::exec::merged(vec![part(&[Some(1), Some(5)]), part(&[Some(5), Some(9)])]);
    assert!(fault.err().unwrap().to_string().contains("storage fault"));
    let fine = super::exec::merged(vec![part(&[Some(6), Some(9)]), part(&[None]), part(&[Some(1), Some(5)])]).unwrap();
    assert_eq!(fine.patients, [4]);
}
