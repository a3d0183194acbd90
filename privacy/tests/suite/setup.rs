//! An accountant of one policy and one protocol, `p`, whose one investigator is `ada`.

use std::sync::Arc;

use epiledger_ledger::{
    Log, NoteKey, StdFs,
    entry::{AuditEntry, PolicyPropose, PolicySet, PolicyTerms, ProtocolApprove},
};
use epiledger_privacy::{
    accountant::{Accountant, Asker},
    clock::Timing,
};

/// A log's first entries: a policy, proposed and confirmed, and the protocol, with these caps on rho (id space, protocol,
/// principal, any 24 hours) and one cap on delta.
pub fn rules(rho_caps: [&str; 4], delta_cap: &str) -> [AuditEntry; 3] {
    let text = |t: &str| t.to_owned();
    let [id_space, protocol, principal, window] = rho_caps.map(text);
    let terms = PolicyTerms {
        id_space: text("world"),
        rho_cap: id_space,
        delta_cap: text(delta_cap),
        principal_rho_cap: principal,
        principal_delta_cap: text(delta_cap),
        window_rho_cap: window,
        query_rho: text("0.01"),
        query_delta: text("0.000001"),
        delta_rep: text("0.00000001"),
        catalog: "0".repeat(64),
    };
    let proposal = PolicyPropose { by: text("a"), terms: terms.clone() };
    let approvers = [text("a"), text("b")];
    let policy = PolicySet { policy: 1, proposal: 0, terms, approvers, time: 0, effective: 0 };
    let approval = ProtocolApprove {
        protocol: text("p"),
        title: text("a test"),
        purpose: text("HMB"),
        investigators: vec![text("ada")],
        rho_cap: protocol,
        delta_cap: text(delta_cap),
        valid_from: text("1970-01-01"),
        valid_to: text("2099-12-31"),
        approver: text("b"),
    };
    [AuditEntry::PolicyPropose(proposal), AuditEntry::PolicySet(policy), AuditEntry::ProtocolApprove(approval)]
}

/// The accountant, and the folder of its log.
pub struct Bench {
    pub accountant: Arc<Accountant>,
    _dir: tempfile::TempDir,
}

impl Bench {
    /// A new log whose every level has this cap on rho.
    pub fn new(rho_cap: &str) -> Self {
        Self::with(rules([rho_cap; 4], "1"))
    }

    /// A new log that begins with these entries.
    pub fn with(rules: [AuditEntry; 3]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = NoteKey::generate("test/audit").unwrap();
        let log = Log::create(Arc::new(StdFs), &dir.path().join("audit"), "test/audit", key).unwrap();
        let accountant = Accountant::open(Arc::new(log)).unwrap();
        for entry in rules {
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
        request: String::new(),
        idempotency: None,
        build: "0".repeat(64),
        timing,
    }
}
