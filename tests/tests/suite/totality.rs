//! Whether a question is answered never depends on data: each statement that once failed on some rows alone is asked
//! where rows match and where none do, and must end alike. And no text takes the server down.

use epiledger_tests::App;
use serde_json::json;

/// `$` is a county: one that has patients, or one that has none.
const PAIRS: [&str; 7] = [
    // AVG of wide decimals overflowed.
    "SELECT COUNT(*) FROM (SELECT person_id, AVG(CASE WHEN county = '$' THEN \
     CAST('99999999999999999999999999999999999999' AS DECIMAL(38,0)) ELSE CAST(0 AS DECIMAL(38,0)) END) a \
     FROM person GROUP BY person_id) t WHERE a > 0",
    // A date before the calendar's beginning could not be written.
    "SELECT COUNT(*) FROM person WHERE CAST(date_trunc('week', CAST(CASE WHEN county = '$' THEN '-262143-01-01' \
     ELSE '2020-01-01' END AS DATE)) AS VARCHAR) <> 'x'",
    // A grid past the engine's widest decimal.
    "SELECT SUM(year_of_birth*0.000001*0.000001*0.000001*0.000001*0.000001*0.000001*0.000001) FROM person WHERE county = '$'",
    // A window frame whose end wraps.
    "SELECT COUNT(*) FROM (SELECT person_id, FIRST_VALUE(year_of_birth) OVER (PARTITION BY person_id ORDER BY \
     year_of_birth ROWS BETWEEN 1 PRECEDING AND 18446744073709551615 FOLLOWING) c FROM person WHERE county = '$') t WHERE c > 0",
    // Joins to public rows that multiply for some patients alone.
    "SELECT COUNT(*) FROM person p \
     JOIN (SELECT year, day FROM calendar) a ON a.year = CASE WHEN p.county = '$' THEN 2020 ELSE 0 END \
     JOIN (SELECT year, day FROM calendar) b ON b.year = CASE WHEN p.county = '$' THEN 2020 ELSE 0 END \
     JOIN (SELECT year, day FROM calendar) c ON c.year = CASE WHEN p.county = '$' THEN 2020 ELSE 0 END",
    // A row without a partner met the join's condition with NULLs in columns that are stored without any.
    "SELECT COUNT(*) FROM (SELECT person_id, year_of_birth FROM person WHERE county = '$') p \
     LEFT JOIN visit v ON p.person_id = v.person_id AND v.visit_start_date > make_date(p.year_of_birth + 65, 1, 1)",
    "SELECT COUNT(*) FROM visit v RIGHT JOIN (SELECT person_id, year_of_birth FROM person WHERE county = '$') p \
     ON p.person_id = v.person_id AND v.visit_start_date > make_date(p.year_of_birth + 65, 1, 1)",
];

#[test]
fn a_question_ends_alike_whether_rows_match_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let app = App::demo(&dir.path().join("data"), 400);
    for statement in PAIRS {
        let status = |county: &str| app.ask(&statement.replace('$', county), "0.001").status;
        let (some, none) = (status("25017"), status("nosuch"));
        assert_eq!(some, none, "{statement}");
        assert!(matches!(some, 200 | 422), "{some}: {statement}");
    }
}

