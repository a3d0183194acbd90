//! Dummy twins: a question answered about simulated people, for trying it out before it is paid.
//!
//! What it reads is a function of the catalog, of the public tables and of the simulator's published model: a small
//! data folder of its own, `DATA/dummy/<catalog>`, with people of one fixed seed, made when it is first needed. The
//! answer has the shape of the real one, intervals included. No file of the dataset is opened, nothing is charged and
//! nothing is logged; on any two datasets with one catalog and one policy the answers are byte-equal.

use std::{fs, path::Path, sync::Arc};

use epiledger_ingest::{
    Folder, Options, Pipeline,
    simulate::{DATA_CUT, Simulation, run},
    snapshot,
};
use epiledger_privacy::{bound::bound, catalog::Catalog, params::PrivacyParams, release::rehearse, snapshot::Snapshot};
use sha2::{Digest, Sha256};

use crate::{
    api::{Answer, Principal, QueryError, QueryRequest, Receipt, SnapshotRef},
    exec::post,
    open::{OpenError, pinned},
    price,
    query::{Engine, blocking},
    question::{Question, refused},
};

/// Simulated people: enough for keys that are not public to pass their threshold now and then.
const PEOPLE: u64 = 1_000;

/// The seed of everything that is simulated here.
const SEED: u64 = 0;

/// What an answer about simulated people says instead of a cut's instant, and of a statement's id.
const DUMMY: &str = "dummy";

impl Engine {
    /// Answers a question about simulated people. Free, not logged; the answer says that it is a dummy.
    ///
    /// # Errors
    /// The refusal that the question would get, a protocol that does not allow it, or no room for the simulation.
    pub async fn dummy(self: &Arc<Self>, who: &Principal, request: QueryRequest) -> Result<Answer, QueryError> {
        let asker = self.asker(who, &request)?;
        let purpose = self.accountant.permit(&asker).map_err(|e| self.not_reserved(e, None))?;
        let row_limit = request.row_limit;
        let engine = Arc::clone(self);
        let bounded = blocking(move || {
            let snapshot = engine.simulated()?;
            let question = Question { sql: request.sql.clone(), params: request.params.clone() };
            // Neither the dataset's secret nor its policy's number may show in which groups of a person count.
            let params = PrivacyParams {
                secret: [0; 32],
                policy: 0,
                id_space: DUMMY.to_owned(),
                ..engine.params(&engine.priced(&request, &purpose)?, &purpose)?
            };
            let plan = bound(&question.bind(&engine.catalog)?, &engine.catalog, &snapshot, &params)
                .map_err(|e| refused(&e))?;
            Ok::<_, QueryError>((plan, snapshot))
        });
        let (plan, snapshot) = bounded.await??;
        let failed = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, "a dummy run failed");
            QueryError::Unavailable("the question can't be tried on simulated people".into())
        };
        let seed = Sha256::digest(format!("{DUMMY} {}", plan.cache_key())).into();
        let release = rehearse(&plan, &self.executor, seed).await.map_err(|e| failed(&e))?;
        let answered = post::answer(&self.executor, &plan, &release, &snapshot.public, row_limit);
        let answered = answered.await.map_err(|e| failed(&e))?;
        Ok(Answer {
            statement_id: release.query_id().to_owned(),
            columns: answered.columns,
            batch: answered.batch,
            price: price::nothing(),
            remaining: price::nothing(),
            snapshot: SnapshotRef { number: snapshot.number, cut_at: snapshot.cut_at.clone() },
            receipt: Receipt::default(),
            cached: false,
            dummy: true,
        })
    }

    /// The simulated people's tables, made when they are first asked for.
    fn simulated(&self) -> Result<Arc<Snapshot>, QueryError> {
        let mut made = self.simulated.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(snapshot) = made.as_ref() {
            return Ok(Arc::clone(snapshot));
        }
        let snapshot = simulated(&self.data, &self.catalog, &self.snapshot().public).map_err(|error| {
            tracing::error!(%error, "simulated people can't be made");
            QueryError::Unavailable("simulated people can't be made now; the operator's log says why".into())
        })?;
        let snapshot = Arc::new(snapshot);
        *made = Some(Arc::clone(&snapshot));
        Ok(snapshot)
    }
}

/// Opens the folder of simulated people for this catalog, or makes it.
fn simulated(data: &Path, catalog: &Catalog, public: &post::PublicTables) -> Result<Snapshot, OpenError> {
    let hash = catalog.hash();
    let place = data.join(DUMMY).join(hash.get(..16).unwrap_or(&hash));
    let manifest = match snapshot::newest(&place)? {
        Some(manifest) => manifest,
        None => {
            // What an interrupted simulation left is made anew.
            if place.exists() {
                fs::remove_dir_all(&place).map_err(|e| OpenError::Io(place.display().to_string(), e))?;
            }
            let people = Simulation { profile: catalog.profile, ..Simulation::new(PEOPLE, SEED) };
            run(&place, &people, &|_| {})?;
            Folder::new(&place).write_catalog(catalog)?;
            Pipeline::run(&place, Options::at(DATA_CUT))?;
            snapshot::newest(&place)?.ok_or_else(|| OpenError::NoSnapshot(place.display().to_string()))?
        }
    };
    let tables = pinned(&place, catalog, &manifest)?;
    Ok(Snapshot {
        number: 0,
        cut_at: DUMMY.to_owned(),
        public: public.clone(),
        // The one place that says so: these files hold simulated people alone.
        synthetic: true,
        ..tables
    })
}
