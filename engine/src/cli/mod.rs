//! The command line: one binary, one file a verb. Data on stdout, words on stderr.

mod audit;
mod backup;
mod bench;
mod budget;
mod client;
mod consent;
mod demo;
mod erase;
mod exit;
mod ingest;
mod keys;
mod ledger;
mod mirror;
mod place;
mod progress;
mod protocol;
mod query;
mod render;
mod restore;
mod series;
mod serve;
mod session;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::Value;

use crate::config::{Settings, environment};
use crate::telemetry;
use exit::Failure;

/// Answers SQL about populations from a signed ledger, with differential privacy and a public log of every question.
#[derive(Parser)]
#[command(name = "epiledger", version, about)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(clap::Args)]
struct Common {
    /// The data folder (default: EPILEDGER_DATA, else `epiledger` in the user's data directory).
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// A settings file (TOML); EPILEDGER_CONFIG names one too.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data as JSON on stdout, words on stderr.
    #[arg(long, global = true)]
    json: bool,
    /// The server to talk to (default: the one that runs over the data folder).
    #[arg(long, global = true, value_name = "URL")]
    url: Option<String>,
    /// A file that holds an API key.
    #[arg(long, global = true, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Simulates people, serves, asks three questions and verifies the log: a newcomer's first minute.
    Demo(demo::Args),
    /// Prints the speed of ingest, log and questions beside raw rates of this machine.
    Bench(bench::Args),
    /// The ledger of records, consents and keys.
    #[command(subcommand)]
    Ledger(ledger::Verb),
    /// Brings the ledger's transactions into tables, and cuts a snapshot.
    Ingest(ingest::Args),
    /// Serves over an existing data folder.
    Serve(serve::Args),
    /// Asks a question and spends its price.
    Query(query::AskArgs),
    /// Says what a question would cost; free.
    Estimate(query::Args),
    /// Shows what is left at every level.
    Budget(budget::Args),
    /// Protocols: list, approve, suspend.
    #[command(subcommand)]
    Protocol(protocol::Verb),
    /// Series: counts by week or month, each patient once, paid once.
    #[command(subcommand)]
    Series(series::Verb),
    /// The audit log: verify, compare, receipts, export, search.
    #[command(subcommand)]
    Audit(audit::Verb),
    /// Consents: what a withdrawal removed, and what stays.
    #[command(subcommand)]
    Consent(consent::Verb),
    /// API keys: list, create, revoke.
    #[command(subcommand)]
    Keys(keys::Verb),
    /// Copies the data folder, verified, while a server may be running.
    Backup(backup::Args),
    /// Makes a data folder of a backup.
    Restore(restore::Args),
}

/// What a command works with: settings, and where its words and data go.
pub(crate) struct Context {
    /// Settings with the flags laid over.
    pub settings: Settings,
    /// `--json`.
    pub json: bool,
}

impl Context {
    /// Words for people: stdout, or stderr when stdout is for JSON.
    pub fn say(&self, words: &str) {
        // A closed pipe must not stop a server that is running well.
        let _ = if self.json { writeln!(std::io::stderr(), "{words}") } else { writeln!(std::io::stdout(), "{words}") };
    }

    /// The command's data: the document itself under `--json`, else its words.
    pub fn show(&self, document: &Value, words: impl FnOnce(&Value) -> String) {
        let text = if self.json { document.to_string() } else { words(document) };
        let _ = writeln!(std::io::stdout(), "{text}");
    }
}

/// Runs the command line and says how it ended.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "epiledger: {}", failure.message);
            failure.exit.into()
        }
    }
}

/// One segment of a path: an id that a user typed must not become another address.
fn segment(id: &str) -> Result<&str, Failure> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !id.is_empty() && id.chars().all(fine) && !id.starts_with('.') {
        return Ok(id);
    }
    Err(Failure::usage(format!("`{id}` is no id: letters, digits, `-`, `_` and `.` alone")))
}

fn dispatch(cli: Cli) -> Result<(), Failure> {
    let Cli { common, command } = cli;
    let environment = environment();
    let file = common.config.or_else(|| environment.get("EPILEDGER_CONFIG").map(PathBuf::from));
    let mut settings = Settings::load(file.as_deref(), &environment).map_err(|e| Failure::usage(e.to_string()))?;
    settings.data = common.data.unwrap_or(settings.data);
    settings.url = common.url.or(settings.url);
    settings.key_file = common.key_file.or(settings.key_file);
    telemetry::start(&settings.log).map_err(|e| Failure::usage(e.to_string()))?;
    let context = Context { settings, json: common.json };
    match command {
        Command::Demo(args) => demo::run(&context, &args),
        Command::Bench(args) => bench::run(&context, &args),
        Command::Ledger(verb) => ledger::run(&context, verb),
        Command::Ingest(args) => ingest::run(&context, &args),
        Command::Serve(args) => serve::run(&context, &args),
        Command::Query(args) => query::ask(&context, &args),
        Command::Estimate(args) => query::estimate(&context, &args),
        Command::Budget(args) => budget::run(&context, args),
        Command::Protocol(verb) => protocol::run(&context, verb),
        Command::Series(verb) => series::run(&context, verb),
        Command::Audit(verb) => audit::run(&context, verb),
        Command::Consent(verb) => consent::run(&context, verb),
        Command::Keys(verb) => keys::run(&context, verb),
        Command::Backup(args) => backup::run(&context, &args),
        Command::Restore(args) => restore::run(&context, &args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed_and_has_every_verb() {
        let command = Cli::command();
        command.clone().debug_assert();
        let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        let all =
            "demo bench ledger ingest serve query estimate budget protocol series audit consent keys backup restore";
        assert_eq!(names, all.split(' ').collect::<Vec<_>>());
        let ledger = command.find_subcommand("ledger").unwrap();
        let verbs: Vec<&str> = ledger.get_subcommands().map(clap::Command::get_name).collect();
        let audit = command.find_subcommand("audit").unwrap();
        let audits: Vec<&str> = audit.get_subcommands().map(clap::Command::get_name).collect();
        assert_eq!(audits, ["verify", "diff", "receipt", "export", "redact", "search", "rotate"]);
        let all = "simulate import determine grant revoke erase request records mirror verify show";
        assert_eq!(verbs, all.split(' ').collect::<Vec<_>>());
    }

    #[test]
    fn common_flags_stand_before_and_after_the_verb() {
        let cli = Cli::try_parse_from(["epiledger", "budget", "--json", "--data", "d"]).unwrap();
        assert!(cli.common.json);
        assert_eq!(cli.common.data.unwrap(), PathBuf::from("d"));
        assert!(Cli::try_parse_from(["epiledger", "demo", "--once", "--people", "50", "--port", "0"]).is_ok());
    }
}
