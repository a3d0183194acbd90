//! The bounding operator beside its relational form and beside plain SQL without privacy, on the same generated rows:
//! `cargo bench -p epiledger-tests --bench operator [-- PATIENTS [PARTITIONS]]`. Not a test: it prints, and asserts
//! only that the two private forms agree.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed step ends the run")]
#![expect(clippy::disallowed_methods, reason = "compares exact numbers of made-up records")]
#![expect(dead_code, reason = "the tests' world has more than this needs")]

#[path = "../tests/suite/world.rs"]
mod world;

use std::time::{Duration, Instant};

use datafusion::prelude::{ParquetReadOptions, SessionContext};
use epiledger_privacy::{catalog::Contribution, loss::Rho};

/// The question with privacy, and its like without.
const QUESTIONS: [(&str, &str); 4] = [
    (
        "SELECT kind, COUNT(DISTINCT person_id) FROM visit GROUP BY kind",
        "SELECT kind, COUNT(DISTINCT person_id) FROM visit GROUP BY kind",
    ),
    (
        "SELECT kind, COUNT(DISTINCT person_id), COUNT(*), SUM(cost) FROM visit GROUP BY kind",
        "SELECT kind, COUNT(DISTINCT person_id), COUNT(*), SUM(cost) FROM visit GROUP BY kind",
    ),
    (
        "SELECT date_trunc('month', day), COUNT(DISTINCT person_id) FROM visit GROUP BY date_trunc('month', day)",
        "SELECT extract(month FROM day), COUNT(DISTINCT person_id) FROM visit GROUP BY extract(month FROM day)",
    ),
    (
        "SELECT p.county, v.kind, COUNT(DISTINCT p.person_id) FROM person p JOIN visit v ON p.person_id = v.person_id \
         GROUP BY p.county, v.kind",
        "SELECT p.county, v.kind, COUNT(DISTINCT p.person_id) FROM person p JOIN visit v ON p.person_id = v.person_id \
         GROUP BY p.county, v.kind",
    ),
];

/// Runs a step three times and gives the shortest time.
fn shortest<T>(mut step: impl FnMut() -> T) -> (T, Duration) {
    let timed = (0..3).map(|_| {
        let start = Instant::now();
        (step(), start.elapsed())
    });
    timed.min_by_key(|(_, time)| *time).unwrap()
}

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|arg| arg.parse::<usize>().ok());
    let patients = numbers.next().unwrap_or(100_000);
    let partitions = numbers.next().unwrap_or(2);
    let dir = tempfile::tempdir().unwrap();
    let catalog = world::catalog(Contribution { scan_rows: 1_000, rows: 5, groups: 3 });
    let people = world::patients(&mut world::rng(1), patients, 40);
    let rows: usize = people.iter().map(|person| person.visits.len()).sum();
    let snapshot = world::simulated(world::write(dir.path(), &catalog, &people, 16));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(partitions).build().unwrap();
    println!("{rows} rows of {patients} patients, {partitions} partitions; seconds, and ratio to the operator");
    println!("{:>10} {:>18} {:>18}  question", "operator", "relational form", "without privacy");
    for (private, plain) in QUESTIONS {
        let params = world::params(Rho::parse("0.1").unwrap());
        let plan = world::plan(private, &catalog, &snapshot, &params).unwrap();
        let layout = world::layout(partitions, 8192);
        let (streamed, operator) = shortest(|| world::exact_on(&runtime, &plan, layout, false));
        let (slow, relational) = shortest(|| world::exact_on(&runtime, &plan, layout, true));
        assert_eq!(streamed, slow, "{private}");
        let ((), without) = shortest(|| {
            runtime.block_on(async {
                let context = SessionContext::new_with_config(layout.config());
                for table in ["person", "visit"] {
                    let files: Vec<String> =
                        snapshot.private[table].iter().map(|file| format!("/{}", file.path)).collect();
                    let frame = context.read_parquet(files, ParquetReadOptions::default()).await.unwrap();
                    context.register_table(table, frame.into_view()).unwrap();
                }
                context.sql(plain).await.unwrap().collect().await.unwrap();
            });
        });
        let seconds = operator.as_secs_f64();
        let beside = |time: Duration| format!("{:.2} ({:.1}x)", time.as_secs_f64(), time.as_secs_f64() / seconds);
        println!("{seconds:>10.2} {:>18} {:>18}  {private}", beside(relational), beside(without));
    }
}
