//! A hospital's way over HTTP: a record goes onto the ledger, the patient opens it to another hospital, which reads it,
//! the patient takes that back; and research counts it.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ed25519_dalek::SigningKey;
use epiledger_ingest::parties::signing_key;
use epiledger_ledger::{
    LedgerEntry, LogReader, SignedTransaction, Transaction, VerifierKey, check_proof,
    entry::{
        Erase, GrantAccess, ModifyRecord, NewRecord, ReadRequest, RevokeAccess,
        consent::Scope,
        key::Party,
        record::{Payload, Period, Reason, Seal},
    },
    parse_ledger_entry,
};
use epiledger_tests::{App, Reply, run};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::real_data::exactly;

const PATH: &str = "/v1/ledger/transactions";

/// A condition that the simulator never gives.
const CODE: &str = "712345678";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key(app: &App, party: Party, owner: &str) -> SigningKey {
    signing_key(&app.data, party, owner).unwrap().unwrap()
}

/// A patient with a record by some hospital and a grant to all research: both ids.
fn consenting(app: &App) -> (String, String) {
    let reader = LogReader::open(&app.data.join("ledger")).unwrap();
    let (mut provider, mut found) = (None, None);
    for stored in reader.entries(0) {
        let LedgerEntry::Transaction(signed) = parse_ledger_entry(&stored.unwrap().1).unwrap_or_else(|_| {
            // The simulator's bad transactions.
            parse_ledger_entry(&reader.read(0).unwrap()).unwrap()
        }) else {
            continue;
        };
        match signed.transaction {
            Transaction::NewRecord(new) => provider = Some(new.provider),
            Transaction::GrantAccess(grant) if found.is_none() => found = Some(grant.patient),
            Transaction::RevokeAccess(revoke) if found.as_ref() == Some(&revoke.patient) => found = None,
            _ => {}
        }
    }
    (found.unwrap(), provider.unwrap())
}

fn bundle(extra: &Value) -> Vec<u8> {
    let mut bundle = json!({
        "format": "omop-rows/1",
        "condition_occurrence": [{
            "condition_source_value": CODE, "condition_source_vocabulary": "SNOMED",
            "condition_start_date": "2021-05-06",
        }],
    });
    bundle.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    zstd::encode_all(bundle.to_string().as_bytes(), 1).unwrap()
}

fn record(patient: &str, provider: &str, record_id: &str, blob: &[u8]) -> Transaction {
    Transaction::NewRecord(NewRecord {
        record_id: record_id.into(),
        patient: patient.into(),
        provider: provider.into(),
        category: "general".into(),
        effective_period: Period { start: "2021-05-06".into(), end: "2021-05-06".into() },
        payload: payload(blob),
    })
}

fn payload(blob: &[u8]) -> Payload {
    Payload { sha256: hex(&Sha256::digest(blob)), size: blob.len() as u64, seal: Seal::None, key_id: None }
}

fn grant(patient: &str, grantee: &str) -> Transaction {
    Transaction::GrantAccess(GrantAccess {
        patient: patient.into(),
        grantee: grantee.into(),
        purposes: vec!["GRU".into()],
        categories: vec!["general".into()],
        data_period: None,
        valid_from: "2020-01-01".into(),
        valid_to: None,
        wrap_sha256: None,
    })
}

