//! Small logs of both kinds, and copies of their folders.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ed25519_dalek::SigningKey;
use epiledger_ledger::{
    AuditEntry, Clock, Log, NewEntry, NoteKey, Setup, SignedTransaction, StdFs, Transaction,
    entry::{
        Erase, GrantAccess, KeyRegister, ModifyRecord, NewRecord, PolicyPropose, PolicySet, PolicyTerms,
        ProtocolApprove, QueryIntent, QueryOutcome, QueryRefused, QueryRepeated, SnapshotPinned,
        key::Party,
        query::{AccountantState, Bounds, Outcome, Primitive},
        record::{Payload, Period, Reason, Seal},
    },
    tree::sha256,
};

/// 2026-03-01, noon, plus whatever a test adds.
#[derive(Default)]
pub struct TestClock(pub AtomicU64);

pub const NOON: u64 = 1_772_366_400;

impl Clock for TestClock {
    fn now_seconds(&self) -> u64 {
        NOON + self.0.load(Ordering::SeqCst)
    }
}

pub fn key(origin: &str) -> NoteKey {
    NoteKey::from_seed(origin, &[1; 32]).unwrap()
}

pub fn create(dir: &Path, origin: &str, clock: Arc<dyn Clock>) -> Log {
    Log::create_with(Arc::new(StdFs), dir, origin, key(origin), Setup { clock, ..Setup::default() }).unwrap()
}

