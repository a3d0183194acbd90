//! The one way out: raw integers in, noisy numbers out, outcome durable before anything leaves.
//!
//! `Reserved` is consumed by the one release that it paid for; [`RawBatches`] has no `Debug`, no `Clone`
//! and no accessor; only a [`Release`] can be serialized.
//!
//! A reservation can't be used twice:
//! ```compile_fail,E0382
//! # use epiledger_privacy::{accountant::Reserved, clock::{Clock, Timing}, release::{Executor, release}};
//! async fn twice(paid: Reserved, executor: &impl Executor, clock: &dyn Clock) {
//!     let _ = release(paid, executor, clock, Timing::Immediate).await;
//!     let _ = release(paid, executor, clock, Timing::Immediate).await;
//! }
//! ```
//! Its twin, once:
//! ```
//! # use epiledger_privacy::{accountant::Reserved, clock::{Clock, Timing}, release::{Executor, release}};
//! async fn once(paid: Reserved, executor: &impl Executor, clock: &dyn Clock) {
//!     let _ = release(paid, executor, clock, Timing::Immediate).await;
//! }
//! ```
//! Raw batches can't be printed, copied or read:
//! ```compile_fail,E0277
//! fn print(raw: epiledger_privacy::release::RawBatches) -> String { format!("{raw:?}") }
//! ```
//! ```compile_fail,E0599
//! fn copy(raw: &epiledger_privacy::release::RawBatches) { let _ = raw.clone().len(); }
//! ```
//! ```compile_fail,E0616
//! fn read(raw: epiledger_privacy::release::RawBatches) { let _ = raw.0; }
//! ```
//! Their twin, which only passes them on:
//! ```
//! fn pass(raw: epiledger_privacy::release::RawBatches) -> epiledger_privacy::release::RawBatches { raw }
//! ```
//! A release is not made by hand or read from outside:
//! ```compile_fail,E0277
//! fn forge(text: &str) { let _: epiledger_privacy::release::Release = serde_json::from_str(text).unwrap(); }
//! ```
//! Its twin, writing one:
//! ```
//! fn write(release: &epiledger_privacy::release::Release) -> String { serde_json::to_string(release).unwrap() }
//! ```

mod exact;

use std::{str::FromStr, sync::Arc};

use datafusion::{
    arrow::{
        array::{ArrayRef, AsArray, RecordBatch, StringArray, UInt32Array},
        compute::{CastOptions, cast_with_options, take},
        datatypes::DataType,
    },
    physical_plan::ExecutionPlan,
};
use exact::{Column, at_keys, ordered, zero_filled};
use futures::future::{Either, select};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};

use crate::{
    accountant::Reserved,
    bound::{BoundedPlan, measure::Drawn},
    clock::{Clock, Timing, boundary},
    finer::{Finer, Part},
    loss::PrivacyLoss,
    mechanism::Draw,
};

/// Something failed after the price was paid. It carries nothing: a reason could depend on data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no answer")]
pub struct Failed;

/// The exact integers of V, on their way to the noise.
pub struct RawBatches(Vec<RecordBatch>);

impl RawBatches {
    /// Takes what the engine computed.
    #[must_use]
    pub const fn new(batches: Vec<RecordBatch>) -> Self {
        Self(batches)
    }
}

/// Runs bounded plans; the engine's `exec` folder holds the implementations.
pub trait Executor: Send + Sync {
    /// Runs V of a paid question to its end, in at most `memory` bytes. Nothing else hands V out.
    ///
    /// # Errors
    /// [`Failed`], whatever happened.
    fn execute(
        &self,
        v: Arc<dyn ExecutionPlan>,
        memory: usize,
    ) -> impl Future<Output = Result<RawBatches, Failed>> + Send;
}

/// A key column of a release: released keys as text, NULL kept apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyColumn {
    /// Arrow type.
    #[serde(rename = "type")]
    pub data_type: String,
    /// One for each cell.
    pub values: Vec<Option<String>>,
}

/// One drawn integer, or chosen candidate, of every cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleasedDraw {
    /// What it measures, in words.
    pub what: String,
    /// `discrete_gaussian`, or `noisy_max`: values are then the chosen candidates.
    pub mechanism: String,
    /// Digits of its grid after the point.
    pub scale: i8,
    /// What was paid for it in all, a rho.
    pub rho: String,
    /// The rho that its last buyer asked for it: one who asks no more gets it free.
    pub asked: String,
    /// Standard deviation on the grid, or a noisy maximum's scale, an exact decimal.
    pub sigma: String,
    /// Half-width of the 95 % interval on the grid; of a noisy maximum, the patients between choice and asked rank.
    pub half_width: u64,
    /// One for each cell, on the grid.
    pub values: Vec<i64>,
    /// The draws that the values combine, in the order in which they were bought; none for a single draw.
    pub combines: Vec<Part>,
}

