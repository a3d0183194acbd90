//! A small random world: two private tables in Parquet files, as the guarded scan reads them.

use std::{collections::BTreeMap, fs::File, path::Path, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, Date32Array, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringArray},
    datatypes::{Int64Type, SchemaRef},
};
use datafusion::{parquet::arrow::ArrowWriter, physical_plan::collect, prelude::SessionContext};
use epiledger_privacy::{
    bound::{BoundedPlan, bound, physical::Layout},
    catalog::{Catalog, Column, Contribution, Kind, Profile, Table},
    loss::{Delta, Rho},
    params::PrivacyParams,
    refusal::PlanError,
    snapshot::{Snapshot, StoredFile},
};
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// One visit.
#[derive(Clone, Debug, PartialEq)]
pub struct Visit {
    pub kind: Option<&'static str>,
    pub day: i32,
    /// In cents; may lie outside of the declared range.
    pub cost: Option<i64>,
}

/// One patient.
#[derive(Clone, Debug, PartialEq)]
pub struct Patient {
    pub id: i64,
    pub county: &'static str,
    pub consent: i32,
    pub visits: Vec<Visit>,
}

pub const COUNTIES: [&str; 3] = ["north", "south", "west"];
pub const KINDS: [&str; 4] = ["a", "b", "c", "d"];
pub const LOW: i64 = -500;
pub const HIGH: i64 = 1_000;

pub fn catalog(visits: Contribution) -> Catalog {
    let column = |name: &str, kind: Kind, nullable: bool, domain: Option<&[&str]>| Column {
        name: name.into(),
        kind,
        nullable,
        domain: domain.map(|values| values.iter().map(|v| (*v).to_owned()).collect()),
    };
    let person = Table {
        private: Some(Contribution { scan_rows: 1, rows: 1, groups: 1 }),
        declared_rows: 1_000,
        columns: vec![column("person_id", Kind::Id, false, None), column("county", Kind::Text, false, Some(&COUNTIES))],
    };
    let visit = Table {
        private: Some(visits),
        declared_rows: 10_000,
        columns: vec![
            column("person_id", Kind::Id, false, None),
            column("kind", Kind::Text, true, None),
            column(
                "day",
                Kind::Date { low: "2020-01-01".into(), high: "2020-12-31".into(), year_only: false },
                false,
                None,
            ),
            column("cost", Kind::Decimal { scale: 2, low: LOW, high: HIGH }, true, None),
        ],
    };
    Catalog {
        dataset: "world".into(),
        data_cut: "2020-12-31".into(),
        profile: Profile::ExpertDetermination,
        declared_patients: 1_000,
        tables: BTreeMap::from([("person".to_owned(), person), ("visit".to_owned(), visit)]),
    }
}

pub fn params(rho: Rho) -> PrivacyParams {
    PrivacyParams {
        rho,
        query_delta: Delta::parse("0.000001").unwrap(),
        k_min: 11,
        id_space: "world".into(),
        policy: 1,
        purpose_bit: 2,
        secret: [9; 32],
    }
}

pub fn patients(rng: &mut StdRng, count: usize, most_visits: usize) -> Vec<Patient> {
    (0..count as i64)
        .map(|id| Patient {
            id: id * 10,
            county: COUNTIES[rng.random_range(0..COUNTIES.len())],
            consent: [7, 7, 7, 4, 0][rng.random_range(0..5)],
            visits: (0..rng.random_range(0..=most_visits)).map(|_| visit(rng)).collect(),
        })
        .collect()
}

fn visit(rng: &mut impl Rng) -> Visit {
    Visit {
        kind: (rng.random_range(0..10) > 0).then(|| KINDS[rng.random_range(0..KINDS.len())]),
        day: 18_262 + rng.random_range(0..366),
        cost: (rng.random_range(0..10) > 0).then(|| rng.random_range(-2_000..3_000)),
    }
}

pub fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// The same files, marked as what they are: exact numbers are shown of simulated people alone, and those can't be paid.
pub fn simulated(snapshot: Snapshot) -> Snapshot {
    Snapshot { synthetic: true, ..snapshot }
}

/// Writes the tables into `files` files each, every file with a range of patients of its own.
pub fn write(dir: &Path, catalog: &Catalog, patients: &[Patient], files: usize) -> Snapshot {
    let mut snapshot = Snapshot { number: 1, cut_at: "2020-12-31".into(), ..Snapshot::default() };
    let size = patients.len().div_ceil(files).max(1);
    for (name, table) in &catalog.tables {
        let schema = table.stored_schema();
        let stored = patients.chunks(size).enumerate().map(|(number, chunk)| {
            let path = dir.join(format!("{name}-{number}.parquet"));
            let batch = if name == "person" { persons(&schema, chunk) } else { visits(&schema, chunk) };
            let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), Arc::clone(&schema), None).unwrap();
            writer.write(&batch).unwrap();
            writer.close().unwrap();
            StoredFile {
                path: path.to_string_lossy().trim_start_matches('/').to_owned(),
                size: path.metadata().unwrap().len(),
                low: chunk[0].id,
                high: chunk[chunk.len() - 1].id,
            }
        });
        snapshot.private.insert(name.clone(), stored.collect());
    }
    snapshot
}