#[test]
fn no_text_takes_the_server_down_or_holds_it() {
    let dir = tempfile::tempdir().unwrap();
    let app = App::demo(&dir.path().join("data"), 100);
    let nested = |open: &str, times: usize, inner: &str, close: &str| {
        format!("SELECT COUNT(*) FROM person WHERE {}{inner}{}", open.repeat(times), close.repeat(times))
    };
    let mut selects = "SELECT * FROM person".to_owned();
    for level in 0..40 {
        selects = format!("SELECT * FROM ({selects}) t{level}");
    }
    let texts = [
        nested("NOT (", 46, "county = 'x'", ")"),
        nested("NOT (", 60, "county = 'x'", ")"),
        nested("NOT (", 120, "county = 'x'", ")"),
        nested("NOT ", 500, "county = 'x'", ""),
        nested("coalesce(", 60, "county", ")") + " = 'x'",
        nested("coalesce(", 180, "county", ")") + " = 'x'",
        nested("- ", 500, "year_of_birth", "") + " < 0",
        format!("SELECT COUNT(*) FROM ({selects}) t"),
        "SELECT a.county, a.n, c.day, d.day FROM (SELECT county, COUNT(*) n FROM person GROUP BY county) a \
         CROSS JOIN calendar c CROSS JOIN calendar d"
            .to_owned(),
        "SELECT COUNT(*) FROM person WHERE year_of_birth IN (SELECT c.year FROM calendar c, calendar d)".to_owned(),
    ];
    for text in texts {
        let body = json!({ "sql": text });
        let reply = app.post("researcher", "/v1/statements/estimate", &body);
        assert!(matches!(reply.status, 200 | 422), "{}: {}", reply.status, &text[..80.min(text.len())]);
    }
    assert_eq!(app.ask("SELECT COUNT(*) FROM person", "0.001").status, 200);
}

/// Peak of memory since [`forget_peak`], and processor time so far: kibibytes, and hundredths of a second.
fn held(pid: u32) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak = line.split_whitespace().next().unwrap().parse().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // utime and stime are fields 14 and 15; the name before them ends in a parenthesis.
    let after = stat.rsplit_once(')').unwrap().1;
    let ticks = after.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap());
    (peak, ticks.sum())
}

fn forget_peak(pid: u32) {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
}

