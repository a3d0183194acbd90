//! kill -9: nothing acknowledged is lost, nothing is released unpaid, ingest ends in the same tables.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use epiledger_ledger::{
    LogReader, Receipt, VerifierKey, open_receipt,
    verify::{AuditOptions, AuditSummary, audit},
};
use epiledger_tests::{App, command, run, verifiers};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

/// Rounds of kill -9 on the audit log, three times as many as on an ingest; 1,000 for a night.
fn rounds() -> u32 {
    std::env::var("EPILEDGER_KILL_ROUNDS").map_or(25, |rounds| rounds.parse().unwrap())
}

/// Clients that ask at the same time.
const CLIENTS: u32 = 5;

/// A server over the folder, with the keys of its demo.
fn serve(data: &Path, keys: &Value) -> App {
    let mut app = App::start(data, &["serve", "--json", "--port", "0"]);
    app.keys = keys.clone();
    app
}

/// Approved anew, the protocol's failures count from none: without it, three questions without answer suspend it.
fn approve(app: &App) {
    let approval = json!({
        "protocol": "demo", "title": "Killed again and again", "purpose": "HMB", "investigators": ["demo-researcher"],
        "rho_cap": "3", "delta_cap": "0.00001", "valid_from": "2020-01-01", "valid_to": "2099-12-31",
    });
    let reply = app.post("board", "/v1/protocols", &approval);
    assert_eq!(reply.status, 201, "{}", reply.text());
}

/// A question that was not asked before.
fn question(number: u32) -> Value {
    let day = format!("20{:02}-{:02}-{:02}", 10 + number / 336, 1 + number / 28 % 12, 1 + number % 28);
    let sql = format!("SELECT COUNT(*) FROM visit_occurrence WHERE visit_start_date > DATE '{day}'");
    json!({ "sql": sql, "privacy": { "rho": "0.0001" } })
}

/// Asks until the server is gone; the receipts that came whole.
fn ask(url: &str, token: &str, next: &AtomicU32) -> Vec<String> {
    let mut receipts = Vec::new();
    loop {
        let sent = ureq::post(format!("{url}/v1/statements"))
            .header("Content-Type", "application/json")
            .header("Authorization", format!("Bearer {token}"))
            .send(question(next.fetch_add(1, Ordering::Relaxed)).to_string());
        let Ok(mut response) = sent else { return receipts };
        let Ok(answer) = response.body_mut().read_to_string() else { return receipts };
        let answer: Value = serde_json::from_str(&answer).unwrap();
        receipts.push(answer["receipt"]["proof"].as_str().unwrap().to_owned());
    }
}

/// Kills the server while clients ask; what they were told before.
fn kill_while_asked(app: App, after: Duration, next: &AtomicU32, key: &VerifierKey) -> Vec<Receipt> {
    let (url, token) = (app.url.clone(), app.keys["researcher"].as_str().unwrap().to_owned());
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| ask(&url, &token, next))).collect();
        std::thread::sleep(after);
        app.kill();
        let receipts = clients.into_iter().flat_map(|client| client.join().unwrap());
        receipts.map(|proof| open_receipt(&proof, key).unwrap()).collect()
    })
}

/// The auditor's fold; the log continues every head that left it.
fn audited(log: &Path, told: &[Receipt]) -> AuditSummary {
    let pinned_heads: Vec<String> = told.iter().map(|receipt| receipt.head.note.clone()).collect();
    let report = audit(log, AuditOptions { pinned_heads: &pinned_heads, ..AuditOptions::default() });
    assert_eq!(report.fault, None);
    report.audit.unwrap()
}

/// What is spent, by level and name, as the accountant says: rho, delta and the epsilon that is shown.
fn spent(app: &App) -> BTreeMap<(String, String), (String, String, f64)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let budget = app.budget();
    let levels = budget["levels"].as_array().unwrap().iter();
    levels
        .map(|level| {
            let spent = &level["spent"];
            let amount = (text(&spent["rho"]), text(&spent["delta"]), spent["epsilon"].as_f64().unwrap());
            ((text(&level["level"]), text(&level["name"])), amount)
        })
        .collect()
}

