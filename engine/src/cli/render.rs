//! Answers and lists for people: tables on stdout. `--json` prints the document itself.

use comfy_table::{Table, presets};
use serde_json::Value;

/// Rows a demo shows of each answer.
pub const DEMO_ROWS: usize = 24;

/// A statement's JSON as a table: keys, each value with its interval, then price, remaining and receipt.
#[must_use]
pub fn answer(document: &Value, most: usize) -> String {
    let columns = list(document, "columns");
    let role = |i: usize| columns.get(i).and_then(|c| c.get("role")).and_then(Value::as_str).unwrap_or_default();
    let name = |i: usize| columns.get(i).and_then(|c| c.get("name")).and_then(Value::as_str).unwrap_or_default();
    // `x`, `x_low`, `x_high`, `x_sigma` stand together: the value's cell takes its ends in.
    let shown: Vec<usize> = (0..columns.len()).filter(|i| matches!(role(*i), "key" | "value")).collect();
    let mut heads: Vec<String> = Vec::new();
    for i in &shown {
        heads.push(name(*i).to_owned());
        if role(*i) == "value" && role(i + 1) == "low" {
            heads.push("95 % interval".to_owned());
        }
    }
    let rows = list(document, "rows");
    let mut body: Vec<Vec<String>> = Vec::new();
    for row in rows.iter().take(most) {
        let at = |i: usize| row.get(i).unwrap_or(&Value::Null);
        let mut cells = Vec::new();
        for i in &shown {
            cells.push(cell(at(*i)));
            if role(*i) == "value" && role(i + 1) == "low" {
                cells.push(format!("{} to {}", cell(at(i + 1)), cell(at(i + 2))));
            }
        }
        body.push(cells);
    }
    let mut text = table(heads, body);
    if rows.len() > most {
        text.push_str(&format!("\n.. and {} more rows", rows.len() - most));
    }
    let of = |name: &str| document.get(name).unwrap_or(&Value::Null);
    let index = document.pointer("/receipt/index").map_or_else(|| "-".to_owned(), Value::to_string);
    let snapshot = document.pointer("/snapshot/number").map_or_else(|| "-".to_owned(), Value::to_string);
    if of("dummy") == &Value::Bool(true) {
        text.push_str("\nDUMMY: simulated people, free and not logged; nothing here is about the dataset");
        return text;
    }
    let cached = if of("cached") == &Value::Bool(true) { " (asked before, so free)" } else { "" };
    text.push_str(&format!(
        "\nprice {}{cached}\nremaining {}\nsnapshot {snapshot}, receipt: log entry {index}",
        price(of("price")),
        price(of("remaining")),
    ));
    text
}

/// A price in words.
#[must_use]
pub fn price(price: &Value) -> String {
    let text = |name: &str| price.get(name).and_then(Value::as_str).unwrap_or("?");
    // Millionths, rounded up to thousandths.
    let up = |epsilon: f64| format!("{:.3}", ((epsilon * 1e6).round() / 1e3).ceil() / 1e3);
    let epsilon = price.get("epsilon").and_then(Value::as_f64).map_or_else(|| "?".to_owned(), up);
    format!("epsilon {epsilon} (rho {}, delta {})", text("rho"), text("delta"))
}

/// The `groups` of a document in words, a line each.
#[must_use]
pub fn odds(document: &Value) -> String {
    let words = list(document, "groups").iter().filter_map(|group| group.get("words").and_then(Value::as_str));
    words.map(|words| format!("  {words}")).collect::<Vec<_>>().join("\n")
}

/// A plain table.
#[must_use]
pub fn table(heads: Vec<String>, rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(heads);
    for row in rows {
        table.add_row(row);
    }
    table.trim_fmt()
}

/// A list of objects as a table of the named members.
#[must_use]
pub fn objects(list: &[Value], members: &[&str]) -> String {
    let rows = list.iter().map(|o| members.iter().map(|m| cell(o.pointer(m).unwrap_or(&Value::Null))).collect());
    let heads = members.iter().map(|m| m.trim_start_matches('/').replace('/', " ")).collect();
    table(heads, rows.collect())
}

/// The array under a name, or none.
#[must_use]
pub fn list<'a>(document: &'a Value, name: &str) -> &'a [Value] {
    document.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// One cell: text as it is, floats with at most two digits, a midnight as its day.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.strip_suffix("T00:00:00").unwrap_or(text).to_owned(),
        Value::Number(n) if n.is_f64() => {
            let text = format!("{:.2}", n.as_f64().unwrap_or(f64::NAN));
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_stands_beside_its_interval_and_long_answers_are_cut() {
        let column = |name: &str, role: &str| json!({"name": name, "type": "number", "role": role});
        let document = json!({
            "columns": [column("county", "key"), column("n", "value"), column("n_low", "low"),
                        column("n_high", "high"), column("n_sigma", "sigma")],
            "rows": [["25017", 12, 10.504, 13.5, 1.0], ["25021", null, null, null, 1.0], ["25025", 1, 0.0, 2.0, 1.0]],
            "price": {"rho": "0.0005", "delta": "0", "epsilon": 0.19}, "remaining": {"rho": "0.4", "delta": "0", "epsilon": 6.0},
            "snapshot": {"number": 1}, "receipt": {"index": 7, "proof": ""}, "cached": false,
        });
        let text = answer(&document, 2);
        assert!(text.contains("10.5 to 13.5") && text.contains("- to -"), "{text}");
        assert!(text.contains(".. and 1 more rows") && !text.contains("25025"));
        let price_of = |epsilon: f64| price(&json!({ "epsilon": epsilon }));
        assert!(price_of(0.501).starts_with("epsilon 0.501 ") && price_of(0.501_001).starts_with("epsilon 0.502 "));
        assert!(text.contains("price epsilon 0.190 (rho 0.0005, delta 0)\nremaining"));
        assert!(text.ends_with("snapshot 1, receipt: log entry 7"));
        assert!(!text.contains("n_sigma"));
    }

    #[test]
    fn objects_become_rows_by_pointer() {
        let text = objects(&[json!({"a": {"b": 1}, "c": ["x", "y"]})], &["/a/b", "/c"]);
        assert!(text.contains("a b") && text.contains("x, y"), "{text}");
    }
}
