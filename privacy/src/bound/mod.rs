//! From a [`Query`] to a [`BoundedPlan`]: every rule repeated by an exhaustive allow-list, contributions
//! bounded, noise and price fixed. Nothing is read and nothing is spent here. Proof: `bound.md`.

mod canonical;
mod form;
pub(crate) mod integer;
pub(crate) mod interval;
pub mod keys;
pub(crate) mod lineage;
pub(crate) mod measure;
mod once;
mod operator;
pub mod physical;
pub(crate) mod post;
mod relational;
pub(crate) mod scan;
pub(crate) mod shares;
mod sources;
pub(crate) mod total;
pub(crate) mod values;
pub(crate) mod walk;
mod width;

use std::{fmt, sync::Arc, time::Duration};

use datafusion::{
    arrow::datatypes::{DataType, SchemaRef},
    common::ScalarValue,
    logical_expr::LogicalPlan,
    physical_plan::{ExecutionPlan, execution_plan::reset_plan_states},
};
use epiledger_ledger::entry::query::{Bounds, Primitive};
use sha2::{Digest, Sha256};

use crate::{
    catalog::Catalog,
    clock,
    loss::{Delta, PrivacyLoss, Rho},
    mechanism::{Draw, Gaussian, NoisyMax},
    params::{Ask, PrivacyParams, SEMANTICS_VERSION},
    query::Query,
    refusal::{Code, PlanError},
    series::Window,
    snapshot::Snapshot,
};
pub(crate) use canonical::hex;
use canonical::{derived_key, literals};
use form::Form;
use keys::{Keys, PublicValues};
use measure::{Drawn, Measured, Needed, Output, Size};
pub use once::bound_window;
use once::{Of, Once};
use physical::Layout;

/// A question that was proved to keep its bounds, with its noise and its price. It was not paid yet:
/// only [`crate::accountant::Accountant::reserve`] takes it further. A copy is no more paid than the original.
#[derive(Clone)]
pub struct BoundedPlan {
    form: Arc<Form>,
    physical: Arc<dyn ExecutionPlan>,
    post: LogicalPlan,
    key_types: Vec<DataType>,
    cells: Option<Vec<Vec<ScalarValue>>>,
    release_schema: SchemaRef,
    measured: Measured,
    draws: Vec<Draw>,
    threshold: Option<Threshold>,
    loss: PrivacyLoss,
    bounds: Bounds,
    cache_key: String,
    text: String,
    deadline: Duration,
    memory: usize,
    series: Option<Of>,
    snapshot: u64,
    synthetic: bool,
    policy: u64,
    id_space: String,
}

/// The rule of unknown keys: a key leaves when raw n >= `k_min` and noisy n > `over`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// Fewest patients.
    pub k_min: u64,
    /// `k_min + t`.
    pub over: u64,
    /// Position of n among the draws.
    pub(crate) draw: usize,
}

impl fmt::Debug for BoundedPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundedPlan").field("loss", &self.loss).field("bounds", &self.bounds).finish_non_exhaustive()
    }
}

/// Binds a question to a snapshot and a price.
///
/// # Errors
/// The refusal, decided from the question, the catalog and the parameters alone.
pub fn bound(
    query: &Query,
    catalog: &Catalog,
    snapshot: &Snapshot,
    params: &PrivacyParams,
) -> Result<BoundedPlan, PlanError> {
    bound_in(query, catalog, snapshot, params, None)
}

