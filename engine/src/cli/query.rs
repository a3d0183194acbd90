//! `query` and `estimate`: over HTTP, to a running server.

use std::io::Write;

use serde_json::{Map, Value, json};

use super::client::Client;
use super::exit::Failure;
use super::{Context, render};
use crate::api::Role;
use crate::server::format::Format;

/// What a question takes.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The question; `-` reads it from stdin.
    sql: String,
    /// A parameter `$name`, as `name=value`; a value that is JSON is taken as such: 'code="250"' is a text.
    #[arg(long = "param", value_name = "NAME=VALUE")]
    params: Vec<String>,
    /// The protocol to ask under (default: the key's only one).
    #[arg(long)]
    protocol: Option<String>,
    /// Pay this epsilon.
    #[arg(long, group = "privacy")]
    epsilon: Option<String>,
    /// Pay this rho.
    #[arg(long, group = "privacy")]
    rho: Option<String>,
    /// Pay for this half-width of the 95 % interval.
    #[arg(long, group = "privacy")]
    accuracy: Option<String>,
    /// Values in a cell that the accuracy of a mean is reckoned with.
    #[arg(long, requires = "accuracy")]
    assume_n: Option<u64>,
    /// Most rows.
    #[arg(long)]
    row_limit: Option<usize>,
    /// `json`, `csv`, `ndjson`, `arrow` or `parquet` on stdout instead of a table.
    #[arg(long)]
    format: Option<String>,
}

/// What `query` takes.
#[derive(clap::Args)]
pub(super) struct AskArgs {
    #[command(flatten)]
    question: Args,
    /// Answer about simulated people: free, not logged, of the same shape.
    #[arg(long)]
    dummy: bool,
}

impl Args {
    fn body(&self) -> Result<Value, Failure> {
        let sql = match self.sql.as_str() {
            "-" => std::io::read_to_string(std::io::stdin()).map_err(Failure::of)?,
            text => text.to_owned(),
        };
        let params = params(&self.params)?;
        let mut body = json!({ "sql": sql, "params": params });
        let mut set = |name: &str, value: Option<Value>| {
            if let (Some(value), Some(object)) = (value, body.as_object_mut()) {
                object.insert(name.to_owned(), value);
            }
        };
        set("protocol", self.protocol.clone().map(Value::from));
        set("row_limit", self.row_limit.map(Value::from));
        let named = [("epsilon", &self.epsilon), ("rho", &self.rho), ("accuracy", &self.accuracy)];
        let mut price = named.into_iter().find_map(|(name, value)| value.as_ref().map(|v| json!({ name: v })));
        if let (Some(price), Some(n)) = (&mut price, self.assume_n) {
            price["assume_n"] = json!(n);
        }
        set("privacy", price);
        Ok(body)
    }
}

/// The parameters of `--param NAME=VALUE`.
pub(super) fn params(pairs: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut params = Map::new();
    for pair in pairs {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| Failure::usage(format!("--param takes NAME=VALUE; `{pair}` has no `=`")))?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        if params.insert(name.to_owned(), value).is_some() {
            return Err(Failure::usage(format!("--param {name} is given twice")));
        }
    }
    Ok(params)
}

/// Asks and prints the answer.
pub(super) fn ask(context: &Context, args: &AskArgs) -> Result<(), Failure> {
    let AskArgs { question: args, dummy } = args;
    let path = if *dummy { "/v1/statements/dummy" } else { "/v1/statements" };
    let format = match args.format.as_deref() {
        None => None,
        Some(name) => {
            let format = Format::ALL.into_iter().find(|f| f.name() == name);
            let message = || format!("no format `{name}`; take json, csv, ndjson, arrow or parquet");
            Some(format.ok_or_else(|| Failure::usage(message()))?)
        }
    };
    let client = Client::find(&context.settings, Role::Researcher)?;
    let body = args.body()?;
    if let Some(format) = format {
        let bytes = client.send("POST", path, Some(&body), Some(format.media_type()))?;
        return std::io::stdout().write_all(&bytes).map_err(Failure::of);
    }
    let document = client.post(path, &body)?;
    context.show(&document, |d| render::answer(d, usize::MAX));
    Ok(())
}

/// Prints what the question would cost.
pub(super) fn estimate(context: &Context, args: &Args) -> Result<(), Failure> {
    let client = Client::find(&context.settings, Role::Researcher)?;
    let document = client.post("/v1/statements/estimate", &args.body()?)?;
    context.show(&document, |d| {
        let of = |name: &str| d.get(name).unwrap_or(&Value::Null);
        let primitives = render::objects(render::list(d, "primitives"), &["/what", "/sigma", "/half_width"]);
        let keys = of("keys").as_str().unwrap_or("?");
        let cells = of("cells").as_u64().map_or(String::new(), |n| format!(", {n} cells"));
        let rule = of("k_min").as_u64().map_or(String::new(), |k| format!(", groups under {k} patients never shown"));
        format!(
            "{primitives}\nprice {}\n{}\nkeys {keys}{cells}{rule}\nremaining {}",
            render::price(of("price")),
            render::odds(d),
            render::price(of("remaining"))
        )
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_the_documented_body() {
        let args = Args {
            sql: "SELECT 1".into(),
            params: vec!["a=5".into(), "b=text".into()],
            protocol: None,
            epsilon: None,
            rho: Some("0.001".into()),
            accuracy: None,
            assume_n: None,
            row_limit: Some(3),
            format: None,
        };
        let expected = json!({
            "sql": "SELECT 1", "params": {"a": 5, "b": "text"}, "row_limit": 3, "privacy": {"rho": "0.001"},
        });
        assert_eq!(args.body().unwrap(), expected);
        let twice = Args { params: vec!["a=1".into(), "a=2".into()], ..args };
        assert!(twice.body().is_err());
        let mean = Args { rho: None, accuracy: Some("2".into()), assume_n: Some(50), params: vec![], ..twice };
        assert_eq!(mean.body().unwrap()["privacy"], json!({"accuracy": "2", "assume_n": 50}));
        let broken = Args { params: vec!["a".into()], ..mean };
        assert!(broken.body().is_err());
    }
}
