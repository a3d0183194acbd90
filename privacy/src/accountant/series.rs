//! Windows of a series: paid once, and whom they count written down before they have an outcome.

use std::{collections::HashSet, sync::Arc};

use super::{Accountant, AccountantError, Asker, ReserveError, Reserved, SALT};
use crate::{
    bound::BoundedPlan,
    budget::Budget,
    release::Failed,
    series::{Counted, Series, read, written},
};
use epiledger_ledger::entry::query::Outcome;

/// Where a paid window writes down whom it counts.
pub(super) struct Counting {
    store: Arc<dyn Counted>,
    series: String,
}

impl Accountant {
    /// Pays for a series, or takes its next window, which the opening at this log index has paid for.
    ///
    /// # Errors
    /// As [`Self::reserve`]; [`ReserveError::Series`] when the plan can't be the next window.
    pub fn reserve_window(
        self: &Arc<Self>,
        plan: BoundedPlan,
        asker: &Asker,
        opened: Option<u64>,
        store: Arc<dyn Counted>,
    ) -> Result<Reserved, ReserveError> {
        let lost = |_| ReserveError::Series("the list of those it has counted can't be read: ask the operator");
        let once = plan.once().cloned().ok_or(ReserveError::Series("the plan is of no series"))?;
        let before = opened.map(|index| series_at(&self.budget(), index)).transpose()?;
        let salt = match &before {
            None => rand::random::<[u8; SALT]>(),
            Some(series) => {
                let blob = self.log.blob(&series.opening.sql_commit).map_err(AccountantError::from)?;
                let salt = blob.and_then(|blob| blob.first_chunk::<SALT>().copied());
                salt.ok_or(ReserveError::Series("its text was redacted, which ends it"))?
            }
        };
        // Looked for before the window is taken, and read after: no row is read before its intent is durable.
        let answered = |series: &Series| -> Vec<(String, bool)> {
            let ended = |w: &crate::series::Taken| w.ended.map(|e| (w.query_id.clone(), e == Outcome::Answered));
            series.windows.iter().filter_map(ended).collect()
        };
        if let Some(series) = &before {
            for (window, answered) in answered(series) {
                if answered && !store.has(&series.opening.query_id, &window).map_err(lost)? {
                    return Err(ReserveError::Series("the list of those it has counted is gone, which ends it"));
                }
            }
        }
        let mut reserved = self.pay(plan, asker, opened, salt)?;
        let mut counted = HashSet::new();
        let mut name = reserved.query_id.clone();
        if let Some(index) = opened {
            // As it stands now: nothing of the series can begin or end beside this window.
            let series = series_at(&self.budget(), index)?;
            name.clone_from(&series.opening.query_id);
            for (window, answered) in answered(&series) {
                match store.get(&name, &window).map_err(lost)?.map(|content| read(&name, &window, &content)) {
                    Some(Some(units)) => counted.extend(units),
                    None if !answered => {}
                    _ => return Err(ReserveError::Series("the list of those it has counted is damaged")),
                }
            }
        }
        if !once.begin(counted) {
            return Err(ReserveError::Series("the plan was used before"));
        }
        reserved.counting = Some(Counting { store, series: name });
        Ok(reserved)
    }
}

fn series_at(budget: &Budget, index: u64) -> Result<Series, ReserveError> {
    budget.series().all().get(&index).cloned().ok_or(ReserveError::Series("there is no such series"))
}

impl Reserved {
    /// Writes down whom a window counts; other questions write nothing. Only then it may have an answer.
    pub(crate) async fn write_counted(&self) -> Result<(), Failed> {
        let Some(once) = self.plan.once() else { return Ok(()) };
        let Counting { store, series } = self.counting.as_ref().ok_or(Failed)?;
        let (store, series, window) = (Arc::clone(store), series.clone(), self.query_id.clone());
        let content = written(&series, &window, &once.counted());
        let (tell, told) = futures::channel::oneshot::channel();
        // As for outcomes: the disk blocks, and the core brings no runtime.
        std::thread::spawn(move || {
            let _ = tell.send(store.put(&series, &window, &content));
        });
        told.await.map_err(|_| Failed)?.map_err(|_| Failed)
    }
}
