//! Series, recomputed: each window against the opening that paid for it and the windows before it.

use std::collections::HashMap;

use crate::entry::{QueryIntent, SeriesWindow};

/// A series so far.
struct Series {
    opening: QueryIntent,
    /// Where its next window begins.
    next: String,
}

/// All series so far.
#[derive(Default)]
pub(crate) struct Book {
    /// Instants of the snapshots.
    cuts: HashMap<u64, String>,
    /// By log index of the opening.
    series: HashMap<u64, Series>,
    /// Openings of the windows without an outcome, by log index of the window's intent.
    under_way: HashMap<u64, u64>,
}

impl Book {
    /// A snapshot's instant.
    pub(crate) fn cut(&mut self, number: u64, cut_at: &str) {
        self.cuts.insert(number, cut_at.to_owned());
    }

    /// Takes in an intent. True when it is a window that its opening has paid for, so that it is free.
    pub(crate) fn begin(&mut self, index: u64, intent: &QueryIntent) -> Result<bool, String> {
        let Some(window) = &intent.series else { return Ok(false) };
        let cut = self.cuts.get(&intent.snapshot).ok_or("its snapshot was never pinned")?;
        let closed = window.terms.closed(cut).ok_or("the horizon of its series is no whole periods")?;
        if window.to != closed {
            return Err("its window does not end with the last period that its snapshot closed".into());
        }
        if intent.finer.is_some() || intent.bounds.k_min.is_some() || intent.bounds.groups != 1 {
            return Err("a series counts a patient once, in public periods".into());
        }
        let Some(opened) = window.opened else {
            if window.from != window.terms.from {
                return Err("a series opens with the first period of its horizon".into());
            }
            self.series.insert(index, Series { opening: intent.clone(), next: window.to.clone() });
            self.under_way.insert(index, index);
            return Ok(false);
        };
        if self.under_way.values().any(|opening| *opening == opened) {
            return Err("an earlier window of its series has no outcome yet".into());
        }
        let series = self.series.get_mut(&opened).ok_or(format!("entry {opened} opened no series"))?;
        if window.from != series.next || window.from >= window.to {
            return Err("its window does not go on where the one before it ended".into());
        }
        if !same(intent, window, &series.opening) {
            return Err("it is another question than the one that its series was opened with and paid for".into());
        }
        series.next.clone_from(&window.to);
        self.under_way.insert(index, opened);
        Ok(true)
    }

    /// An intent has its outcome.
    pub(crate) fn end(&mut self, intent: u64) {
        self.under_way.remove(&intent);
    }
}

/// Is a window the opening's question, with its noise, asked by the same under the same protocol, at no charge?
fn same(intent: &QueryIntent, window: &SeriesWindow, opening: &QueryIntent) -> bool {
    let asked = |i: &QueryIntent| {
        (i.principal.clone(), i.protocol.clone(), i.purpose.clone(), i.id_space.clone(), i.sql_commit.clone())
    };
    opening.series.as_ref().is_some_and(|first| first.plan == window.plan && first.terms == window.terms)
        && asked(intent) == asked(opening)
        && intent.primitives == opening.primitives
        && intent.bounds == opening.bounds
        && intent.rho == "0"
        && intent.delta == "0"
}
