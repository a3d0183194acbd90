//! A name that is off by a letter is refused with the name that was meant: of the catalog, never of data.

use std::collections::BTreeMap;

use epiledger_privacy::catalog::Profile;
use epiledger_privacy::functions;
use epiledger_privacy::refusal::Code;
use epiledger_sql::SqlError;

use crate::support::{Asked, ask, catalog, pointed_at};

fn refused(sql: &str) -> SqlError {
    match ask(sql, &catalog(Profile::ExpertDetermination), &BTreeMap::new()) {
        Asked::Refused(refusal) => *refusal,
        _ => panic!("not refused: {sql}"),
    }
}

/// The name with a letter left out, doubled, changed, and with two letters that changed places.
fn typos(name: &str) -> Vec<String> {
    let letters: Vec<char> = name.chars().collect();
    let middle = letters.len() / 2;
    let mut all = vec![letters.clone(), letters.clone(), letters.clone(), letters];
    all[0].remove(middle);
    let doubled = all[1][middle];
    all[1].insert(middle, doubled);
    all[2][middle] = 'q';
    all[3].swap(middle - 1, middle);
    all.into_iter().map(|letters| letters.into_iter().collect()).collect()
}

fn hinted(sql: &str, typo: &str, meant: &str) {
    let refusal = refused(sql);
    // The engine has functions that the dialect has not, under names such as datepart.
    assert!(matches!(refusal.code, Code::UnknownName | Code::NonTotalFn), "{sql}: {refusal}");
    assert_eq!(pointed_at(sql, &refusal).as_deref(), Some(typo), "{sql}");
    let names = refusal.hint().strip_prefix("Did you mean ").and_then(|rest| rest.split_once('?'));
    let names: Vec<&str> = names.unwrap_or_else(|| panic!("{sql}: {}", refusal.hint())).0.split(", ").collect();
    assert!(names.contains(&meant) && names.len() <= 3, "{sql}: {names:?}");
}

#[test]
fn every_table_and_column_is_found_by_its_typos() {
    let catalog = catalog(Profile::ExpertDetermination);
    let mut tried = 0;
    for (table, described) in &catalog.tables {
        for typo in typos(table).into_iter().filter(|typo| !catalog.tables.contains_key(typo)) {
            hinted(&format!("SELECT COUNT(*) FROM {typo}"), &typo, table);
            tried += 1;
        }
        for column in described.columns.iter().filter(|c| c.name.len() > 3) {
            let names: Vec<&str> = described.columns.iter().map(|c| c.name.as_str()).collect();
            for typo in typos(&column.name).into_iter().filter(|typo| !names.contains(&typo.as_str())) {
                hinted(&format!("SELECT COUNT(*) FROM {table} WHERE {typo} IS NULL"), &typo, &column.name);
                hinted(&format!("SELECT COUNT(*) FROM {table} t WHERE t.{typo} IS NULL"), &typo, &column.name);
                tried += 2;
            }
        }
    }
    assert!(tried > 500, "{tried}");
}

#[test]
fn every_function_is_found_by_its_typos() {
    for name in functions::names().filter(|name| name.len() > 4) {
        for typo in typos(name) {
            if functions::scalar(&typo).is_none() {
                hinted(&format!("SELECT COUNT(*) FROM person WHERE {typo}(county) = 'x'"), &typo, name);
            }
        }
    }
}

#[test]
fn names_of_the_text_are_candidates_too() {
    hinted("WITH elderly AS (SELECT * FROM person) SELECT COUNT(*) FROM eldery", "eldery", "elderly");
    hinted("SELECT COUNT(*) FROM (SELECT person_id, county AS place FROM person) WHERE plce = 'x'", "plce", "place");
    hinted("SELECT COUNT(*) FROM person patients WHERE patient.county = 'x'", "county", "patients.county");
}

#[test]
fn a_name_that_is_near_to_none_gets_the_lists() {
    for sql in [
        "SELECT COUNT(*) FROM zzzzzzz",
        "SELECT zzzzzzz, COUNT(*) FROM person GROUP BY 1",
        "SELECT zzzzzzz(county), COUNT(*) FROM person GROUP BY 1",
        // The engine's own names are never shown.
        "SELECT COUNT(*) FROM person WHERE consent = 1",
        "SELECT COUNT(*) FROM noisy",
    ] {
        let refusal = refused(sql);
        assert!(
            !refusal.hint().contains("Did you mean") && !refusal.hint().contains("__"),
            "{sql}: {}",
            refusal.hint()
        );
        assert!(refusal.hint().contains("/v1/datasets") || refusal.hint().contains("DIALECT.md"), "{}", refusal.hint());
    }
}
