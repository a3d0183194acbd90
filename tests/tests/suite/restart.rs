//! Stopped in order, killed, or killed while it was made: what a folder holds stays, and the next start finds it.

use std::{
    fs,
    io::Write,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use epiledger_tests::{App, command, run};
use serde_json::{Value, json};

const GENDERS: &str = "SELECT gender, COUNT(*) AS n FROM person GROUP BY gender";

fn keys(data: &Path) -> Value {
    let demo: Value = serde_json::from_slice(&fs::read(data.join("demo.json")).unwrap()).unwrap();
    demo["keys"].clone()
}

fn serve(data: &Path) -> App {
    let mut app = App::start(data, &["serve", "--json", "--port", "0"]);
    app.keys = keys(data);
    app
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[test]
fn a_restart_by_serve_or_by_demo_leaves_budget_releases_and_log_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let app = App::demo(&data, 200);
    let first = app.ask(GENDERS, "0.001").json();
    let releases = |app: &App| app.get("researcher", "/v1/releases").json();
    let (budget, released, log) = (app.budget(), releases(&app), app.audit());
    assert!(app.stop().unwrap().success());

    let app = serve(&data);
    // Long enough for several looks at the schedule, and a cut.
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!((app.budget(), releases(&app), app.audit()), (budget.clone(), released.clone(), log.clone()));
    let again = app.ask(GENDERS, "0.001").json();
    assert_eq!(
        (&again["cached"], &again["rows"], &again["snapshot"]),
        (&json!(true), &first["rows"], &first["snapshot"])
    );
    assert_eq!((app.budget(), releases(&app)), (budget.clone(), released.clone()));
    assert!(app.stop().unwrap().success());
    let idle = run(&data, &["ingest", "--json"]);
    let idle: Value = serde_json::from_slice(&idle.stdout).unwrap();
    assert_eq!((&idle["changed"], &idle["next_cut"]), (&json!(false), &Value::Null), "{idle}");

    let app = App::demo(&data, 200);
    assert_eq!((app.budget(), releases(&app)), (budget, released));
    let now = app.audit();
    assert_eq!(now[..log.len()], log[..]);
    assert!(now[log.len()..].iter().all(|entry| entry["type"] == "query.repeated"), "{now:?}");
}

#[test]
fn a_killed_demos_address_is_not_taken_for_a_server_that_runs() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let app = App::demo(&data, 100);
    assert!(run(&data, &["budget", "--json"]).status.success());
    let address = app.url.strip_prefix("http://").unwrap().to_owned();
    app.kill();
    assert!(data.join("client.json").exists() && data.join("server.json").exists());
    // Another program has the dead demo's port, and says yes to all.
    let stranger = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        for stream in stranger.incoming() {
            let _ = stream.unwrap().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
        }
    });
    let nobody = run(&data, &["budget"]);
    assert!(nobody.status.code() == Some(75) && said(&nobody).contains("no server runs over"), "{}", said(&nobody));
    // Nobody serves, so the folder itself is written.
    let made = run(&data, &["keys", "create", "r-2", "--role", "researcher"]);
    assert!(made.status.success(), "{}", said(&made));

    let served = serve(&data);
    let secret = |role: &str| {
        let path = dir.path().join(role);
        fs::write(&path, served.keys[role].as_str().unwrap()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (researcher, board, operator) = (secret("researcher"), secret("board"), secret("operator"));
    for (args, key) in [
        (["budget", "--json"], &researcher),
        (["query", GENDERS], &researcher),
        (["protocol", "list"], &board),
        (["keys", "list"], &operator),
    ] {
        let output = run(&data, &[&args[..], &["--key-file", key]].concat());
        assert!(output.status.success(), "{args:?}: {}", said(&output));
    }
    assert!(!data.join("client.json").exists());
    let busy = run(&data, &["demo", "--once", "--people", "100", "--port", "0"]);
    assert!(busy.status.code() == Some(2) && said(&busy).contains("a server runs over"), "{}", said(&busy));
}

/// Killed again and again while it is made, wherever that is, the same command makes it.
#[test]
fn a_demo_killed_while_it_was_made_is_made_by_the_same_command() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["demo", "--once", "--people", "400", "--port", "0"];
    let started = Instant::now();
    assert!(run(&dir.path().join("whole"), &args).status.success());
    let whole = started.elapsed();
    for round in 0..2 {
        let data = dir.path().join(format!("data {round}"));
        let moments: Vec<Duration> = (0..4).map(|_| whole.mul_f64(rand::random::<f64>())).collect();
        for moment in &moments {
            let mut child = command()
                .args(args)
                .arg("--data")
                .arg(&data)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(*moment);
            let _ = child.kill();
            let _ = child.wait();
        }
        let made = run(&data, &args);
        assert!(made.status.success(), "killed after {moments:?}: {}", said(&made));
        for log in ["audit", "ledger"] {
            let verified = run(&data, &["audit", "verify", data.join(log).to_str().unwrap()]);
            assert!(verified.status.success(), "killed after {moments:?}: {}", said(&verified));
        }
    }
}

#[test]
fn a_port_or_a_folder_in_use_is_said_before_anybody_is_simulated() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = run(&data, &["demo", "--once", "--port", &port]);
    assert!(output.status.code() == Some(2) && said(&output).contains("--port"), "{}", said(&output));
    assert_eq!(fs::read_dir(&data).unwrap().count(), 0, "nothing was made");

    let _app = App::demo(&data, 60);
    let second = run(&data, &["demo", "--once", "--people", "60", "--port", "0"]);
    assert!(second.status.code() == Some(2) && said(&second).contains("a demo runs over"), "{}", said(&second));

    let other = dir.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("letters.txt"), "Dear Ada").unwrap();
    let refused = run(&other, &["demo", "--once", "--people", "60", "--port", "0"]);
    assert!(refused.status.code() == Some(2) && said(&refused).contains("letters.txt"), "{}", said(&refused));
}
