//! The series of a log: a fold over its intents, outcomes and snapshots. `ledger::verify` does it independently.

use std::collections::BTreeMap;

use epiledger_ledger::entry::{QueryIntent, query::Outcome};

/// A window that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Statement's id.
    pub query_id: String,
    /// Snapshot that it reads.
    pub snapshot: u64,
    /// First day.
    pub from: String,
    /// First day after it.
    pub to: String,
    /// How it ended; None while it runs.
    pub ended: Option<Outcome>,
}

/// One series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// The intent that opened it and paid for it.
    pub opening: QueryIntent,
    /// Its windows so far, the opening's first.
    pub windows: Vec<Taken>,
}

impl Series {
    /// Where its next window begins.
    #[must_use]
    pub fn next(&self) -> &str {
        self.windows.last().map_or("", |window| &window.to)
    }
}

/// All series of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Book {
    cuts: BTreeMap<u64, String>,
    series: BTreeMap<u64, Series>,
}

impl Book {
    /// All series, by log index of their openings.
    #[must_use]
    pub const fn all(&self) -> &BTreeMap<u64, Series> {
        &self.series
    }

    pub(crate) fn cut(&mut self, number: u64, cut_at: &str) {
        self.cuts.insert(number, cut_at.to_owned());
    }

    /// Can this intent be the next one, as far as series go?
    pub(crate) fn check(&self, intent: &QueryIntent) -> Result<(), &'static str> {
        let Some(window) = &intent.series else { return Ok(()) };
        let closed = self.cuts.get(&intent.snapshot).and_then(|cut| window.terms.closed(cut));
        if closed.as_ref() != Some(&window.to) {
            return Err("a window that does not end with the last period that its snapshot closed");
        }
        if intent.finer.is_some() || intent.bounds.k_min.is_some() || intent.bounds.groups != 1 {
            return Err("a series in which a patient may be counted twice");
        }
        let Some(opened) = window.opened else {
            return if window.from == window.terms.from { Ok(()) } else { Err("a series that opens in its middle") };
        };
        let series = self.series.get(&opened).ok_or("a window of no series")?;
        if series.windows.iter().any(|window| window.ended.is_none()) {
            return Err("a window beside another of its series");
        }
        if window.from != series.next() || window.from >= window.to {
            return Err("a window that does not go on where the one before it ended");
        }
        let opening = &series.opening;
        let terms = opening.series.as_ref().is_some_and(|w| w.plan == window.plan && w.terms == window.terms);
        let asker = intent.principal == opening.principal && intent.protocol == opening.protocol;
        let question = intent.purpose == opening.purpose
            && intent.id_space == opening.id_space
            && intent.sql_commit == opening.sql_commit
            && intent.bounds == opening.bounds
            && intent.primitives == opening.primitives;
        let free = intent.rho == "0" && intent.delta == "0";
        if terms && asker && question && free {
            Ok(())
        } else {
            Err("a window of another question than its series was opened with and paid for")
        }
    }

    /// Takes in an intent that [`Self::check`] let through.
    pub(crate) fn begin(&mut self, index: u64, intent: &QueryIntent) {
        let Some(window) = &intent.series else { return };
        let fresh = || Series { opening: intent.clone(), windows: Vec::new() };
        self.series.entry(window.opened.unwrap_or(index)).or_insert_with(fresh).windows.push(Taken {
            query_id: intent.query_id.clone(),
            snapshot: intent.snapshot,
            from: window.from.clone(),
            to: window.to.clone(),
            ended: None,
        });
    }

    /// A question has ended.
    pub(crate) fn end(&mut self, query_id: &str, outcome: Outcome) {
        for window in self.series.values_mut().flat_map(|series| &mut series.windows) {
            if window.query_id == query_id {
                window.ended = Some(outcome);
            }
        }
    }
}
