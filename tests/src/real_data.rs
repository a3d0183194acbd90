//! Real records, where they lie beside the checkout.

use std::path::{Path, PathBuf};

use crate::skip::{say, skip};

/// A data set's folder; `None`, with a word, where it is not here.
///
/// # Panics
/// It alone is missing, and all is required: `../shared/data` may be absent as a whole, not in part.
#[must_use]
#[track_caller]
pub fn real_data(name: &str) -> Option<PathBuf> {
    among(Path::new("../../shared/data"), name)
}

#[track_caller]
fn among(all: &Path, name: &str) -> Option<PathBuf> {
    let folder = all.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    match all.is_dir() {
        true => skip(&format!("../shared/data is here without {name}")),
        false => say(&format!("../shared/data is not here, so {name} is not read")),
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_records_may_be_missing_and_no_part_of_them_where_all_is_required() {
        let all = tempfile::tempdir().unwrap();
        std::fs::create_dir(all.path().join("one")).unwrap();
        assert_eq!(among(all.path(), "one"), Some(all.path().join("one")));
        assert_eq!(among(&all.path().join("nowhere"), "one"), None);
        let required = std::env::var("EPILEDGER_REQUIRE").is_ok_and(|require| require == "all");
        let other = std::panic::catch_unwind(|| among(all.path(), "other"));
        assert_eq!(other.ok(), (!required).then_some(None), "fails exactly where all is required");
    }
}
