//! The statistical audit of `audit.rs` over HTTP: the real server over two ledgers that differ in one patient.

use std::{fmt::Write, sync::Mutex};

use crate::{audit::rho_at_least, study::served};

const PATIENTS: usize = 60;
const QUESTIONS: usize = 400;

/// Counts of all patients, each question paid and drawn anew (its constant makes it a question of its own).
fn counts(patients: usize, rho: &str) -> Vec<f64> {
    let dir = tempfile::tempdir().unwrap();
    let mut rows = "Id,BIRTHDATE,GENDER,STATE,FIPS\n".to_owned();
    (0..patients).for_each(|person| writeln!(rows, "p{person},19{:02}-06-15,F,MA,25017", 40 + person % 60).unwrap());
    let conditions = "START,STOP,PATIENT,CODE,DESCRIPTION\n2021-03-01,,p0,700000001,a disorder\n";
    let app = served(dir.path(), &rows, conditions, "900000");
    // Answers leave at their class, so three at once, which is as many as run under one protocol.
    let (numbers, counts) = (Mutex::new(0..QUESTIONS), Mutex::<Vec<f64>>::default());
    let next = || numbers.lock().unwrap().next();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some(number) = next() {
                    let sql = format!("SELECT COUNT(*) AS n FROM person WHERE year_of_birth <> {}", 1_000 + number);
                    let answer = app.ask(&sql, rho).json();
                    assert_eq!(answer["cached"], false, "{answer}");
                    counts.lock().unwrap().push(answer["rows"][0][0].as_f64().unwrap());
                }
            });
        }
    });
    let counts = counts.into_inner().unwrap();
    assert_eq!(counts.len(), QUESTIONS);
    counts
}

/// One patient costs what was charged and no more; the same answers with a quarter of their noise would cost more.
/// The odds that a right server fails are below 1e-9.
#[test]
fn answers_over_http_stay_within_their_charge_and_a_quarter_of_the_noise_does_not() {
    let charged = 2.0;
    let (with, without) = std::thread::scope(|scope| {
        let with = scope.spawn(|| counts(PATIENTS + 1, "2"));
        let without = counts(PATIENTS, "2");
        (with.join().unwrap(), without)
    });
    let found = rho_at_least(&with, &without);
    println!("rho at least {found:.3}, charged {charged}");
    assert!(found <= charged && found > charged / 20.0, "{found} of {charged}");
    let quiet = |samples: &[f64], truth: usize| -> Vec<f64> {
        samples.iter().map(|n| truth as f64 + (n - truth as f64) / 4.0).collect()
    };
    let broken = rho_at_least(&quiet(&with, PATIENTS + 1), &quiet(&without, PATIENTS));
    println!("a quarter of the noise: rho at least {broken:.3}, charged {charged}");
    assert!(broken > charged, "{broken} of {charged}");
}