impl ReleasedDraw {
    /// The independent draws behind the values.
    pub(crate) fn parts(&self) -> Vec<Part> {
        if self.combines.is_empty() {
            return vec![Part { sigma: self.sigma.clone(), values: self.values.clone() }];
        }
        self.combines.clone()
    }

    /// Standard deviation of the first draw, which decided on unknown keys.
    pub(crate) fn first_sigma(&self) -> Option<f64> {
        self.combines.first().map_or(&self.sigma, |part| &part.sigma).parse().ok()
    }
}

/// Noisy numbers that were paid for. This, and nothing else about the data, leaves.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Release {
    format: &'static str,
    query_id: String,
    cache_key: String,
    snapshot: u64,
    rho: String,
    delta: String,
    over: Option<u64>,
    k_min: Option<u64>,
    keys: Vec<KeyColumn>,
    draws: Vec<ReleasedDraw>,
}

/// How late a timer may fire and count as on time.
const GRACE: std::time::Duration = std::time::Duration::from_millis(20);

const FORMAT: &str = "epiledger-release/2";

/// [`Release`] as the log's blob holds it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: String,
    query_id: String,
    cache_key: String,
    snapshot: u64,
    rho: String,
    delta: String,
    over: Option<u64>,
    k_min: Option<u64>,
    keys: Vec<KeyColumn>,
    draws: Vec<ReleasedDraw>,
}

/// Where the log holds the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Log index of the `query.outcome` entry.
    pub index: u64,
}

impl Release {
    /// The statement that paid for it.
    #[must_use]
    pub fn query_id(&self) -> &str {
        &self.query_id
    }

    /// Its name in the release cache.
    #[must_use]
    pub fn cache_key(&self) -> &str {
        &self.cache_key
    }

    /// The snapshot it was made from.
    #[must_use]
    pub const fn snapshot(&self) -> u64 {
        self.snapshot
    }

    /// What was paid for it: rho and delta, decimals.
    #[must_use]
    pub fn loss(&self) -> (&str, &str) {
        (&self.rho, &self.delta)
    }

    /// The noisy integers.
    #[must_use]
    pub fn draws(&self) -> &[ReleasedDraw] {
        &self.draws
    }

    /// Threshold that noisy n passed, and k_min, for unknown keys.
    #[must_use]
    pub fn threshold(&self) -> Option<(u64, u64)> {
        self.over.zip(self.k_min)
    }

    /// Number of cells.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.draws.first().map_or(0, |draw| draw.values.len())
    }

    /// Its keys as fresh arrays.
    pub(crate) fn key_arrays(&self) -> Result<Vec<ArrayRef>, Failed> {
        self.keys
            .iter()
            .map(|key| {
                let data_type = DataType::from_str(&key.data_type).map_err(|_| Failed)?;
                let text: ArrayRef = Arc::new(StringArray::from(key.values.clone()));
                let options = CastOptions { safe: false, ..CastOptions::default() };
                cast_with_options(&text, &data_type, &options).map_err(|_| Failed)
            })
            .collect()
    }

    /// Reads a release back from the log's blob.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let stored: Stored = serde_json::from_slice(bytes).ok()?;
        if stored.format != FORMAT {
            return None;
        }
        let Stored { query_id, cache_key, snapshot, rho, delta, over, k_min, keys, draws, .. } = stored;
        Some(Self { format: FORMAT, query_id, cache_key, snapshot, rho, delta, over, k_min, keys, draws })
    }
}

/// Executes a paid question, adds the noise, appends the outcome, and only then gives the release.
///
/// With [`Timing::Classes`] outcome and answer come at the first class boundary at or after completion,
/// success or failure alike. The future must be driven to its end: a dropped one leaves an intent
/// without outcome, which the next start closes as abandoned.
///
/// # Errors
/// [`Failed`]: nothing is released; the price stays spent.
pub async fn release(
    reserved: Reserved,
    executor: &impl Executor,
    clock: &dyn Clock,
    timing: Timing,
) -> Result<(Arc<Release>, Outcome), Failed> {
    let started = clock.now();
    let deadline = reserved.plan().deadline();
    // None when the deadline came first: the failure leaves then, and no later.
    let finished = {
        let run = std::pin::pin!(async {
            let raw = run(reserved.plan(), executor).await?;
            reserved.write_counted().await.map(|()| raw)
        });
        let limit = clock.sleep_until(started + deadline);
        match select(run, limit).await {
            Either::Left((Ok(raw), _)) => Some(match reserved.finer() {
                Some(finer) => add_finer(&reserved, finer, raw),
                None => add_noise(reserved.plan(), reserved.query_id(), reserved.loss(), raw, &mut Noise::Private),
            }),
            Either::Left((Err(Failed), _)) => Some(Err(Failed)),
            Either::Right(_) => None,
        }
    };
    let elapsed = clock.now().saturating_sub(started);
    // A timer that fired on time leaves now. One that was held up, whatever by, waits for the next class as all do.
    let on_time = finished.is_none() && elapsed <= deadline + GRACE;
    if timing == Timing::Classes && !on_time {
        clock.sleep_until(started + boundary(elapsed)).await;
    }
    // A run or a draw that held its thread past the deadline is no answer either.
    let noisy = finished.filter(|_| elapsed <= deadline).unwrap_or(Err(Failed));
    reserved.close(noisy).await
}

