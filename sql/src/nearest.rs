//! Names that a wrong name may have meant: of the catalog, of the question's own text and of the dialect, never of data.

use datafusion::common::utils::datafusion_strsim::levenshtein;

/// Most names in a hint.
const MOST: usize = 3;

/// A longer name is no typing error, and comparing it would be work.
const LONGEST: usize = 64;

/// The known names nearest to a wrong one, by edit distance and then by alphabet; none that differ in over a third of
/// their letters.
pub(crate) fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wrong = wrong.to_lowercase();
    if wrong.chars().count() > LONGEST {
        return Vec::new();
    }
    let allowed = (wrong.chars().count() / 3).max(1);
    let mut found: Vec<(usize, &str)> = known
        .into_iter()
        .filter(|name| !name.starts_with('_') && name.len() <= LONGEST)
        .map(|name| (distance(&wrong, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= allowed)
        .collect();
    found.sort_unstable();
    found.dedup();
    found.into_iter().map(|(_, name)| name).take(MOST).collect()
}

/// Edits between two names; two letters that changed places count once.
fn distance(a: &str, b: &str) -> usize {
    let edits = levenshtein(a, b);
    let differ: Vec<(char, char)> = a.chars().zip(b.chars()).filter(|(a, b)| a != b).collect();
    match differ.as_slice() {
        [(a, b), (c, d)] if edits == 2 && a == d && b == c => 1,
        _ => edits,
    }
}

/// `Did you mean a, b?`, and then what to do in any case.
pub(crate) fn hint(names: &[impl AsRef<str>], otherwise: &str) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    if names.is_empty() { otherwise.to_owned() } else { format!("Did you mean {}? {otherwise}", names.join(", ")) }
}

/// A name as messages repeat it: cut short, and without what could break a line.
pub(crate) fn shown(name: &str) -> String {
    let clean: String = name.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    if name.chars().count() > LONGEST { format!("{clean}..") } else { clean }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_come_first_and_far_ones_not_at_all() {
        let known = ["county", "country", "person_id", "race", "_consent", "__noisy"];
        assert_eq!(nearest("county", known), ["county", "country"]);
        assert_eq!(nearest("CONUTY", known), ["county"]);
        assert_eq!(nearest("reca", known), ["race"]);
        assert_eq!(nearest("rcea", known), Vec::<&str>::new());
        assert_eq!(nearest("persnid", known), ["person_id"]);
        assert_eq!(nearest("consent", known), Vec::<&str>::new());
        assert_eq!(nearest(&"c".repeat(60_000), known), Vec::<&str>::new());
        assert_eq!(distance("perosn", "person"), 1);
    }

    #[test]
    fn a_name_is_shown_short_and_on_one_line() {
        assert_eq!(shown("a\nb\0"), "ab");
        assert_eq!(shown(&"x".repeat(1000)).len(), LONGEST + 2);
    }
}
