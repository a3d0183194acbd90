//! The auditor and the mirror as a board runs them: the real binary against a served log, and against servers that lie.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Arc, Mutex},
    time::Duration,
};

use epiledger_tests::{App, command};
use serde_json::Value;

/// A folder for everything, with a state folder of its own, so that no pin of the user's is touched.
struct Desk {
    root: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn run(&self, args: &[&str]) -> (i32, String) {
        let output = self.output(args);
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8_lossy(&text).into_owned())
    }

    fn output(&self, args: &[&str]) -> Output {
        let mut command = command();
        command.args(args).env("XDG_STATE_HOME", self.at("state")).env("EPILEDGER_DATA", self.at("none"));
        command.output().unwrap()
    }

    #[track_caller]
    fn expect(&self, code: i32, words: &[&str], args: &[&str]) -> String {
        let (got, text) = self.run(args);
        assert_eq!(got, code, "{args:?}: {text}");
        for word in words {
            assert!(text.contains(word), "{args:?} does not say {word:?}: {text}");
        }
        text
    }

    fn secret(&self, name: &str, token: &Value) -> String {
        let path = self.at(name);
        fs::write(&path, token.as_str().unwrap()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap().success());
}

#[test]
fn a_board_audits_a_served_log_from_outside() {
    let desk = Desk::new();
    let data = desk.at("data");
    let app = App::demo(&data, 200);
    let key = fs::read_to_string(data.join("audit/key")).unwrap().trim().to_owned();
    let url = format!("{}/v1/audit", app.url);
    let (board, researcher) =
        (desk.secret("board", &app.keys["board"]), desk.secret("researcher", &app.keys["researcher"]));

    // An address does not vouch for its own key; with it, everything but the blobs is checked.
    desk.expect(2, &["--key"], &["audit", "verify", &url]);
    desk.expect(
        0,
        &["blobs unchecked", "first audit of this key", &key, "no fault"],
        &["audit", "verify", &url, "--key", &key],
    );
    let with = |file: &str| {
        desk.expect(0, &["continues the head"], &["audit", "verify", &url, "--key", &key, "--key-file", file])
    };
    assert!(!with(&board).contains("unchecked"));
    assert!(with(&researcher).contains("unchecked"), "another role's key reads what is public");
    let json: Value =
        serde_json::from_slice(&desk.output(&["audit", "verify", &url, "--key", &key, "--json"]).stdout).unwrap();
    assert!(json["fault"].is_null() && json["pinned"]["size"].as_u64().unwrap() > 10, "{json}");
    desk.expect(0, &["tree alone"], &["audit", "verify", &url, "--key", &key, "--tree-only"]);
    let other = "other.example/log+ea130c06+AROY9ixtGkV8UbpqS189vS9p/KkyFiGNyJl+QWvRfZPK";
    desk.expect(6, &["not of the log"], &["audit", "verify", &url, "--key", other]);
    desk.expect(2, &["--key"], &["audit", "verify", &url, "--key", "nonsense"]);

    // A receipt, as it came and as its text alone; and one whose answer was changed.
    let answer = app.ask("SELECT gender, COUNT(*) FROM person GROUP BY gender", "0.001").json();
    let file = desk.at("answer.json");
    fs::write(&file, answer.to_string()).unwrap();
    desk.expect(0, &["as its key signed", "query.outcome"], &["audit", "receipt", text(&file), "--key", &key]);
    fs::write(&file, answer["receipt"]["proof"].as_str().unwrap()).unwrap();
    desk.expect(0, &["as its key signed"], &["audit", "receipt", text(&file), "--key", &key]);
    desk.expect(6, &["not signed by the log's key"], &["audit", "receipt", text(&file), "--key", other]);
    let mut changed = answer.clone();
    changed["statement_id"] = "0".repeat(32).into();
    fs::write(&file, changed.to_string()).unwrap();
    desk.expect(6, &["not the outcome of this statement"], &["audit", "receipt", text(&file), "--key", &key]);
    fs::write(&file, "{}").unwrap();
    desk.expect(2, &["no receipt.proof"], &["audit", "receipt", text(&file), "--key", &key]);

    // The board asks in SQL; nobody else does.
    let question =
        "SELECT principal, COUNT(*) AS n, SUM(rho) AS rho FROM audit.entries WHERE type = 'query.intent' GROUP BY 1";
    let asked = ["audit", "search", "--url", &app.url, "--sql", question];
    desk.expect(0, &["demo-researcher", "rho"], &[&asked[..], &["--key-file", board.as_str()]].concat());
    desk.expect(5, &["FORBIDDEN"], &[&asked[..], &["--key-file", researcher.as_str()]].concat());
    fs::set_permissions(&board, fs::Permissions::from_mode(0o644)).unwrap();
    desk.expect(2, &["chmod 600"], &[&asked[..], &["--key-file", board.as_str()]].concat());
    assert!(app.stop().unwrap().success());
    desk.expect(75, &["no whole answer"], &["audit", "verify", &url, "--key", &key]);
}

