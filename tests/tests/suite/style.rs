//! Rules about the text of the project itself.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new("..")
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            if !matches!(entry.file_name().to_str(), Some("target" | ".git" | "node_modules")) {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn all() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    sources(root(), &mut found);
    assert!(found.len() > 50, "the walk found too little to mean anything");
    found.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn no_file_is_past_500_lines() {
    let long: Vec<String> = all()
        .iter()
        .filter(|(_, text)| text.lines().count() > 500)
        .map(|(path, text)| format!("{}: {}", path.display(), text.lines().count()))
        .collect();
    assert!(long.is_empty(), "two ideas in one file? {long:?}");
}

#[test]
fn nothing_is_left_to_do_or_silenced() {
    let words = ["todo!(", "unimplemented!(", "FIXME", "TODO:", "#[allow(", "#[ignore", "dbg!("];
    for (path, text) in all() {
        if path.ends_with("suite/style.rs") {
            continue;
        }
        for word in words {
            assert!(!text.contains(word), "{} has {word}", path.display());
        }
    }
}

/// The trusted core has no I/O, no network and no log of its own. Its size is a ratchet: it may only be lowered.
#[test]
fn the_trusted_core_stays_small_and_silent() {
    let mut lines = 0;
    let core = root().join("privacy").join("src");
    for (path, text) in all().into_iter().filter(|(path, _)| path.starts_with(&core)) {
        if path.file_stem().is_some_and(|name| name == "tests") {
            continue;
        }
        // The oracle is what the core is held to: no question of patients runs it (see below).
        if path.to_string_lossy().contains("privacy/src/bound/oracle") {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let code: Vec<&str> =
            code.lines().filter(|l| !l.trim().is_empty() && !l.trim_start().starts_with("//")).collect();
        let (size, code) = (code.len(), code.join("\n"));
        for word in ["println!", "eprintln!", "tracing::", "std::fs", "std::net", "tokio::", "std::env"] {
            assert!(!code.contains(word), "{} uses {word}", path.display());
        }
        lines += size;
    }
    println!("lines of code in the trusted core, without tests and comments: {lines}");
    assert!(lines < 12_100, "{lines} lines");
}

fn is_test(path: &Path) -> bool {
    let inside = path.strip_prefix(root()).unwrap_or(path);
    inside.components().any(|c| matches!(c.as_os_str().to_str(), Some("tests" | "benches")))
}

/// Exact integers leave the core on two ways: to an executor, for a question that was paid, and to the oracle's tests,
/// of simulated people alone.
#[test]
fn exact_integers_reach_executors_and_tests_alone() {
    let mut executors = 0;
    for (path, text) in all().into_iter().filter(|(path, _)| !is_test(path)) {
        let at = path.display().to_string();
        if text.contains("Executor for ") {
            assert!(at.contains("engine/src/exec/"), "{at} runs bounded plans");
            executors += 1;
        }
        if text.contains(".oracle(") || text.contains("fn oracle") {
            assert!(at.ends_with("privacy/src/bound/oracle.rs"), "{at} names the oracle");
        }
    }
    assert_eq!(executors, 1, "the walk saw the product's files");
}

/// Plans over a snapshot that is marked as synthetic are answered without a price: one place may mark one, beside tests.
#[test]
fn one_place_marks_a_snapshot_as_synthetic() {
    let marks: Vec<PathBuf> = all()
        .into_iter()
        .filter(|(path, text)| !is_test(path) && text.contains("synthetic: true"))
        .map(|(path, _)| path)
        .collect();
    assert!(matches!(marks.as_slice(), [only] if only.ends_with("engine/src/dummy.rs")), "{marks:?}");
}

#[test]
fn the_top_level_is_the_houses() {
    let expected = [
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "engine",
        "ingest",
        "ledger",
        "notebooks",
        "privacy",
        "rust-toolchain.toml",
        "sql",
        "tests",
    ];
    let mut names: Vec<String> = fs::read_dir(root())
        .unwrap()
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && name != "target")
        .collect();
    names.sort();
    assert_eq!(names, expected);
}
