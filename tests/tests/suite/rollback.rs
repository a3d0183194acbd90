//! An older copy of the data folder gives no budget back: its releases are served, and nothing is spent.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use epiledger_tests::{App, binary};
use serde_json::{Value, json};

pub const FIRST: &str = "SELECT gender, COUNT(*) FROM person GROUP BY gender";
pub const SECOND: &str = "SELECT COUNT(*) FROM visit_occurrence";
pub const THIRD: &str = "SELECT COUNT(*) FROM condition_occurrence";

/// A data folder, a settings file that pins its head beside it, and copies.
pub struct Place {
    root: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        let place = Self { root: tempfile::tempdir().unwrap() };
        place.pinned_to(place.pin().to_str().unwrap());
        place
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub fn data(&self) -> PathBuf {
        self.at("data")
    }

    fn pin(&self) -> PathBuf {
        self.at("elsewhere/audit.pin")
    }

    /// The settings that every command of this place reads.
    fn pinned_to(&self, head: &str) {
        fs::write(self.at("settings.toml"), format!("timing = \"immediate\"\npinned_head = \"{head}\"\n")).unwrap();
    }

    fn start(&self, verb: &[&str]) -> App {
        let settings = self.at("settings.toml");
        let rest = ["--json", "--port", "0", "--config", settings.to_str().unwrap()];
        let mut app = App::start(&self.data(), &[verb, &rest[..]].concat());
        if app.keys.is_null() {
            let file: Value = serde_json::from_slice(&fs::read(self.data().join("demo.json")).unwrap()).unwrap();
            app.keys = file["keys"].clone();
        }
        app
    }

    pub fn demo(&self) -> App {
        self.start(&["demo", "--people", "60"])
    }

    pub fn serve(&self) -> App {
        self.start(&["serve"])
    }

