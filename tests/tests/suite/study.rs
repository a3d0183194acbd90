//! A served study of a test's own patients: their Synthea files, keys of each role, a policy and a protocol.

use std::{fs, path::Path, sync::Arc};

use epiledger_engine::{open, rotation::audit_log};
use epiledger_ingest::Folder;
use epiledger_ledger::entry::{AuditEntry, PolicyTerms, ProtocolApprove};
use epiledger_privacy::accountant::Accountant;
use epiledger_tests::{App, run};
use serde_json::{Value, json};

/// Runs the binary over the folder; gives what it printed.
pub fn succeeds(data: &Path, args: &[&str]) -> Vec<u8> {
    let output = run(data, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The server over `dir/data`, made of Synthea's two files, whose every cap is this rho.
pub fn served(dir: &Path, patients: &str, conditions: &str, rho_cap: &str) -> App {
    let (data, records) = (dir.join("data"), dir.join("records"));
    fs::create_dir_all(&records).unwrap();
    fs::write(records.join("patients.csv"), patients).unwrap();
    fs::write(records.join("conditions.csv"), conditions).unwrap();
    let import = ["ledger", "import", "--consent", "all", "--data-cut", "2025-12-31", "--declared-patients", "1000"];
    succeeds(&data, &[&import[..], &["--synthea", records.to_str().unwrap()]].concat());
    let expert = ["--method", "k-anonymity", "--date", "2020-01-01", "--expires", "2099-12-31", "--risk-max", "0.05"];
    succeeds(&data, &[&["ledger", "determine"], &expert[..]].concat());
    succeeds(&data, &["ingest"]);
    let mut keys = json!({});
    for role in ["steward", "board", "researcher", "epidemiologist"] {
        let made = succeeds(&data, &["keys", "create", role, "--role", role, "--json"]);
        keys[role] = serde_json::from_slice::<Value>(&made).unwrap()["token"].clone();
    }
    approve(&data, rho_cap);
    let mut app = App::start(&data, &["serve", "--json", "--port", "0"]);
    app.keys = keys;
    app
}

/// The policy and the protocol, as the steward and the board set them.
fn approve(data: &Path, rho_cap: &str) {
    let accountant = Accountant::open(Arc::new(audit_log(data).unwrap())).unwrap();
    let cap = || rho_cap.to_owned();
    let terms = PolicyTerms {
        rho_cap: cap(),
        principal_rho_cap: cap(),
        window_rho_cap: cap(),
        ..open::default_terms(&Folder::new(data).catalog().unwrap())
    };
    let proposal = accountant.propose_policy(terms, "steward").unwrap();
    accountant.confirm_policy(proposal, "board").unwrap();
    let protocol = ProtocolApprove {
        protocol: "study".into(),
        title: "A study".into(),
        purpose: "HMB".into(),
        investigators: vec!["researcher".into()],
        rho_cap: cap(),
        delta_cap: "0.000001".into(),
        valid_from: "2020-01-01".into(),
        valid_to: "2099-12-31".into(),
        approver: "board".into(),
    };
    accountant.record(AuditEntry::ProtocolApprove(protocol), Vec::new()).unwrap();
}