async fn run(plan: &BoundedPlan, executor: &impl Executor) -> Result<RawBatches, Failed> {
    executor.execute(plan.executable().map_err(|_| Failed)?, plan.memory()).await
}

/// Answers a plan over simulated people, for a dummy twin. Its noise has the plan's sigma and protects nothing: it is
/// a function of `seed`. Nothing is paid and nothing is logged.
///
/// # Errors
/// [`Failed`]: the plan is not over simulated people, or it failed.
pub async fn rehearse(plan: &BoundedPlan, executor: &impl Executor, seed: [u8; 32]) -> Result<Release, Failed> {
    if !plan.synthetic() {
        return Err(Failed);
    }
    let raw = run(plan, executor).await?;
    add_noise(plan, &"0".repeat(32), plan.loss(), raw, &mut Noise::Simulated(Box::new(StdRng::from_seed(seed))))
}

/// Where noise comes from.
enum Noise {
    /// The mechanism.
    Private,
    /// A generator that anyone can repeat.
    Simulated(Box<StdRng>),
}

impl Noise {
    /// One draw over all cells of its column.
    fn add(&mut self, drawn: Drawn, draw: &Draw, column: &Column) -> Result<Vec<i64>, Failed> {
        match (draw, drawn, column) {
            (Draw::Gaussian(draw), Drawn::Noisy(_), Column::Sums(sums)) => match self {
                Self::Private => draw.add_noise(sums).map_err(|_| Failed),
                #[expect(clippy::cast_possible_truncation, reason = "float to integer saturates")]
                Self::Simulated(rng) => Ok(sums
                    .iter()
                    .map(|value| {
                        let (u, v): (f64, f64) = (rng.random(), rng.random());
                        // Box and Muller 1958; 1 - u lies in (0, 1].
                        let normal = (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos();
                        value.saturating_add((normal * draw.sigma()).round() as i64)
                    })
                    .collect()),
            },
            (Draw::NoisyMax(draw), Drawn::Selected { quantile, end, candidates, .. }, Column::Candidates(cells)) => {
                let all = usize::try_from(candidates.count).map_err(|_| Failed)?;
                let scores = cells.iter().map(|counts| {
                    let mut counts = counts.clone();
                    counts.resize(all, 0);
                    quantile.scores(&counts, end, draw.margin())
                });
                let chosen = match self {
                    Self::Private => draw.select(scores).map_err(|_| Failed)?,
                    Self::Simulated(rng) => scores.map(|scores| likely(&scores, draw.price().sigma(), rng)).collect(),
                };
                Ok(chosen.into_iter().map(|index| candidates.value(i64::try_from(index).unwrap_or(i64::MAX))).collect())
            }
            _ => Err(Failed),
        }
    }
}

/// The exponential mechanism's choice by Gumbel noise on each score.
fn likely(scores: &[i64], scale: f64, rng: &mut StdRng) -> usize {
    let mut noisy = |score: &i64| {
        let u: f64 = rng.random();
        #[expect(clippy::cast_precision_loss, reason = "scores are under 2^53")]
        let score = *score as f64;
        score / scale - (-(1.0 - u).ln()).ln()
    };
    let noisy: Vec<f64> = scores.iter().map(&mut noisy).collect();
    (0..noisy.len())
        .max_by(|a, b| noisy.get(*a).partial_cmp(&noisy.get(*b)).unwrap_or(std::cmp::Ordering::Equal))
        .unwrap_or(0)
}

/// Public cells are zero-filled; unknown keys pass the threshold or vanish. Cells are in canonical key order.
fn add_noise(
    plan: &BoundedPlan,
    query_id: &str,
    loss: PrivacyLoss,
    raw: RawBatches,
    noise: &mut Noise,
) -> Result<Release, Failed> {
    let cells = plan.key_types().len();
    let (keys, exact) = match plan.public_cells() {
        Some(public) => zero_filled(plan, public, raw)?,
        None => ordered(plan, raw)?,
    };
    let mut kept: Option<Vec<usize>> = None;
    let mut noisy: Vec<Option<Vec<i64>>> = vec![None; plan.draws().len()];
    let measured = plan.measured();
    let exact_of = |drawn: &Drawn| exact.get(drawn.column()).ok_or(Failed);
    if let Some(threshold) = plan.threshold() {
        let (drawn, draw) =
            (measured.drawn.get(threshold.draw).ok_or(Failed)?, plan.draws().get(threshold.draw).ok_or(Failed)?);
        let column = exact_of(drawn)?.sums()?;
        // Keys with too few patients go before the draw; their number stays inside.
        let enough: Vec<usize> = (0..column.len())
            .filter(|row| column.get(*row).is_some_and(|n| *n >= 0 && n.unsigned_abs() >= threshold.k_min))
            .collect();
        let drawn = noise.add(*drawn, draw, &exact_of(drawn)?.at(enough.iter().copied().map(Some)))?;
        let over = i64::try_from(threshold.over).map_err(|_| Failed)?;
        let (rows, passed): (Vec<usize>, Vec<i64>) = enough.into_iter().zip(drawn).filter(|(_, n)| *n > over).unzip();
        *noisy.get_mut(threshold.draw).ok_or(Failed)? = Some(passed);
        kept = Some(rows);
    }
    let draws = plan
        .draws()
        .iter()
        .zip(&measured.drawn)
        .zip(plan.needed())
        .zip(noisy)
        .map(|(((draw, drawn), (what, scale)), done)| {
            let column = exact_of(drawn)?;
            let values = match (done, &kept) {
                (Some(values), _) => values,
                (None, None) => noise.add(*drawn, draw, column)?,
                (None, Some(rows)) => noise.add(*drawn, draw, &column.at(rows.iter().copied().map(Some)))?,
            };
            let (rho, sigma) = (draw.rho().to_string(), draw.price().sigma_decimal());
            let (asked, half_width, combines) = (rho.clone(), draw.half_width(), Vec::new());
            let mechanism = draw.mechanism().to_owned();
            Ok(ReleasedDraw { what, mechanism, scale, rho, asked, sigma, half_width, values, combines })
        })
        .collect::<Result<Vec<_>, Failed>>()?;
    let kept = kept.map(|rows| rows.into_iter().map(u32::try_from).collect::<Result<UInt32Array, _>>());
    let kept = kept.transpose().map_err(|_| Failed)?;
    let keys = keys
        .iter()
        .take(cells)
        .map(|key| {
            // Released keys alone are written: one that can't be written (a date past any calendar) would else fail the
            // answer for one patient's sake.
            let key = match &kept {
                Some(rows) => take(key, rows, None).map_err(|_| Failed)?,
                None => Arc::clone(key),
            };
            let text = cast_with_options(&key, &DataType::Utf8, &CastOptions::default()).map_err(|_| Failed)?;
            let values = text.as_string::<i32>().iter().map(|value| value.map(str::to_owned)).collect();
            Ok(KeyColumn { data_type: key.data_type().to_string(), values })
        })
        .collect::<Result<Vec<_>, Failed>>()?;
    let over = plan.threshold().map(|t| (t.over, t.k_min));
    Ok(made(plan, query_id, loss, over, keys, draws))
}

/// The held release with one more draw at each of its keys; none is added or goes.
fn add_finer(reserved: &Reserved, finer: &Finer, raw: RawBatches) -> Result<Release, Failed> {
    let (plan, held) = (reserved.plan(), finer.held());
    let exact = match plan.public_cells() {
        Some(public) => zero_filled(plan, public, raw)?.1,
        None => at_keys(plan, &held.key_arrays()?, raw)?,
    };
    let columns = plan.measured().drawn.iter().map(|drawn| exact.get(drawn.column()).ok_or(Failed)?.sums());
    let draws = finer.draw(plan, &columns.collect::<Result<Vec<_>, Failed>>()?)?;
    Ok(made(plan, reserved.query_id(), reserved.loss(), held.threshold(), held.keys.clone(), draws))
}

fn made(
    plan: &BoundedPlan,
    query_id: &str,
    loss: PrivacyLoss,
    over: Option<(u64, u64)>,
    keys: Vec<KeyColumn>,
    draws: Vec<ReleasedDraw>,
) -> Release {
    Release {
        format: FORMAT,
        query_id: query_id.to_owned(),
        cache_key: plan.cache_key().to_owned(),
        snapshot: plan.snapshot(),
        rho: loss.rho.to_string(),
        delta: loss.delta.to_string(),
        over: over.map(|(over, _)| over),
        k_min: over.map(|(_, k_min)| k_min),
        keys,
        draws,
    }
}
