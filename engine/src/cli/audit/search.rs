//! `audit search`: the board's list and its questions, asked of a running server.

use serde_json::{Value, json};

use super::super::client::Client;
use super::super::exit::Failure;
use super::super::{Context, render};
use crate::api::Role;

/// What `search` takes.
#[derive(clap::Args)]
pub(in super::super) struct Args {
    /// A question over the table audit.entries, for example
    /// "SELECT principal, SUM(rho) FROM audit.entries GROUP BY principal".
    #[arg(long, conflicts_with_all = ["kind", "principal", "protocol", "text", "from", "limit"])]
    sql: Option<String>,
    /// Only this type, for example query.intent.
    #[arg(long = "type")]
    kind: Option<String>,
    /// Only this principal.
    #[arg(long)]
    principal: Option<String>,
    /// Only this protocol.
    #[arg(long)]
    protocol: Option<String>,
    /// Only questions that hold this text.
    #[arg(long)]
    text: Option<String>,
    /// From this index on.
    #[arg(long)]
    from: Option<u64>,
    /// At most this many.
    #[arg(long)]
    limit: Option<u64>,
}

/// Lists, or asks.
pub(super) fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let client = Client::find(&context.settings, Role::Board)?;
    if let Some(sql) = args.sql {
        let document = client.post("/v1/audit/query", &json!({ "sql": sql }))?;
        context.show(&document, table);
        return Ok(());
    }
    let mut query = String::new();
    let (from, limit) = (args.from.map(|n| n.to_string()), args.limit.map(|n| n.to_string()));
    let named = [
        ("type", args.kind),
        ("principal", args.principal),
        ("protocol", args.protocol),
        ("text", args.text),
        ("from", from),
        ("limit", limit),
    ];
    for (name, value) in named {
        let Some(value) = value else { continue };
        query.push(if query.is_empty() { '?' } else { '&' });
        query.push_str(&format!("{name}={}", escaped(&value)));
    }
    let document = client.get(&format!("/v1/audit{query}"))?;
    context.show(&document, |d| render::list(d, "entries").iter().map(line).collect::<Vec<_>>().join("\n"));
    Ok(())
}

/// An answer's rows under their names.
fn table(answer: &Value) -> String {
    let cell = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let names = render::list(answer, "columns").iter().map(|column| cell(&column["name"])).collect();
    let row = |row: &Value| row.as_array().map_or(&[][..], Vec::as_slice).iter().map(cell).collect();
    let table = render::table(names, render::list(answer, "rows").iter().map(row).collect());
    let more = if answer["truncated"] == true { "\nmore rows were left out: ask for less at once" } else { "" };
    format!("{table}{more}")
}

/// An entry in one line, its question below.
fn line(entry: &Value) -> String {
    let body = |name: &str| entry.pointer(&format!("/body/{name}")).and_then(Value::as_str);
    let mut text = format!("{} {}", entry["index"], entry["type"].as_str().unwrap_or("?"));
    for name in ["principal", "protocol", "code", "outcome", "role", "route"] {
        if let Some(value) = body(name) {
            text.push_str(&format!(" {name}={value}"));
        }
    }
    if let (Some(rho), Some(delta)) = (body("rho"), body("delta")) {
        text.push_str(&format!(" rho={rho} delta={delta}"));
    }
    if let Some(question) = entry["text"].as_str() {
        text.push_str(&format!("\n    {}", question.replace('\n', "\n    ")));
    }
    text
}

/// Percent-encodes all but unreserved characters (RFC 3986).
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(b).to_string(),
            b => format!("%{b:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_line_with_its_question_below() {
        let body = json!({ "principal": "r", "rho": "0.1", "delta": "0" });
        let entry = json!({ "index": 3, "type": "query.intent", "body": body, "text": "SELECT\n1" });
        assert_eq!(line(&entry), "3 query.intent principal=r rho=0.1 delta=0\n    SELECT\n    1");
    }

    #[test]
    fn query_values_are_escaped() {
        assert_eq!(escaped("a b&c=ä"), "a%20b%26c%3D%C3%A4");
    }

    #[test]
    fn an_answer_is_a_table_and_says_when_rows_are_missing() {
        let answer = json!({ "columns": [{ "name": "who" }], "rows": [["ada"], [null], [3]], "truncated": true });
        let text = table(&answer);
        assert!(["who", "ada", "null", "3", "left out"].iter().all(|part| text.contains(part)), "{text}");
    }
}