#[test]
fn what_was_pinned_must_be_continued() {
    let desk = Desk::new();
    let (data, old) = (desk.at("data"), desk.at("old"));
    let app = App::demo(&data, 100);
    assert!(app.stop().unwrap().success());
    copy(&data.join("audit"), &old);
    let app = App::demo(&data, 100);
    assert_eq!(app.ask("SELECT COUNT(*) FROM person", "0.001").status, 200);
    assert!(app.stop().unwrap().success());
    let log = data.join("audit");
    let pin = desk.at("board.pin");
    let pinned = |code: i32, words: &[&str], dir: &Path| {
        desk.expect(code, words, &["audit", "verify", text(dir), "--pin", text(&pin)]);
        desk.expect(code, words, &["audit", "verify", text(dir)]);
    };
    pinned(0, &["pinned now"], &old);
    pinned(0, &["it continues the head of"], &log);
    pinned(0, &["it continues the head of"], &log);
    pinned(6, &["shorter than a pinned head"], &old);
    pinned(0, &["it continues the head of"], &log);
    // The tree alone notices it too, and a fault moves no pin.
    desk.expect(6, &["goes backwards"], &["audit", "verify", text(&old), "--tree-only", "--pin", text(&pin)]);
    desk.expect(0, &["it continues"], &["audit", "verify", text(&log), "--tree-only", "--pin", text(&pin)]);
    // Another log with the same name is noticed by whoever names the pin.
    let other = desk.at("other");
    assert!(App::demo(&other, 100).stop().unwrap().success());
    desk.expect(6, &["key"], &["audit", "verify", text(&other.join("audit")), "--pin", text(&pin)]);
    desk.expect(0, &["pinned now"], &["audit", "verify", text(&other.join("audit"))]);
    let bytes = fs::read(&pin).unwrap();
    fs::write(&pin, &bytes[..bytes.len() - 9]).unwrap();
    desk.expect(2, &["not as an audit left it"], &["audit", "verify", text(&log), "--pin", text(&pin)]);
    fs::write(&pin, &bytes).unwrap();

    desk.expect(0, &["is a beginning of", "follow"], &["audit", "diff", text(&old), text(&log)]);
    desk.expect(0, &["the copies are the same"], &["audit", "diff", text(&log), text(&log)]);
    desk.expect(6, &["not of the log", "broken"], &["audit", "diff", text(&log), text(&data.join("ledger"))]);
    desk.expect(2, &["no folder"], &["audit", "diff", text(&log), "nowhere"]);
    desk.expect(2, &["no folder"], &["audit", "verify", "nowhere"]);

    // Every entry once, in order, as it is stored; and as FHIR, all but the block leaves.
    let lines = |form: &str| -> Vec<String> {
        let output = desk.output(&["audit", "export", text(&log), form]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    };
    let (stored, events) = (lines("--jsonl"), lines("--fhir"));
    let reader = epiledger_ledger::LogReader::open(&log).unwrap();
    assert_eq!(stored.len() as u64, reader.size());
    for (line, item) in stored.iter().zip(reader.entries(0)) {
        assert_eq!(line.as_bytes(), item.unwrap().1);
    }
    let blocks = stored.iter().filter(|line| line.ends_with("\"type\":\"block\"}")).count();
    assert_eq!(events.len(), stored.len() - blocks);
    for event in events.iter().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        assert_eq!(event["resourceType"], "AuditEvent");
        assert!(event["agent"][0]["requestor"].is_boolean() && event["recorded"].as_str().unwrap().ends_with('Z'));
    }
    desk.expect(2, &["--fhir"], &["audit", "export", text(&log)]);
}

