//! `series open|list|show|refresh`: over HTTP, to a running server.

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::client::Client;
use super::exit::Failure;
use super::{Context, render, segment};
use crate::api::Role;

/// What to do with series.
#[derive(Subcommand)]
pub(super) enum Verb {
    /// Opens one: pays once for a count by week or month of each patient's first-ever date.
    Open(Box<Opening>),
    /// Lists them.
    List,
    /// Shows one, period by period.
    Show {
        /// The series' id.
        id: String,
    },
    /// Takes one further at the newest snapshot; free. A running server does it by itself.
    Refresh {
        /// The series' id.
        id: String,
    },
}

/// What `open` takes.
#[derive(clap::Args)]
pub(super) struct Opening {
    /// The question; `-` reads it from stdin.
    sql: String,
    /// A parameter `$name`, as `name=value`; a value that is JSON is taken as such: 'code="250"' is a text.
    #[arg(long = "param", value_name = "NAME=VALUE")]
    params: Vec<String>,
    /// `week`, from Monday, or `month`.
    #[arg(long, default_value = "week")]
    period: String,
    /// First day of the first period, YYYY-MM-DD.
    #[arg(long)]
    from: String,
    /// First day after the last period, YYYY-MM-DD.
    #[arg(long)]
    to: String,
    /// Days after its end at which a period is closed: what is recorded later is not counted.
    #[arg(long, default_value_t = 0)]
    lag: u32,
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
}

impl Opening {
    fn body(&self) -> Result<Value, Failure> {
        let sql = match self.sql.as_str() {
            "-" => std::io::read_to_string(std::io::stdin()).map_err(Failure::of)?,
            text => text.to_owned(),
        };
        let params = super::query::params(&self.params)?;
        let members = json!({
            "sql": sql, "params": params, "period": self.period, "from": self.from, "to": self.to, "lag": self.lag,
        });
        let mut body: Map<String, Value> = members.as_object().cloned().unwrap_or_default();
        if let Some(protocol) = &self.protocol {
            body.insert("protocol".into(), json!(protocol));
        }
        let named = [("epsilon", &self.epsilon), ("rho", &self.rho), ("accuracy", &self.accuracy)];
        if let Some((name, value)) = named.into_iter().find_map(|(name, value)| Some((name, value.as_ref()?))) {
            body.insert("privacy".into(), json!({ name: value }));
        }
        Ok(Value::Object(body))
    }
}

/// Opens, lists, shows or refreshes.
pub(super) fn run(context: &Context, verb: Verb) -> Result<(), Failure> {
    let client = Client::find(&context.settings, Role::Researcher)?;
    let document = match &verb {
        Verb::Open(opening) => client.post("/v1/series", &opening.body()?)?,
        Verb::List => client.get("/v1/series")?,
        Verb::Show { id } => client.get(&format!("/v1/series/{}", segment(id)?))?,
        Verb::Refresh { id } => client.post(&format!("/v1/series/{}/refresh", segment(id)?), &json!({}))?,
    };
    context.show(&document, |d| match verb {
        Verb::List => {
            let members =
                ["/id", "/protocol", "/terms/period", "/terms/from", "/terms/to", "/state", "/next", "/price/rho"];
            render::objects(render::list(d, "series"), &members)
        }
        _ => one(d),
    });
    Ok(())
}

/// A series in words: its periods, then what it cost and what comes next.
fn one(series: &Value) -> String {
    let members = ["/from", "/state", "/value", "/low", "/high", "/snapshot/number", "/index"];
    let periods = render::objects(render::list(series, "periods"), &members);
    let of = |name: &str| series.get(name).unwrap_or(&Value::Null);
    let next =
        of("next").as_str().map_or_else(|| "no period is left".into(), |day| format!("next cut that counts: {day}"));
    format!(
        "{periods}\nseries {} ({}), paid once: {}\n{next}",
        of("id").as_str().unwrap_or("?"),
        of("state").as_str().unwrap_or("?"),
        render::price(of("price")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_the_documented_body() {
        let opening = Opening {
            sql: "SELECT 1".into(),
            params: vec!["code=\"1\"".into()],
            period: "week".into(),
            from: "2020-03-02".into(),
            to: "2020-03-16".into(),
            lag: 7,
            protocol: None,
            epsilon: None,
            rho: Some("0.01".into()),
            accuracy: None,
        };
        let expected = json!({
            "sql": "SELECT 1", "params": {"code": "1"}, "period": "week", "from": "2020-03-02", "to": "2020-03-16",
            "lag": 7, "privacy": {"rho": "0.01"},
        });
        assert_eq!(opening.body().unwrap(), expected);
    }
}
