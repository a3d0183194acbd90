//! Texts made to exhaust: each is refused with a code, on a caller's stack of 256 KiB.

use std::collections::BTreeMap;

use epiledger_privacy::catalog::Profile;
use epiledger_privacy::refusal::Code;
use epiledger_sql::{MAX_TEXT_BYTES, bind, parse};

use crate::support::{Asked, catalog, core, pointed_at};

/// Stack of the thread that asks: a recursion over the text in it would end the process.
const STACK: usize = 256 << 10;

fn ended(sql: String) -> (String, Option<Code>) {
    let asked = std::thread::Builder::new().stack_size(STACK).spawn(move || {
        let asked =
            parse(&sql).and_then(|parsed| bind(&parsed, &catalog(Profile::ExpertDetermination), &BTreeMap::new()));
        (sql, asked)
    });
    let (sql, asked) = asked.unwrap().join().unwrap();
    match asked {
        Ok(query) => match core(&query, &catalog(Profile::ExpertDetermination)) {
            Asked::RefusedByTheCore(refusal) => panic!("the core alone: {refusal}"),
            _ => (sql, None),
        },
        Err(refusal) => {
            assert!(pointed_at(&sql, &refusal).is_some(), "{refusal} points outside of the text");
            assert!(refusal.message.len() < 300, "{}", refusal.message.len());
            (sql, Some(refusal.code))
        }
    }
}

fn where_(condition: &str) -> String {
    format!("SELECT COUNT(*) FROM person WHERE {condition}")
}

fn nested(open: &str, times: usize, inner: &str, close: &str) -> String {
    format!("{}{inner}{}", open.repeat(times), close.repeat(times))
}

#[test]
fn texts_past_every_limit_are_refused() {
    let one_mib = 1 << 20;
    let too_large = [
        format!("SELECT COUNT(*) FROM person -- {}", "x".repeat(one_mib)),
        format!("SELECT COUNT(*) AS {} FROM person", "n".repeat(one_mib)),
        format!("SELECT COUNT(*) FROM {}", "t".repeat(one_mib)),
        where_(&format!("county = '{}'", "x".repeat(one_mib))),
        " ".repeat(one_mib),
        format!("SELECT {} FROM person", vec!["COUNT(*)"; 100_000].join(", ")),
        format!("SELECT COUNT(*) FROM person GROUP BY {}", vec!["county"; 100_000].join(", ")),
        where_(&vec!["county = 'x'"; 100_000].join(" OR ")),
        where_(&vec!["a"; 3_000].join(" OR ")),
        nested("SELECT (", 10_000, "1", ")"),
        where_(&nested("(", 10_000, "TRUE", ")")),
        where_(&nested("NOT ", 10_000, "TRUE", "")),
        where_(&nested("- ", 10_000, "1", "")),
        where_(&nested("CASE WHEN ", 3_000, "TRUE", " THEN TRUE END")),
        where_(&nested("coalesce(", 7_000, "1", ")")),
        where_(&nested("EXISTS (SELECT 1 FROM person WHERE ", 1_000, "TRUE", ")")),
        nested("SELECT * FROM (", 3_000, "SELECT COUNT(*) FROM person", ") t"),
        vec!["SELECT COUNT(*) FROM person"; 1_000].join(" UNION ALL "),
        format!("SELECT COUNT(*) FROM {}", vec!["person"; 3_000].join(", ")),
        format!("SELECT COUNT(*) FROM person {}", "JOIN death USING (person_id) ".repeat(1_000)),
        where_(&vec!["1"; 5_000].join(" + ")),
        where_(&vec!["'a'"; 5_000].join(" || ")),
    ];
    for sql in too_large {
        let (sql, code) = ended(sql);
        assert_eq!(code, Some(Code::TooLarge), "{}", &sql[..80]);
    }
}

#[test]
fn texts_just_within_the_limits_do_not_crash() {
    for sql in [
        where_(&nested("(", 50, "TRUE", ")")),
        where_(&nested("NOT (", 50, "TRUE", ")")),
        where_(&nested("coalesce(", 60, "TRUE", ")")),
        where_(&vec!["county = 'x'"; 140].join(" OR ")),
        where_(&format!("county IN ({})", vec!["'x'"; 3_900].join(", "))),
        where_(&format!("county = '{}'", "x".repeat(MAX_TEXT_BYTES - 100))),
        format!("SELECT {} FROM person", vec!["COUNT(*)"; 1_500].join(", ")),
        format!("SELECT COUNT(*) AS {} FROM person", "n".repeat(60_000)),
        format!("SELECT {} FROM person", "n".repeat(60_000)),
        format!("SELECT {}(county) FROM person", "f".repeat(60_000)),
        format!("SELECT COUNT(*) FROM \"{}\"", "t".repeat(60_000)),
        where_(&format!("regexp_like(county, '{}')", "(".repeat(500))),
        where_(&format!("county SIMILAR TO '{}'", nested("(", 100, "a", ")"))),
        where_(&vec!["1"; 250].join(" + ")),
        nested("SELECT * FROM (", 40, "SELECT COUNT(*) FROM person", ") t"),
    ] {
        let _ = ended(sql);
    }
}

#[test]
fn bytes_that_are_no_sql_are_refused_or_plain_text() {
    for (sql, code) in [
        ("SELECT COUNT(*) FROM person WHERE county = 'a\0b'", None),
        ("SELECT COUNT(*) \0 FROM person", Some(Code::Syntax)),
        ("SELECT COUNT(*) FROM per\0son", Some(Code::Syntax)),
        ("SELECT COUNT(*) FROM \"per\0son\"", Some(Code::UnknownName)),
        ("\u{feff}SELECT COUNT(*) FROM person", Some(Code::Syntax)),
        ("SELECT COUNT(*) FROM person\u{2028}WHERE TRUE", None),
        ("SELECT COUNT(*) FROM pers\u{200b}on", Some(Code::Syntax)),
        ("SELECT COUNT(*) FROM person WHERE county = '\u{202e}'", None),
        ("SELECT COUNT(*) FROM person\r\n\t-- x\r\n;", None),
        ("\u{1f600}", Some(Code::Syntax)),
        ("'", Some(Code::Syntax)),
        ("\"", Some(Code::Syntax)),
        ("$$", Some(Code::Syntax)),
        ("/*", Some(Code::Syntax)),
        ("--", Some(Code::Syntax)),
        (";", Some(Code::Syntax)),
        ("", Some(Code::Syntax)),
        ("\\", Some(Code::Syntax)),
        ("SELECT COUNT(*) FROM person; ; --\n;", None),
        ("SELECT COUNT(*) FROM person /* /* ; */ */", None),
        ("SELECT COUNT(*) FROM person -- ; DROP TABLE person", None),
        ("SELECT COUNT(*) FROM person --\n; DROP TABLE person", Some(Code::MultipleStatements)),
        ("SELECT COUNT(*) /*! FROM death */ FROM person", Some(Code::Syntax)),
        ("SEL/**/ECT COUNT(*) FROM person", Some(Code::Syntax)),
    ] {
        assert_eq!(ended(sql.to_owned()).1, code, "{sql:?}");
    }
}