fn persons(schema: &SchemaRef, patients: &[Patient]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(patients.iter().map(|p| p.id).collect::<Int64Array>()),
        Arc::new(patients.iter().map(|p| Some(p.county)).collect::<StringArray>()),
        Arc::new(patients.iter().map(|p| p.consent).collect::<Int32Array>()),
        Arc::new(patients.iter().map(|_| 0i64).collect::<Int64Array>()),
    ];
    RecordBatch::try_new(Arc::clone(schema), columns).unwrap()
}

fn visits(schema: &SchemaRef, patients: &[Patient]) -> RecordBatch {
    let rows: Vec<(&Patient, &Visit)> = patients.iter().flat_map(|p| p.visits.iter().map(move |v| (p, v))).collect();
    let cost = rows.iter().map(|(_, v)| v.cost.map(i128::from)).collect::<Decimal128Array>();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|(p, _)| p.id).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|(_, v)| v.kind).collect::<StringArray>()),
        Arc::new(Date32Array::from_iter_values(rows.iter().map(|(_, v)| v.day))),
        Arc::new(cost.with_precision_and_scale(18, 2).unwrap()),
        Arc::new(rows.iter().map(|(p, _)| p.consent).collect::<Int32Array>()),
        Arc::new(rows.iter().map(|_| 0i64).collect::<Int64Array>()),
    ];
    RecordBatch::try_new(Arc::clone(schema), columns).unwrap()
}

/// Text to bounded plan.
pub fn plan(
    sql: &str,
    catalog: &Catalog,
    snapshot: &Snapshot,
    params: &PrivacyParams,
) -> Result<BoundedPlan, PlanError> {
    let parsed = epiledger_sql::parse(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    let query = epiledger_sql::bind(&parsed, catalog, &BTreeMap::new()).unwrap_or_else(|e| panic!("{sql}: {e}"));
    bound(&query, catalog, snapshot, params)
}

/// A world of simulated people, of whose questions a test may see the exact numbers.
pub struct Simulated {
    pub patients: Vec<Patient>,
    catalog: Catalog,
    snapshot: Snapshot,
    _dir: TempDir,
}

impl Simulated {
    /// So many patients of at most so many visits, nine of which count.
    pub fn new(seed: u64, count: usize, most_visits: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let catalog = catalog(Contribution { scan_rows: 9, rows: 9, groups: 1 });
        let patients = patients(&mut rng(seed), count, most_visits);
        let snapshot = simulated(write(dir.path(), &catalog, &patients, 2));
        Self { patients, catalog, snapshot, _dir: dir }
    }

    /// A question of them.
    pub fn plan(&self, sql: &str) -> BoundedPlan {
        let params = params(Rho::parse("0.1").unwrap());
        plan(sql, &self.catalog, &self.snapshot, &params).unwrap()
    }
}

/// Candidates that are shown, whether there are as many or not.
pub const CANDIDATES: usize = 1_000;

/// A column of V at one row: its integer, or how many patients chose each candidate.
fn integers(column: &ArrayRef, row: usize) -> Vec<i64> {
    let Some(lists) = column.as_list_opt::<i32>() else {
        let sums = column.as_primitive::<Int64Type>();
        return vec![if sums.is_null(row) { 0 } else { sums.value(row) }];
    };
    let mut counts: Vec<i64> = Vec::new();
    if !lists.is_null(row) {
        counts.extend(lists.value(row).as_primitive::<Int64Type>().iter().flatten());
    }
    counts.resize(CANDIDATES, 0);
    counts
}

/// V by key text. A list of candidates is [`CANDIDATES`] counts.
pub type Exact = BTreeMap<Vec<String>, Vec<i64>>;

/// The exact V of a plan over [`simulated`] people.
pub fn exact(plan: &BoundedPlan, partitions: usize) -> Exact {
    exact_of(plan, layout(partitions, 8192), false)
}

pub fn layout(partitions: usize, batch_rows: usize) -> Layout {
    Layout { partitions: partitions.try_into().unwrap(), batch_rows: batch_rows.try_into().unwrap() }
}

/// The exact V in a layout, by the operator or in relational form.
pub fn exact_of(plan: &BoundedPlan, layout: Layout, relational: bool) -> Exact {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    exact_on(&runtime, plan, layout, relational)
}

/// [`exact_of`] on a runtime of the caller's.
pub fn exact_on(runtime: &Runtime, plan: &BoundedPlan, layout: Layout, relational: bool) -> Exact {
    runtime.block_on(async {
        let context = SessionContext::new_with_config(layout.config());
        let physical = plan.oracle(layout, relational).unwrap();
        by_key(plan, &collect(physical, context.task_ctx()).await.unwrap())
    })
}

/// V by key text; groups of nothing left out.
pub fn by_key(plan: &BoundedPlan, batches: &[RecordBatch]) -> Exact {
    let keys = plan.release_schema().fields().len() - plan.aggregates();
    let mut found = BTreeMap::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let text = |column: &ArrayRef| arrow::util::display::array_value_to_string(column, row).unwrap();
            let key: Vec<String> = batch.columns()[..keys].iter().map(text).collect();
            let values = batch.columns()[keys..].iter().flat_map(|c| integers(c, row)).collect();
            assert!(found.insert(key, values).is_none(), "a group came twice");
        }
    }
    found.retain(|_, values: &mut Vec<i64>| values.iter().any(|v| *v != 0));
    found
}