/// Short files; what is durable is published at once, as on a simulated disk each change has its turn.
pub fn short(segment_bytes: u64, pack_bytes: u64) -> Setup {
    let publish_pause = Duration::ZERO;
    Setup { clock: Arc::new(TestClock::default()), segment_bytes, pack_bytes, publish_pause }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn person(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

pub fn public(n: u8) -> String {
    hex(person(n).verifying_key().as_bytes())
}

pub fn sign(transaction: Transaction, signer: u8) -> NewEntry {
    SignedTransaction::sign(transaction, &person(signer)).unwrap().into()
}

pub fn register(party: Party, owner: &str, new: u8, signer: u8) -> NewEntry {
    let body = KeyRegister { owner: owner.into(), party, public_key: public(new), from_height: 0 };
    sign(Transaction::KeyRegister(body), signer)
}

pub fn payload(blob: &[u8]) -> Payload {
    Payload { sha256: hex(&sha256(blob)), size: blob.len() as u64, seal: Seal::None, key_id: None }
}

pub fn record(id: &str, patient: &str, blob: &[u8], signer: u8) -> NewEntry {
    let day = || "2024-01-01".to_owned();
    let body = NewRecord {
        record_id: id.into(),
        patient: patient.into(),
        provider: "h".into(),
        category: "general".into(),
        effective_period: Period { start: day(), end: day() },
        payload: payload(blob),
    };
    NewEntry { blobs: vec![blob.to_vec()], ..sign(Transaction::NewRecord(body), signer) }
}

pub fn retract(id: &str, patient: &str, prev_index: u64, signer: u8) -> NewEntry {
    let body = ModifyRecord {
        record_id: id.into(),
        patient: patient.into(),
        provider: "h".into(),
        prev_index,
        reason: Reason::Retract,
        payload: None,
    };
    sign(Transaction::ModifyRecord(body), signer)
}

pub fn erase(patient: &str, blob: &[u8], signer: u8) -> NewEntry {
    let body = Erase { patient: patient.into(), payload_sha256: hex(&sha256(blob)), basis: "withdrawal".into() };
    sign(Transaction::Erase(body), signer)
}

pub fn grant(patient: &str, signer: u8) -> NewEntry {
    let body = GrantAccess {
        patient: patient.into(),
        grantee: "*".into(),
        purposes: vec!["GRU".into()],
        categories: vec!["*".into()],
        data_period: None,
        valid_from: "2020-01-01".into(),
        valid_to: None,
        wrap_sha256: None,
    };
    sign(Transaction::GrantAccess(body), signer)
}

/// Registrar 1, hospital 2, patient 3; a grant, two records, a retraction, and two bad transactions.
pub fn small_ledger(dir: &Path) {
    let log = create(dir, "test.example/ledger", Arc::new(TestClock::default()));
    let appended = log
        .append(vec![
            register(Party::Registrar, "r", 1, 1),
            register(Party::Hospital, "h", 2, 1),
            register(Party::Patient, "p", 3, 2),
            grant("p", 3),
            record("a", "p", b"rows of a", 2),
        ])
        .unwrap();
    let first = appended.index(4).unwrap();
    log.flush().unwrap();
    log.append(vec![
        record("b", "p", b"rows of b", 2),
        retract("a", "p", first, 2),
        grant("p", 2),
        record("c", "p", b"c", 9),
    ])
    .unwrap();
    log.flush().unwrap();
}

/// What an audit log is built from, field by field changeable.
pub struct AuditWriter {
    pub log: Log,
    pub intents: u64,
    pub rho: u128,
}

pub fn terms(cap: &str) -> PolicyTerms {
    PolicyTerms {
        id_space: "s".into(),
        rho_cap: cap.into(),
        delta_cap: "0.000001".into(),
        principal_rho_cap: cap.into(),
        principal_delta_cap: "0.000001".into(),
        window_rho_cap: cap.into(),
        query_rho: "0.0005".into(),
        query_delta: "0.000000001".into(),
        delta_rep: "0.00000001".into(),
        catalog: "0".repeat(64),
    }
}

pub fn protocol() -> ProtocolApprove {
    ProtocolApprove {
        protocol: "x".into(),
        title: "t".into(),
        purpose: "GRU".into(),
        investigators: vec!["ada".into()],
        rho_cap: "0.4".into(),
        delta_cap: "0.000001".into(),
        valid_from: "2026-01-01".into(),
        valid_to: "2026-12-31".into(),
        approver: "board".into(),
    }
}

pub fn salted(text: &str) -> (String, Vec<u8>) {
    let blob = [&[7; 32], text.as_bytes()].concat();
    (hex(&sha256(&blob)), blob)
}

impl AuditWriter {
    /// A log with a policy, a protocol and a snapshot.
    pub fn new(dir: &Path, clock: Arc<dyn Clock>) -> Self {
        let log = create(dir, "test.example/audit", clock);
        let writer = Self { log, intents: 0, rho: 0 };
        let (commit, blob) = salted("manifest");
        let snapshot = AuditEntry::Snapshot(SnapshotPinned {
            number: 1,
            cut_at: "2026-03-01T03:00Z".into(),
            scheduled: true,
            commit,
        });
        writer.set_policy(1, terms("0.5"), 0, |_| ());
        writer.append(AuditEntry::ProtocolApprove(protocol()), vec![]);
        writer.append(snapshot, vec![blob]);
        writer
    }

    pub fn append(&self, entry: AuditEntry, blobs: Vec<Vec<u8>>) -> u64 {
        self.log.append(vec![NewEntry { entry: entry.to_canonical().unwrap(), blobs }]).unwrap().first
    }

    /// A proposal and its confirmation, in force `later` seconds after the log's time.
    pub fn set_policy(&self, number: u64, terms: PolicyTerms, later: u64, change: impl FnOnce(&mut PolicySet)) {
        let proposal = PolicyPropose { by: "one".into(), terms: terms.clone() };
        let proposal = self.append(AuditEntry::PolicyPropose(proposal), vec![]);
        let time = self.log.time();
        let approvers = ["one".into(), "two".into()];
        let mut policy = PolicySet { policy: number, proposal, terms, approvers, time, effective: time + later };
        change(&mut policy);
        self.append(AuditEntry::PolicySet(policy), vec![]);
    }

    /// The intent that a right accountant would write next: D^2 = 1, sigma = 10, rho = 0.005.
    pub fn intent(&self) -> QueryIntent {
        QueryIntent {
            query_id: format!("{:032x}", self.log.size()),
            principal: "ada".into(),
            key_id: "k".into(),
            role: "researcher".into(),
            protocol: "x".into(),
            purpose: "GRU".into(),
            id_space: "s".into(),
            sql_commit: salted("SELECT 1").0,
            plan_commit: "1".repeat(64),
            build: "2".repeat(64),
            snapshot: 1,
            timing: "classes".into(),
            time: self.log.time(),
            finer: None,
            series: None,
            primitives: vec![Primitive {
                mechanism: "discrete_gaussian".into(),
                d_squared: "1".into(),
                sigma: "10".into(),
                rho: "0.005".into(),
                combined: None,
            }],
            rho: "0.005".into(),
            delta: "0.000000001".into(),
            state: AccountantState {
                intents: self.intents,
                rho: format!("0.{:012}", self.rho),
                delta: format!("0.{:018}", u128::from(self.intents) * 1_000_000_000),
            },
            bounds: Bounds { rows: 1, groups: 1, scan_rows: 1, k_min: None },
            policy: 1,
            idempotency: None,
            request_commit: None,
        }
    }

    pub fn ask(&mut self, intent: QueryIntent) -> u64 {
        let index = self.append(AuditEntry::QueryIntent(intent), vec![salted("SELECT 1").1]);
        self.intents += 1;
        self.rho += 5_000_000_000;
        index
    }

    pub fn answer(&self, intent: u64, query_id: &str, outcome: Outcome) -> u64 {
        let (commit, blob) = salted("result");
        let answered = outcome == Outcome::Answered;
        let entry =
            QueryOutcome { query_id: query_id.into(), intent, outcome, result_commit: answered.then_some(commit) };
        self.append(AuditEntry::QueryOutcome(entry), if answered { vec![blob] } else { vec![] })
    }

    pub fn repeat(&self, cites: u64) {
        let (sql_commit, blob) = salted("SELECT  1");
        let entry = QueryRepeated { principal: "ada".into(), protocol: "x".into(), sql_commit, cites };
        self.append(AuditEntry::QueryRepeated(entry), vec![blob]);
    }

    pub fn refuse(&self) {
        let (sql_commit, blob) = salted("SELECT *");
        let entry =
            QueryRefused { principal: "ada".into(), protocol: "x".into(), sql_commit, code: "ROW_LEVEL_OUTPUT".into() };
        self.append(AuditEntry::QueryRefused(entry), vec![blob]);
    }
}

/// One answered question, one refused, one repeated, one open.
pub fn small_audit(dir: &Path) {
    let mut writer = AuditWriter::new(dir, Arc::new(TestClock::default()));
    let intent = writer.intent();
    let index = writer.ask(intent.clone());
    let outcome = writer.answer(index, &intent.query_id, Outcome::Answered);
    writer.refuse();
    writer.repeat(outcome);
    writer.ask(writer.intent());
    writer.log.flush().unwrap();
}

/// Every file below a folder, with its path.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for item in fs::read_dir(dir).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let path = item.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &target) } else { fs::copy(&path, &target).map(drop).unwrap() }
    }
}
