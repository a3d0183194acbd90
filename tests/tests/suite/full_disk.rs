//! A disk that is really full, under ingest and under the log: it is named, nothing is half-written, and when there is
//! room again the same command ends where it would have ended.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use epiledger_tests::{App, run, skip::skip};
use serde_json::{Value, json};

use crate::crash::tables;

/// A file system in memory, of its own size.
struct Disk {
    root: tempfile::TempDir,
}

impl Disk {
    /// Mounts one; `None`, with a word, for those who may not mount.
    fn of(size: &str) -> Option<Self> {
        let root = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(root.path()).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self { root });
        }
        skip("only root can mount a small disk and fill it");
        None
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Fills it to the last byte but `room`.
    fn fill(&self, room: u64) {
        let mut ballast = OpenOptions::new().create(true).append(true).open(self.at("ballast")).unwrap();
        while ballast.write_all(&[0; 4096]).is_ok() {}
        let length = ballast.metadata().unwrap().len();
        ballast.set_len(length.saturating_sub(room)).unwrap();
    }

    fn free(&self) {
        fs::remove_file(self.at("ballast")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.root.path()).status();
    }
}

fn size(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).unwrap().flatten();
    entries.map(|e| if e.path().is_dir() { size(&e.path()) } else { e.metadata().unwrap().len() }).sum()
}

#[test]
fn ingest_on_a_full_disk_names_it_and_ends_in_the_same_tables_when_there_is_room() {
    let Some(disk) = Disk::of("64m") else { return };
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    assert!(run(&whole, &["ledger", "simulate", "--people", "300", "--seed", "3"]).status.success());
    let data = disk.at("data");
    assert!(Command::new("cp").arg("-r").arg(&whole).arg(&data).status().unwrap().success());
    let before = size(&whole);
    assert!(run(&whole, &["ingest"]).status.success());
    let written = size(&whole) - before;

    // A little more room each time, until it is enough: so it runs full at one step after the other.
    let enough = (0..100).find(|steps| {
        disk.fill(written * steps / 20);
        let output = run(&data, &["ingest"]);
        disk.free();
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.contains("the disk is full: free space, then run the same command again"), "{said}");
            assert!(epiledger_ingest::snapshot::newest(&data).unwrap().is_none(), "nothing half-written is published");
        }
        output.status.success()
    });
    assert!(enough.is_some_and(|steps| steps > 5), "{enough:?}");
    assert!(tables(&data) == tables(&whole), "the tables differ");
}

#[test]
fn a_log_on_a_full_disk_answers_nothing_it_could_not_write_and_goes_on_when_there_is_room() {
    let Some(disk) = Disk::of("64m") else { return };
    let data = disk.at("data");
    assert!(App::demo(&data, 100).stop().unwrap().success());
    let demo: Value = serde_json::from_slice(&fs::read(data.join("demo.json")).unwrap()).unwrap();
    let beside = tempfile::tempdir().unwrap();
    let words = beside.path().join("stderr");
    let serve = || {
        let stderr = File::create(&words).unwrap();
        let mut app = App::start_with(&data, &["serve", "--json", "--port", "0"], stderr);
        app.keys = demo["keys"].clone();
        app
    };
    let question = |number: u32| {
        let sql = format!("SELECT COUNT(*) FROM person WHERE year_of_birth > {}", 1900 + number);
        json!({ "sql": sql, "privacy": { "rho": "0.0001" } })
    };
    let app = serve();
    disk.fill(0);
    // What is left of the last page of each file may still take some.
    let refused = (0..100).find_map(|number| {
        let reply = app.post("researcher", "/v1/statements", &question(number));
        (reply.status != 200).then_some((number, reply))
    });
    let (number, reply) = refused.unwrap();
    let problem = reply.json();
    assert!(matches!(reply.status, 503 | 504) && problem["rows"].is_null(), "{problem}");
    assert!(!app.ended().unwrap().success(), "it stops by itself");
    let words = fs::read_to_string(&words).unwrap();
    assert!(words.contains("the disk is full: free space"), "{words}");

    disk.free();
    let app = serve();
    let again = app.post("researcher", "/v1/statements", &question(number));
    assert_eq!(again.status, 200, "{}", again.text());
    let of = |kind: &str| app.audit().iter().filter(|entry| entry["type"] == kind).count();
    assert_eq!(of("query.intent"), of("query.outcome"), "each question that was paid has its outcome");
    assert!(app.stop().unwrap().success());
    let verified = run(&data, &["audit", "verify", data.join("audit").to_str().unwrap()]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}
