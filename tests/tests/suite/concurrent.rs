//! Many at once, and a kill in between: the budget is spent to the last question and no further.

use std::{collections::BTreeSet, sync::Mutex, time::Duration};

use epiledger_tests::{App, Reply, run};
use serde_json::{Value, json};

fn question(number: usize) -> Value {
    let day = format!("20{:02}-{:02}-{:02}", 15 + number / 336, 1 + number / 28 % 12, 1 + number % 28);
    json!({
        "sql": format!("SELECT COUNT(*) FROM visit_occurrence WHERE visit_start_date > DATE '{day}'"),
        "privacy": { "rho": "0.001" }, "protocol": "hundred",
    })
}

/// Two hundred different questions at once, under a protocol whose cap holds one hundred: exactly one hundred are
/// answered, each with an intent and an outcome, the others are refused without one, and the auditor agrees.
#[test]
fn two_hundred_at_once_against_a_budget_for_one_hundred() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let app = App::demo(&data, 120);
    let approve = |cap: &str| {
        let approval = json!({
            "protocol": "hundred", "title": "One hundred", "purpose": "HMB", "investigators": ["demo-researcher"],
            "rho_cap": cap, "delta_cap": "0", "valid_from": "2020-01-01", "valid_to": "2099-12-31",
        });
        assert_eq!(app.post("board", "/v1/protocols", &approval).status, 201);
    };
    approve("1");
    let estimate = app.post("researcher", "/v1/statements/estimate", &question(0)).json();
    let units: u64 = estimate["price"]["rho"].as_str().unwrap().strip_prefix("0.").unwrap().parse().unwrap();
    let places = estimate["price"]["rho"].as_str().unwrap().len() - 2;
    approve(&format!("0.{:0>places$}", units * 100));

    let replies: Mutex<Vec<Reply>> = Mutex::default();
    std::thread::scope(|scope| {
        for number in 0..200 {
            let (app, replies) = (&app, &replies);
            scope.spawn(move || {
                let reply = app.post("researcher", "/v1/statements", &question(number));
                replies.lock().unwrap().push(reply);
            });
        }
    });
    let replies = replies.into_inner().unwrap();
    let (answered, refused): (Vec<&Reply>, Vec<&Reply>) = replies.iter().partition(|reply| reply.status == 200);
    assert_eq!((answered.len(), refused.len()), (100, 100), "{:?}", refused.first().map(|r| r.text()));
    for reply in refused {
        let problem = reply.json();
        assert_eq!((reply.status, problem["code"].as_str()), (429, Some("BUDGET_EXHAUSTED")), "{problem}");
        assert_eq!((problem["level"].as_str(), problem["remaining"]["rho"].as_str()), (Some("protocol"), Some("0")));
    }
    let levels = app.budget();
    let spent = levels["levels"].as_array().unwrap().iter().find(|level| level["name"] == "hundred").unwrap();
    assert_eq!((&spent["remaining"]["rho"], &spent["spent"]["rho"]), (&json!("0"), &spent["cap"]["rho"]));

    let (mut open, mut most, mut outcomes) = (BTreeSet::new(), 0, 0);
    for entry in app.audit() {
        let id = entry["body"]["query_id"].as_str().unwrap_or_default().to_owned();
        match (entry["type"].as_str().unwrap(), entry["body"]["protocol"].as_str()) {
            ("query.intent", Some("hundred")) => assert!(open.insert(id)),
            ("query.outcome", _) if open.remove(&id) => {
                assert_eq!(entry["body"]["outcome"], "answered");
                outcomes += 1;
            }
            _ => {}
        }
        most = most.max(open.len());
    }
    assert_eq!((outcomes, open.len()), (100, 0));
    assert!(most <= 3, "as many run beside each other as may fail: {most}");
    assert!(app.stop().unwrap().success());
    let verified = run(&data, &["audit", "verify", data.join("audit").to_str().unwrap()]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

/// Looks again and again, for a minute at most.
fn seen(look: impl Fn() -> bool) -> bool {
    (0..30_000).any(|_| {
        std::thread::sleep(Duration::from_millis(2));
        look()
    })
}

fn intents(app: &App) -> usize {
    let found = app.get("board", "/v1/audit?type=query.intent&limit=1000").json();
    found["entries"].as_array().unwrap().len()
}

/// kill -9 between intent and outcome: the key's question is abandoned and paid, its replay gives that failure and
/// spends nothing, and another body under the key stays refused.
#[test]
fn a_key_whose_question_was_killed_replays_the_failure_and_spends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    assert!(App::demo(&data, 120).stop().unwrap().success());
    let keys: Value = serde_json::from_slice(&std::fs::read(data.join("demo.json")).unwrap()).unwrap();
    let body =
        |round: u32| json!({ "sql": format!("SELECT COUNT(*) FROM person WHERE year_of_birth > {}", 1900 + round) });
    let abandoned = |app: &App| {
        let entries = app.audit();
        entries.iter().filter(|e| e["body"]["outcome"] == "abandoned").count()
    };
    // With time classes an outcome waits at least 100 ms after its intent: the kill comes as soon as the intent is seen.
    let killed = (0..10).find(|round| {
        let mut app = App::start(&data, &["serve", "--json", "--port", "0"]);
        app.keys = keys["keys"].clone();
        let before = intents(&app);
        std::thread::scope(|scope| {
            let url = app.url.clone();
            let token = keys["keys"]["researcher"].as_str().unwrap();
            let body = body(*round);
            scope.spawn(move || {
                let _ = ureq::post(format!("{url}/v1/statements"))
                    .header("Content-Type", "application/json")
                    .header("Authorization", format!("Bearer {token}"))
                    .header("Idempotency-Key", format!("round {round}"))
                    .send(body.to_string());
            });
            assert!(seen(|| intents(&app) > before), "no intent came");
            app.signal("KILL");
        });
        app.kill();
        let again = App::demo(&data, 120);
        let found = abandoned(&again) > 0;
        assert!(again.stop().unwrap().success());
        found
    });
    let round = killed.unwrap_or_else(|| panic!("no kill came between intent and outcome"));
    let app = App::demo(&data, 120);
    let (spent, entries) = (app.budget(), app.audit().len());
    let key = format!("round {round}");
    let replay = |body: &Value| app.post_with("researcher", "/v1/statements", body, &[("Idempotency-Key", &key)]);
    for _ in 0..2 {
        let reply = replay(&body(round));
        assert_eq!((reply.status, reply.json()["code"].as_str()), (504, Some("DEADLINE")), "{}", reply.text());
    }
    let other = replay(&body(round + 50));
    assert_eq!((other.status, other.json()["code"].as_str()), (422, Some("IDEMPOTENCY_KEY_REUSED")));
    assert_eq!((app.budget(), app.audit().len()), (spent, entries), "a replay spends and writes nothing");
    // Without the key it is asked, and paid, anew.
    assert_eq!(app.post("researcher", "/v1/statements", &body(round)).status, 200);
}

