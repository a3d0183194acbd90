//! What no reader may see any more leaves the disk: with the cut, or with the last reader of the one before.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow::array::ArrayRef;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use epiledger_ingest::lease::hold;
use epiledger_ingest::schedule::cut_if_due;
use epiledger_ingest::simulate::simulate;
use epiledger_ingest::{Folder, Options, Pipeline, Schedule};
use epiledger_ledger::entry::consent::Scope;
use epiledger_ledger::entry::key::Party;
use epiledger_ledger::entry::record::Erase;
use epiledger_ledger::{LogReader, Transaction};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::support::{Writer, bundle, codes_of, content, cut, grant, ingest, pack, revoke, rows};

/// A code that nothing else holds.
const CODE: &str = "424242424242";

/// Every file below a folder.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// Files of the data folder that hold a text, as stored, within a Parquet file, or within a zstd blob of a pack.
fn holding(data: &Path, text: &str) -> Vec<PathBuf> {
    let has = |bytes: &[u8]| bytes.windows(text.len()).any(|part| part == text.as_bytes());
    let in_parquet = |path: &PathBuf| {
        let Ok(reader) = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()) else { return false };
        reader.build().unwrap().any(|batch| {
            let batch = batch.unwrap();
            let holds = |column: &ArrayRef| {
                let cells = ArrayFormatter::try_new(column.as_ref(), &FormatOptions::default()).unwrap();
                (0..batch.num_rows()).any(|row| cells.value(row).to_string() == text)
            };
            batch.columns().iter().any(holds)
        })
    };
    let in_blobs = |bytes: &[u8]| {
        let starts =
            (0..bytes.len().saturating_sub(4)).filter(|at| bytes[*at..].starts_with(&[0x28, 0xb5, 0x2f, 0xfd]));
        starts.into_iter().any(|at| {
            let mut decoded = Vec::new();
            let decoder = zstd::stream::read::Decoder::new(&bytes[at..]).map(zstd::stream::read::Decoder::single_frame);
            decoder.is_ok_and(|mut frame| std::io::Read::read_to_end(&mut frame, &mut decoded).is_ok()) && has(&decoded)
        })
    };
    let holds = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap();
        has(&bytes) || in_blobs(&bytes) || (path.extension().is_some_and(|e| e == "parquet") && in_parquet(path))
    };
    ["ledger", "tables", "snapshots"].iter().flat_map(|dir| files(&data.join(dir))).filter(holds).collect()
}

/// A ledger with one patient of the test, who grants everything, ingested; the record's ledger index.
fn prepare(data: &Path) -> (String, ed25519_dalek::SigningKey, u64) {
    simulate(data, 30, 1, &|_| {}).unwrap();
    let writer = Writer::open(data);
    let (patient, key) = writer.patient(1);
    writer.append(grant(&patient, "GRU", "*"), &key, vec![]);
    let record = writer.record(&patient, "r", "general", &bundle(CODE));
    writer.close();
    ingest(data);
    (patient, key, record)
}

fn states(data: &Path) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    for table in fs::read_dir(data.join("tables")).unwrap().map(|e| e.unwrap().path()).filter(|path| path.is_dir()) {
        let names = fs::read_dir(&table).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let states = names.filter(|name| name != "_delta_log").collect();
        found.insert(table.file_name().unwrap().to_str().unwrap().to_owned(), states);
    }
    found
}

#[test]
fn revoked_rows_leave_the_disk_with_the_next_cut() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    let (patient, key, record) = prepare(data);
    for part in ["ledger/blobs", "ledger/journal", "tables"] {
        assert!(holding(data, CODE).iter().any(|path| path.starts_with(data.join(part))), "{part}");
    }
    let count = rows(data)["person"].len();
    let person = rows(data)["condition_occurrence"]
        .iter()
        .find(|row| row["_transaction"] == record.to_string())
        .map(|row| row["person_id"].clone())
        .unwrap();

    let writer = Writer::open(data);
    writer.append(revoke(&patient, Scope::All, None, None), &key, vec![]);
    writer.close();
    ingest(data);
    assert_eq!(codes_of(data, &[record]), Vec::<String>::new());
    assert_eq!(rows(data)["person"].len(), count - 1);
    let left = holding(data, CODE);
    assert!(left.iter().all(|path| path.starts_with(data.join("ledger"))), "{left:?}");
    // Neither the pseudonym, which may stand at an end of a file's range in the log of versions.
    assert_eq!(holding(data, &person), Vec::<PathBuf>::new());
    assert!(states(data).values().all(|states| states.len() == 1), "{:?}", states(data));
}