    pub fn run(&self, data: &Path, args: &[&str]) -> (i32, String) {
        let command = &mut Command::new(binary());
        command.args(args).arg("--data").arg(data).env("XDG_STATE_HOME", self.at("state"));
        let Output { status, stdout, stderr } = command.arg("--config").arg(self.at("settings.toml")).output().unwrap();
        (status.code().unwrap(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
    }

    #[track_caller]
    pub fn expect(&self, code: i32, words: &[&str], args: &[&str]) {
        let (got, text) = self.run(&self.data(), args);
        assert_eq!(got, code, "{args:?}: {text}");
        words.iter().for_each(|word| assert!(text.contains(word), "{args:?} does not say {word:?}: {text}"));
    }

    /// A file with a role's key.
    pub fn key(&self, role: &str) -> String {
        let file: Value = serde_json::from_slice(&fs::read(self.data().join("demo.json")).unwrap()).unwrap();
        let path = self.at(&format!("{role}.key"));
        fs::write(&path, file["keys"][role].as_str().unwrap()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Puts a copy in the data folder's place; gives what was there.
    pub fn put(&self, copied: &Path, aside: &str) -> PathBuf {
        let aside = self.at(aside);
        fs::rename(self.data(), &aside).unwrap();
        copy(copied, &self.data());
        aside
    }
}

pub fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-r").arg("-p").arg(from).arg(to).status().unwrap().success());
}

pub fn stop(app: App) {
    assert!(app.stop().unwrap().success());
}

#[track_caller]
pub fn answered(app: &App, sql: &str, cached: bool) -> Value {
    let reply = app.ask(sql, "0.001");
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.json()["cached"], cached, "{}", reply.text());
    reply.json()["rows"].clone()
}

/// That the server says what happened, gives what it has, and takes nothing.
#[track_caller]
fn frozen(app: &App, word: &str) {
    let size = app.get("board", "/v1/audit").json()["size"].clone();
    let spent = app.budget()["levels"][0]["spent"]["rho"].clone();
    let act = json!({
        "protocol": "p2", "title": "t", "purpose": "HMB", "investigators": ["demo-researcher"], "rho_cap": "0.1",
        "delta_cap": "0", "valid_from": "2020-01-01", "valid_to": "2099-01-01",
    });
    for refused in [
        app.get("board", "/readyz"),
        app.ask(THIRD, "0.001"),
        app.ask("SELECT person_id FROM person", "0.001"),
        app.post("board", "/v1/protocols", &act),
        app.post("board", "/v1/protocols/demo/suspend", &json!({})),
        app.post("steward", "/v1/policies", &json!({ "rho_cap": "2" })),
        app.post("operator", "/v1/keys", &json!({ "principal": "x", "role": "researcher", "days": 3 })),
    ] {
        assert_eq!((refused.status, &refused.json()["code"]), (503, &json!("ROLLED_BACK")), "{}", refused.text());
        assert!(refused.text().contains(word), "{}", refused.text());
    }
    assert_eq!(app.get("researcher", "/v1/audit?limit=3").status, 403, "a denial is one, though it can't be logged");
    for (role, path) in
        [("", "/"), ("", "/v1/audit/checkpoint"), ("epidemiologist", "/v1/releases"), ("board", "/v1/audit?limit=3")]
    {
        assert_eq!(app.get(role, path).status, 200, "{path}");
    }
    assert_eq!(app.get("board", "/v1/audit").json()["size"], size, "nothing was logged");
    assert_eq!(app.budget()["levels"][0]["spent"]["rho"], spent, "nothing was spent");
}

#[test]
fn a_restored_older_folder_serves_its_releases_and_spends_nothing() {
    let place = Place::new();
    let app = place.demo();
    let rows = answered(&app, FIRST, false);
    stop(app);
    assert_eq!(fs::metadata(place.pin()).unwrap().permissions().mode() & 0o777, 0o600);
    let older = place.at("older");
    copy(&place.data(), &older);
    let app = place.serve();
    answered(&app, SECOND, false);
    stop(app);
    let pin = fs::read(place.pin()).unwrap();

    let newest = place.put(&older, "newest");
    let checkpoint = fs::read(place.data().join("audit/checkpoint")).unwrap();
    let app = place.serve();
    assert_eq!(answered(&app, FIRST, true), rows, "what was released is served");
    assert_eq!(app.ask(SECOND, "0.001").status, 503, "what was paid later is not known here");
    frozen(&app, "older copy");
    stop(app);
    assert_eq!(fs::read(place.data().join("audit/checkpoint")).unwrap(), checkpoint);
    assert_eq!(fs::read(place.pin()).unwrap(), pin, "a pin never goes back");
    place.expect(0, &["no fault"], &["audit", "verify"]);
    place.expect(75, &["ROLLED_BACK", "warning"], &["protocol", "suspend", "demo", "--key-file", &place.key("board")]);

    // The newest copy goes on.
    place.put(&newest, "older-again");
    let app = place.serve();
    answered(&app, SECOND, true);
    answered(&app, THIRD, false);
    assert_eq!(app.get("board", "/readyz").status, 200);
    stop(app);
}

#[test]
fn a_fork_an_emptied_log_and_a_missing_one_spend_nothing_either() {
    let place = Place::new();
    let app = place.demo();
    stop(app);
    let older = place.at("older");
    copy(&place.data(), &older);
    let app = place.serve();
    answered(&app, SECOND, false);
    stop(app);

    // The older copy goes on elsewhere, past the pinned size: larger, and another log.
    place.put(&older, "newest");
    fs::write(place.at("settings.toml"), "timing = \"immediate\"\n").unwrap();
    let app = place.serve();
    answered(&app, THIRD, false);
    answered(&app, SECOND, false);
    stop(app);
    place.pinned_to(place.pin().to_str().unwrap());
    let app = place.serve();
    answered(&app, SECOND, true);
    let refused = app.ask(FIRST, "0.002");
    assert!(refused.status == 503 && refused.text().contains("forked"), "{}", refused.text());
    stop(app);

    fs::write(place.at("garbage"), "garbage\n").unwrap();
    place.pinned_to(place.at("garbage").to_str().unwrap());
    place.expect(2, &["not as an audit left it"], &["serve", "--port", "0"]);
    place.pinned_to(place.pin().to_str().unwrap());

    // A log made anew, under the old key or a new one.
    fs::remove_dir_all(place.data().join("audit")).unwrap();
    place.expect(6, &["audit log is gone"], &["serve", "--port", "0"]);
    fs::create_dir(place.data().join("audit")).unwrap();
    let app = place.serve();
    let refused = app.ask(SECOND, "0.001");
    assert!(refused.status == 403 || refused.status == 503, "{}", refused.text());
    assert_eq!(app.get("board", "/readyz").json()["code"], "ROLLED_BACK");
    stop(app);
    fs::remove_dir_all(place.data().join("audit")).unwrap();
    fs::remove_file(place.data().join("keys/audit.key")).unwrap();
    place.expect(6, &["audit log is gone"], &["serve", "--port", "0"]);
    fs::create_dir(place.data().join("audit")).unwrap();
    let app = place.serve();
    let ready = app.get("board", "/readyz");
    assert!(ready.status == 503 && ready.text().contains("another key"), "{}", ready.text());
    stop(app);
}

#[test]
fn an_act_is_pinned_as_a_question_is_and_a_pin_that_fails_ends_the_service() {
    let place = Place::new();
    stop(place.demo());
    let older = place.at("older");
    copy(&place.data(), &older);
    let app = place.serve();
    assert_eq!(app.post("board", "/v1/protocols/demo/suspend", &json!({})).status, 200);
    stop(app);
    let newest = place.put(&older, "newest");
    let app = place.serve();
    assert_eq!(app.get("board", "/readyz").status, 503, "the protocol would be usable again");
    stop(app);

    // The disk with the pin is gone: nothing is answered that is not pinned, and the service stops.
    place.put(&newest, "restored");
    let app = place.serve();
    fs::rename(place.at("elsewhere"), place.at("unplugged")).unwrap();
    fs::write(place.at("elsewhere"), "no folder").unwrap();
    let failed = app.post("operator", "/v1/keys", &json!({ "principal": "x", "role": "researcher", "days": 3 }));
    assert_eq!(failed.status, 503, "{}", failed.text());
    assert!(!failed.text().contains("epl_"), "no key without its entry");
    let url = app.url.clone();
    assert!(app.stop().is_some());
    assert!(ureq::get(format!("{url}/healthz")).call().is_err());
    fs::remove_file(place.at("elsewhere")).unwrap();
    fs::rename(place.at("unplugged"), place.at("elsewhere")).unwrap();
    let app = place.serve();
    assert_eq!(app.get("board", "/readyz").status, 200);
    stop(app);
}

#[test]
fn another_copy_of_the_log_at_an_address_pins_it_too() {
    let place = Place::new();
    let app = place.demo();
    stop(app);
    let older = place.at("older");
    copy(&place.data(), &older);
    let app = place.demo();
    answered(&app, SECOND, false);
    // The running server stands for a mirror that has seen the newest head.
    place.pinned_to(&format!("{}/v1/audit", app.url));
    let other = Place { root: tempfile::tempdir().unwrap() };
    other.pinned_to(&format!("{}/v1/audit", app.url));
    copy(&older, &other.data());
    let restored = other.serve();
    assert_eq!(restored.get("board", "/readyz").json()["code"], "ROLLED_BACK");
    stop(restored);
    stop(app);
    other.expect(75, &["can't be compared"], &["serve", "--port", "0"]);
    other.pinned_to("https://example.org/log");
    other.expect(2, &["http://"], &["serve", "--port", "0"]);
}

#[test]
fn where_strangers_reach_it_a_pin_outside_the_folder_is_required() {
    let place = Place::new();
    fs::create_dir(place.data()).unwrap();
    fs::write(place.at("settings.toml"), "listen = \"0.0.0.0:0\"\n").unwrap();
    place.expect(2, &["loopback", "pinned_head"], &["serve"]);
    let link = place.at("link");
    std::os::unix::fs::symlink(place.data(), &link).unwrap();
    for inside in [place.data().join("audit.pin"), place.data().join("../data/keys/audit.pin"), link.join("new/pin")] {
        place.pinned_to(inside.to_str().unwrap());
        place.expect(2, &["inside the data folder"], &["serve", "--port", "0"]);
    }
}

/// The pin is written after the log: at every moment of a stop the log is the pinned head's continuation.
#[test]
fn a_kill_never_leaves_a_healthy_log_behind_its_pin() {
    let place = Place::new();
    stop(place.demo());
    for round in 0..6_u64 {
        let app = place.serve();
        let (url, token) = (app.url.clone(), app.keys["researcher"].as_str().unwrap().to_owned());
        let asking = std::thread::spawn(move || {
            for n in 0..40 {
                let sql = format!("SELECT COUNT(*) FROM person WHERE year_of_birth > {}", 1900 + 40 * round + n);
                let body = json!({ "sql": sql, "privacy": { "rho": "0.00001" } }).to_string();
                let request = ureq::post(format!("{url}/v1/statements")).header("Content-Type", "application/json");
                if request.header("Authorization", format!("Bearer {token}")).send(body).is_err() {
                    break;
                }
            }
        });
        std::thread::sleep(Duration::from_millis(60 + 35 * round));
        app.kill();
        asking.join().unwrap();
        let app = place.serve();
        // Those that a kill abandons may suspend the protocol in time; a log behind its pin would say so here.
        assert_eq!(app.get("board", "/readyz").status, 200, "round {round}");
        stop(app);
    }
    place.expect(0, &["no fault"], &["audit", "verify"]);
}

#[test]
fn a_backup_of_a_running_server_restores_and_an_older_one_is_frozen() {
    let place = Place::new();
    let app = place.demo();
    let rows = answered(&app, FIRST, false);
    place.expect(0, &["every byte verified", "backed up"], &["backup", place.at("one").to_str().unwrap()]);
    answered(&app, SECOND, false);
    place.expect(0, &["backed up"], &["backup", place.at("two").to_str().unwrap()]);
    stop(app);
    for (what, words) in [("one", "isn't empty"), ("data/three", "inside the data folder")] {
        place.expect(2, &[words], &["backup", place.at(what).to_str().unwrap()]);
    }
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&place.at("two/keys/audit.key")), 0o600);
    place.expect(2, &["isn't empty"], &["restore", place.at("two").to_str().unwrap()]);

