//! Places: the first three digits of a ZIP code, where Safe Harbor lets them stand.

/// ZIP3 areas of at most 20,000 people, which become `000` (45 CFR 164.514(b)(2)(i)(B), 2010 census; version 1).
const RESTRICTED: [&str; 20] = [
    "036", "059", "063", "102", "203", "205", "369", "556", "692", "790", "821", "823", "830", "831", "878", "879",
    "884", "890", "893", "000",
];

/// The ZIP3 of a five- or nine-digit ZIP code; a ZIP that went through a number gets its leading zeros back
/// (`2360` and `2360.0` are `02360`). `None` when there is none to read.
#[must_use]
pub fn zip3(zip: &str) -> Option<String> {
    let whole = zip.trim().split(['.', '-']).next()?;
    if whole.is_empty() || !whole.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let five = match whole.len() {
        3..=5 => format!("{whole:0>5}"),
        8..=9 => format!("{whole:0>9}"),
        _ => return None,
    };
    let area = five.get(..3)?;
    Some(if RESTRICTED.contains(&area) { "000".to_owned() } else { area.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zips_of_every_spelling() {
        let cases = [("02360", "023"), ("2360", "023"), ("2360.0", "023"), ("015456406", "015"), ("01545-6406", "015")];
        for (zip, area) in cases {
            assert_eq!(zip3(zip).as_deref(), Some(area), "{zip}");
        }
        assert_eq!(zip3(""), None);
        assert_eq!(zip3("x1234"), None);
    }

    #[test]
    fn small_areas_are_hidden() {
        assert_eq!(zip3("03601").as_deref(), Some("000"));
        assert_eq!(zip3("82101").as_deref(), Some("000"));
    }
}
