//! Random schemas, tables, files, partitions and plans: the operator, the relational form and a naive reference give
//! the same V, and one patient changes it by no more than the plan declares.
//!
//! `EPILEDGER_ORACLE_CASES` is the number of plans (500 by default), `EPILEDGER_ORACLE_SEED` where they start.

mod grammar;
mod keys;
mod naive;
mod question;
mod rows;
mod source;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, collect, displayable};
use datafusion::prelude::SessionContext;
use epiledger_privacy::bound::physical::Layout;
use epiledger_privacy::bound::{BoundedPlan, bound};
use epiledger_privacy::loss::Rho;
use epiledger_privacy::params::PrivacyParams;
use epiledger_privacy::query::Query;
use epiledger_privacy::snapshot::Snapshot;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::runtime::Runtime;

use crate::world::{layout, params};
use naive::{Bounds, Measure, Reference, V, measures, read};
use question::Question;
use tables::{World, world};

/// Plans asked of one world.
const PLANS: u64 = 10;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Where plans run, and what was seen.
struct Oracle {
    runtime: Runtime,
    contexts: BTreeMap<(usize, usize), Arc<TaskContext>>,
    params: PrivacyParams,
    seen: Seen,
}

#[derive(Debug, Default)]
struct Seen {
    answered: u64,
    refused: BTreeMap<String, u64>,
    /// Primitives whose bound one patient reached, and that no patient passed.
    reached: BTreeSet<&'static str>,
    /// Plans in which a patient had more rows, groups or rows of a join than count.
    past: BTreeSet<&'static str>,
    /// Plans whose scans read other columns than foreseen, where that chooses other rows.
    unforeseen: u64,
    groups: usize,
}

/// The columns that each guarded scan of a plan reads, as names.
fn scans(plan: &Arc<dyn ExecutionPlan>, found: &mut Vec<Vec<String>>) {
    if plan.name() == "GuardedScan" {
        let schema = plan.schema();
        let mut names: Vec<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
        names.retain(|name| name != "person_id" && name != "_consent");
        names.sort();
        found.push(names);
    }
    plan.children().into_iter().for_each(|child| scans(child, found));
}

impl Oracle {
    fn new() -> Self {
        Self {
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            contexts: BTreeMap::new(),
            params: params(Rho::parse("0.1").unwrap()),
            seen: Seen::default(),
        }
    }

    fn run(&mut self, plan: &Arc<dyn ExecutionPlan>, at: Layout, keys: usize) -> Result<V, String> {
        let context = self
            .contexts
            .entry((at.partitions.get(), at.batch_rows.get()))
            .or_insert_with(|| SessionContext::new_with_config(at.config()).task_ctx());
        let batches = self.runtime.block_on(collect(Arc::clone(plan), Arc::clone(context)));
        let shown = || displayable(plan.as_ref()).indent(true).to_string();
        Ok(read(&batches.map_err(|error| format!("the plan failed: {error}\n{}", shown()))?, keys))
    }

    fn bound(&self, query: &Query, world: &World, snapshot: &Snapshot) -> Result<BoundedPlan, String> {
        bound(query, &world.catalog, snapshot, &self.params).map_err(|e| format!("the core alone refuses: {e}"))
    }

    /// One plan in three forms, and without one patient.
    fn case(
        &mut self,
        rng: &mut StdRng,
        world: &World,
        question: &Question,
        whole: &Snapshot,
        without: &(i64, Snapshot),
    ) -> Result<(), String> {
        let sql = question.sql(world);
        let query = epiledger_sql::parse(&sql)
            .and_then(|parsed| epiledger_sql::bind(&parsed, &world.catalog, &BTreeMap::new()));
        let query = match query {
            Ok(query) => query,
            // A range that is too wide to sum, and squares of it.
            Err(refusal) if ["UNBOUNDED_COLUMN", "TOO_MUCH_WORK"].contains(&refusal.code.as_str()) => {
                *self.seen.refused.entry(refusal.code.to_string()).or_default() += 1;
                return Ok(());
            }
            Err(refusal) => return Err(format!("refused: {refusal}")),
        };
        let plan = self.bound(&query, world, whole)?;
        let keys = question.keys.len();
        let at = layout([1, 2, 3, 8][rng.random_range(0..4)], [1, 7, 64, 8192][rng.random_range(0..4)]);
        let operator = plan.oracle(at, false).map_err(|e| e.to_string())?;
        let streamed = self.run(&operator, at, keys)?;
        let two = layout(2, 8192);
        let relational = plan.oracle(two, true).map_err(|e| e.to_string())?;
        let relational = self.run(&relational, two, keys)?;
        let bounds = Bounds { rows: plan.bounds().rows, groups: plan.bounds().groups, cells: plan.cells() };
        let reference = Reference { world, question, bounds, secret: self.params.secret, cache_key: plan.cache_key() };
        if streamed != relational {
            let naive = reference.v(&mut BTreeSet::new());
            return Err(format!(
                "{bounds:?}, {at:?}\nthe operator: {streamed:?}\nthe relational form: {relational:?}\nthe reference: {naive:?}"
            ));
        }
        if self.foreseen(world, question, &operator) {
            let naive = reference.v(&mut self.seen.past);
            if streamed != naive {
                return Err(format!("{bounds:?}, {at:?}\nthe operator: {streamed:?}\nthe reference: {naive:?}"));
            }
        } else {
            self.seen.unforeseen += 1;
        }
        self.seen.answered += 1;
        self.seen.groups += streamed.len();
        let (_, snapshot) = without;
        let neighbour = self.bound(&query, world, snapshot)?;
        if (neighbour.cache_key(), neighbour.primitives()) != (plan.cache_key(), plan.primitives()) {
            return Err("a neighbour has another plan".into());
        }
        let fewer = self.run(&neighbour.oracle(at, false).map_err(|e| e.to_string())?, at, keys)?;
        let measures = measures(&question.source.columns(world), &question.asked, bounds);
        self.within_sensitivity(&plan, &measures, bounds, &streamed, &fewer)
    }

