//! The steward's risk report: how alone a person is in the tables.
//!
//! Classes are over {birth year, sex, race, region}. It is a gate that the steward sets, not a substitute for
//! differential privacy, and it never leaves the steward's and the operator's routes.

use std::collections::HashMap;

use epiledger_privacy::deidentify::{Cell, DeIdentified};
use epiledger_privacy::research::CONDITION_CATEGORIES;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// One class: how many persons, and which condition categories they have.
#[derive(Default)]
struct Class {
    people: u64,
    /// Bit set over the positions in [`CONDITION_CATEGORIES`].
    categories: u64,
}

const _: () = assert!(CONDITION_CATEGORIES.len() <= 64, "a category is a bit of a u64");

/// Counts classes by a hash of what they have in common; its memory is bounded by the declared domains.
#[derive(Default)]
pub(crate) struct Classes(HashMap<[u8; 16], Class>);

/// Positions in a person's row: year of birth, gender, race, county, and state when there is no county.
const YEAR: usize = 1;
const GENDER: usize = 4;
const RACE: usize = 6;
const STATE: usize = 9;
const COUNTY: usize = 10;
/// Position of the category in a condition's row.
const CATEGORY: usize = 5;

impl Classes {
    /// Counts a patient.
    pub(crate) fn add(&mut self, patient: &DeIdentified) {
        let [person, _, _, conditions, ..] = patient.tables();
        let Some(row) = person.first() else { return };
        let cell = |at: usize| row.cells().get(at).unwrap_or(&Cell::Null);
        let region = if *cell(COUNTY) == Cell::Null { cell(STATE) } else { cell(COUNTY) };
        let class = self.0.entry(key(&[cell(YEAR), cell(GENDER), cell(RACE), region])).or_default();
        class.people += 1;
        for row in conditions {
            if let Some(Cell::Text(category)) = row.cells().get(CATEGORY)
                && let Some(bit) = CONDITION_CATEGORIES.iter().position(|(code, _)| code == category)
            {
                class.categories |= 1 << bit;
            }
        }
    }

    /// Takes over another's counts.
    pub(crate) fn merge(&mut self, other: Self) {
        for (key, class) in other.0 {
            let mine = self.0.entry(key).or_default();
            mine.people += class.people;
            mine.categories |= class.categories;
        }
    }

    /// The report.
    pub(crate) fn report(&self) -> RiskReport {
        let people: u64 = self.0.values().map(|c| c.people).sum();
        let below = |limit: u64| -> u64 { self.0.values().map(|c| c.people).filter(|n| *n < limit).sum() };
        let share = |part: u64| if people == 0 { 0.0 } else { part as f64 / people as f64 };
        RiskReport {
            people,
            classes: self.0.len() as u64,
            smallest_class: self.0.values().map(|c| c.people).min().unwrap_or(0),
            share_in_classes_under_5: share(below(5)),
            share_in_classes_under_11: share(below(11)),
            unique: share(below(2)),
            least_diversity: self.0.values().map(|c| u64::from(c.categories.count_ones())).min().unwrap_or(0),
        }
    }
}

/// Half of a SHA-256 over the cells.
fn key(cells: &[&Cell]) -> [u8; 16] {
    let digest: [u8; 32] = Sha256::digest(format!("{cells:?}")).into();
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    half
}

/// How alone a person is, over the classes {birth year, sex, race, region}.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct RiskReport {
    /// Persons in the tables.
    pub people: u64,
    /// Classes with a person in them.
    pub classes: u64,
    /// Persons in the smallest class.
    pub smallest_class: u64,
    /// Share of persons in classes of fewer than 5.
    pub share_in_classes_under_5: f64,
    /// Share of persons in classes of fewer than 11.
    pub share_in_classes_under_11: f64,
    /// Share of persons alone in their class.
    pub unique: f64,
    /// l-diversity: fewest different condition categories in a class.
    pub least_diversity: u64,
}
