//! What is wrong with a request is said, by code and with a hint, before anything is spent; and nothing that is sent
//! takes the server down.

use epiledger_tests::{App, run};
use serde_json::{Value, json};

const QUESTION: &str = "SELECT COUNT(*) FROM person";

fn expect(app: &App, body: &Value, status: u16, code: &str) -> Value {
    let reply = app.post("researcher", "/v1/statements", body);
    let problem = reply.json();
    assert_eq!((reply.status, problem["code"].as_str()), (status, Some(code)), "{body}: {problem}");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 10 && detail.len() < 500), "{problem}");
    problem
}

#[test]
fn a_price_that_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let app = App::demo(&dir.path().join("data"), 100);
    let before = app.budget();
    let texts =
        ["0", "-1", "NaN", "nan", "inf", "-inf", "infinity", "1e308", "1e-400", "", " ", "x", "0x10", "1,5", "1e7"];
    let prices = ["epsilon", "rho"].into_iter().flat_map(|name| {
        let numbers = [json!(0), json!(-1), json!(-0.5), json!(1e308), json!(1e-30)];
        let texts = texts.iter().map(|text| json!(text));
        texts.chain(numbers).map(move |value| json!({ name: value }))
    });
    let accuracies = [json!(0), json!(-5), json!("NaN"), json!("inf"), json!(1e-9), json!("x")];
    let others = [
        json!({}),
        json!({ "delta": 0 }),
        json!({ "delta": 1 }),
        json!({ "delta": 2 }),
        json!({ "epsilon": 0.1, "delta": "1e-6" }),
        json!({ "epsilon": 0.1, "rho": "0.001" }),
        json!({ "epsilon": null }),
        json!({ "epsilon": [0.1] }),
        json!({ "epsilon": true }),
        json!({ "Epsilon": 0.1 }),
    ];
    let accuracies = accuracies.into_iter().map(|value| json!({ "accuracy": value }));
    let refusals = || app.audit().iter().filter(|entry| entry["body"]["code"] == "BAD_PRIVACY_PARAM").count();
    for privacy in prices.chain(accuracies).chain(others) {
        let logged = refusals();
        let problem = expect(&app, &json!({ "sql": QUESTION, "privacy": privacy }), 422, "BAD_PRIVACY_PARAM");
        assert!(problem["hint"].as_str().is_some_and(|hint| hint.len() > 20), "{problem}");
        assert_eq!(refusals(), logged + 1, "one log entry: {problem}");
    }
    // A price that is one, and past the budget.
    let dear = json!({ "sql": QUESTION, "privacy": { "epsilon": 1e6 } });
    let problem = expect(&app, &dear, 429, "BUDGET_EXHAUSTED");
    assert!(problem["required"]["rho"].is_string() && problem["remaining"]["rho"].is_string(), "{problem}");
    assert_eq!(app.budget(), before);
}

#[test]
fn a_body_that_is_no_question_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let app = App::demo(&dir.path().join("data"), 100);
    let before = app.budget();
    let deep = "[".repeat(100_000);
    let bodies: [&[u8]; 16] = [
        b"",
        b"\0",
        b"null",
        b"[]",
        b"{}",
        b"SELECT COUNT(*) FROM person",
        b"{\"sql\": \"SELECT COUNT(*) FROM person\"",
        b"{\"sql\": 5}",
        b"{\"sql\": \"SELECT \xff\xfe FROM person\"}",
        b"{\"sql\": \"SELECT \\ud800 FROM person\"}",
        b"{\"sql\": \"SELECT 1\", \"sql\": \"SELECT 2\"}",
        b"{\"sql\": \"SELECT 1\", \"privacy\": {\"epsilon\": NaN}}",
        b"{\"sql\": \"SELECT 1\", \"privacy\": 5}",
        b"{\"sql\": \"SELECT 1\", \"params\": []}",
        b"{\"sql\": \"SELECT 1\", \"row_limit\": -1}",
        deep.as_bytes(),
    ];
    for body in bodies {
        let reply = app.post_bytes("researcher", "/v1/statements", body);
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        assert_eq!((reply.status, reply.json()["code"].as_str()), (400, Some("BAD_REQUEST")), "{shown}");
    }
    expect(&app, &json!({ "sql": QUESTION, "sqll": 1 }), 400, "BAD_REQUEST");
    expect(&app, &json!({ "sql": "SELECT COUNT(*) \0 FROM person" }), 422, "SYNTAX");
    expect(&app, &json!({ "sql": "" }), 422, "SYNTAX");
    assert_eq!(app.budget(), before);
}

