//! The built-in places: Massachusetts and its 14 counties.
//!
//! FIPS codes are the US Census Bureau's; populations are the 2020 census counts of residents (P.L. 94-171
//! redistricting data, public domain), which sum to the state's 7,029,917.

use epiledger_privacy::research::Region;

/// County FIPS code, name, residents on 1 April 2020, and the three first digits of a ZIP code in use there.
pub(crate) const COUNTIES: [(&str, &str, i64, &str); 14] = [
    ("25001", "Barnstable", 228_996, "026"),
    ("25003", "Berkshire", 129_026, "012"),
    ("25005", "Bristol", 579_200, "027"),
    ("25007", "Dukes", 20_600, "025"),
    ("25009", "Essex", 809_829, "019"),
    ("25011", "Franklin", 71_029, "013"),
    ("25013", "Hampden", 465_825, "011"),
    ("25015", "Hampshire", 162_308, "010"),
    ("25017", "Middlesex", 1_632_002, "018"),
    ("25019", "Nantucket", 14_255, "025"),
    ("25021", "Norfolk", 725_981, "020"),
    ("25023", "Plymouth", 530_819, "023"),
    ("25025", "Suffolk", 797_936, "021"),
    ("25027", "Worcester", 862_111, "016"),
];

/// Code and name of the state.
pub(crate) const STATE: (&str, &str) = ("MA", "Massachusetts");

/// The built-in regions: the state, then its counties by code.
#[must_use]
pub fn massachusetts() -> Vec<Region> {
    let state = Region {
        region_code: STATE.0.to_owned(),
        name: STATE.1.to_owned(),
        parent_code: None,
        level: "state".to_owned(),
        population_year: 2020,
        population: COUNTIES.iter().map(|(_, _, people, _)| people).sum(),
    };
    let counties = COUNTIES.iter().map(|(code, name, population, _)| Region {
        region_code: (*code).to_owned(),
        name: (*name).to_owned(),
        parent_code: Some(STATE.0.to_owned()),
        level: "county".to_owned(),
        population_year: 2020,
        population: *population,
    });
    std::iter::once(state).chain(counties).collect()
}

/// The FIPS code of a county by its name, with or without the word County.
#[must_use]
pub fn county_code(name: &str) -> Option<&'static str> {
    let bare = name.trim().strip_suffix("County").unwrap_or(name).trim();
    COUNTIES.iter().find(|(_, county, _, _)| county.eq_ignore_ascii_case(bare)).map(|(code, ..)| *code)
}

/// The code of a state by its name or code.
#[must_use]
pub fn state_code(name: &str) -> Option<&'static str> {
    let known = name.eq_ignore_ascii_case(STATE.0) || name.eq_ignore_ascii_case(STATE.1);
    known.then_some(STATE.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counties_sum_to_the_census_count() {
        let regions = massachusetts();
        assert_eq!(regions.len(), 15);
        assert_eq!(regions[0].population, 7_029_917);
    }

    #[test]
    fn names_lead_to_codes() {
        assert_eq!(county_code("Middlesex County"), Some("25017"));
        assert_eq!(county_code("norfolk"), Some("25021"));
        assert_eq!(county_code("Cook County"), None);
        assert_eq!(state_code("Massachusetts"), Some("MA"));
        assert_eq!(state_code("Ohio"), None);
    }
}
