//! Unknown keys that were suppressed: no byte of one leaves, in any format, page, tile or blob.

use std::{fmt::Write, fs, sync::Arc};

use arrow::{
    array::{BooleanArray, DictionaryArray, RecordBatch, StringArray},
    compute::filter_record_batch,
    datatypes::{Field, Int32Type, Schema},
    ipc::writer::StreamWriter,
};
use serde_json::json;

use crate::study::served;

/// A diagnosis of every patient, and diagnoses of few.
const COMMON: &str = "700000001";
const RARE: [(&str, usize); 4] = [("911111117", 1), ("922222227", 2), ("933333337", 5), ("944444447", 10)];
const PATIENTS: usize = 300;

const QUESTION: &str = "SELECT condition_source_value, COUNT(DISTINCT person_id) AS n FROM condition_occurrence GROUP BY condition_source_value";

/// Synthea's two files: everyone has the common diagnosis, few have a rare one.
fn records() -> (String, String) {
    let mut patients = "Id,BIRTHDATE,GENDER,STATE,FIPS\n".to_owned();
    let mut conditions = "START,STOP,PATIENT,CODE,DESCRIPTION\n".to_owned();
    for person in 0..PATIENTS {
        writeln!(patients, "p{person},19{:02}-06-15,F,MA,25017", 40 + person % 60).unwrap();
        let mut has = |code: &str| writeln!(conditions, "2021-03-01,,p{person},{code},a disorder").unwrap();
        has(COMMON);
        RARE.iter().filter(|(_, count)| person < *count).for_each(|(code, _)| has(code));
    }
    (patients, conditions)
}

/// The rare diagnoses whose text, or whose integer in either byte order, is among these bytes.
fn found(bytes: &[u8]) -> Vec<&'static str> {
    let has = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    let leaked = |code: &str| {
        let number: u32 = code.parse().unwrap();
        has(code.as_bytes()) || has(&number.to_le_bytes()) || has(&number.to_be_bytes())
    };
    RARE.iter().map(|(code, _)| *code).filter(|code| leaked(code)).collect()
}

/// The search would see a key that a filtered Arrow array keeps: a release built from one would fail the test below.
#[test]
fn the_search_sees_what_a_filtered_array_keeps() {
    let codes = [COMMON, RARE[0].0];
    let kept = BooleanArray::from(vec![true, false]);
    let written = |column: arrow::array::ArrayRef| {
        let schema = Arc::new(Schema::new(vec![Field::new("code", column.data_type().clone(), false)]));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
        writer.write(&filter_record_batch(&batch, &kept).unwrap()).unwrap();
        writer.into_inner().unwrap()
    };
    let shared = written(Arc::new(codes.into_iter().collect::<DictionaryArray<Int32Type>>()));
    assert_eq!(found(&shared), [RARE[0].0]);
    let fresh = written(Arc::new(StringArray::from_iter_values(codes)));
    assert!(!found(&fresh).is_empty() || fresh.windows(COMMON.len()).any(|w| w == COMMON.as_bytes()));
    assert_eq!(found(&fresh), [""; 0], "an array made anew keeps nothing");
}

#[test]
fn no_byte_of_a_suppressed_key_leaves_in_any_format() {
    let dir = tempfile::tempdir().unwrap();
    let (patients, conditions) = records();
    let app = served(dir.path(), &patients, &conditions, "0.5");
    let formats = [
        "application/json",
        "text/csv",
        "application/x-ndjson",
        "application/vnd.apache.arrow.stream",
        "application/vnd.apache.parquet",
    ];
    let searched = |what: &str, bytes: &[u8]| assert_eq!(found(bytes), [""; 0], "{what}");
    // The second rho buys more accuracy for the same keys: another path to the same release.
    for rho in ["0.02", "0.05"] {
        for format in formats {
            let body = json!({ "sql": QUESTION, "privacy": { "rho": rho } });
            let reply = app.post_with("researcher", "/v1/statements", &body, &[("Accept", format)]);
            assert_eq!((reply.status, reply.content_type.as_str()), (200, format), "{}", reply.text());
            assert!(
                reply.bytes.windows(COMMON.len()).any(|w| w == COMMON.as_bytes()),
                "{format}: the common key is there"
            );
            searched(format, &reply.bytes);
        }
    }
    let answer = app.ask(QUESTION, "0.02").json();
    assert_eq!(answer["rows"].as_array().unwrap().len(), 1, "{answer}");
    let result = format!("/v1/statements/{}/result", answer["statement_id"].as_str().unwrap());
    for path in [result.as_str(), "/v1/releases", "/v1/budget", "/v1/datasets"] {
        searched(path, &app.get("researcher", path).bytes);
    }
    for (role, path) in [("board", "/v1/audit?limit=1000"), ("board", "/audit"), ("epidemiologist", "/dashboard")] {
        let reply = app.get_as(role, path, "text/html,application/json");
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        searched(path, &reply.bytes);
    }
    // Everything that the audit log holds: tiles, entries, texts, results, journal. The search finds the common key there.
    let data = app.data.clone();
    assert!(app.stop().unwrap().success());
    let mut seen = 0;
    let mut folders = vec![data.join("audit")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
                continue;
            }
            let bytes = fs::read(&entry).unwrap();
            seen += usize::from(bytes.windows(COMMON.len()).any(|w| w == COMMON.as_bytes()));
            searched(&entry.to_string_lossy(), &bytes);
        }
    }
    assert!(seen > 0, "the log holds the released key");
}