#[test]
fn an_erased_payload_leaves_ledger_and_tables() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    let (patient, key, record) = prepare(data);
    let (blob, payload) = pack(&bundle(CODE));
    let note = epiledger_ledger::NoteKey::load(&Folder::new(data).ledger_key()).unwrap();
    let log =
        epiledger_ledger::Log::open(std::sync::Arc::new(epiledger_ledger::StdFs), &Folder::new(data).ledger(), note)
            .unwrap();
    let body = Erase { patient, payload_sha256: payload.sha256.clone(), basis: "withdrawal".into() };
    let entry = epiledger_ledger::SignedTransaction::sign(Transaction::Erase(body), &key).unwrap();
    log.erase(std::slice::from_ref(&payload.sha256), || log.append(vec![entry.into()])).unwrap();
    log.flush().unwrap();
    drop(log);
    assert!(holding(data, CODE).iter().all(|path| path.starts_with(data.join("tables"))));
    let summary = ingest(data);
    assert_eq!(codes_of(data, &[record]), Vec::<String>::new());
    assert_eq!(summary.quarantined.get("PAYLOAD_MISSING"), None);
    assert_eq!(holding(data, CODE), Vec::<PathBuf>::new());
    let raw = blob[8..].to_vec();
    for file in files(&data.join("ledger")) {
        assert!(!fs::read(&file).unwrap().windows(raw.len()).any(|part| part == raw), "{}", file.display());
    }
    assert!(LogReader::open(&Folder::new(data).ledger()).unwrap().blob(&payload.sha256).unwrap().is_none());
    assert!(epiledger_ingest::parties::signing_key(data, Party::Expert, "expert-1").unwrap().is_some());
}

#[test]
fn who_holds_a_snapshot_keeps_its_files_until_it_lets_go() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    let (patient, key, _) = prepare(data);
    let (manifest, bytes) = content(data);
    let (held, lease) = hold(data).unwrap().unwrap();
    let (_, second) = hold(data).unwrap().unwrap();
    assert_eq!(held, manifest);
    let writer = Writer::open(data);
    writer.append(revoke(&patient, Scope::All, None, None), &key, vec![]);
    writer.close();
    ingest(data);
    let there = |path: &String| fs::read(data.join(path)).is_ok_and(|found| found == bytes[path]);
    assert!(bytes.keys().all(there));
    lease.let_go().unwrap();
    assert!(bytes.keys().all(there), "the other one still reads them");
    second.let_go().unwrap();
    assert!(!bytes.keys().any(there));
    assert!(states(data).values().all(|states| states.len() == 1));
    // The newest stays when its reader goes.
    let (_, lease) = hold(data).unwrap().unwrap();
    lease.let_go().unwrap();
    rows(data);
}

#[test]
fn a_killed_readers_files_go_with_the_next_cut() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    let (patient, key, _) = prepare(data);
    let (_, bytes) = content(data);
    let (_, lease) = hold(data).unwrap().unwrap();
    for scope in [Scope::All, Scope::All] {
        let writer = Writer::open(data);
        writer.append(revoke(&patient, scope, None, None), &key, vec![]);
        writer.close();
        ingest(data);
    }
    assert!(bytes.keys().all(|path| data.join(path).exists()), "held over two cuts");
    // The system lets go of it.
    drop(lease);
    Pipeline::run(data, Options { force: true, ..Options::at(cut()) }).unwrap();
    assert!(!bytes.keys().any(|path| data.join(path).exists()));
}

#[test]
fn cuts_of_an_unchanged_ledger_do_not_fill_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    simulate(data, 60, 7, &|_| {}).unwrap();
    let schedule = Schedule::daily(3).unwrap();
    // 2026-02-01T04:00Z
    let at = |day: u64| 1_769_918_400 + day * 86_400;
    let size = || files(&data.join("tables")).iter().map(|path| path.metadata().unwrap().len()).sum::<u64>();
    let names = || files(&data.join("tables")).len();
    let mut seen = Vec::new();
    for day in 0..11 {
        assert!(cut_if_due(data, schedule, at(day), &|_| true).unwrap().is_some());
        seen.push((size(), names()));
        rows(data);
    }
    println!("bytes and files under tables/ after each cut: {seen:?}");
    let (first, last) = (seen[1], seen[10]);
    assert_eq!(first.1, last.1, "as many files");
    assert!(last.0 <= first.0 + first.0 / 20, "{first:?} {last:?}");
}