    // The disk with the data folder is lost, the pin is not.
    fs::rename(place.data(), place.at("lost")).unwrap();
    place.expect(2, &["no folder that `backup` made"], &["restore", place.at("lost").to_str().unwrap()]);
    let pin = fs::read(place.pin()).unwrap();
    place.expect(0, &["older copy", "no question"], &["restore", place.at("one").to_str().unwrap()]);
    assert_eq!(fs::read(place.pin()).unwrap(), pin);
    assert_eq!(mode(&place.data().join("keys/secret.key")), 0o600);
    let app = place.serve();
    assert_eq!(answered(&app, FIRST, true), rows);
    frozen(&app, "older copy");
    stop(app);

    fs::rename(place.data(), place.at("frozen")).unwrap();
    place.expect(0, &["goes on where the pinned head is"], &["restore", place.at("two").to_str().unwrap()]);
    let app = place.serve();
    answered(&app, SECOND, true);
    answered(&app, THIRD, false);
    stop(app);
    place.expect(0, &["no fault"], &["audit", "verify"]);

    // A pin that is lost as well comes back with the copy; a damaged copy does not.
    fs::remove_file(place.pin()).unwrap();
    fs::rename(place.data(), place.at("gone")).unwrap();
    place.expect(0, &["goes on"], &["restore", place.at("two").to_str().unwrap()]);
    assert_eq!(fs::read(place.pin()).unwrap(), fs::read(place.at("two/pinned_head")).unwrap());
    fs::rename(place.data(), place.at("again")).unwrap();
    let damaged = place.at("two/audit/tile/0");
    let tile = fs::read_dir(&damaged).unwrap().next().unwrap().unwrap().path();
    fs::remove_dir_all(tile).unwrap();
    let (code, text) = place.run(&place.data(), &["restore", place.at("two").to_str().unwrap()]);
    assert!(code != 0 && !place.data().exists(), "{code}: {text}");
}
