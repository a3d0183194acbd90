//! A receipt binds the numbers that stand beside it, without any server.

use std::{fs, path::Path};

use epiledger_tests::{App, run};
use serde_json::{Value, json};

/// What `audit receipt` says of an answer.
fn receipt(data: &Path, answer: &Value) -> (Option<i32>, String) {
    let file = data.with_file_name("answer.json");
    fs::write(&file, answer.to_string()).unwrap();
    let output = run(data, &["audit", "receipt", file.to_str().unwrap()]);
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// The answer with each digit of each cell of its rows turned into another one, one at a time.
fn changed_digits(answer: &Value) -> Vec<Value> {
    let mut changed = Vec::new();
    for (row, cells) in answer["rows"].as_array().unwrap().iter().enumerate() {
        for (column, cell) in cells.as_array().unwrap().iter().enumerate() {
            let text = cell.to_string();
            for at in (0..text.len()).filter(|at| text.as_bytes()[*at].is_ascii_digit()) {
                let digit = char::from(text.as_bytes()[at]).to_digit(10).unwrap();
                let mut other = text.clone();
                other.replace_range(at..=at, &((digit + 1) % 9 + 1).to_string());
                let mut copy = answer.clone();
                copy["rows"][row][column] = serde_json::from_str(&other).unwrap();
                if copy["rows"][row][column] != *cell {
                    changed.push(copy);
                }
            }
        }
    }
    changed
}

#[test]
fn a_receipt_holds_for_the_rows_as_they_were_released_and_for_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let app = App::demo(&data, 200);
    let counts =
        "SELECT gender, COUNT(*) AS n, SUM(year_of_birth) AS years FROM person GROUP BY gender ORDER BY gender";
    let first = app.ask(counts, "0.01").json();
    let again = app.ask(counts, "0.01").json();
    let mean = app.ask("SELECT AVG(year_of_birth) AS mean, COUNT(*) AS n FROM person", "0.01").json();
    assert!(app.stop().unwrap().success());
    assert_eq!(again["cached"], true, "{again}");

    for (answer, says) in [(&first, "not bound: none"), (&again, "it repeats the answer of entry"), (&mean, "n_sigma")]
    {
        let (code, text) = receipt(&data, answer);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains(says), "{says}: {text}");
    }
    let (_, text) = receipt(&data, &mean);
    assert!(text.contains("not bound: mean, mean_low, mean_high, mean_sigma"), "{text}");
    for answer in [&first, &again] {
        let changed = changed_digits(answer);
        assert!(changed.len() > 30, "{answer}");
        // A few by the binary; the rule itself is tested number by number beside it.
        for changed in changed.iter().step_by(1 + changed.len() / 12) {
            let (code, text) = receipt(&data, changed);
            assert_eq!(code, Some(6), "{}: {text}", changed["rows"]);
            assert!(text.contains("is no cell of the release"), "{text}");
        }
    }
    let edits: [(&str, Value, &str); 7] = [
        ("/receipt/result", Value::Null, "does not carry the release"),
        ("/receipt/result", mean["receipt"]["result"].clone(), "not the one that the log committed to"),
        ("/receipt/bound", json!([]), "do not fit together"),
        ("/receipt/cites", Value::Null, "does not prove it"),
        ("/receipt/cites/proof", mean["receipt"]["proof"].clone(), "not the outcome that it repeats"),
        ("/statement_id", mean["statement_id"].clone(), "not the outcome of this statement"),
        ("/snapshot/number", json!(99), "of another statement or snapshot"),
    ];
    for (path, value, says) in edits {
        let mut changed = again.clone();
        *changed.pointer_mut(path).unwrap() = value;
        let (code, text) = receipt(&data, &changed);
        assert_eq!(code, Some(6), "{path}: {text}");
        assert!(text.contains(says), "{path}: {text}");
    }
}
