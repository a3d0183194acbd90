//! A series as it is shown: every period of its horizon, with its number or the reason why there is none.

use epiledger_ledger::entry::{SeriesTerms, query::Outcome};
use epiledger_privacy::{
    budget::paid,
    series::{Series, Taken},
};
use serde::Serialize;

use crate::{
    api::{Price, Principal, QueryError, SnapshotRef},
    price::price,
    query::{Engine, may_read},
    question::Question,
};

/// One period.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PeriodView {
    /// First day.
    pub from: String,
    /// First day after it.
    pub to: String,
    /// `released`; `failed`: it was taken and has no answer, for good; `running`; `open`: it is not closed, or waits for
    /// the next cut.
    pub state: &'static str,
    /// The day whose cut closes it.
    pub closes: String,
    /// Patients who are counted in it, noisy.
    pub value: Option<i64>,
    /// Low end of the 95 % interval (noise only).
    pub low: Option<i64>,
    /// High end.
    pub high: Option<i64>,
    /// The snapshot that it was counted in.
    pub snapshot: Option<SnapshotRef>,
    /// Log index of its outcome.
    pub index: Option<u64>,
}

/// A series.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeriesView {
    /// Its id: the statement that opened it.
    pub id: String,
    /// The protocol that paid.
    pub protocol: String,
    /// The question; null when its text was redacted, which ends the series.
    pub sql: Option<String>,
    /// Periods, horizon and lag.
    pub terms: SeriesTerms,
    /// `complete` once no period is left; `suspended` when its protocol can't be used now; else `open`.
    pub state: &'static str,
    /// The price of all of it, paid when it was opened.
    pub price: Price,
    /// Standard deviation of the noise on each number.
    pub sigma: Option<f64>,
    /// Log index of the intent that opened it.
    pub opened: u64,
    /// The day whose cut closes the next period; null when none is left.
    pub next: Option<String>,
    /// Every period of the horizon, in order.
    pub periods: Vec<PeriodView>,
}

impl Engine {
    /// The series that the caller may read, oldest first.
    #[must_use]
    pub fn all_series(&self, who: &Principal) -> Vec<SeriesView> {
        let budget = self.accountant.budget();
        let readable = budget.series().all().iter().filter(|(_, series)| may_read(who, &series.opening.protocol));
        readable.filter_map(|(index, series)| self.viewed(*index, series)).collect()
    }

    /// One series.
    ///
    /// # Errors
    /// There is none of this id that the caller may read.
    pub fn series(&self, who: &Principal, id: &str) -> Result<SeriesView, QueryError> {
        let found = self.all_series(who).into_iter().find(|series| series.id == id);
        found.ok_or_else(|| QueryError::Forbidden("there is no such series, or your key may not read it".into()))
    }

    fn viewed(&self, index: u64, series: &Series) -> Option<SeriesView> {
        let opening = &series.opening;
        let terms = opening.series.as_ref()?.terms.clone();
        let days = terms.days()?;
        let cuts = self.accountant.snapshots();
        let mut periods: Vec<PeriodView> = Vec::new();
        for pair in days.windows(2) {
            let [from, to] = pair else { continue };
            let window = series.windows.iter().find(|window| window.from <= *from && *from < window.to);
            let closes = terms.closes(to)?;
            let mut period = PeriodView {
                from: from.clone(),
                to: to.clone(),
                state: window.map_or("open", state),
                closes,
                value: None,
                low: None,
                high: None,
                snapshot: None,
                index: None,
            };
            if let Some(window) = window {
                let cut_at = cuts.get(&window.snapshot).cloned().unwrap_or_default();
                period.snapshot = Some(SnapshotRef { number: window.snapshot, cut_at });
                self.number(window, &days, &mut period);
            }
            periods.push(period);
        }
        let next = periods.iter().find(|period| period.state == "open").map(|period| period.closes.clone());
        let usable = |protocol: &epiledger_privacy::budget::Protocol| {
            protocol.usable(&opening.principal, self.audit().time()).is_ok()
        };
        let usable = self.accountant.budget().protocols().get(&opening.protocol).is_some_and(usable);
        let loss = paid(opening)?;
        let text = self.accountant.text(&opening.sql_commit).ok().flatten();
        Some(SeriesView {
            id: opening.query_id.clone(),
            protocol: opening.protocol.clone(),
            sql: text.map(|text| Question::read(&text).sql),
            terms,
            state: match (&next, usable) {
                (None, _) => "complete",
                (_, true) => "open",
                _ => "suspended",
            },
            price: price(loss, self.delta_rep()),
            sigma: opening.primitives.first().and_then(|primitive| primitive.sigma.parse().ok()),
            opened: index,
            next,
            periods,
        })
    }

    /// Puts a released number into its period: a window's numbers are those of its periods, in order.
    fn number(&self, window: &Taken, days: &[String], period: &mut PeriodView) {
        let Some(cached) = self.accountant.release(&window.query_id) else { return };
        let Some(draw) = cached.release.draws().first() else { return };
        let place = days.iter().filter(|day| window.from <= **day && **day < period.from).count();
        let half = i64::try_from(draw.half_width).unwrap_or(i64::MAX);
        period.index = Some(cached.index);
        period.value = draw.values.get(place).copied();
        period.low = period.value.map(|value| value.saturating_sub(half));
        period.high = period.value.map(|value| value.saturating_add(half));
    }
}

const fn state(window: &Taken) -> &'static str {
    match window.ended {
        None => "running",
        Some(Outcome::Answered) => "released",
        Some(Outcome::Failed | Outcome::Abandoned) => "failed",
    }
}
