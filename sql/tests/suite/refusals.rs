//! Accept and reject tables: one file per refusal code in `refusals/`, both sides.
//!
//! A file holds questions under headings: `-- refuse: <the offending text>` and `-- accept`. The heading may end in
//! `(safe harbor)` for the profile that keeps years alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use epiledger_privacy::catalog::Profile;
use epiledger_privacy::refusal::Code;

use crate::support::{Asked, ask, catalog, pointed_at};

/// Codes that a text alone cannot reach: cells are counted with the snapshot, privacy parameters are not SQL.
const NOT_IN_SQL: [Code; 2] = [Code::TooManyCells, Code::BadPrivacyParam];

struct Case {
    file: String,
    refused: Option<String>,
    profile: Profile,
    sql: String,
}

fn cases() -> Vec<Case> {
    let folder = Path::new("tests/refusals");
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

fn asked(case: &Case) -> Asked {
    ask(&case.sql, &catalog(case.profile), &BTreeMap::new())
}

fn shortened(text: &str) -> String {
    text.chars().take(300).collect()
}

#[test]
fn every_question_is_accepted_or_refused_as_its_file_says() {
    let mut wrong = Vec::new();
    for case in cases() {
        let mut say = |what: String| wrong.push(format!("{}: {what}\n  {}", case.file, shortened(&case.sql)));
        match (&case.refused, asked(&case)) {
            (None, Asked::Accepted) => {}
            (None, Asked::Refused(refusal)) => say(format!("should be accepted, but {refusal}")),
            (Some(_), Asked::Accepted) => say("should be refused".into()),
            (_, Asked::RefusedByTheCore(refusal)) => say(format!("the core alone says {refusal}")),
            (Some(text), Asked::Refused(refusal)) => {
                let Some(found) = pointed_at(&case.sql, &refusal) else {
                    say(format!("{refusal} points outside of the text: {:?}", refusal.span()));
                    continue;
                };
                if refusal.code.as_str() != case.file || !(found == *text || text == "(any)") {
                    say(format!("{refusal} at {:?}, not {text:?}", shortened(&found)));
                }
                assert!(refusal.hint().len() > 20 && !refusal.message.is_empty(), "{refusal}");
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
        if let Asked::Refused(error) = asked(case) {
            for literal in case.sql.split('\'').skip(1).step_by(2).filter(|l| l.len() > 4) {
                assert!(!error.message.contains(literal) && !error.hint().contains(literal), "{}: {error}", case.file);
            }
        }
    }
}
