//! `budget`: cap, spent and remaining at every level that binds the asker; `budget set` sets a policy.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};

use super::client::Client;
use super::exit::Failure;
use super::session::{Session, offline};
use super::{Context, render};
use crate::api::Role;
use crate::config::Settings;
use crate::policy::PolicyRequest;

/// What `budget` takes.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// What else to do with the budget.
#[derive(Subcommand)]
enum Verb {
    /// Sets a policy: the first key proposes, the second confirms. A raise of a cap is in force after seven days.
    Set(Setting),
    /// Says how far the budget would reach for questions and planned repeats; free, reads no data.
    Plan(Planning),
    /// Shows what was spent and left at every level after each paid question.
    History {
        /// The protocol whose level is shown (default: the key's first one).
        #[arg(long)]
        protocol: Option<String>,
    },
}

/// What `plan` takes.
#[derive(clap::Args)]
struct Planning {
    /// The questions of one round.
    #[arg(required = true)]
    sql: Vec<String>,
    /// Rounds, each of a later snapshot (the same question of the same snapshot is free).
    #[arg(long, default_value_t = 1)]
    repeats: u64,
    /// The protocol to ask under (default: the key's only one).
    #[arg(long)]
    protocol: Option<String>,
    /// Pay this epsilon for each.
    #[arg(long, group = "privacy")]
    epsilon: Option<String>,
    /// Pay this rho for each.
    #[arg(long, group = "privacy")]
    rho: Option<String>,
    /// Pay for this half-width of each one's first 95 % interval.
    #[arg(long, group = "privacy")]
    accuracy: Option<String>,
    /// Values in a cell that the accuracy of a mean, a variance or a ratio is reckoned with.
    #[arg(long, requires = "accuracy")]
    assume_n: Option<u64>,
}

impl Planning {
    fn body(&self) -> Value {
        let named = [("epsilon", &self.epsilon), ("rho", &self.rho), ("accuracy", &self.accuracy)];
        let mut privacy = named.into_iter().find_map(|(name, value)| value.as_ref().map(|v| json!({ name: v })));
        if let (Some(privacy), Some(n)) = (&mut privacy, self.assume_n) {
            privacy["assume_n"] = json!(n);
        }
        let question = |sql: &String| match &privacy {
            Some(privacy) => json!({ "sql": sql, "privacy": privacy }),
            None => json!({ "sql": sql }),
        };
        let questions: Vec<Value> = self.sql.iter().map(question).collect();
        json!({ "questions": questions, "repeats": self.repeats, "protocol": self.protocol })
    }
}

/// What `set` takes; what is not named stays as it is.
#[derive(clap::Args)]
struct Setting {
    /// A file with an approver's key; twice: a steward's, then another steward's or the board's.
    #[arg(long = "approver", value_name = "KEYFILE", required = true, num_args = 1)]
    approvers: Vec<PathBuf>,
    /// Lifetime rho of the dataset, and of one principal unless that is named.
    #[arg(long)]
    rho_cap: Option<String>,
    /// Lifetime delta of the dataset, and of one principal unless that is named.
    #[arg(long)]
    delta_cap: Option<String>,
    /// Lifetime rho of one principal.
    #[arg(long)]
    principal_rho_cap: Option<String>,
    /// Lifetime delta of one principal.
    #[arg(long)]
    principal_delta_cap: Option<String>,
    /// Most rho of any 24 hours.
    #[arg(long)]
    window_rho_cap: Option<String>,
    /// Rho of a question that names no price.
    #[arg(long)]
    query_rho: Option<String>,
}

impl Setting {
    fn request(&self) -> PolicyRequest {
        PolicyRequest {
            rho_cap: self.rho_cap.clone(),
            delta_cap: self.delta_cap.clone(),
            principal_rho_cap: self.principal_rho_cap.clone().or_else(|| self.rho_cap.clone()),
            principal_delta_cap: self.principal_delta_cap.clone().or_else(|| self.delta_cap.clone()),
            window_rho_cap: self.window_rho_cap.clone(),
            query_rho: self.query_rho.clone(),
            ..PolicyRequest::default()
        }
    }
}

/// Shows or sets.
pub(super) fn run(context: &Context, args: Args) -> Result<(), Failure> {
    match args.verb {
        None => show(context),
        Some(Verb::Set(setting)) => set(context, &setting),
        Some(Verb::Plan(planning)) => plan(context, &planning),
        Some(Verb::History { protocol }) => history(context, protocol.as_deref()),
    }
}

