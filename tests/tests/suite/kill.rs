//! kill -9 at random moments, round after round over the same files: before it serves, while it recovers, while it is
//! asked. After each, the accountant's state is the fold that an independent reader computes from the stored bytes.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use epiledger_ledger::{
    Log, LogReader, NoteKey, StdFs,
    verify::{AuditOptions, audit},
};
use epiledger_privacy::accountant::Accountant;
use epiledger_tests::{App, binary};
use serde_json::{Value, json};

const PRINCIPAL: &str = "demo-researcher";

/// Rounds: 25, or as many as the environment says.
fn rounds() -> u64 {
    std::env::var("EPILEDGER_KILL_ROUNDS").map_or(25, |rounds| rounds.parse().unwrap())
}

/// A decimal in units of 10^-30.
fn units(decimal: &Value) -> u128 {
    let text = decimal.as_str().unwrap();
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{part:0<30}").parse().unwrap()
}

/// What an independent reader makes of the stored entries.
#[derive(Debug, Default, PartialEq, Eq)]
struct Fold {
    intents: u64,
    /// rho and delta of the id space, of each protocol and of the one principal.
    spent: BTreeMap<String, (u128, u128)>,
    outcomes: BTreeMap<u64, String>,
}

fn fold(dir: &Path) -> Fold {
    let mut fold = Fold::default();
    let reader = LogReader::open(dir).unwrap();
    for item in reader.entries(0) {
        let (index, bytes, _) = item.unwrap();
        let entry: Value = serde_json::from_slice(&bytes).unwrap();
        let body = &entry["body"];
        match entry["type"].as_str().unwrap() {
            "query.intent" => {
                fold.intents += 1;
                let price = (units(&body["rho"]), units(&body["delta"]));
                for level in ["id_space", "protocol", "principal"] {
                    let sum = fold.spent.entry(format!("{level} {}", body[level].as_str().unwrap())).or_default();
                    *sum = (sum.0 + price.0, sum.1 + price.1);
                }
            }
            "query.outcome" if body["outcome"] == "answered" => {
                fold.outcomes.insert(index, body["query_id"].as_str().unwrap().to_owned());
            }
            _ => {}
        }
    }
    fold
}

/// Opens the log as the next start does, and compares.
fn compare(data: &Path, acknowledged: &[(u64, String)], protocols: &[String]) {
    let dir = data.join("audit");
    let report = audit(&dir, AuditOptions::default());
    assert_eq!(report.fault, None, "what kill -9 leaves is no fault");
    let key = NoteKey::load(&data.join("keys/audit.key")).unwrap();
    let log = Arc::new(Log::open(Arc::new(StdFs), &dir, key).unwrap());
    assert!(log.size() >= report.size);
    let accountant = Accountant::open(Arc::clone(&log)).unwrap();
    log.flush().unwrap();
    let fold = fold(&dir);
    let budget = accountant.budget();
    assert_eq!(budget.state().intents, fold.intents);
    for protocol in protocols {
        for level in budget.levels(protocol, PRINCIPAL) {
            let text = |value: String| Value::from(value);
            let spent = (units(&text(level.spent.rho.to_string())), units(&text(level.spent.delta.to_string())));
            let name = format!("{} {}", level.level, level.name);
            assert_eq!(spent, fold.spent.get(&name).copied().unwrap_or_default(), "{name}");
        }
    }
    for (index, statement) in acknowledged {
        assert_eq!(fold.outcomes.get(index), Some(statement), "an answer that was given");
    }
    let report = audit(&dir, AuditOptions::default());
    assert_eq!(report.fault, None);
    assert_eq!(report.audit.unwrap().intents, fold.intents);
}

/// Asks until it is killed; gives the answers that came.
fn ask(url: &str, keys: &Value, protocol: &str, from: u64, answers: &Mutex<Vec<(u64, String)>>) {
    for n in from.. {
        let sql = format!("SELECT COUNT(*) FROM visit_occurrence WHERE visit_occurrence_id > {n}");
        let body = json!({ "sql": sql, "protocol": protocol, "privacy": { "rho": "0.00001" } });
        let sent = ureq::post(format!("{url}/v1/statements"))
            .header("Content-Type", "application/json")
            .header("Authorization", format!("Bearer {}", keys["researcher"].as_str().unwrap()))
            .send(body.to_string());
        let Ok(mut reply) = sent else { return };
        let Ok(text) = reply.body_mut().read_to_string() else { return };
        let reply: Value = serde_json::from_str(&text).unwrap();
        let statement = reply["statement_id"].as_str().unwrap().to_owned();
        answers.lock().unwrap().push((reply["receipt"]["index"].as_u64().unwrap(), statement));
    }
}

#[test]
fn after_every_kill_the_accountants_state_is_the_fold_of_an_independent_reader() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    assert!(App::demo(&data, 100).stop().unwrap().success());
    let demo: Value = serde_json::from_slice(&fs::read(data.join("demo.json")).unwrap()).unwrap();
    let keys = demo["keys"].clone();
    let (mut acknowledged, mut protocols) = (Vec::new(), vec!["demo".to_owned()]);
    for round in 0..rounds() {
        let moment = Duration::from_millis(rand::random_range(0..400));
        if round % 4 == 3 {
            // Before it serves: while it opens, recovers, closes what was left open.
            let mut child = Command::new(binary())
                .args(["serve", "--port", "0", "--data"])
                .arg(&data)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            thread::sleep(moment);
            child.kill().unwrap();
            child.wait().unwrap();
        } else {
            let mut app = App::start(&data, &["serve", "--json", "--port", "0"]);
            app.keys = keys.clone();
            // One of its own, since three questions without an answer suspend a protocol.
            let protocol = format!("kill-{round}");
            let approval = json!({
                "protocol": protocol, "title": "t", "purpose": "GRU", "investigators": [PRINCIPAL], "rho_cap": "1",
                "delta_cap": "0.000001", "valid_from": "2020-01-01", "valid_to": "2099-12-31",
            });
            let approved = app.post("board", "/v1/protocols", &approval);
            assert!(approved.status < 300, "{}", approved.text());
            let answers = Mutex::new(Vec::new());
            thread::scope(|scope| {
                for thread in 0..3 {
                    let (url, keys, protocol, answers) = (app.url.clone(), &keys, &protocol, &answers);
                    scope.spawn(move || ask(&url, keys, protocol, round * 1_000_000 + thread * 1_000, answers));
                }
                thread::sleep(moment);
                app.kill();
            });
            acknowledged.extend(answers.into_inner().unwrap());
            protocols.push(protocol);
        }
        compare(&data, &acknowledged, &protocols);
    }
    println!("{} rounds of kill -9, {} answers given, lost: 0", rounds(), acknowledged.len());
}
