//! Simulated people with known truth: a ledger for demonstrations, for tests and for scale.
//!
//! The 14 counties of Massachusetts by census share; hospitals, patients and an expert with keys; visits, conditions
//! by age and place, an epidemic whose weekly cases are told, prescriptions, measurements; consents given, denied,
//! limited and revoked; corrections and retractions; and a few bad transactions of each kind. All of it is a function
//! of the seed: person number n is the same in every simulation of that seed, whoever else is in it. Its parties' keys
//! are made from the seed too and protect nothing; the ledger's own key is new in each.

mod dice;
mod epidemic;
mod history;
mod person;
mod transactions;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use epiledger_privacy::catalog::{Catalog, Profile};
use epiledger_privacy::day::Day;
use epiledger_privacy::research::research_catalog;
use serde::Serialize;
use sha2::{Digest, Sha256};

pub use epidemic::{Truth, WeekTruth};
pub use transactions::Bad;

use self::person::Consent;
use self::transactions::{After, Part, World};
use crate::bundle::Packer;
use crate::error::IngestError;
use crate::folder::Folder;
use crate::ledger_writer::LedgerWriter;
use crate::making::Making;
use crate::parties::{Authorities, PatientKeys};
use crate::progress::{Progress, Stage};
use crate::public_tables;
use crate::regions::massachusetts;

/// The day the simulated data ends, 2025-12-31: a constant of the catalog.
pub const DATA_CUT: Day = Day(20_453);

/// First day of the catalog's dates, 1900-01-01.
const FIRST_DAY: Day = Day(-25_567);

/// The simulated hospitals; counties take them in turn.
const HOSPITALS: [&str; 6] = ["h-cape", "h-west", "h-south", "h-north", "h-valley", "h-harbor"];

/// Persons that a worker makes at a time.
const PERSONS_A_TASK: u64 = 100;

/// What was simulated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SimSummary {
    /// Persons.
    pub people: u64,
    /// Transactions written.
    pub transactions: u64,
    /// Hospitals.
    pub hospitals: u64,
    /// Persons whose grant stands at the end.
    pub granted: u64,
    /// Persons who said no.
    pub denied: u64,
    /// Persons who took their grant back.
    pub revoked: u64,
    /// Corrected records.
    pub corrections: u64,
    /// Retracted records.
    pub retractions: u64,
    /// Bad transactions by the code that ingest must give them.
    pub bad: BTreeMap<&'static str, u64>,
    /// The epidemic's cases by week.
    pub weekly_cases: Truth,
}

/// Who is simulated, and how.
#[derive(Clone, Debug)]
pub struct Simulation {
    /// How many persons.
    pub people: u64,
    /// The seed of everything.
    pub seed: u64,
    /// Persons to leave out, by number.
    pub without: Vec<u64>,
    /// The profile of the catalog that is written.
    pub profile: Profile,
}

impl Simulation {
    /// So many persons of this seed, under the expert's profile.
    #[must_use]
    pub fn new(people: u64, seed: u64) -> Self {
        Self { people, seed, without: Vec::new(), profile: Profile::ExpertDetermination }
    }

    /// The catalog of the simulated data.
    #[must_use]
    pub fn catalog(&self) -> Catalog {
        // A declared size is public and rounded up, so that a person more or less does not show in it.
        let declared = self.people.max(1000).checked_next_power_of_two().unwrap_or(u64::MAX);
        research_catalog(&DATA_CUT.to_string(), self.profile, declared, &massachusetts())
    }
}

