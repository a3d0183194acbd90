//! The tables of `semantics/`: what SQL means decides, not what our parser happens to do. A file holds statements of
//! one subject under headings:
//!
//! - `-- accept: <why>`
//! - `-- refuse CODE: <why>`
//! - `-- refuse CODE by text: <why>`: what is refused is no longer seen in the plan, so the core cannot refuse it.
//!
//! A line `-- means: <SQL>` says the same in words that the engine's own SQL can run, where it cannot run the statement.

use std::path::Path;

/// One statement and what it must come to.
pub(crate) struct Case {
    /// The subject: the file's name.
    pub(crate) file: String,
    /// The refusal's code; none where it is accepted.
    pub(crate) refused: Option<String>,
    /// Is it decided by the text alone?
    pub(crate) by_text: bool,
    /// Why, in words.
    pub(crate) why: String,
    /// The statement.
    pub(crate) sql: String,
    /// A statement of the same meaning for the engine's own SQL.
    pub(crate) means: Option<String>,
}

/// All statements, in the order of files and lines.
pub(crate) fn cases() -> Vec<Case> {
    let folder = Path::new("tests/semantics");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut all: Vec<Case> = Vec::new();
    for path in paths {
        let file = path.file_stem().unwrap().to_str().unwrap().to_owned();
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            if let (Some(means), Some(case)) = (line.strip_prefix("-- means: "), all.last_mut()) {
                case.means = Some(means.to_owned());
            } else if let Some(heading) = line.strip_prefix("-- ") {
                let (verdict, why) = heading.split_once(": ").unwrap_or_else(|| panic!("{file}: no reason: {heading}"));
                let (verdict, by_text) = match verdict.strip_suffix(" by text") {
                    Some(verdict) => (verdict, true),
                    None => (verdict, false),
                };
                let refused = verdict.strip_prefix("refuse ").map(str::to_owned);
                assert!(refused.is_some() || verdict == "accept", "{file}: {heading}");
                all.push(Case {
                    file: file.clone(),
                    refused,
                    by_text,
                    why: why.to_owned(),
                    sql: String::new(),
                    means: None,
                });
            } else if let Some(case) = all.last_mut() {
                case.sql.push_str(line);
                case.sql.push('\n');
            }
        }
    }
    all
}
