//! `demo`: simulated people, a ledger, tables, a server, questions with answers, and the log verified.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Instant;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::client::{Client, ClientFile, RoleKeys, read};
use super::exit::Failure;
use super::session::Session;
use super::{Context, audit, render};
use crate::api::Role;
use crate::config::Timing;
use crate::open::{self, DEMO_PROTOCOL};
use crate::panel;
use crate::server::handlers::keys::KeyRequest;

/// What `demo` takes.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Exit after the answers are printed.
    #[arg(long)]
    once: bool,
    /// People to simulate.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    people: u64,
    /// The port; 0 takes any free one.
    #[arg(long, default_value_t = 8642)]
    port: u16,
    /// Seed of the simulation.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// `DATA/demo.json`: what this folder's demo is, and its keys (simulated data, so they may lie here).
#[derive(Serialize, Deserialize)]
struct DemoFile {
    people: u64,
    seed: u64,
    keys: Option<RoleKeys>,
}

/// Runs the demo.
pub(super) fn run(context: &Context, args: &Args) -> Result<(), Failure> {
    let data = &context.settings.data;
    let started = Instant::now();
    prepare(context, args)?;
    let session = Session::open(data, Timing::Immediate, true)?;
    let running = session.start(SocketAddr::from((Ipv4Addr::LOCALHOST, args.port)), None)?;
    let keys = keys(&session, data, args)?;
    let document = ClientFile {
        url: running.url.clone(),
        data_dir: data.display().to_string(),
        keys,
        protocol: DEMO_PROTOCOL.to_owned(),
    };
    session.write("client.json", &document)?;
    context.say(&format!("serving at {} (answers leave at once: timing is immediate)\n", running.url));

    let client = Client::new(&running.url, Some(SecretString::from(document.keys.researcher.as_str())));
    for panel in panel::DEMO {
        let body = json!({ "sql": panel.sql, "privacy": { "rho": panel.rho } });
        let answer = client.post("/v1/statements", &body)?;
        context.say(&format!("{}\n  {}\n{}\n", panel.title, panel.sql, render::answer(&answer, render::DEMO_ROWS)));
    }
    session.server.engine.audit().flush()?;
    let report = audit::verify::verify_folder(&data.join("audit"))?;
    context.say(&report);
    context.say(&format!("\nall of it took {:.1} s", started.elapsed().as_secs_f64()));
    if context.json {
        let mut stdout = std::io::stdout();
        let line = serde_json::to_string(&document).map_err(Failure::of)?;
        writeln!(stdout, "{line}").and_then(|()| stdout.flush()).map_err(Failure::of)?;
    }
    if args.once {
        return session.stop(running);
    }
    context.say(&instructions(&document));
    session.serve_until_signal(running)
}

/// Makes the demo's folder, or goes on with the one that is there when it is the same demo.
fn prepare(context: &Context, args: &Args) -> Result<(), Failure> {
    let data = &context.settings.data;
    let shown = data.display();
    if let Some(file) = read::<DemoFile>(&data.join("demo.json")) {
        if (file.people, file.seed) != (args.people, args.seed) {
            let message = format!(
                "{shown} holds a demo of {} people (seed {}); its log and budget belong to them. \
                 Name an empty folder with --data, or leave --people and --seed as they were",
                file.people, file.seed
            );
            return Err(Failure::usage(message));
        }
        if Client::runs(data) {
            return Err(Failure::usage(format!("a demo runs over {shown} already; stop it, or name another --data")));
        }
        context.say(&format!("going on with the demo in {shown}; its questions were paid, so they are free now"));
        return Ok(());
    }
    let empty = match std::fs::read_dir(data) {
        Ok(mut entries) => entries.next().is_none(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => true,
        Err(e) => return Err(Failure::usage(format!("{shown} can't be read: {e}"))),
    };
    if !empty {
        let message = format!("{shown} isn't empty and holds no finished demo; name an empty folder with --data");
        return Err(Failure::usage(message));
    }
    context.say(&format!("simulating {} people in {shown}", args.people));
    open::create_demo(data, args.people, args.seed, &mut |step| context.say(&step))?;
    context.say(&audit::verify::verify_folder(&data.join("ledger"))?);
    write(data, &DemoFile { people: args.people, seed: args.seed, keys: None })
}

fn write(data: &Path, file: &DemoFile) -> Result<(), Failure> {
    let text = serde_json::to_vec_pretty(file).map_err(Failure::of)?;
    crate::server::keys::write_private(&data.join("demo.json"), &text).map_err(Failure::of)
}

/// The demo's keys: those of its first start while they count, else new ones.
fn keys(session: &Session, data: &Path, args: &Args) -> Result<RoleKeys, Failure> {
    let old = read::<DemoFile>(&data.join("demo.json")).and_then(|file| file.keys);
    let good = |keys: &RoleKeys| {
        Role::ALL.iter().all(|role| session.server.keys.find(&SecretString::from(keys.of(*role))).is_some())
    };
    if let Some(keys) = old.filter(good) {
        return Ok(keys);
    }
    let make = |role: Role| -> Result<String, Failure> {
        let request = KeyRequest { principal: open::demo_principal(role).to_owned(), role, days: 366 };
        let made = session.server.create_key(&request, open::demo_principal(Role::Operator));
        made.map(|m| m.token.expose_secret().to_owned()).map_err(|p| Failure::of(&p.detail))
    };
    let keys = RoleKeys {
        researcher: make(Role::Researcher)?,
        epidemiologist: make(Role::Epidemiologist)?,
        board: make(Role::Board)?,
        steward: make(Role::Steward)?,
        operator: make(Role::Operator)?,
    };
    write(data, &DemoFile { people: args.people, seed: args.seed, keys: Some(keys.clone()) })?;
    Ok(keys)
}

/// What a newcomer does next.
fn instructions(demo: &ClientFile) -> String {
    let (url, key) = (&demo.url, &demo.keys.researcher);
    format!(
        "\nopen {url}/ in a browser (log in with the key, or with another role's from DATA/client.json), or ask:\n\n\
         curl -s {url}/v1/statements -H 'Authorization: Bearer {key}' -H 'Accept: text/csv' \
         -d '{{\"sql\": \"SELECT gender, COUNT(*) FROM person GROUP BY gender\"}}'\n\n\
         researcher key: {key}\nprotocol: {}\nCtrl-C stops; the same command goes on with this data",
        demo.protocol
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curl_line_holds_address_key_and_valid_json() {
        let keys = RoleKeys {
            researcher: "epl_r_1".into(),
            epidemiologist: "e".into(),
            board: "b".into(),
            steward: "s".into(),
            operator: "o".into(),
        };
        let file = ClientFile { url: "http://127.0.0.1:1".into(), data_dir: "d".into(), keys, protocol: "p".into() };
        let text = instructions(&file);
        let line = text.lines().find(|l| l.starts_with("curl ")).unwrap();
        assert!(line.contains("http://127.0.0.1:1/v1/statements") && line.contains("Bearer epl_r_1'"));
        let body = line.split("-d '").nth(1).unwrap().trim_end_matches('\'');
        assert!(serde_json::from_str::<serde_json::Value>(body).is_ok());
    }
}