fn bound_in(
    query: &Query,
    catalog: &Catalog,
    snapshot: &Snapshot,
    params: &PrivacyParams,
    window: Option<&Window>,
) -> Result<BoundedPlan, PlanError> {
    query.check(catalog)?;
    let aggregate = query.private();
    let relation = walk::walk(&aggregate.input, catalog)?;
    let group = keys::total_keys(&aggregate.group_expr, &relation)?;
    let measures = total::measures(aggregate, &relation)?;
    let found = keys::keys(&group, &relation, catalog, &SnapshotValues { catalog, snapshot })?;
    let one_group = group.is_empty() || keys::unit_determined(&group, &relation);
    let groups = if one_group { 1 } else { relation.groups };
    let rows = relation.rows.max(1);
    let cells = match found {
        _ if group.is_empty() => Some(vec![Vec::new()]),
        Keys::Public(cells) => Some(cells),
        Keys::Unknown => None,
    };
    let cells = match window {
        Some(window) => Some(window.cells(cells, one_group)?),
        None => cells,
    };
    // A unit can't touch more cells than there are.
    let groups = cells.as_ref().map_or(groups, |cells| groups.min(cells.len() as u64)).max(1);
    let size = Size {
        rows,
        groups,
        patients: catalog.declared_patients,
        cells: cells.as_ref().map(|cells| cells.len() as u64),
        k_min: params.k_min,
    };
    let measured = Measured::plan(&measures, &size)?;
    let draws = price(params, &measured, &size)?;
    let rho = draws.iter().fold(Rho::ZERO, |sum, draw| sum.plus(draw.rho()));

    let counts = |drawn: &Drawn| measured.needed.get(drawn.column()) == Some(&Needed::Patients);
    let (threshold, delta) = match (&cells, measured.drawn.iter().position(counts)) {
        (None, Some(position)) => {
            let (t, delta) = draws
                .get(position)
                .ok_or_else(|| PlanError::new(Code::BadPrivacyParam, "no draw of patients"))?
                .price()
                .threshold(groups, params.query_delta)
                .map_err(|e| PlanError::new(Code::BadPrivacyParam, e.to_string()))?;
            (Some(Threshold { k_min: params.k_min, over: params.k_min + t, draw: position }), delta)
        }
        _ => (None, Delta::ZERO),
    };

    let scan_rows = relation
        .tables
        .iter()
        .filter_map(|name| catalog.table(name).and_then(|table| table.private))
        .map(|contribution| contribution.scan_rows)
        .max()
        .unwrap_or(1);
    let declared: u64 =
        relation.tables.iter().filter_map(|name| catalog.table(name)).map(|table| table.declared_rows).sum();
    let bounds = Bounds { rows, groups, scan_rows, k_min: threshold.map(|t| t.k_min) };

    // The canonical text below post-processing. Debug output of plans names every node, expression, type and
    // literal; sources print as their schema.
    let text_of = |cut: &str, policy: &str| {
        format!(
            "semantics {SEMANTICS_VERSION}\nid space {}\ncut {cut}\npolicy {policy}\npurpose {}\nbounds {bounds:?}\n\
             catalog {}\nkeys {group:?}\nmeasures {measured:?}\ninput {:?}\nliterals {}\n",
            params.id_space,
            params.purpose_bit,
            catalog.hash(),
            relation.plan,
            literals(&relation.plan, aggregate),
        )
    };
    let mut text = text_of(&format!("{} {}", snapshot.number, snapshot.cut_at), &params.policy.to_string());
    let series =
        window.map(|window| Of { window: window.clone(), text: text_of("any", "any"), once: Once::of(window) });
    if let Some(window) = window {
        text.push_str(&format!("{window:?}\n"));
    }
    let cache_key = hex(&Sha256::digest(text.as_bytes()));

    let internal = |_| PlanError::new(Code::NotAQuery, "the question could not be put into its bounded form");
    let input = sources::with_sources(
        relation.plan,
        &relation.tables,
        catalog,
        snapshot,
        params.purpose_bit,
        derived_key(&params.secret, "rows", ""),
    )
    .map_err(internal)?;
    let parts = relational::Parts {
        input,
        unit: relation.unit,
        keys: group,
        cells: cells.clone(),
        values: measured.values.clone(),
        needed: measured.needed.clone(),
        rows,
        groups,
        allowance: relation.allowance,
        group_key: derived_key(&params.secret, "groups", &cache_key),
    };
    let memory = physical::memory(cells.as_ref().map(Vec::len), groups, catalog.declared_patients);
    let form = Form::of(parts).map_err(internal)?;
    let mut physical = form.planned(Layout::default())?;
    if let Some(series) = &series {
        physical = once::under(physical, &series.once).map_err(internal)?;
    }
    let key_types =
        physical.schema().fields().iter().take(form.parts.keys.len()).map(|f| f.data_type().clone()).collect();
    Ok(BoundedPlan {
        form: Arc::new(form),
        physical,
        post: query.post().clone(),
        key_types,
        cells,
        release_schema: Arc::new(release_schema(query)),
        measured,
        draws,
        threshold,
        loss: PrivacyLoss { rho, delta },
        bounds,
        cache_key,
        text,
        deadline: clock::deadline(declared),
        memory,
        series,
        snapshot: snapshot.number,
        synthetic: snapshot.synthetic,
        policy: params.policy,
        id_space: params.id_space.clone(),
    })
}