/// The fold of `tests/verifiers/budget.py`, once every question has ended in what is published; `None` without Python.
fn independent(log: &Path) -> Option<Value> {
    let mut last = String::new();
    for _ in 0..100 {
        let output = verifiers::python("budget.py", log)?;
        last = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        match serde_json::from_str::<Value>(&last) {
            Ok(fold) if fold["open"] == 0 => return Some(fold),
            // The tiles follow the journal, and tiles change while they are read.
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }
    panic!("{last}")
}

/// kill -9 under concurrent questions, again and again: every acknowledged answer stays in the log; what was paid without
/// an outcome is abandoned and stays paid; and the accountant's state is the fold of the auditor and of a reader in
/// another language.
#[test]
fn killed_under_questions_the_accountant_is_the_fold_of_an_independent_reader() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    assert!(App::demo(&data, 120).stop().unwrap().success());
    let read: Value = serde_json::from_slice(&fs::read(data.join("demo.json")).unwrap()).unwrap();
    let (keys, log) = (&read["keys"], data.join("audit"));
    let key = VerifierKey::parse(fs::read_to_string(log.join("key")).unwrap().trim()).unwrap();
    let (mut random, next) = (StdRng::seed_from_u64(1), AtomicU32::new(0));
    let (mut all, mut abandoned, mut folds) = (Vec::new(), 0, 0);
    let mut app = serve(&data, keys);
    for round in 0..rounds() {
        approve(&app);
        // With time classes an outcome leaves at least 100 ms after its intent: kills find questions in every state.
        let after = Duration::from_millis(random.random_range(20..500));
        let told = kill_while_asked(app, after, &next, &key);
        let stopped = audited(&log, &told);
        app = serve(&data, keys);
        let state = spent(&app);
        let started = audited(&log, &told);
        abandoned += stopped.open;
        assert_eq!((started.open, started.abandoned), (0, stopped.abandoned + stopped.open), "round {round}");
        assert_eq!((started.intents, started.answered), (stopped.intents, stopped.answered), "round {round}");
        let budget = &started.budgets[0];
        let of_space = &state[&("id_space".to_owned(), budget.id_space.clone())];
        assert_eq!((&of_space.0, &of_space.1), (&budget.rho, &budget.delta), "round {round}");
        let reader = LogReader::open(&log).unwrap();
        for receipt in &told {
            assert_eq!(reader.read(receipt.index).unwrap(), receipt.entry, "round {round}: acknowledged, and lost");
        }
        if let Some(fold) = independent(&log) {
            folds += 1;
            for ((level, name), (rho, delta, epsilon)) in &state {
                let theirs = &fold["spent"][level][name];
                let exact = theirs["epsilon"].as_f64().unwrap();
                assert!(
                    *epsilon >= exact && *epsilon < exact * 1.000_01 + 3e-6,
                    "round {round}: {epsilon} for {exact}"
                );
                let theirs = (theirs["rho"].as_str(), theirs["delta"].as_str());
                assert_eq!(theirs, (Some(rho.as_str()), Some(delta.as_str())), "round {round}: {level} {name}");
            }
            for (what, ours) in [
                ("intents", started.intents),
                ("answered", started.answered),
                ("failed", started.failed),
                ("abandoned", started.abandoned),
            ] {
                assert_eq!(fold[what], ours, "round {round}: {what}");
            }
        }
        all.extend(told);
    }
    assert!(app.stop().unwrap().success());
    let reader = LogReader::open(&log).unwrap();
    let lost = all.iter().filter(|receipt| reader.read(receipt.index).as_ref() != Ok(&receipt.entry)).count();
    println!(
        "shown: kill -9 rounds {}, answers acknowledged {}, of them lost: {lost}; questions abandoned {abandoned}; \
         rounds in which the accountant was the fold of the independent reader: {folds}",
        rounds(),
        all.len(),
    );
    assert_eq!(lost, 0);
    assert!(abandoned > 0 && !all.is_empty(), "kills come between intent and outcome, and after outcomes");
    for (name, output) in verifiers::verify(&log) {
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let verified = run(&data, &["audit", "verify", log.to_str().unwrap()]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

pub fn tables(data: &Path) -> Vec<(String, Vec<u8>)> {
    let newest = epiledger_ingest::snapshot::newest(data).unwrap().unwrap();
    let mut found: Vec<(String, Vec<u8>)> = newest
        .tables
        .iter()
        .flat_map(|(name, table)| {
            table
                .files
                .iter()
                .enumerate()
                .map(move |(i, file)| (format!("{name} {i}"), fs::read(data.join(&file.path)).unwrap()))
        })
        .collect();
    found.sort();
    found
}

/// Killed at many moments and run again, ingest ends in the same bytes of every file.
#[test]
fn ingest_killed_at_any_moment_and_run_again_ends_in_the_same_tables() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    assert!(run(&whole, &["ledger", "simulate", "--people", "800", "--seed", "3"]).status.success());
    let copy = |to: &Path| {
        assert!(Command::new("cp").arg("-r").arg(&whole).arg(to).status().unwrap().success());
    };
    let killed = dir.path().join("killed");
    copy(&killed);
    assert!(run(&whole, &["ingest"]).status.success());
    let expected = tables(&whole);
    assert!(expected.len() > 5);
    let rounds = rounds() / 3;
    for round in 0..rounds {
        let mut child = command()
            .args(["ingest", "--data"])
            .arg(&killed)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(30 + 60 * u64::from(round % 16)));
        let _ = child.kill();
        let _ = child.wait();
    }
    assert!(run(&killed, &["ingest"]).status.success());
    assert!(tables(&killed) == expected, "tables differ after kills");
    println!("shown: ingest killed {rounds} times and run again: the same {} files", expected.len());
    let snapshots = fs::read_dir(killed.join("snapshots")).unwrap().count();
    assert!(run(&killed, &["ingest"]).status.success());
    assert_eq!(fs::read_dir(killed.join("snapshots")).unwrap().count(), snapshots, "nothing new, nothing written");
}
