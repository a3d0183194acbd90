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
mod oracle;
pub mod physical;
pub(crate) mod post;
pub(crate) mod scan;
pub(crate) mod shares;
mod sources;
pub(crate) mod total;
pub(crate) mod values;
pub(crate) mod walk;
mod width;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use datafusion::{
    arrow::datatypes::{DataType, SchemaRef},
    common::{ScalarValue, tree_node::TreeNodeRecursion},
    logical_expr::LogicalPlan,
    physical_plan::{ExecutionPlan, execution_plan::reset_plan_states},
};
use epiledger_ledger::entry::query::{Bounds, Primitive};
use sha2::{Digest, Sha256};

use crate::{
    catalog::Catalog,
    clock,
    loss::{DELTA_ONE, Delta, PrivacyLoss, Rho},
    mechanism::{Draw, Gaussian, NoisyMax},
    params::{PrivacyParams, SEMANTICS_VERSION},
    query::Query,
    refusal::{Code, PlanError},
    series::Window,
    snapshot::Snapshot,
};
pub(crate) use canonical::hex;
use canonical::{derived_key, literals};
use form::{Form, Parts};
use keys::{Keys, PublicValues};
use measure::{Drawn, Measured, Needed, Size};
pub use once::bound_window;
use once::{Of, Once};
use physical::Layout;
pub use width::Wanted;

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
    size: Size,
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
    let draws = price(params.rho, &measured, &size)?;
    let drawn: PrivacyLoss = draws.iter().map(Draw::loss).sum();

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
    let choices = measured.choices(&size);
    let bounds = Bounds { rows, groups, scan_rows, k_min: threshold.map(|t| t.k_min) };

    // The canonical text below post-processing. Debug output of plans names every node, expression, type and
    // literal; sources print as their schema.
    // A series is one question over all its cuts, whatever the policies and public tables of each are.
    let text_of = |cut: &str, policy: &str, public: &str| {
        format!(
            "semantics {SEMANTICS_VERSION}\nid space {}\ncut {cut}\npolicy {policy}\npurpose {}\nbounds {bounds:?}\n\
             catalog {}\npublic {public}\nkeys {group:?}\nmeasures {measured:?}\ninput {:?}\nliterals {}\n",
            params.id_space,
            params.purpose_bit,
            catalog.hash(),
            relation.plan,
            literals(&relation.plan, aggregate),
        )
    };
    let public = format!("{:?}", public_versions(&relation.plan, snapshot));
    let mut text = text_of(&format!("{} {}", snapshot.number, snapshot.cut_at), &params.policy.to_string(), &public);
    let series =
        window.map(|window| Of { window: window.clone(), text: text_of("any", "any", "any"), once: Once::of(window) });
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
    let parts = Parts {
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
    let of_a_unit = parts.allowance.unwrap_or(scan_rows);
    let form = Form::of(parts).map_err(internal)?;
    let memory = form.shape.memory(catalog.declared_patients, of_a_unit, Layout::default());
    let mut physical = form.planned(Layout::default())?;
    if let Some(series) = &series {
        physical = once::under(physical, &series.once).map_err(internal)?;
    }
    let key_types = form.key_types().to_vec();
    Ok(BoundedPlan {
        form: Arc::new(form),
        physical,
        post: query.post().clone(),
        key_types,
        cells,
        release_schema: Arc::new(release_schema(query)),
        measured,
        size,
        draws,
        threshold,
        loss: PrivacyLoss { rho: drawn.rho, delta, gaussian: drawn.gaussian },
        bounds,
        cache_key,
        text,
        deadline: clock::deadline(declared, choices),
        memory,
        series,
        snapshot: snapshot.number,
        synthetic: snapshot.synthetic,
        policy: params.policy,
        id_space: params.id_space.clone(),
    })
}

/// Divides the asked price between the draws.
fn price(rho: Rho, measured: &Measured, size: &Size) -> Result<Vec<Draw>, PlanError> {
    let bad = |e: crate::mechanism::MechanismError| PlanError::new(Code::BadPrivacyParam, e.to_string());
    let draw = |(drawn, rho): (&Drawn, Rho)| {
        Ok(match drawn {
            Drawn::Noisy(_) => Draw::Gaussian(Gaussian::priced(measured.d_squared(*drawn, size), rho).map_err(bad)?),
            Drawn::Selected { quantile, candidates, .. } => {
                let score = (size.groups, quantile.change(), quantile.denominator());
                Draw::NoisyMax(NoisyMax::priced(score, candidates.count, rho).map_err(bad)?)
            }
        })
    };
    measured.drawn.iter().zip(shares::divide(rho, &shares::shares(measured))).map(draw).collect()
}

/// The version of each public table that a plan reads: keys and joined rows depend on it.
fn public_versions<'a>(plan: &LogicalPlan, snapshot: &'a Snapshot) -> BTreeMap<&'a str, &'a str> {
    let mut read = BTreeMap::new();
    let scanned = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some((name, table)) = snapshot.public.get_key_value(scan.table_name.table())
        {
            read.insert(name.as_str(), table.version.as_str());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    // The visitor never fails, so neither does the walk.
    let _ = scanned;
    read
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
        for batch in &self.snapshot.public.get(table)?.rows {
            let array = batch.column_by_name(column)?;
            for row in 0..batch.num_rows() {
                values.push(ScalarValue::try_from_array(array, row).ok()?);
            }
        }
        Some(values)
    }
}

impl BoundedPlan {
    /// V as a plan that passed both walks, ready to run once: only a paid question's release hands it to an executor.
    ///
    /// # Errors
    /// DataFusion can't make a fresh copy.
    pub(crate) fn executable(&self) -> datafusion::common::Result<Arc<dyn ExecutionPlan>> {
        reset_plan_states(Arc::clone(&self.physical))
    }

    /// Bytes that its run may hold: by the plan and the catalog's sizes alone. They are reserved before it is paid.
    #[must_use]
    pub const fn memory(&self) -> usize {
        self.memory
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

    /// What its draws would cost if the question were asked at this price; None where no noise fits it.
    #[must_use]
    pub fn loss_at(&self, rho: Rho) -> Option<PrivacyLoss> {
        price(rho, &self.measured, &self.size).ok().map(|draws| draws.iter().map(Draw::loss).sum())
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

    /// Delta for `people` linked patients: with unknown keys `k G P[noise > t - k + 1]`, rounded up (`mechanism.md`,
    /// claim 4); None where OpenDP knows no such tail.
    #[must_use]
    pub fn group_delta(&self, people: u64) -> Option<Delta> {
        let Some(Threshold { k_min, over, draw }) = self.threshold else { return Some(Delta::ZERO) };
        let Some(t) = (over - k_min + 1).checked_sub(people).filter(|t| *t > 0) else {
            return Some(Delta::from_units(DELTA_ONE));
        };
        let passing = self.draws.get(draw)?.price().passing(people.saturating_mul(self.size.groups), t);
        passing.ok().map(|delta| delta.min(Delta::from_units(DELTA_ONE)))
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