/// Divides the asked price between the draws; for a wanted half-width, prices the first count or sum for it.
fn price(params: &PrivacyParams, measured: &Measured, size: &Size) -> Result<Vec<Draw>, PlanError> {
    let bad = |e: crate::mechanism::MechanismError| PlanError::new(Code::BadPrivacyParam, e.to_string());
    let shares = shares::shares(measured);
    let rho = match params.asked_rho()? {
        Some(rho) => rho,
        None => {
            let width = match params.ask {
                Some(Ask::HalfWidth(width)) => width,
                _ => return Err(PlanError::new(Code::BadPrivacyParam, "no price was named")),
            };
            let (position, scale) = measured
                .outputs
                .iter()
                .find_map(|output| match output {
                    Output::Count(position) => Some((*position, 0)),
                    Output::Sum { total, scale } => Some((*total, *scale)),
                    _ => None,
                })
                .ok_or_else(|| {
                    PlanError::new(Code::BadPrivacyParam, "accuracy needs a COUNT or a SUM; name an epsilon for a mean")
                })?;
            let d_squared = measured.drawn.get(position).map_or(1, |drawn| measured.d_squared(*drawn, size));
            let one = rho_for(width * 10f64.powi(i32::from(scale)), d_squared)?;
            let share = shares.get(position).copied().unwrap_or(1).max(1);
            Rho::from_units(one.units().saturating_mul(shares.iter().sum()).div_ceil(share))
        }
    };
    let draw = |(drawn, rho): (&Drawn, Rho)| {
        Ok(match drawn {
            Drawn::Noisy(_) => Draw::Gaussian(Gaussian::priced(measured.d_squared(*drawn, size), rho).map_err(bad)?),
            Drawn::Selected { quantile, candidates, .. } => {
                let score = (size.groups, quantile.change(), quantile.denominator());
                Draw::NoisyMax(NoisyMax::priced(score, candidates.count, rho).map_err(bad)?)
            }
        })
    };
    measured.drawn.iter().zip(shares::divide(rho, &shares)).map(draw).collect()
}

/// The least rho, to about a part in a thousand, whose 95 % half-width is at most `width` grid units.
fn rho_for(width: f64, d_squared: u128) -> Result<Rho, PlanError> {
    let unreachable =
        || PlanError::new(Code::BadPrivacyParam, "no price reaches this accuracy: ask for a wider interval");
    if width < 1.0 {
        return Err(unreachable());
    }
    let fits = |units: u128| {
        Gaussian::priced(d_squared, Rho::from_units(units)).is_ok_and(|draw| {
            #[expect(clippy::cast_precision_loss, reason = "half-widths are under 2^53")]
            let half = draw.half_width() as f64;
            half <= width
        })
    };
    let (mut low, mut high) = (0u128, 1u128);
    while !fits(high) {
        low = high;
        high = high.checked_mul(2).filter(|h| *h < 1_000_000 * crate::loss::RHO_ONE).ok_or_else(unreachable)?;
    }
    while high - low > 1 + high / 2048 {
        let middle = low + (high - low) / 2;
        if fits(middle) { high = middle } else { low = middle }
    }
    Ok(Rho::from_units(high))
}

/// The noisy table's schema: `c0..` with the aggregate's own types, nullable.
fn release_schema(query: &Query) -> datafusion::arrow::datatypes::Schema {
    use datafusion::arrow::datatypes::{Field, Schema};
    let fields = query.private().schema.fields().iter().enumerate();
    Schema::new(
        fields
            .map(|(index, f)| Field::new(crate::query::noisy_column(index), f.data_type().clone(), true))
            .collect::<Vec<_>>(),
    )
}

/// Distinct values of a public table's column, from the snapshot.
struct SnapshotValues<'a> {
    catalog: &'a Catalog,
    snapshot: &'a Snapshot,
}