#[test]
fn ingest_and_the_auditor_read_a_mirror() {
    let desk = Desk::new();
    let data = desk.at("data");
    let app = App::demo(&data, 200);
    let operator = desk.secret("operator", &app.keys["operator"]);
    let key = data.join("ledger/key");
    let url = format!("{}/v1/ledger", app.url);
    // Data folders of one's own: the dataset's catalog and keys; in one of them a mirror in place of the ledger.
    let (node, twin) = (desk.at("node"), desk.at("twin"));
    for folder in [&node, &twin] {
        fs::create_dir_all(folder).unwrap();
        fs::copy(data.join("catalog.json"), folder.join("catalog.json")).unwrap();
        copy(&data.join("keys"), &folder.join("keys"));
    }
    let mirror = node.join("ledger");
    let args = ["ledger", "mirror", &url, text(&mirror), "--key", text(&key)];
    desk.expect(5, &["--key-file"], &args);
    fs::remove_dir_all(&mirror).unwrap();
    let with_key = [&args[..], &["--key-file", operator.as_str()]].concat();
    desk.expect(0, &["blobs fetched", "epiledger.example/ledger"], &with_key);
    desk.expect(0, &["0 of them new"], &with_key);
    assert!(app.stop().unwrap().success());
    desk.expect(0, &["no fault"], &["ledger", "verify", text(&mirror)]);
    desk.expect(75, &["no whole answer"], &with_key);
    // The dataset is the one of the ledger itself.
    copy(&data.join("ledger"), &twin.join("ledger"));
    desk.expect(0, &[], &["ingest", "--data", text(&node)]);
    desk.expect(0, &[], &["ingest", "--data", text(&twin)]);
    let tables = |data: &Path| -> BTreeMap<String, u64> {
        let newest = epiledger_ingest::snapshot::newest(data).unwrap().unwrap();
        newest
            .tables
            .iter()
            .map(|(name, table)| (name.clone(), table.files.iter().map(|file| file.rows).sum()))
            .collect()
    };
    assert!(tables(&node).values().sum::<u64>() > 1_000);
    assert_eq!(tables(&node), tables(&twin));
    // A folder can be mirrored too, and stands in where blobs are not needed.
    let bare = desk.at("bare");
    desk.expect(
        0,
        &["0 blobs"],
        &["ledger", "mirror", text(&data.join("audit")), text(&bare), "--key", text(&data.join("audit/key"))],
    );
    desk.expect(0, &["blobs unchecked"], &["audit", "verify", text(&bare)]);
    desk.expect(
        2,
        &["made without a key"],
        &["ledger", "mirror", text(&data.join("audit")), text(&bare), "--key-file", &operator],
    );
}

/// A server that gives each request whatever its script says.
struct Liar {
    url: String,
    script: Arc<Mutex<Script>>,
}

type Script = Box<dyn Fn(&str, &mut TcpStream) + Send>;

impl Liar {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(Box::new(|_, _| {})));
        let told = Arc::clone(&script);
        // The thread ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                    request.extend(byte);
                }
                let line = String::from_utf8_lossy(&request).into_owned();
                let path = line.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
                told.lock().unwrap()(&path, &mut stream);
            }
        });
        Self { url, script }
    }

    fn says(&self, script: impl Fn(&str, &mut TcpStream) + Send + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    /// Serves a folder, but for what `change` does to some of its files.
    fn serves(&self, dir: &Path, change: impl Fn(&str, Vec<u8>) -> Vec<u8> + Send + 'static) {
        let dir = dir.to_owned();
        self.says(move |path, stream| match fs::read(dir.join(path)) {
            Ok(bytes) => respond(stream, 200, &change(path, bytes)),
            Err(_) => respond(stream, 404, b""),
        });
    }
}