/// Each text is refused with its code, and costs the server little memory and little work, whatever the machine is at
/// besides: peak of memory and processor time are read of its process.
#[test]
fn bad_texts_are_refused_by_code_in_bounded_memory_and_work() {
    let dir = tempfile::tempdir().unwrap();
    let app = App::demo(&dir.path().join("data"), 100);
    let question = "SELECT COUNT(*) FROM person";
    let of = |condition: String| format!("{question} WHERE {condition}");
    let repeated = |text: &str, times: usize| vec![text; times].join(" ");
    let one_mib = 1 << 20;
    let texts: Vec<(&str, u16, &str, String)> = vec![
        ("a comment of 1 MiB", 422, "TOO_LARGE", format!("{question} -- {}", "x".repeat(one_mib))),
        ("a literal of 1 MiB", 422, "TOO_LARGE", of(format!("county = '{}'", "x".repeat(one_mib)))),
        ("white space of 1 MiB", 422, "TOO_LARGE", format!("{question}{}", " ".repeat(one_mib))),
        ("a body just under its limit", 422, "TOO_LARGE", format!("{question} -- {}", "x".repeat(2_000_000))),
        ("parentheses", 422, "TOO_LARGE", of(format!("{}TRUE{}", "(".repeat(10_000), ")".repeat(10_000)))),
        ("NOT", 422, "TOO_LARGE", of(format!("{}TRUE", "NOT ".repeat(10_000)))),
        (
            "sub-queries",
            422,
            "TOO_LARGE",
            format!("{}{question}{}", "SELECT * FROM (".repeat(10_000), ") t".repeat(10_000)),
        ),
        ("CASE", 422, "TOO_LARGE", of(format!("{}TRUE{}", "CASE WHEN ".repeat(5_000), " THEN TRUE END".repeat(5_000)))),
        ("columns", 422, "TOO_LARGE", format!("SELECT {}1 FROM person", "1,".repeat(100_000))),
        ("keys", 422, "TOO_LARGE", format!("{question} GROUP BY {}1", "1,".repeat(100_000))),
        ("unions", 422, "TOO_LARGE", repeated(&format!("{question} UNION ALL"), 5_000) + " " + question),
        ("joins", 422, "TOO_LARGE", format!("{question} {}", repeated("JOIN death USING (person_id)", 5_000))),
        ("semicolons", 422, "MULTIPLE_STATEMENTS", format!("{}{question}", format!("{question};").repeat(500))),
        ("only semicolons", 422, "SYNTAX", ";".repeat(500)),
        (
            "a second statement behind a comment",
            422,
            "MULTIPLE_STATEMENTS",
            format!("{question} -- x\n; DROP TABLE person"),
        ),
        ("a keyword in two halves", 422, "SYNTAX", "SEL/**/ECT COUNT(*) FROM person".into()),
        ("a comment that other engines run", 422, "SYNTAX", "SELECT COUNT(*) /*! FROM death */ FROM person".into()),
        ("a comment that never ends", 422, "SYNTAX", format!("{question} /* {}", "/* ".repeat(20_000))),
        ("a quote that never ends", 422, "SYNTAX", format!("{question} WHERE county = '{}", "x".repeat(60_000))),
        ("a hidden DELETE", 422, "NOT_A_QUERY", "/* SELECT */ DELETE FROM person".into()),
        ("tables past their limit", 422, "TOO_LARGE", doubled(40)),
    ];
    // What the first questions load stays.
    for (_, status, code, text) in texts.iter().take(6) {
        let reply = app.post("researcher", "/v1/statements", &json!({ "sql": text }));
        assert_eq!((reply.status, reply.json()["code"].as_str()), (*status, Some(*code)));
    }
    assert_eq!(app.ask(question, "0.0001").status, 200);
    for (what, status, code, text) in texts {
        forget_peak(app.pid());
        let (before, work_before) = held(app.pid());
        for address in ["/v1/statements", "/v1/statements/estimate"] {
            let reply = app.post("researcher", address, &json!({ "sql": text }));
            assert_eq!((reply.status, reply.json()["code"].as_str()), (status, Some(code)), "{what}: {}", reply.text());
        }
        let (peak, work) = held(app.pid());
        // The kernel counts pages in batches, so the peak may come out a little below where it began.
        let grown = peak.saturating_sub(before);
        assert!(grown < 64 << 10, "{what}: {grown} KiB");
        assert!(work - work_before < 500, "{what}: {} hundredths of a second", work - work_before);
    }
    // Bytes that are no text at all.
    forget_peak(app.pid());
    let (before, _) = held(app.pid());
    let mut bytes = b"{\"sql\": \"SELECT ".to_vec();
    bytes.extend([0xff; 200_000]);
    bytes.extend(b" FROM person\"}");
    let reply = app.post_bytes("researcher", "/v1/statements", &bytes);
    assert_eq!((reply.status, reply.json()["code"].as_str()), (400, Some("BAD_REQUEST")));
    assert!(held(app.pid()).0.saturating_sub(before) < 64 << 10);
    assert_eq!(app.ask(question, "0.0002").status, 200);
}

/// WITH names that each read the one before twice.
fn doubled(levels: usize) -> String {
    let names: Vec<String> = (1..=levels)
        .map(|n| format!("t{n} AS (SELECT a.* FROM t{} a JOIN t{} b ON a.person_id = b.person_id)", n - 1, n - 1))
        .collect();
    format!("WITH t0 AS (SELECT * FROM person), {} SELECT COUNT(*) FROM t{levels}", names.join(", "))
}

/// A text that looks like another plan's printed form is another question.
#[test]
fn a_crafted_literal_is_not_served_from_anothers_cache() {
    let dir = tempfile::tempdir().unwrap();
    let app = App::demo(&dir.path().join("data"), 100);
    let ask = |keys: &str| app.ask(&format!("SELECT COUNT(*) FROM person WHERE county IN ({keys})"), "0.001").json();
    assert_eq!(ask("'25001','25017'")["cached"], json!(false));
    let forged = ask("'25001\"), None), Literal(Utf8(\"25017'");
    assert_eq!(forged["cached"], json!(false), "{forged}");
    assert_eq!(ask("'25001','25017'")["cached"], json!(true));
}
