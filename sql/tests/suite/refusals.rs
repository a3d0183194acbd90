//! Accept and reject tables: one file per refusal code in `refusals/`, both sides.
//!
//! A file holds questions under headings: `-- refuse: <the offending text>` and `-- accept`. The heading may end in
//! `(safe harbor)` for the profile that keeps years alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use epiledger_privacy::catalog::{Catalog, Profile};
use epiledger_privacy::refusal::Code;
use epiledger_privacy::research::{Region, research_catalog};
use epiledger_sql::{SqlError, bind, parse};

/// Codes that a text alone cannot reach: quantiles come later, privacy parameters are not SQL.
const NOT_IN_SQL: [Code; 2] = [Code::TooManyCells, Code::BadPrivacyParam];

fn catalog(profile: Profile) -> Catalog {
    let region = |code: &str, name: &str| Region {
        region_code: code.into(),
        name: name.into(),
        parent_code: Some("MA".into()),
        level: "county".into(),
        population_year: 2020,
        population: 1,
    };
    let regions = [region("25017", "Middlesex"), region("25025", "Suffolk"), region("25027", "Worcester")];
    research_catalog("2025-12-31", profile, 20_000, &regions)
}

struct Case {
    file: String,
    refused: Option<String>,
    profile: Profile,
    sql: String,
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/refusals");
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut open: Option<Case> = None;
        for line in text.lines() {
            if let Some(heading) = line.strip_prefix("-- ") {
                all.extend(open.take());
                let (heading, profile) = match heading.strip_suffix(" (safe harbor)") {
                    Some(heading) => (heading, Profile::SafeHarbor),
                    None => (heading, Profile::ExpertDetermination),
                };
                let refused = heading.strip_prefix("refuse: ").map(str::to_owned);
                assert!(refused.is_some() || heading == "accept", "{file}: {heading}");
                open = Some(Case { file: file.clone(), refused, profile, sql: String::new() });
            } else if let Some(case) = &mut open {
                case.sql.push_str(line);
                case.sql.push('\n');
            }
        }
        all.extend(open);
    }
    for case in &mut all {
        case.sql = expanded(case.sql.trim());
    }
    all
}

/// `{{n:text}}` is the text n times, for questions that are too long to write.
fn expanded(sql: &str) -> String {
    let Some((before, rest)) = sql.split_once("{{") else {
        return sql.to_owned();
    };
    let (inside, after) = rest.split_once("}}").unwrap();
    let (times, text) = inside.split_once(':').unwrap();
    format!("{before}{}{}", text.repeat(times.parse().unwrap()), expanded(after))
}

fn asked(case: &Case) -> Result<(), SqlError> {
    let parsed = parse(&case.sql)?;
    bind(&parsed, &catalog(case.profile), &BTreeMap::new()).map(|_| ())
}

fn spanned(sql: &str, error: &SqlError) -> String {
    let line_start: usize =
        sql.split('\n').take(usize::try_from(error.line).unwrap() - 1).map(|l| l.chars().count() + 1).sum();
    let start = line_start + usize::try_from(error.column).unwrap() - 1;
    sql.chars().skip(start).take(usize::try_from(error.length).unwrap()).collect()
}

#[test]
fn every_question_is_accepted_or_refused_as_its_file_says() {
    let mut wrong = Vec::new();
    for case in cases() {
        match (&case.refused, asked(&case)) {
            (None, Ok(())) => {}
            (None, Err(error)) => wrong.push(format!("{}: should be accepted, but {error}\n  {}", case.file, case.sql)),
            (Some(_), Ok(())) => wrong.push(format!("{}: should be refused\n  {}", case.file, case.sql)),
            (Some(text), Err(error)) => {
                let found = spanned(&case.sql, &error);
                let whole = text == "(all)" && found.trim_end() == case.sql;
                if error.code.as_str() != case.file || !(whole || found == *text || text == "(any)") {
                    wrong.push(format!("{}: {error} at {found:?}, not {text:?}\n  {}", case.file, case.sql));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_code_has_both_sides() {
    let cases = cases();
    let with = |refused: bool| -> BTreeSet<String> {
        cases.iter().filter(|c| c.refused.is_some() == refused).map(|c| c.file.clone()).collect()
    };
    for code in Code::ALL.into_iter().filter(|code| !NOT_IN_SQL.contains(code)) {
        assert!(with(true).contains(code.as_str()), "no refused question for {code}");
        assert!(with(false).contains(code.as_str()), "no accepted question for {code}");
    }
}

#[test]
fn no_error_repeats_a_literal_of_the_question() {
    for case in cases().iter().filter(|c| c.refused.is_some()) {
        if let Err(error) = asked(case) {
            for literal in case.sql.split('\'').skip(1).step_by(2).filter(|l| l.len() > 4) {
                assert!(!error.message.contains(literal), "{}: {error}", case.file);
            }
        }
    }
}