fn submit(app: &App, transaction: Transaction, key: &SigningKey, blobs: &[&[u8]]) -> (Vec<u8>, Reply) {
    let entry = SignedTransaction::sign(transaction, key).unwrap().into_bytes();
    let blobs: Vec<String> = blobs.iter().map(|blob| BASE64_STANDARD.encode(blob)).collect();
    let body = json!({ "entry": String::from_utf8(entry.clone()).unwrap(), "blobs": blobs });
    (entry, app.post("nobody", PATH, &body))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn read_at(app: &App, patient: &str, who: (Party, &str), key: &SigningKey, time: u64) -> Reply {
    let line = ReadRequest::sign("epiledger.example/ledger", patient, who, time, key);
    app.get_with(&format!("/v1/ledger/patients/{patient}/records"), &[("Authorization", &line)])
}

fn read(app: &App, patient: &str, who: (Party, &str), key: &SigningKey) -> Reply {
    read_at(app, patient, who, key, now())
}

fn ids(reply: &Reply) -> Vec<String> {
    let records = reply.json()["records"].clone();
    records.as_array().unwrap().iter().map(|r| r["record_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_record_is_written_opened_read_taken_back_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let app = App::demo(&dir.path().join("data"), 200);
    let (patient, provider) = consenting(&app);
    let other = if provider == "h-west" { "h-north" } else { "h-west" };
    let (ours, theirs) = (key(&app, Party::Hospital, &provider), key(&app, Party::Hospital, other));
    let own = key(&app, Party::Patient, &patient);

    // Onto the ledger: the answer proves it, under a head that the ledger's key signed.
    let blob = bundle(&json!({}));
    let (entry, reply) = submit(&app, record(&patient, &provider, "visit-1", &blob), &ours, &[&blob]);
    assert_eq!(reply.status, 201, "{}", reply.text());
    let verifier = std::fs::read_to_string(app.data.join("ledger/key")).unwrap();
    let proof = reply.json()["proof"].as_str().unwrap().to_owned();
    let (index, _) = check_proof(&proof, &VerifierKey::parse(verifier.trim()).unwrap(), &entry).unwrap();
    assert_eq!(Some(index), reply.json()["index"].as_u64());

    // Its writer and the patient read it; another hospital doesn't, though research in general may.
    assert!(ids(&read(&app, &patient, (Party::Hospital, &provider), &ours)).contains(&"visit-1".to_owned()));
    assert!(ids(&read(&app, &patient, (Party::Patient, &patient), &own)).contains(&"visit-1".to_owned()));
    assert_eq!(read(&app, &patient, (Party::Hospital, other), &theirs).status, 404);
    // Nor does anyone in another's name, for another patient, or much later.
    assert_eq!(read(&app, &patient, (Party::Hospital, &provider), &theirs).status, 401);
    assert_eq!(read(&app, "p-nobody", (Party::Hospital, other), &theirs).status, 404);
    assert_eq!(read_at(&app, &patient, (Party::Hospital, &provider), &ours, now() - 900).status, 401);

    let (_, granted) = submit(&app, grant(&patient, other), &own, &[]);
    assert_eq!(granted.status, 201, "{}", granted.text());
    let before = app.audit().len();
    let opened = read(&app, &patient, (Party::Hospital, other), &theirs);
    assert_eq!(opened.status, 200, "{}", opened.text());
    let records = opened.json()["records"].clone();
    let ours_in = records.as_array().unwrap().iter().find(|r| r["record_id"] == "visit-1").unwrap();
    assert_eq!(ours_in["bytes"].as_str(), Some(BASE64_STANDARD.encode(&blob).as_str()));
    assert_eq!((ours_in["grant"].as_u64(), &ours_in["wrap"]), (granted.json()["index"].as_u64(), &Value::Null));
    // The reading is on the audit log, the patient behind a commitment that the board can open.
    let entries = app.audit();
    assert_eq!(entries.len(), before + 1, "{entries:?}");
    let logged = entries.iter().max_by_key(|e| e["index"].as_u64()).unwrap();
    assert_eq!(
        (&logged["type"], &logged["body"]["reader"]),
        (&json!("record.read"), &json!(format!("hospital/{other}")))
    );
    assert!(!logged["body"].to_string().contains(&patient));
    let commit = logged["body"]["commit"].as_str().unwrap();
    let text = app.get("board", &format!("/v1/audit/blob/{commit}")).text();
    assert!(text.contains(&patient), "{text}");

    // A correction replaces it, a second one of the same version does not count.
    let corrected = bundle(&json!({ "procedure_occurrence": [] }));
    let modify = Transaction::ModifyRecord(ModifyRecord {
        record_id: "visit-1".into(),
        patient: patient.clone(),
        provider: provider.clone(),
        prev_index: index,
        reason: Reason::Amend,
        payload: Some(payload(&corrected)),
    });
    assert_eq!(submit(&app, modify.clone(), &ours, &[&corrected]).1.status, 201);
    let again = submit(&app, modify, &ours, &[&corrected]).1;
    assert_eq!((again.status, &again.json()["code"]), (422, &json!("PREV_NOT_NEWEST")));

    let revoke = RevokeAccess {
        patient: patient.clone(),
        scope: Scope::Grant,
        grant_index: granted.json()["index"].as_u64(),
        purpose: None,
    };
    assert_eq!(submit(&app, Transaction::RevokeAccess(revoke), &own, &[]).1.status, 201);
    assert_eq!(read(&app, &patient, (Party::Hospital, other), &theirs).status, 404);

    // The next cut has the record's one row; both logs verify.
    let ingest = run(&app.data, &["ingest", "--cut", "--json"]);
    assert!(ingest.status.success(), "{}", String::from_utf8_lossy(&ingest.stderr));
    let counted = format!("SELECT 'all', COUNT(*) FROM condition_occurrence WHERE condition_source_value = '{CODE}'");
    assert_eq!(exactly(&app.data, &counted)[0].1, 1);
    let data = app.data.clone();
    assert!(app.stop().unwrap().success());
    for log in ["ledger", "audit"] {
        let verified = run(&data, &["audit", "verify", data.join(log).to_str().unwrap()]);
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    }
}

/// What would not count is not taken, says why by its code, and leaves the ledger as it was.
#[test]
fn what_would_not_count_is_refused_and_not_appended() {
    let dir = tempfile::tempdir().unwrap();
    let app = App::demo(&dir.path().join("data"), 120);
    let (patient, provider) = consenting(&app);
    let (hospital, own) = (key(&app, Party::Hospital, &provider), key(&app, Party::Patient, &patient));
    let stranger = SigningKey::from_bytes(&[5; 32]);
    let size = || LogReader::open(&app.data.join("ledger")).unwrap().size();
    let blob = bundle(&json!({}));
    assert_eq!(submit(&app, record(&patient, &provider, "r", &blob), &hospital, &[&blob]).1.status, 201);
    let before = size();
    let new = |id: &str| record(&patient, &provider, id, &blob);
    let planted = bundle(&json!({ "name": "a name" }));
    let long = Transaction::NewRecord(NewRecord {
        payload: Payload { size: 1, ..payload(&blob) },
        ..match new("s") {
            Transaction::NewRecord(new) => new,
            _ => unreachable!(),
        }
    });
    let erase = Transaction::Erase(Erase {
        patient: patient.clone(),
        payload_sha256: payload(&blob).sha256,
        basis: "withdrawal".into(),
    });
    let cases: [(&str, Reply, u16, &str); 9] = [
        ("an erasure", submit(&app, erase, &own, &[]).1, 422, "ERASURE"),
        ("a stranger's key", submit(&app, new("s"), &stranger, &[&blob]).1, 422, "UNKNOWN_KEY"),
        ("the patient's key", submit(&app, new("s"), &own, &[&blob]).1, 422, "WRONG_SIGNER"),
        ("a grant by the hospital", submit(&app, grant(&patient, "h-west"), &hospital, &[]).1, 422, "WRONG_SIGNER"),
        ("an id that is taken", submit(&app, new("r"), &hospital, &[&blob]).1, 409, "DUPLICATE_RECORD"),
        ("no blob", submit(&app, new("s"), &hospital, &[]).1, 422, "BLOBS"),
        ("another blob", submit(&app, new("s"), &hospital, &[b"x"]).1, 422, "BLOBS"),
        ("another size", submit(&app, long, &hospital, &[&blob]).1, 422, "BLOBS"),
        (
            "an identifier",
            submit(&app, record(&patient, &provider, "s", &planted), &hospital, &[&planted]).1,
            422,
            "PAYLOAD",
        ),
    ];
    for (what, reply, status, code) in cases {
        assert_eq!((reply.status, reply.json()["code"].as_str()), (status, Some(code)), "{what}: {}", reply.text());
        assert!(!reply.text().contains("a name"), "{what}: names the field and never the value");
    }
    let (entry, _) = submit(&app, new("t"), &stranger, &[&blob]);
    let forged = String::from_utf8(entry).unwrap().replace("\"t\"", "\"u\"");
    let reply = app.post("nobody", PATH, &json!({ "entry": forged, "blobs": [BASE64_STANDARD.encode(&blob)] }));
    assert_eq!((reply.status, reply.json()["code"].as_str()), (422, Some("BAD_SIGNATURE")));
    for body in [json!({ "entry": "{}" }), json!({ "entry": 1 }), json!({ "entry": "x", "blobs": ["?"] }), json!([])] {
        assert_eq!(app.post("nobody", PATH, &body).status, 400, "{body}");
    }
    assert_eq!(size(), before);
}

/// The command line signs with the folder's keys and leaves the appending to the running server.
#[test]
fn the_command_line_appends_through_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let app = App::demo(&dir.path().join("data"), 120);
    let (patient, _) = consenting(&app);
    let granted = run(&app.data, &["ledger", "grant", &patient, "--grantee", "h-west", "--valid-from", "2020-01-01"]);
    assert!(granted.status.success(), "{}", String::from_utf8_lossy(&granted.stderr));
    let read = run(&app.data, &["ledger", "records", &patient, "--hospital", "h-west", "--json"]);
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let records: Value = serde_json::from_slice(&read.stdout).unwrap();
    assert!(!records["records"].as_array().unwrap().is_empty());
    assert!(run(&app.data, &["ledger", "revoke", &patient]).status.success());
    let read = run(&app.data, &["ledger", "records", &patient, "--hospital", "h-west"]);
    assert!(!read.status.success());
    let requested = run(&app.data, &["ledger", "request", "demo"]);
    assert!(requested.status.success(), "{}", String::from_utf8_lossy(&requested.stderr));
}