fn show(context: &Context) -> Result<(), Failure> {
    let document = Client::find(&context.settings, Role::Researcher)?.get("/v1/budget")?;
    context.show(&document, |d| {
        let members =
            ["/level", "/name", "/spent/rho", "/spent/epsilon", "/cap/rho", "/remaining/rho", "/remaining/epsilon"];
        let levels = render::objects(render::list(d, "levels"), &members);
        let remaining = render::price(d.get("remaining").unwrap_or(&Value::Null));
        format!(
            "{levels}\nremaining at the tightest level: {remaining}\nthe whole cap of the dataset:\n{}",
            render::odds(d)
        )
    });
    Ok(())
}

fn plan(context: &Context, planning: &Planning) -> Result<(), Failure> {
    let document = Client::find(&context.settings, Role::Researcher)?.post("/v1/budget/plan", &planning.body())?;
    context.show(&document, |d| {
        let price = |name: &str| render::price(d.get(name).unwrap_or(&Value::Null));
        format!(
            "once {}\n{} times {}\nwhat is left covers {} times (then the {} is spent); the rate window takes {} days or more\n{}",
            price("once"),
            d["repeats"],
            price("planned"),
            d["reaches"],
            d["level"].as_str().unwrap_or("?").replace('_', " "),
            d["days"],
            render::odds(d)
        )
    });
    Ok(())
}

fn history(context: &Context, protocol: Option<&str>) -> Result<(), Failure> {
    let path = match protocol {
        Some(protocol) => format!("/v1/budget/history?protocol={}", super::segment(protocol)?),
        None => "/v1/budget/history".to_owned(),
    };
    let document = Client::find(&context.settings, Role::Researcher)?.get(&path)?;
    context.show(&document, |d| {
        let members = [
            "/index",
            "/price/rho",
            "/levels/0/spent/rho",
            "/levels/0/remaining/rho",
            "/levels/1/spent/rho",
            "/levels/2/name",
            "/levels/2/remaining/rho",
        ];
        render::objects(render::list(d, "points"), &members)
    });
    Ok(())
}

fn set(context: &Context, setting: &Setting) -> Result<(), Failure> {
    let [proposer, confirmer] = setting.approvers.as_slice() else {
        let message = "a policy has two approvers: give --approver twice, a steward's key file, then another steward's or the board's";
        return Err(Failure::usage(message));
    };
    let settings = &context.settings;
    let document = if offline(settings) {
        let session = Session::open(settings, settings.timing, false)?;
        let (one, two) = (session.principal(proposer)?, session.principal(confirmer)?);
        let engine = &session.server.engine;
        let proposal = engine.propose_policy(&one, setting.request())?;
        let logged = engine.confirm_policy(&two, proposal)?;
        session.close()?;
        serde_json::to_value(logged).map_err(Failure::of)?
    } else {
        let request = serde_json::to_value(setting.request()).map_err(Failure::of)?;
        let proposal = as_key(settings, proposer)?.post("/v1/policies", &request)?;
        let path = format!("/v1/policies/{}/confirm", proposal["index"]);
        as_key(settings, confirmer)?.post(&path, &json!({}))?
    };
    context.show(&document, |d| {
        let when = if d["in_force"] == true { "in force" } else { "it raises a cap: in force in seven days" };
        format!("policy {} set: log entry {}, {when}", d["policy"], d["index"])
    });
    Ok(())
}

/// The server's client with the key of a file.
fn as_key(settings: &Settings, file: &Path) -> Result<Client, Failure> {
    let settings = Settings { key_file: Some(file.to_path_buf()), ..settings.clone() };
    Client::find(&settings, Role::Steward)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_takes_one_price_and_what_an_accuracy_assumes() {
        let plan = Planning {
            sql: vec!["SELECT 1".into()],
            repeats: 3,
            protocol: None,
            epsilon: None,
            rho: None,
            accuracy: Some("2".into()),
            assume_n: Some(50),
        };
        let asked = json!([{ "sql": "SELECT 1", "privacy": { "accuracy": "2", "assume_n": 50 } }]);
        assert_eq!((&plan.body()["questions"], &plan.body()["repeats"]), (&asked, &json!(3)));
        let free = Planning { accuracy: None, assume_n: None, ..plan };
        assert_eq!(free.body()["questions"], json!([{ "sql": "SELECT 1" }]));
    }
}