impl PublicValues for SnapshotValues<'_> {
    fn values(&self, table: &str, column: &str) -> Option<Vec<ScalarValue>> {
        if self.catalog.table(table)?.private.is_some() {
            return None;
        }
        let mut values = Vec::new();
        for batch in self.snapshot.public.get(table)? {
            let array = batch.column_by_name(column)?;
            for row in 0..batch.num_rows() {
                values.push(ScalarValue::try_from_array(array, row).ok()?);
            }
        }
        Some(values)
    }
}

impl BoundedPlan {
    /// V as a plan that passed both walks, ready to run once: run it only behind [`crate::release::Executor`].
    ///
    /// # Errors
    /// DataFusion can't make a fresh copy.
    pub fn executable(&self) -> datafusion::common::Result<Arc<dyn ExecutionPlan>> {
        reset_plan_states(Arc::clone(&self.physical))
    }

    /// Bytes that its run may hold: by the plan and the catalog's sizes alone. They are reserved before it is paid.
    #[must_use]
    pub const fn memory(&self) -> usize {
        self.memory
    }

    /// The same V in another layout, and with the operator or in relational form: for tests that compare them.
    ///
    /// # Errors
    /// As [`bound`].
    #[doc(hidden)]
    pub fn oracle(&self, layout: Layout, relational: bool) -> Result<Arc<dyn ExecutionPlan>, PlanError> {
        if relational { self.form.relational(layout) } else { self.form.planned(layout) }
    }

    /// What is made of the released numbers, over [`crate::query::NOISY`].
    #[must_use]
    pub const fn post(&self) -> &LogicalPlan {
        &self.post
    }

    /// Schema of [`crate::query::NOISY`].
    #[must_use]
    pub const fn release_schema(&self) -> &SchemaRef {
        &self.release_schema
    }

    /// How many aggregates were asked: the last columns of [`Self::release_schema`].
    #[must_use]
    pub fn aggregates(&self) -> usize {
        self.measured.outputs.len()
    }

    /// Its price.
    #[must_use]
    pub const fn loss(&self) -> PrivacyLoss {
        self.loss
    }

    /// Its contribution bounds.
    #[must_use]
    pub const fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// Number of public cells; None for unknown keys.
    #[must_use]
    pub fn cells(&self) -> Option<u64> {
        self.cells.as_ref().map(|cells| cells.len() as u64)
    }

    /// The rule of unknown keys.
    #[must_use]
    pub const fn threshold(&self) -> Option<Threshold> {
        self.threshold
    }

    /// Longest time to an outcome.
    #[must_use]
    pub const fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Its name in the release cache, hex.
    #[must_use]
    pub fn cache_key(&self) -> &str {
        &self.cache_key
    }

    /// The snapshot it reads.
    #[must_use]
    pub const fn snapshot(&self) -> u64 {
        self.snapshot
    }

    /// Does it read simulated people alone?
    pub(crate) const fn synthetic(&self) -> bool {
        self.synthetic
    }

    /// The policy it is priced under.
    #[must_use]
    pub const fn policy(&self) -> u64 {
        self.policy
    }

    /// The id space that pays.
    #[must_use]
    pub fn id_space(&self) -> &str {
        &self.id_space
    }

    /// The canonical text, for the salted plan commitment.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The draws as the log records them.
    #[must_use]
    pub fn primitives(&self) -> Vec<Primitive> {
        self.draws.iter().map(Draw::primitive).collect()
    }

    /// The draws, in the order of [`Self::needed`].
    #[must_use]
    pub fn draws(&self) -> &[Draw] {
        &self.draws
    }

    pub(crate) const fn measured(&self) -> &Measured {
        &self.measured
    }

    pub(crate) fn key_types(&self) -> &[DataType] {
        &self.key_types
    }

    pub(crate) fn public_cells(&self) -> Option<&[Vec<ScalarValue>]> {
        self.cells.as_deref()
    }

    /// What each draw measures, in words, and the digits of its grid after the point.
    #[must_use]
    pub fn needed(&self) -> Vec<(String, i8)> {
        self.measured.drawn.iter().map(|drawn| self.measured.describe(*drawn)).collect()
    }
}