#[test]
fn a_text_past_the_limits_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let app = App::demo(&dir.path().join("data"), 100);
    let of = |condition: String| format!("{QUESTION} WHERE {condition}");
    let large = [
        of(vec!["a"; 40_000].join(" OR ")),
        of(format!("{}TRUE{}", "(".repeat(10_000), ")".repeat(10_000))),
        of(format!("{}TRUE", "NOT ".repeat(10_000))),
        format!("SELECT {}1 FROM person", "1,".repeat(100_000)),
        format!("SELECT COUNT(*) AS {} FROM person", "n".repeat(200_000)),
        format!("{QUESTION} -- {}", "x".repeat(200_000)),
    ];
    for sql in large {
        let problem = expect(&app, &json!({ "sql": sql }), 422, "TOO_LARGE");
        assert!(problem["position"]["line"].is_u64() && problem["hint"].is_string(), "{problem}");
    }
    for sql in [format!("{QUESTION} -- {}", "x".repeat(1 << 20)), of(vec!["county = 'x'"; 100_000].join(" OR "))] {
        expect(&app, &json!({ "sql": sql }), 422, "TOO_LARGE");
    }
    assert_eq!(app.ask(QUESTION, "0.0001").status, 200);
}

#[test]
fn parameters_are_typed_named_and_logged() {
    let dir = tempfile::tempdir().unwrap();
    let app = App::demo(&dir.path().join("data"), 100);
    let sql = "SELECT COUNT(*) FROM person WHERE gender = $gender AND year_of_birth > $born";
    let ask = |params: Value| json!({ "sql": sql, "params": params, "privacy": { "rho": "0.0001" } });
    let problem = expect(&app, &ask(json!({ "gender": "female" })), 422, "UNKNOWN_NAME");
    assert_eq!(problem["position"], json!({ "line": 1, "column": 72, "length": 5 }), "{problem}");
    let problem = expect(&app, &ask(json!({ "gendr": "female", "born": 1950 })), 422, "UNKNOWN_NAME");
    assert!(problem["hint"].as_str().is_some_and(|hint| hint.contains("Did you mean gendr?")), "{problem}");
    expect(&app, &ask(json!({ "gender": "female", "born": 1950, "more": 1 })), 422, "UNKNOWN_NAME");
    expect(&app, &ask(json!({ "gender": ["female"], "born": 1950 })), 422, "TYPE_MISMATCH");
    expect(&app, &ask(json!({ "gender": { "x": 1 }, "born": 1950 })), 422, "TYPE_MISMATCH");

    let good = ask(json!({ "gender": "female' OR 'x' = 'x", "born": 1950 }));
    let answer = app.post("researcher", "/v1/statements", &good);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answered = answer.json();
    assert_eq!(answered["cached"], json!(false));
    // The same values are the same question, others another one.
    assert_eq!(app.post("researcher", "/v1/statements", &good).json()["cached"], json!(true));
    let other = ask(json!({ "gender": "female", "born": 1950 }));
    assert_eq!(app.post("researcher", "/v1/statements", &other).json()["cached"], json!(false));
    let logged = format!("{sql}\n-- parameters: {}", json!({ "born": 1950, "gender": "female' OR 'x' = 'x" }));
    assert!(app.audit().iter().any(|entry| entry["text"] == json!(logged)), "{logged}");
    // The release is read back by its logged text.
    let id = answered["statement_id"].as_str().unwrap();
    let again = app.get("researcher", &format!("/v1/statements/{id}/result"));
    assert_eq!((again.status, &again.json()["rows"]), (200, &answered["rows"]));
}

#[test]
fn the_command_line_says_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let _app = App::demo(&data, 100);
    let by = "SELECT gender, COUNT(*) FROM person WHERE gender = $gender GROUP BY gender";
    let cases: [(&[&str], i32, &str); 10] = [
        (&["estimate", QUESTION, "--epsilon", "NaN"], 3, "BAD_PRIVACY_PARAM"),
        (&["estimate", QUESTION, "--epsilon", "0"], 3, "BAD_PRIVACY_PARAM"),
        (&["query", QUESTION, "--rho=-1"], 3, "BAD_PRIVACY_PARAM"),
        (&["query", QUESTION, "--rho", "1e308"], 3, "BAD_PRIVACY_PARAM"),
        (&["query", QUESTION, "--rho", "0.1", "--epsilon", "0.1"], 2, "--epsilon"),
        (&["query", "SELECT COUNT(*) FROM preson"], 3, "Did you mean person?"),
        (&["query", by], 3, "no value for the parameter $gender"),
        (&["query", by, "--param", "gender"], 2, "NAME=VALUE"),
        (&["query", by, "--param", "gender=a", "--param", "gender=b"], 2, "twice"),
        (&["query", by, "--param", "gender=female", "--rho", "0.0001"], 0, ""),
    ];
    for (args, exit, words) in cases {
        let output = run(&data, args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(exit), "{args:?}: {said}");
        assert!(said.contains(words), "{args:?}: {said}");
    }
}
