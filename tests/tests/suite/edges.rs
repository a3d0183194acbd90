//! Who may depend on whom, under which licences, and on what never: read from `cargo metadata`.

use std::{collections::BTreeSet, process::Command};

use serde_json::Value;

fn metadata() -> Value {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let said = Command::new(&cargo).arg("-vV").output().unwrap().stdout;
    let said = String::from_utf8(said).unwrap();
    let host = said.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    // What was built is at hand: packages of other platforms may not be, and nothing is fetched here.
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--offline", "--locked", "--filter-platform", host])
        .current_dir("..")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn packages(metadata: &Value) -> &Vec<Value> {
    metadata["packages"].as_array().unwrap()
}

fn name(package: &Value) -> &str {
    package["name"].as_str().unwrap()
}

/// `ledger <- privacy <- sql, ingest <- engine <- tests`; sql and ingest never meet.
#[test]
fn crates_depend_in_one_direction() {
    let allowed: [(&str, &[&str]); 6] = [
        ("ledger", &[]),
        ("privacy", &["ledger"]),
        ("sql", &["privacy"]),
        ("ingest", &["ledger", "privacy"]),
        ("engine", &["ledger", "privacy", "sql", "ingest"]),
        ("tests", &["ledger", "privacy", "sql", "ingest", "engine"]),
    ];
    let metadata = metadata();
    let ours: Vec<&Value> = packages(&metadata).iter().filter(|p| name(p).starts_with("epiledger-")).collect();
    assert_eq!(ours.len(), allowed.len());
    for package in ours {
        let short = name(package).trim_start_matches("epiledger-");
        let allowed = allowed.iter().find(|(crate_name, _)| *crate_name == short).unwrap().1;
        for dependency in package["dependencies"].as_array().unwrap() {
            if let Some(other) = name(dependency).strip_prefix("epiledger-") {
                assert!(allowed.contains(&other), "{short} must not depend on {other}");
            }
        }
    }
}

#[test]
fn there_is_exactly_one_binary() {
    let metadata = metadata();
    let binaries: Vec<&str> = packages(&metadata)
        .iter()
        .filter(|p| p["source"].is_null())
        .flat_map(|p| p["targets"].as_array().unwrap())
        .filter(|t| t["kind"][0] == "bin")
        .map(name)
        .collect();
    assert_eq!(binaries, ["epiledger"]);
    assert!(metadata["workspace_default_members"].as_array().is_none_or(|m| m.len() == 6));
}

/// Licences that may be linked into an Apache-2.0 program.
const LICENCES: [&str; 18] = [
    "MIT",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "0BSD",
    "CC0-1.0",
    "BSL-1.0",
    "Unlicense",
    "MIT-0",
    "CDLA-Permissive-2.0",
    "OpenSSL",
    "Apache-2.0 WITH LLVM-exception",
    "Python-2.0",
    "bzip2-1.0.6",
    "MPL-2.0",
];

/// Crates that name a licence file instead of an expression; the file was read.
const LICENCE_FILES: [(&str, &str); 2] = [("opendp", "MIT"), ("opendp_derive", "MIT")];

/// Is one alternative of an SPDX expression allowed? (`A OR B` needs one, `A AND B` both, `A/B` is the old `OR`.)
fn allowed(expression: &str) -> bool {
    let expression = expression.replace(['(', ')'], "");
    expression
        .replace('/', " OR ")
        .split(" OR ")
        .any(|choice| choice.split(" AND ").all(|licence| LICENCES.contains(&licence.trim())))
}

#[test]
fn every_dependency_has_a_licence_that_fits() {
    assert!(allowed("MIT OR GPL-3.0") && allowed("(MIT OR Apache-2.0) AND Unicode-3.0") && !allowed("GPL-3.0-only"));
    let metadata = metadata();
    let bad: Vec<String> = packages(&metadata)
        .iter()
        .filter(|p| !LICENCE_FILES.iter().any(|(known, _)| *known == name(p)))
        .filter(|p| !p["license"].as_str().is_some_and(allowed))
        .map(|p| format!("{} {}", name(p), p["license"]))
        .collect();
    assert!(bad.is_empty(), "{bad:?}");
}

/// Crates that must not come in, each with the reason.
const BANNED: [(&str, &str); 6] = [
    ("iceberg", "it resolves with another DataFusion"),
    ("datafusion-postgres", "its servers run raw SQL without authentication"),
    ("rs_merkle", "its hash rules are not RFC 6962's"),
    ("figment", "it is no longer kept"),
    ("polars", "not before post-processing needs it: it doubles the build"),
    ("alloy", "not before the Ethereum backend needs it"),
];

#[test]
fn banned_crates_stay_out() {
    let metadata = metadata();
    let names: BTreeSet<&str> = packages(&metadata).iter().map(name).collect();
    for (banned, reason) in BANNED {
        assert!(!names.contains(banned), "{banned}: {reason}");
    }
}

/// Noise can't be switched off: Cargo unifies features, so the trusted core has none.
#[test]
fn the_trusted_core_has_no_features() {
    let metadata = metadata();
    let privacy = packages(&metadata).iter().find(|p| name(p) == "epiledger-privacy").unwrap();
    assert_eq!(privacy["features"].as_object().map(serde_json::Map::len), Some(0));
    let opendp = privacy["dependencies"].as_array().unwrap().iter().find(|d| name(d) == "opendp").unwrap();
    let features: Vec<&str> = opendp["features"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(features, ["contrib", "use-openssl"]);
}