    /// Do the scans read what the reference thinks, or does it not matter, since nobody has more than M rows?
    fn foreseen(&self, world: &World, question: &Question, plan: &Arc<dyn ExecutionPlan>) -> bool {
        let mut found = Vec::new();
        scans(plan, &mut found);
        let wanted = question.source.scans().into_iter().zip(question.reads(world)).map(|(scan, reads)| {
            let columns = &world.catalog.tables[scan.table].columns;
            let mut names: Vec<String> = reads.iter().map(|at| columns[*at].name.clone()).collect();
            names.sort();
            names
        });
        let mut wanted: Vec<Vec<String>> = wanted.collect();
        found.sort();
        wanted.sort();
        found == wanted || !world.patients.iter().any(|patient| rows::heavy(world, patient, &question.source))
    }

    fn within_sensitivity(
        &mut self,
        plan: &BoundedPlan,
        measures: &[Measure],
        bounds: Bounds,
        with: &V,
        without: &V,
    ) -> Result<(), String> {
        let keys: BTreeSet<&String> = with.keys().chain(without.keys()).collect();
        let changed = keys.iter().filter(|key| with.get(**key) != without.get(**key)).count() as u64;
        if changed > bounds.groups {
            return Err(format!("one patient changes {changed} groups of at most {}", bounds.groups));
        }
        if changed == bounds.groups && changed > 1 {
            self.seen.reached.insert("G");
        }
        let none = |measure: &Measure| match measure {
            Measure::Medians(..) => vec![-1],
            _ => vec![0],
        };
        let mut declared = plan.primitives().into_iter().filter(|p| p.mechanism == "discrete_gaussian");
        for (position, measure) in measures.iter().enumerate() {
            let empty = none(measure);
            let of =
                |v: &V, key: &String| v.get(key).map_or_else(|| empty.clone(), |columns| columns[position].clone());
            let pairs = keys.iter().map(|key| (of(with, key), of(without, key)));
            if let Measure::Medians(..) = measure {
                for (a, b) in pairs {
                    // One candidate more with the patient, all others alike.
                    let mut left = a.clone();
                    let others = b.iter().all(|x| left.iter().position(|y| y == x).map(|at| left.remove(at)).is_some());
                    if !others || left.len() > 1 {
                        return Err(format!("one patient changes candidates {b:?} to {a:?}"));
                    }
                    if left.len() == 1 {
                        self.seen.reached.insert(measure.name());
                    }
                }
                continue;
            }
            let most: i128 = declared.next().ok_or("fewer draws than measures")?.d_squared.parse().unwrap();
            let squares: i128 = pairs.map(|(a, b)| (a[0] - b[0]).pow(2)).sum();
            if squares > most {
                return Err(format!("one patient changes {measure:?} by the root of {squares}, past that of {most}"));
            }
            if squares == most {
                self.seen.reached.insert(measure.name());
            }
        }
        Ok(())
    }
}

/// Rounds of random worlds and questions, and what disagreed in them.
fn rounds(seed: u64, rounds: u64) -> (Oracle, Vec<String>) {
    let mut oracle = Oracle::new();
    let mut wrong = Vec::new();
    for round in 0..rounds {
        let mut rng = StdRng::seed_from_u64(seed.wrapping_mul(1_000_003).wrapping_add(round));
        let world = world(&mut rng);
        let dir = tempfile::tempdir().unwrap();
        let whole = world.write(&mut rng, dir.path(), None);
        let patient = match world.patients.len() {
            0 => 0,
            count => world.patients[rng.random_range(0..count)].id,
        };
        let without = (patient, world.write(&mut rng, dir.path(), Some(patient)));
        for plan in 0..PLANS {
            let question = grammar::question(&mut rng, &world);
            if let Err(what) = oracle.case(&mut rng, &world, &question, &whole, &without) {
                let sql = question.sql(&world);
                wrong.push(format!("seed {seed}, round {round}, plan {plan}: {what}\n  {sql}\n  {question:?}"));
            }
        }
        if wrong.len() >= 3 {
            break;
        }
    }
    (oracle, wrong)
}

#[test]
fn the_operator_the_relational_form_and_a_naive_reference_agree() {
    let (cases, seed) = (number("EPILEDGER_ORACLE_CASES", 500), number("EPILEDGER_ORACLE_SEED", 1));
    let (oracle, wrong) = rounds(seed, cases.div_ceil(PLANS));
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    let seen = &oracle.seen;
    println!("{seen:?}");
    assert!(seen.answered * 5 > cases * 4 && seen.unforeseen * 50 < cases, "{seen:?}");
    if cases >= 500 {
        let bounds = ["n", "n_i", "N", "N_i", "T", "S", "Q", "E", "M", "G"];
        assert_eq!(bounds.iter().filter(|bound| !seen.reached.contains(*bound)).count(), 0, "{:?}", seen.reached);
        assert_eq!(seen.past, BTreeSet::from(["M", "G", "R", "D", "allowance"]), "a limit was never passed");
    }
}

/// Seeds of longer runs: ranks in the order of an earlier window, a bare date that was public after its month, and lists
/// after IN whose value is NULL.
#[test]
fn what_disagreed_once_agrees() {
    for seed in
        [13_275_362_460_742_507_400, 4_274_522_053_426_038_153, 15_363_546_072_079_668_347, 12_031_594_472_876_604_488]
    {
        let (_, wrong) = rounds(seed, 1);
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    }
}
