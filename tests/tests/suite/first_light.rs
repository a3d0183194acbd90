//! From simulated people to a verified log, over HTTP, with the real binary.

use epiledger_tests::{App, run};
use serde_json::{Value, json};

const COUNTIES: &str = "SELECT county, COUNT(*) AS patients FROM person GROUP BY county ORDER BY county";

#[test]
fn a_question_gets_noisy_counts_with_intervals_price_and_a_receipt_that_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let app = App::demo(&data, 600);
    let reply = app.ask("SELECT gender, COUNT(*) AS n, COUNT(*) / 2.0 AS half FROM person GROUP BY gender", "0.01");
    assert_eq!(reply.status, 200, "{}", reply.text());
    let answer = reply.json();
    let names: Vec<&str> = answer["columns"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    let expected = ["gender", "n", "n_low", "n_high", "n_sigma", "half", "half_low", "half_high", "half_sigma"];
    assert_eq!(names, expected);
    let rows = answer["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 4, "every key of the domain is returned: {rows:?}");
    for row in rows {
        let number = |i: usize| row[i].as_f64().unwrap();
        assert!(number(2) <= number(1) && number(1) <= number(3), "{row}");
        assert!(number(6) <= number(5) && number(5) <= number(7), "{row}");
        // Half of a count has half of its noise; the bootstrap is within a fifth of it.
        assert!((number(8) / (number(4) / 2.0) - 1.0).abs() < 0.2, "{row}");
    }
    let rho: f64 = answer["price"]["rho"].as_str().unwrap().parse().unwrap();
    assert!(rho > 0.009 && rho <= 0.01, "{}", answer["price"]);
    assert_eq!(answer["cached"], json!(false));
    let index = answer["receipt"]["index"].as_u64().unwrap();
    assert!(answer["receipt"]["proof"].as_str().unwrap().starts_with("c2sp.org/tlog-proof@v1"));

    let entries = app.audit();
    let kind = |index: u64| entries.iter().find(|e| e["index"] == index).map(|e| e["type"].clone());
    assert_eq!(kind(index), Some(json!("query.outcome")));
    let intent = entries.iter().rev().find(|e| e["type"] == "query.intent").unwrap();
    assert!(intent["index"].as_u64() < Some(index) && intent["text"].as_str().unwrap().contains("AS half"));

    assert!(app.stop().unwrap().success());
    for log in ["audit", "ledger"] {
        let verified = run(&data, &["audit", "verify", data.join(log).to_str().unwrap()]);
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    }
}

#[test]
fn asked_again_it_costs_nothing_and_gives_the_same_numbers_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let app = App::demo(&data, 400);
    let first = app.ask(COUNTIES, "0.005").json();
    let spent = app.budget();
    let again = app.ask(COUNTIES, "0.005").json();
    assert_eq!((&again["rows"], &again["cached"], &again["price"]["rho"]), (&first["rows"], &json!(true), &json!("0")));
    // Another order and arithmetic of the same measured numbers is the same release.
    let other = app
        .ask("SELECT county, COUNT(*) + 1 AS more FROM person GROUP BY county ORDER BY county LIMIT 3", "0.005")
        .json();
    assert_eq!(other["cached"], json!(true), "{other}");
    for i in 0..3 {
        assert_eq!(other["rows"][i][1].as_i64().unwrap(), first["rows"][i][1].as_i64().unwrap() + 1);
    }
    assert_eq!(app.budget(), spent);
    let releases = app.get("researcher", "/v1/releases").json();
    let size = app.audit().len();
    assert!(app.stop().unwrap().success());

    let app = App::demo(&data, 400);
    assert_eq!(app.budget(), spent, "the budget is a fold over the log");
    assert_eq!(app.get("researcher", "/v1/releases").json(), releases);
    // The restarted demo asked its own questions again, from the cache, each with an entry and nothing else.
    let entries = app.audit();
    assert!(entries[size..].iter().all(|e| e["type"] == "query.repeated" || e["type"] == "role.change"), "{entries:?}");
    assert_eq!(app.ask(COUNTIES, "0.005").json()["rows"], first["rows"]);
    let id = first["statement_id"].as_str().unwrap();
    let fetched = app.get("researcher", &format!("/v1/statements/{id}/result")).json();
    assert_eq!(fetched["rows"], first["rows"]);
}