fn respond(stream: &mut TcpStream, status: u16, body: &[u8]) {
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

#[test]
fn a_server_that_lies_stalls_or_breaks_off_is_named_and_changes_nothing() {
    let desk = Desk::new();
    let data = desk.at("data");
    assert!(App::demo(&data, 100).stop().unwrap().success());
    let (log, key, old) = (data.join("audit"), data.join("audit/key"), desk.at("old"));
    copy(&log, &old);
    let app = App::demo(&data, 100);
    assert_eq!(app.ask("SELECT COUNT(*) FROM person", "0.001").status, 200);
    assert!(app.stop().unwrap().success());

    let liar = Liar::start();
    let mirror = desk.at("mirror");
    let args = ["ledger", "mirror", &liar.url, text(&mirror), "--key", text(&key), "--timeout", "2"];
    liar.serves(&old, |_, bytes| bytes);
    desk.expect(0, &["entries"], &args);
    let kept = || -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = Vec::new();
        let mut open = vec![mirror.clone()];
        while let Some(dir) = open.pop() {
            for item in fs::read_dir(dir).unwrap().flatten() {
                if item.path().is_dir() { open.push(item.path()) } else { found.push(item.path()) }
            }
        }
        found.retain(|path| !path.starts_with(mirror.join("incoming")));
        found.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    };
    let before = kept();
    let audit = ["audit", "verify", &liar.url, "--key", text(&key), "--timeout", "2"];
    let both = |code: i32, word: &str| {
        desk.expect(code, &[word], &args);
        desk.expect(code, &[word], &audit);
        assert_eq!(kept(), before, "{word}");
    };

    liar.says(|_, stream| respond(stream, 200, b"<html>Welcome to the hotel's network</html>"));
    both(6, "is not of the log");
    liar.says(|_, stream| respond(stream, 200, &vec![b'x'; 1 << 20]));
    both(6, "longer than");
    liar.says(|_, stream| respond(stream, 404, b""));
    both(1, "`checkpoint` is not there");
    liar.says(|_, stream| respond(stream, 503, b""));
    both(75, "503");
    liar.says(|_, stream| respond(stream, 403, b""));
    both(5, "--key-file");
    liar.says(|_, stream| respond(stream, 418, b""));
    both(1, "418");
    liar.says(|_, stream| drop(stream.write_all(b"nonsense\r\n\r\n")));
    both(1, "does not serve a log");
    liar.says(|_, stream| {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nepiledger.local/audit\n"))
    });
    both(75, "no whole answer");
    liar.says(|_, _| std::thread::sleep(Duration::from_secs(3)));
    both(75, "no whole answer");
    let newer = log.clone();
    liar.says(move |path, stream| match path {
        "checkpoint" => respond(stream, 200, &fs::read(newer.join(path)).unwrap()),
        _ => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n");
            std::thread::sleep(Duration::from_secs(3));
        }
    });
    both(75, "no whole answer");
    // Headers that never end.
    liar.says(
        |_, stream| while stream.write_all(b"X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n").is_ok() {},
    );
    let (code, _) = desk.run(&args);
    assert!([1, 75].contains(&code) && kept() == before, "{code}");

    let flip = |name: &'static str| {
        move |path: &str, mut bytes: Vec<u8>| {
            let at = bytes.len() / 2;
            if path.starts_with(name) {
                bytes[at] ^= 1;
            }
            bytes
        }
    };
    for name in ["checkpoint", "tile/0/", "tile/entries/"] {
        liar.serves(&log, flip(name));
        both(6, "broken at");
    }
    let other = desk.at("other");
    assert!(App::demo(&other, 100).stop().unwrap().success());
    liar.serves(&other.join("audit"), |_, bytes| bytes);
    both(6, "no checkpoint that the key of");
    liar.serves(&data.join("ledger"), |_, bytes| bytes);
    both(6, "is not of the log");

    // Forward, and never back.
    liar.serves(&log, |_, bytes| bytes);
    desk.expect(0, &["entries"], &args);
    liar.serves(&old, |_, bytes| bytes);
    desk.expect(6, &["goes backwards"], &args);
    desk.expect(0, &["no fault"], &["audit", "verify", text(&mirror)]);
}
