//! The same answer in every format: equal rows, and price, snapshot and index in each.

use arrow::ipc::reader::StreamReader;
use axum::http::{Method, StatusCode};
use epiledger_engine::api::Role;
use epiledger_engine::server::format::Format;
use serde_json::json;

use crate::app::{App, Reply};

fn ask(app: &App, format: Format) -> Reply {
    let body = json!({ "sql": "SELECT age_band, COUNT(*) AS n FROM person GROUP BY age_band ORDER BY age_band" });
    let ask = app.ask(Method::POST, "/v1/statements").role(Role::Researcher).json(&body);
    let reply = ask.header("accept", format.media_type()).send();
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    assert_eq!(reply.headers["content-type"], format.media_type());
    reply
}

#[test]
fn rows_are_equal_in_all_text_formats_and_arrow() {
    let app = App::get();
    let json = ask(app, Format::Json).json();
    let rows = json["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 10);

    let csv = ask(app, Format::Csv);
    let lines: Vec<String> = csv.text().lines().map(str::to_owned).collect();
    assert_eq!(lines[0], "age_band,n,n_low,n_high,n_sigma");
    assert_eq!(lines.len(), 11);
    for (line, row) in lines.iter().skip(1).zip(rows) {
        let mut cells = line.split(',');
        assert_eq!(cells.next().unwrap(), row[0].as_str().unwrap());
        assert_eq!(cells.next().unwrap().parse::<f64>().unwrap(), row[1].as_f64().unwrap());
    }
    for name in ["epiledger-price-rho", "epiledger-price-epsilon", "epiledger-snapshot", "epiledger-index"] {
        assert!(csv.headers.contains_key(name), "{name}");
    }

    let ndjson = ask(app, Format::Ndjson).text();
    let objects: Vec<serde_json::Value> = ndjson.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(objects.len(), 10);
    assert_eq!(objects[3]["n"], rows[3][1]);

    let arrow = ask(app, Format::Arrow).body;
    let reader = StreamReader::try_new(arrow.as_slice(), None).unwrap();
    assert!(reader.schema().metadata().contains_key("epiledger.price-rho"));
    let count: usize = reader.map(|b| b.unwrap().num_rows()).sum();
    assert_eq!(count, 10);
}

#[test]
fn the_query_string_beats_accept() {
    let app = App::get();
    let body = json!({ "sql": "SELECT ethnicity, COUNT(*) AS n FROM person GROUP BY ethnicity" });
    let ask = app.ask(Method::POST, "/v1/statements?format=csv").role(Role::Researcher).json(&body);
    let reply = ask.header("accept", "text/html").send();
    assert_eq!((reply.status, &reply.headers["content-type"]), (StatusCode::OK, &"text/csv".parse().unwrap()));
}
