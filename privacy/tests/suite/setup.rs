//! An accountant of one policy and one protocol, `p`, whose one investigator is `ada`.

use std::sync::Arc;

use epiledger_ledger::{
    Log, NoteKey, StdFs,
    entry::{AuditEntry, PolicySet, ProtocolApprove},
};
use epiledger_privacy::{
    accountant::{Accountant, Asker},
    clock::Timing,
};

/// The policy and the protocol, with these caps on rho (id space, protocol, principal) and one cap on delta.
pub fn rules(rho_caps: [&str; 3], delta_cap: &str) -> [AuditEntry; 2] {
    let text = |t: &str| t.to_owned();
    let [id_space, protocol, principal] = rho_caps.map(text);
    let policy = PolicySet {
        policy: 1,
        id_space: text("world"),
        rho_cap: id_space,
        delta_cap: text(delta_cap),
        principal_rho_cap: principal,
        principal_delta_cap: text(delta_cap),
        query_rho: text("0.01"),
        query_delta: text("0.000001"),
        delta_rep: text("0.00000001"),
        catalog: "0".repeat(64),
        approvers: [text("a"), text("b")],
        effective: text("2020-01-01"),
    };
    let approval = ProtocolApprove {
        protocol: text("p"),
        title: text("a test"),
        purpose: text("HMB"),
        investigators: vec![text("ada")],
        rho_cap: protocol,
        delta_cap: text(delta_cap),
        valid_from: text("2020-01-01"),
        valid_to: text("2099-12-31"),
        approver: text("b"),
    };
    [AuditEntry::PolicySet(policy), AuditEntry::ProtocolApprove(approval)]
}

/// The accountant, and the folder of its log.
pub struct Bench {
    pub accountant: Arc<Accountant>,
    _dir: tempfile::TempDir,
}

impl Bench {
    /// A new log whose every level has this cap on rho.
    pub fn new(rho_cap: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = NoteKey::generate("test/audit").unwrap();
        let log = Log::create(Arc::new(StdFs), &dir.path().join("audit"), "test/audit", key).unwrap();
        let accountant = Accountant::open(Arc::new(log)).unwrap();
        for entry in rules([rho_cap; 3], "1") {
            accountant.record(entry, Vec::new()).unwrap();
        }
        Self { accountant, _dir: dir }
    }
}

pub fn asker(timing: Timing) -> Asker {
    Asker {
        principal: "ada".into(),
        key_id: "k".into(),
        role: "researcher".into(),
        protocol: "p".into(),
        text: "a question".into(),
        idempotency: None,
        build: "0".repeat(64),
        today: "2026-01-01".into(),
        timing,
    }
}
