//! DIALECT.md says what is accepted and what is refused; each of its examples is asked, and must end as it says.

use std::collections::{BTreeMap, BTreeSet};

use epiledger_privacy::catalog::Profile;
use epiledger_privacy::refusal::Code;
use epiledger_sql::Value;

use crate::support::{Asked, ask, catalog};

struct Example {
    line: usize,
    /// Rules of the grammar that it shows.
    rules: Vec<String>,
    /// None when it is accepted.
    refused: Option<String>,
    profile: Profile,
    params: BTreeMap<String, Value>,
    sql: String,
}

fn examples() -> Vec<Example> {
    let text = include_str!("../../DIALECT.md");
    let mut all = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if line != "```sql" {
            continue;
        }
        let block: Vec<&str> = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
        let (heading, rest) = block.split_first().unwrap();
        let (heading, rules) = heading.split_once(": ").unwrap_or((heading, ""));
        let rules = rules.split(", ").filter(|rule| !rule.is_empty()).map(str::to_owned).collect();
        let (heading, profile) = match heading.strip_suffix(" (safe harbor)") {
            Some(heading) => (heading, Profile::SafeHarbor),
            None => (heading, Profile::ExpertDetermination),
        };
        let refused = heading.strip_prefix("-- refused ").map(str::to_owned);
        assert!(refused.is_some() || heading == "-- accepted", "line {}: {heading}", number + 2);
        let (params, rest) = match rest.split_first() {
            Some((first, rest)) if first.starts_with("-- parameters: ") => {
                (serde_json::from_str(first.trim_start_matches("-- parameters: ")).unwrap(), rest)
            }
            _ => (BTreeMap::new(), rest),
        };
        all.push(Example { line: number + 1, rules, refused, profile, params, sql: rest.join("\n") });
    }
    all
}

#[test]
fn every_example_ends_as_the_document_says() {
    let mut wrong = Vec::new();
    for example in examples() {
        let found = match ask(&example.sql, &catalog(example.profile), &example.params) {
            Asked::Accepted => None,
            Asked::Refused(refusal) => Some(refusal.code.as_str().to_owned()),
            Asked::RefusedByTheCore(refusal) => Some(format!("the core alone: {refusal}")),
        };
        if found != example.refused {
            wrong.push(format!("line {}: {found:?}, not {:?}\n  {}", example.line, example.refused, example.sql));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_code_has_an_example_or_a_reason_not_to() {
    let shown: BTreeSet<String> = examples().into_iter().filter_map(|example| example.refused).collect();
    let text = include_str!("../../DIALECT.md");
    for code in Code::ALL {
        assert!(shown.contains(code.as_str()) || text.contains(&format!("{code} concerns")), "{code}");
    }
    let accepted = examples().iter().filter(|example| example.refused.is_none()).count();
    assert!(accepted >= 20, "{accepted}");
}

/// The names of all rules, each defined once; and every rule is used, but the one that all begins with.
#[test]
fn every_rule_of_the_grammar_has_both_sides() {
    let text = include_str!("../../DIALECT.md");
    let grammar = text.split("```ebnf\n").nth(1).and_then(|rest| rest.split("\n```").next()).unwrap();
    let rules: Vec<&str> =
        grammar.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name.trim()).collect();
    let rules: Vec<&str> = rules.into_iter().filter(|name| name.chars().all(|c| c.is_ascii_lowercase())).collect();
    let known: BTreeSet<&str> = rules.iter().copied().collect();
    assert_eq!(known.len(), rules.len(), "a rule is defined twice: {rules:?}");
    assert!(known.len() > 20, "{known:?}");
    let words: Vec<&str> = grammar
        .split(|c: char| !c.is_ascii_alphabetic())
        .filter(|w| !w.is_empty() && w.chars().all(|c| c.is_ascii_lowercase()))
        .collect();
    for rule in &known {
        let uses = words.iter().filter(|word| *word == rule).count();
        assert!(uses > 1 || *rule == "question", "{rule} is used nowhere");
    }
    let examples = examples();
    for example in &examples {
        let unknown: Vec<&String> = example.rules.iter().filter(|rule| !known.contains(rule.as_str())).collect();
        assert!(unknown.is_empty(), "line {}: no rules {unknown:?}", example.line);
    }
    for rule in known {
        let shown =
            |refused| examples.iter().any(|e| e.refused.is_some() == refused && e.rules.iter().any(|r| r == rule));
        assert!(shown(false), "no accepted example of {rule}");
        assert!(shown(true), "no refused example of {rule}");
    }
}

/// The lists of functions in the document name every function of the dialect, and no other.
#[test]
fn every_function_is_listed() {
    let text = include_str!("../../DIALECT.md");
    let rows = text.lines().filter(|line| {
        ["| Conditional", "| Numbers", "| Texts", "| Patterns", "| Dates"].iter().any(|start| line.starts_with(start))
    });
    let words = |line: &str| -> Vec<String> {
        let cell = line.split('|').nth(2).unwrap_or_default().split('`').nth(1).unwrap_or_default();
        cell.split(' ')
            .filter(|w| w.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'))
            .map(str::to_owned)
            .collect()
    };
    let listed: BTreeSet<String> = rows.flat_map(words).collect();
    assert!(listed.len() > 50, "{listed:?}");
    // Other spellings of a listed one.
    let spellings = [
        "extract",
        "datediff",
        "date_format",
        "ceiling",
        "signum",
        "pow",
        "substring",
        "char_length",
        "character_length",
        "instr",
    ];
    for name in epiledger_privacy::functions::names() {
        assert!(listed.contains(name) || spellings.contains(&name), "{name} is not in DIALECT.md");
    }
    for name in &listed {
        let known = epiledger_privacy::functions::scalar(name).is_some()
            || ["now", "current_date", "pi", "position"].contains(&name.as_str());
        assert!(known, "{name} is in DIALECT.md alone");
    }
}