#[test]
fn every_format_carries_the_numbers_and_the_price() {
    let dir = tempfile::tempdir().unwrap();
    let app = App::demo(&dir.path().join("data"), 300);
    let body = json!({ "sql": COUNTIES, "privacy": { "rho": "0.005" } });
    let json_rows = app.post("researcher", "/v1/statements", &body).json();
    let csv = app.post_with("researcher", "/v1/statements", &body, &[("Accept", "text/csv")]);
    assert!(csv.content_type.starts_with("text/csv"), "{}", csv.content_type);
    let lines: Vec<String> = csv.text().lines().map(str::to_owned).collect();
    assert_eq!(lines[0], "county,patients,patients_low,patients_high,patients_sigma");
    assert!(lines[1].starts_with(&format!("25001,{},", json_rows["rows"][0][1])), "{}", lines[1]);
    let accept = "application/vnd.apache.arrow.stream";
    let stream = app.post_with("researcher", "/v1/statements", &body, &[("Accept", accept)]);
    let reader = arrow::ipc::reader::StreamReader::try_new(stream.bytes.as_slice(), None).unwrap();
    assert!(reader.schema().metadata().keys().any(|k| k.to_lowercase().contains("rho")), "{:?}", reader.schema());
    assert_eq!(reader.map(|b| b.unwrap().num_rows()).sum::<usize>(), 14);
    let before = app.budget();
    let refused = app.post_with(
        "researcher",
        "/v1/statements",
        &json!({ "sql": "SELECT COUNT(*) FROM visit_occurrence" }),
        &[("Accept", "image/png")],
    );
    assert_eq!((refused.status, app.budget()), (406, before), "406 before anything is spent");
}

#[test]
fn the_open_api_document_lists_every_documented_route() {
    let dir = tempfile::tempdir().unwrap();
    let app = App::demo(&dir.path().join("data"), 100);
    let document: Value = app.get("nobody", "/openapi.json").json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    for path in [
        "/v1/statements",
        "/v1/statements/estimate",
        "/v1/datasets",
        "/v1/budget",
        "/v1/releases",
        "/v1/protocols",
        "/v1/audit",
        "/v1/audit/checkpoint",
        "/v1/audit/proof/{index}",
    ] {
        assert!(document["paths"][path].is_object(), "{path}");
    }
}

#[test]
fn pages_have_no_script_and_a_policy_that_forbids_it() {
    let dir = tempfile::tempdir().unwrap();
    let app = App::demo(&dir.path().join("data"), 300);
    let page = app.get_as("nobody", "/", "text/html");
    assert_eq!(page.status, 200);
    let text = page.text();
    assert!(text.contains("25017") && text.contains("<svg") && !text.contains("<script"), "{text}");
}

/// A line without its numbers, hashes, folder and padding: what stays when people and noise are others.
fn shape(line: &str) -> String {
    let line = line.split(" in ").next().filter(|_| line.starts_with("simulating")).unwrap_or(line);
    let mut shape = String::new();
    for word in line.split(|c: char| c.is_whitespace() || "─┌┐└┘├┤┬┴╞╪╡═┆│".contains(c)).filter(|w| !w.is_empty())
    {
        let core = word.trim_matches(|c: char| !c.is_alphanumeric() && c != '-');
        let number = core.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit());
        let hash = core.len() == 64 && core.chars().all(|c| c.is_ascii_hexdigit());
        shape.push_str(if number || hash || word.starts_with("http") { "#" } else { word });
        shape.push(' ');
    }
    shape
}

#[test]
fn the_readme_opens_with_what_the_demo_prints() {
    let readme = std::fs::read_to_string("../README.md").unwrap();
    let block = readme.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let output = run(&dir.path().join("data"), &["demo", "--once", "--people", "2000", "--port", "0"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let shapes = |text: &str| text.trim().lines().map(shape).collect::<Vec<_>>();
    for (readme, printed) in shapes(block).iter().zip(shapes(&printed)) {
        assert_eq!(*readme, printed);
    }
    assert_eq!(shapes(block).len(), shapes(&printed).len());
}
