//! When snapshots are cut: daily at one public hour, whether the ledger changed or not, so that the moment of a cut
//! says nothing about anyone. Any other cut is an act: its manifest, and the audit entry of the server that reads it,
//! say that it was out of schedule.

use std::fmt;
use std::path::Path;

use epiledger_privacy::day::Day;

use crate::error::IngestError;
use crate::folder::Folder;
use crate::pipeline::{Options, Pipeline, Summary, Watch};
use crate::snapshot;

const MINUTE: u64 = 60;
const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;

/// The instant of a cut, to the minute, and whether the schedule named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Unix seconds, a whole minute.
    seconds: u64,
    /// Is it one of the schedule's?
    pub scheduled: bool,
}

impl Cut {
    /// A cut out of schedule at this Unix time.
    #[must_use]
    pub const fn at(seconds: u64) -> Self {
        Self { seconds: seconds - seconds % MINUTE, scheduled: false }
    }

    /// A cut out of schedule at the beginning of a day.
    #[must_use]
    pub fn on(day: Day) -> Self {
        Self::at(u64::try_from(day.0).unwrap_or(0) * DAY)
    }

    /// Its day in UTC: consents and the determination are judged on it.
    #[must_use]
    pub fn day(self) -> Day {
        Day(i32::try_from(self.seconds / DAY).unwrap_or(i32::MAX))
    }
}

/// Out of schedule, at the beginning of a day.
impl From<Day> for Cut {
    fn from(day: Day) -> Self {
        Self::at(u64::try_from(day.0).unwrap_or(0) * DAY)
    }
}

/// `YYYY-MM-DDTHH:MMZ`: later instants sort after earlier ones.
impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let within = self.seconds % DAY;
        write!(f, "{}T{:02}:{:02}Z", self.day(), within / HOUR, within % HOUR / MINUTE)
    }
}

/// A cut a day, at this hour of UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    hour: u64,
}

impl Schedule {
    /// Daily at this hour (UTC), 0 to 23.
    #[must_use]
    pub fn daily(hour: u8) -> Option<Self> {
        (hour < 24).then_some(Self { hour: u64::from(hour) })
    }

    /// The schedule's newest cut at this Unix time.
    #[must_use]
    pub const fn last(self, now: u64) -> Cut {
        let today = now - now % DAY + self.hour * HOUR;
        let seconds = if today <= now { today } else { today.saturating_sub(DAY) };
        Cut { seconds, scheduled: true }
    }

    /// The schedule's next cut after this Unix time.
    #[must_use]
    pub const fn next(self, now: u64) -> Cut {
        Cut { seconds: self.last(now).seconds + DAY, scheduled: true }
    }
}

/// Takes a folder out of the schedule: its first cut stays until someone asks for another. For records that end on a
/// day of their own, such as simulated ones: a cut of today would make every question a new one, and show nothing new.
///
/// # Errors
/// The system refuses.
pub fn waive(data: &Path) -> Result<(), IngestError> {
    let path = Folder::new(data).no_schedule();
    let text = "No snapshot is cut on schedule here; `epiledger ingest --cut` cuts one. Without this file: daily.\n";
    std::fs::write(&path, text).map_err(IngestError::io("write", &path))
}

/// Was the folder taken out of the schedule?
#[must_use]
pub fn waived(data: &Path) -> bool {
    Folder::new(data).no_schedule().exists()
}

/// Cuts when the schedule's newest instant has no snapshot yet, or there is no snapshot at all (the first of a folder
/// is cut at once); `None` when nothing is due. Of days on which nobody cut, only the last one is made up for, and of a
/// folder that was taken out of the schedule none.
///
/// # Errors
/// As [`Pipeline::run`]; [`IngestError::Busy`] while another ingest runs.
pub fn cut_if_due(data: &Path, schedule: Schedule, now: u64, watch: Watch<'_>) -> Result<Option<Summary>, IngestError> {
    let due = schedule.last(now);
    let cut = match snapshot::newest(data)? {
        None => Cut::at(now),
        Some(_) if waived(data) => return Ok(None),
        Some(newest) if newest.cut_at < due.to_string() => due,
        Some(_) => return Ok(None),
    };
    Pipeline::run(data, Options { force: true, watch, ..Options::at(cut) }).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_in_minutes_and_sort_as_text() {
        // 2026-01-02T03:04:59Z
        let now = 1_767_323_099;
        assert_eq!(Cut::at(now).to_string(), "2026-01-02T03:04Z");
        assert_eq!(Cut::from(Cut::at(now).day()).to_string(), "2026-01-02T00:00Z");
        let texts: Vec<String> = (0..400).map(|i| Cut::at(now + i * 4_001).to_string()).collect();
        assert!(texts.is_sorted());
    }

    #[test]
    fn each_day_has_one_cut_at_its_hour() {
        let schedule = Schedule::daily(3).unwrap();
        let show = |now| (schedule.last(now).to_string(), schedule.next(now).to_string());
        let day = 1_767_312_000; // 2026-01-02T00:00Z
        assert_eq!(show(day + 3 * HOUR - 1), ("2026-01-01T03:00Z".into(), "2026-01-02T03:00Z".into()));
        assert_eq!(show(day + 3 * HOUR), ("2026-01-02T03:00Z".into(), "2026-01-03T03:00Z".into()));
        assert!(schedule.last(day).scheduled && !Cut::at(day).scheduled);
        assert_eq!(Schedule::daily(24), None);
    }
}