/// Two requests under one key at once: one is answered, the other told that it is in flight.
#[test]
fn the_same_key_twice_at_once_is_in_flight() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    assert!(App::demo(&data, 120).stop().unwrap().success());
    let keys: Value = serde_json::from_slice(&std::fs::read(data.join("demo.json")).unwrap()).unwrap();
    let mut app = App::start(&data, &["serve", "--json", "--port", "0"]);
    app.keys = keys["keys"].clone();
    let ask = |round: u32, privacy: &str| {
        let sql = format!("SELECT COUNT(*) FROM person WHERE year_of_birth > {}", 1900 + round);
        let key = format!("round {round}");
        let body = json!({ "sql": sql, "privacy": { "rho": privacy } });
        app.post_with("researcher", "/v1/statements", &body, &[("Idempotency-Key", &key)])
    };
    // With time classes an outcome waits at least 100 ms after its intent; a slow machine may need another round.
    let met = (0..20).any(|round| {
        let before = intents(&app);
        std::thread::scope(|scope| {
            let first = scope.spawn(|| ask(round, "0.001"));
            assert!(seen(|| intents(&app) > before), "no intent came");
            let (second, other) = (ask(round, "0.001"), ask(round, "0.002"));
            let first = first.join().unwrap();
            assert_eq!(first.status, 200, "{}", first.text());
            assert_eq!((other.status, other.json()["code"].as_str()), (422, Some("IDEMPOTENCY_KEY_REUSED")));
            let again = ask(round, "0.001").json();
            assert_eq!((&again["rows"], &again["cached"]), (&first.json()["rows"], &json!(true)));
            let met = second.status == 409;
            assert_eq!(second.json()["code"] == "IDEMPOTENCY_IN_FLIGHT", met, "{}", second.text());
            met
        })
    });
    assert!(met, "no second request came while the first was in flight");
}
