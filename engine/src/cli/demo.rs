//! `demo`: simulated people, a ledger, tables, a server, questions with answers, and the log verified.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Instant;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::client::{Client, ClientFile, RoleKeys, ServerFile, read};
use super::exit::Failure;
use super::session::{Port, Session};
use super::{Context, audit, render};
use crate::api::Role;
use crate::config::Timing;
use crate::open::{self, DEMO_PROTOCOL};
use crate::panel::{self, Panel};
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

/// The name of [`DemoFile`] in the data folder.
const MARKER: &str = "demo.json";

/// What this folder's demo is, and its keys (simulated data, so they may lie here). It is the first file written.
#[derive(Serialize, Deserialize)]
struct DemoFile {
    people: u64,
    seed: u64,
    /// Is the folder still being made?
    #[serde(default)]
    unfinished: bool,
    keys: Option<RoleKeys>,
}

/// Runs the demo.
pub(super) fn run(context: &Context, args: &Args) -> Result<(), Failure> {
    let data = &context.settings.data;
    let started = Instant::now();
    let _held = hold(data)?;
    let port = Port::take(SocketAddr::from((Ipv4Addr::LOCALHOST, args.port)))?;
    prepare(context, args)?;
    let session = Session::open(&context.settings, Timing::Immediate, true)?;
    let running = session.start(port, None)?;
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
    let ask =
        |panel: &Panel| client.post("/v1/statements", &json!({ "sql": panel.sql, "privacy": { "rho": panel.rho } }));
    for panel in panel::DEMO {
        let answer = ask(&panel)?;
        context.say(&format!("{}\n  {}\n{}\n", panel.title, panel.sql, render::answer(&answer, render::DEMO_ROWS)));
    }
    if !args.once {
        let answer = ask(&panel::PREVALENCE)?;
        let price = render::price(answer.get("price").unwrap_or(&Value::Null));
        context.say(&format!("Asked for the dashboard: {}\nprice {price}\n", panel::PREVALENCE.title));
    }
    session.server.engine.audit().flush()?;
    let report = audit::verify::verify_folder(session.server.engine.audit().dir())?;
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

/// Holds the folder for this demo until it ends, however it ends.
fn hold(data: &Path) -> Result<File, Failure> {
    let shown = data.display();
    let folder = std::fs::create_dir_all(data).and_then(|()| File::open(data));
    let folder = folder.map_err(|e| Failure::usage(format!("{shown} can't be used: {e}")))?;
    match folder.try_lock() {
        Ok(()) => Ok(folder),
        Err(TryLockError::WouldBlock) => {
            Err(Failure::usage(format!("a demo runs over {shown} already; stop it, or name another --data")))
        }
        Err(TryLockError::Error(e)) => Err(Failure::usage(format!("{shown} can't be locked: {e}"))),
    }
}

/// Makes the demo's folder, or goes on with the one that is there when it is the same demo. One that was stopped while
/// it was made is made anew.
fn prepare(context: &Context, args: &Args) -> Result<(), Failure> {
    let data = &context.settings.data;
    let shown = data.display();
    if ServerFile::live(data).is_some() {
        return Err(Failure::usage(format!("a server runs over {shown} already; stop it, or name another --data")));
    }
    match read::<DemoFile>(&data.join(MARKER)) {
        Some(file) if file.unfinished => {
            context.say(&format!("the demo in {shown} was stopped before it was made; it is made anew"));
            clear(data).map_err(|e| Failure::usage(format!("{shown} can't be cleared: {e}")))?;
        }
        Some(file) if (file.people, file.seed) != (args.people, args.seed) => {
            let message = format!(
                "{shown} holds a demo of {} people (seed {}); its log and budget belong to them. \
                 Name an empty folder with --data, or leave --people and --seed as they were",
                file.people, file.seed
            );
            return Err(Failure::usage(message));
        }
        Some(_) => {
            context.say(&format!("going on with the demo in {shown}; its questions were paid, so they are free now"));
            return Ok(());
        }
        None => {}
    }
    if let Some(name) = other(data).map_err(|e| Failure::usage(format!("{shown} can't be read: {e}")))? {
        let message = format!("{shown} holds no demo, but {name}; name an empty folder with --data");
        return Err(Failure::usage(message));
    }
    let made = |unfinished| DemoFile { people: args.people, seed: args.seed, unfinished, keys: None };
    write(data, &made(true))?;
    context.say(&format!("simulating {} people in {shown}", args.people));
    open::create_demo(data, args.people, args.seed, &mut |step| context.say(&step))?;
    context.say(&audit::verify::verify_folder(&data.join("ledger"))?);
    write(data, &made(false))
}

/// What making a demo writes into its folder, files without their ending: a stop may leave a `.new` beside one.
const PARTS: [&str; 9] =
    ["audit", "catalog", "keys", "ledger", "no-schedule", "public", "quarantine", "snapshots", "tables"];

/// Takes away what an unfinished demo made, and nothing else.
fn clear(data: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(data)? {
        let path = entry?.path();
        if path.file_stem().is_some_and(|stem| PARTS.iter().any(|part| stem == *part)) {
            if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) }?;
        }
    }
    Ok(())
}

/// A name in the folder that is neither the marker nor what a stop left of one being written.
fn other(data: &Path) -> std::io::Result<Option<String>> {
    for entry in std::fs::read_dir(data)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if Path::new(&name).file_stem() != Path::new(MARKER).file_stem() {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

fn write(data: &Path, file: &DemoFile) -> Result<(), Failure> {
    let text = serde_json::to_vec_pretty(file).map_err(Failure::of)?;
    crate::server::keys::write_private(&data.join(MARKER), &text).map_err(Failure::of)
}

/// The demo's keys: those of its first start while they count, else new ones.
fn keys(session: &Session, data: &Path, args: &Args) -> Result<RoleKeys, Failure> {
    let old = read::<DemoFile>(&data.join(MARKER)).and_then(|file| file.keys);
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
    write(data, &DemoFile { people: args.people, seed: args.seed, unfinished: false, keys: Some(keys.clone()) })?;
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
    fn a_folder_that_a_demo_made_is_cleared_to_the_last_file_and_foreign_ones_stay() {
        let dir = tempfile::tempdir().unwrap();
        open::create_demo(dir.path(), 20, 1, &mut |_| ()).unwrap();
        write(dir.path(), &DemoFile { people: 20, seed: 1, unfinished: true, keys: None }).unwrap();
        std::fs::write(dir.path().join("catalog.new"), "{").unwrap();
        clear(dir.path()).unwrap();
        assert_eq!(other(dir.path()).unwrap(), None);
        std::fs::write(dir.path().join("letters.txt"), "Dear Ada").unwrap();
        clear(dir.path()).unwrap();
        assert_eq!(other(dir.path()).unwrap(), Some("letters.txt".to_owned()));
    }

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