/// Simulates `people` persons of `seed` into an empty or missing data folder: ledger, keys and catalog.
///
/// # Errors
/// The folder already holds a ledger, or it can't be written.
pub fn simulate(
    data: &Path,
    people: u64,
    seed: u64,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<SimSummary, IngestError> {
    run(data, &Simulation::new(people, seed), progress)
}

/// Simulates what `simulation` says; see [`simulate`].
///
/// # Errors
/// As there.
pub fn run(
    data: &Path,
    simulation: &Simulation,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<SimSummary, IngestError> {
    let folder = Folder::new(data);
    if folder.ledger().exists() {
        return Err(IngestError::NotEmpty);
    }
    let making = Making::begin(&folder)?;
    let root: [u8; 32] = Sha256::digest(format!("epiledger simulation {}", simulation.seed)).into();
    let authorities = Authorities::create(&folder, &root, &HOSPITALS)?;
    let catalog = simulation.catalog();
    folder.write_catalog(&catalog)?;
    public_tables::write(&folder, &catalog, &massachusetts())?;
    let mut writer = Writer {
        ledger: LedgerWriter::new(making.ledger()?),
        keys: PatientKeys::create(&folder)?,
        world: World { root, authorities: &authorities },
        summary: SimSummary { hospitals: HOSPITALS.len() as u64, ..SimSummary::default() },
    };
    let mut opening = authorities.opening()?;
    opening.push(authorities.determination("2025-12-15", "2035-12-31")?);
    writer.ledger.submit(opening)?;
    let workers = std::thread::available_parallelism().map_or(2, usize::from) as u64;
    let mut next = 0;
    while next < simulation.people {
        let window = next..(next + workers * PERSONS_A_TASK).min(simulation.people);
        next = window.end;
        for parts in writer.world.window(window, simulation)? {
            writer.take(parts)?;
        }
        progress(Progress { stage: Stage::Simulate, done: next, total: simulation.people });
    }
    let summary = writer.finish()?;
    making.finish()?;
    Ok(summary)
}

impl World<'_> {
    /// The parts of a range of persons, made in parallel, in order.
    fn window(&self, window: Range<u64>, simulation: &Simulation) -> Result<Vec<Vec<Part>>, IngestError> {
        let starts: Vec<u64> = (window.start..window.end).step_by(PERSONS_A_TASK as usize).collect();
        std::thread::scope(|scope| {
            let tasks: Vec<_> = starts
                .into_iter()
                .map(|start| {
                    let range = start..(start + PERSONS_A_TASK).min(window.end);
                    scope.spawn(move || {
                        let mut packer = Packer::new()?;
                        range
                            .filter(|number| !simulation.without.contains(number))
                            .map(|number| self.part(number, &mut packer))
                            .collect()
                    })
                })
                .collect();
            tasks.into_iter().map(|task| task.join().unwrap_or(Err(IngestError::Worker))).collect()
        })
    }
}

/// Writes parts to the ledger and counts them.
struct Writer<'a> {
    ledger: LedgerWriter,
    keys: PatientKeys,
    world: World<'a>,
    summary: SimSummary,
}

impl Writer<'_> {
    /// Writes some persons' parts, then what names their indices.
    fn take(&mut self, mut parts: Vec<Part>) -> Result<(), IngestError> {
        let mut entries = Vec::new();
        let mut starts = Vec::with_capacity(parts.len());
        for part in &mut parts {
            starts.push(entries.len());
            entries.append(&mut part.entries);
            self.keys.add(&part.patient, &part.seed)?;
            self.count(part);
        }
        let indices = self.ledger.submit(entries)?;
        let mut after = Vec::new();
        for (part, start) in parts.iter().zip(starts) {
            let index = |at: usize| indices.get(start + at).copied().ok_or(IngestError::Worker);
            after.extend(self.world.after(part, index(part.grant_at)?, index(part.history_at)?)?);
        }
        self.ledger.submit(after).map(|_| ())
    }

    fn count(&mut self, part: &Part) {
        let summary = &mut self.summary;
        summary.people += 1;
        let mut general = false;
        match part.person.consent {
            Consent::Granted { purpose, revoked: false, .. } => {
                summary.granted += 1;
                general = purpose == "GRU";
            }
            Consent::Granted { revoked: true, .. } => summary.revoked += 1,
            Consent::Denied => summary.denied += 1,
            Consent::None => {}
        }
        let mut retracted = false;
        for after in &part.after {
            match after {
                After::Correct(_) => summary.corrections += 1,
                After::Retract(_) => {
                    summary.retractions += 1;
                    retracted = true;
                }
                After::Revoke => {}
            }
        }
        if let Some(bad) = part.bad {
            *summary.bad.entry(bad.code()).or_default() += 1;
        }
        if let Some(day) = part.person.case {
            let week = summary.weekly_cases.entry(epidemic::monday(day).to_string()).or_default();
            week.recorded += u64::from(!retracted);
            week.consented += u64::from(general && !retracted);
        }
    }

    fn finish(self) -> Result<SimSummary, IngestError> {
        let transactions = self.ledger.finish()?;
        self.keys.finish()?;
        Ok(SimSummary { transactions, ..self.summary })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_the_days_they_name() {
        assert_eq!(DATA_CUT.to_string(), "2025-12-31");
        assert_eq!(FIRST_DAY.to_string(), "1900-01-01");
    }

    #[test]
    fn a_simulation_is_a_function_of_its_seed() {
        let simulate_into = |seed| {
            let dir = tempfile::tempdir().unwrap();
            simulate(dir.path(), 300, seed, &|_| {}).unwrap()
        };
        let first = simulate_into(1);
        assert_eq!(first, simulate_into(1));
        assert_ne!(first, simulate_into(2));
        assert_eq!(first.people, 300);
        assert!(first.granted > 240 && first.denied > 0 && first.revoked > 0);
        assert_eq!(first.bad.values().sum::<u64>(), 3);
        assert!(first.weekly_cases.values().map(|w| w.recorded).sum::<u64>() > 5);
    }

    #[test]
    fn a_folder_with_a_ledger_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        simulate(dir.path(), 5, 1, &|_| {}).unwrap();
        assert!(matches!(simulate(dir.path(), 5, 1, &|_| {}), Err(IngestError::NotEmpty)));
    }
}
