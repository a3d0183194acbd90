//! Two ledgers that differ in one patient: every other patient's rows are the same.

use epiledger_ingest::simulate::{Simulation, run};

use crate::support::{Rows, Writer, bundle, grant, ingest, rows, visible};

/// Rows of the tables with and without some persons.
fn tables(without: &[u64]) -> Rows {
    let dir = tempfile::tempdir().unwrap();
    let simulation = Simulation { without: without.to_vec(), ..Simulation::new(150, 11) };
    run(dir.path(), &simulation, &|_| {}).unwrap();
    ingest(dir.path());
    visible(rows(dir.path()))
}

#[test]
fn leaving_one_patient_out_changes_nobody_else() {
    let all = tables(&[]);
    // 7, 107: persons with a bad transaction.
    for number in [0, 7, 42, 107] {
        let fewer = tables(&[number]);
        let gone: Vec<&String> =
            all["person"].iter().filter(|row| !fewer["person"].contains(row)).map(|row| &row["person_id"]).collect();
        assert!(gone.len() <= 1);
        for (table, rows) in &all {
            let others: Vec<_> = rows.iter().filter(|row| !gone.contains(&&row["person_id"])).cloned().collect();
            assert_eq!(others, fewer[table], "{table} without {number}");
        }
    }
}

#[test]
fn a_provider_that_claims_a_key_for_another_patient_changes_nobody_else() {
    let tables = |poisoned: bool| {
        let dir = tempfile::tempdir().unwrap();
        run(dir.path(), &Simulation::new(5, 11), &|_| {}).unwrap();
        let writer = Writer::open(dir.path());
        if poisoned {
            // Another patient is registered with the key that patient 1 will have.
            let key = ed25519_dalek::SigningKey::from_bytes(&[1; 32]);
            let public_key = key.verifying_key().as_bytes().iter().map(|b| format!("{b:02x}")).collect();
            let body = epiledger_ledger::entry::key::KeyRegister {
                owner: "p-other".into(),
                party: epiledger_ledger::entry::key::Party::Patient,
                public_key,
                from_height: 0,
            };
            writer.hospital(epiledger_ledger::Transaction::KeyRegister(body), vec![]);
        }
        let (patient, key) = writer.patient(1);
        writer.append(grant(&patient, "GRU", "*"), &key, vec![]);
        writer.record(&patient, "r", "general", &bundle("44054006"));
        writer.close();
        ingest(dir.path());
        visible(rows(dir.path()))
    };
    let clean = tables(false);
    assert_eq!(clean, tables(true));
    assert!(clean["condition_occurrence"].iter().any(|row| row["condition_start_date"] == "2020-03-01"));
}
