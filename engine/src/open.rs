//! Opening a data folder: snapshot, catalog, audit log, budget; and making the demo's.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::body::Bytes;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use epiledger_ingest::{
    Folder, Options, Pipeline, Progress,
    lease::{self, Lease},
    schedule,
    simulate::{DATA_CUT, simulate},
    snapshot::SnapshotManifest,
};
use epiledger_ledger::{
    LogError,
    entry::{AuditEntry, PolicyTerms, ProtocolApprove, SnapshotPinned},
};
use epiledger_privacy::{
    accountant::{Accountant, AccountantError},
    catalog::Catalog,
    day::Day,
    snapshot::{PublicTable, Snapshot, StoredFile},
};
use sha2::{Digest, Sha256};

use crate::{
    api::Role,
    pin::{PinError, PinnedHead},
    rotation::{audit_folders, audit_log},
};

/// The audit log's origin: its name in every checkpoint.
pub const AUDIT_ORIGIN: &str = "epiledger.local/audit";

/// The one id space of a data folder.
pub const ID_SPACE: &str = "default";

/// The demo's protocol.
pub const DEMO_PROTOCOL: &str = "demo";

/// The demo's principal of each role.
#[must_use]
pub const fn demo_principal(role: Role) -> &'static str {
    match role {
        Role::Researcher => "demo-researcher",
        Role::Epidemiologist => "demo-epidemiologist",
        Role::Board => "demo-board",
        Role::Steward => "demo-steward",
        Role::Operator => "demo-operator",
    }
}

/// How a folder is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Outcomes leave at once (`timing = immediate`), not at their time class.
    pub immediate: bool,
    /// The head that the audit log must continue, or take no more entries.
    pub pinned_head: Option<PinnedHead>,
}

/// Why a folder can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No snapshot yet.
    #[error("{0} holds no snapshot: run `epiledger ingest` first")]
    NoSnapshot(String),
    /// A snapshot of another catalog than the one that is served.
    #[error("snapshot {0} was cut under another catalog: set a policy for it and restart the service")]
    OtherCatalog(u64),
    /// Ingest's files.
    #[error(transparent)]
    Ingest(#[from] epiledger_ingest::IngestError),
    /// The audit log.
    #[error("the audit log: {0}")]
    Log(#[from] LogError),
    /// The head that is kept outside of the folder.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// The budget.
    #[error(transparent)]
    Accountant(#[from] AccountantError),
    /// DataFusion.
    #[error("the query engine: {0}")]
    Engine(#[from] datafusion::error::DataFusionError),
    /// A file.
    #[error("{0}: {1}")]
    Io(String, std::io::Error),
}

pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> OpenError + '_ {
    |error| OpenError::Io(path.display().to_string(), error)
}

/// What an engine needs of a folder.
pub(crate) struct Opened {
    pub(crate) catalog: Catalog,
    pub(crate) snapshot: Snapshot,
    pub(crate) lease: Lease,
    pub(crate) accountant: Arc<Accountant>,
    pub(crate) secret: [u8; 32],
    pub(crate) build: String,
}

/// Reads the newest snapshot and the catalog, opens the audit log, compares it with the pinned head, and logs a snapshot
/// that is read for the first time.
///
/// # Errors
/// Something is missing, damaged or in use.
pub(crate) fn open(data: &Path, pinned_head: Option<&PinnedHead>) -> Result<Opened, OpenError> {
    let folder = Folder::new(data);
    let catalog = folder.catalog()?;
    let (manifest, lease) = lease::hold(data)?.ok_or_else(|| OpenError::NoSnapshot(data.display().to_string()))?;
    let snapshot = pinned(data, &catalog, &manifest)?;
    if let Some(head) = pinned_head
        && !audit_folders(data).iter().any(|folder| folder.exists())
    {
        head.require_no_head()?;
    }
    let log = audit_log(data)?;
    if let Some(head) = pinned_head {
        head.guard(&log)?;
    }
    let accountant = Accountant::open(Arc::new(log))?;
    if accountant.log().frozen().is_none() {
        pin(&accountant, &manifest, &snapshot)?;
    }
    Ok(Opened { catalog, snapshot, lease, accountant, secret: secret(data)?, build: build_hash()? })
}

/// The manifest's files by absolute path, and the public tables in memory.
pub(crate) fn pinned(data: &Path, catalog: &Catalog, manifest: &SnapshotManifest) -> Result<Snapshot, OpenError> {
    let root = fs::canonicalize(data).map_err(io(data))?;
    let mut found = Snapshot { number: manifest.number, cut_at: manifest.cut_at.clone(), ..Snapshot::default() };
    for (name, table) in &manifest.tables {
        let files = table
            .files
            .iter()
            .map(|file| StoredFile {
                path: root.join(&file.path).to_string_lossy().trim_start_matches('/').to_owned(),
                size: file.size,
                low: file.low,
                high: file.high,
            })
            .collect();
        found.private.insert(name.clone(), files);
    }
    for name in catalog.tables.iter().filter(|(_, table)| table.private.is_none()).map(|(name, _)| name) {
        let path = Folder::new(data).public().join(format!("{name}.parquet"));
        found.public.insert(name.clone(), public_table(&path)?);
    }
    Ok(found)
}

/// Rows and hash of the same bytes, whatever becomes of the file meanwhile.
fn public_table(path: &Path) -> Result<PublicTable, OpenError> {
    let bytes = Bytes::from(fs::read(path).map_err(io(path))?);
    let version = hex(&Sha256::digest(&bytes));
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .map_err(|e| OpenError::Engine(e.into()))?;
    let rows = reader.map(|batch| batch.map_err(|e| OpenError::Engine(e.into()))).collect::<Result<_, _>>()?;
    Ok(PublicTable { version, rows })
}

/// Logs the snapshot when it is read for the first time: its manifest and the versions of public tables as a commitment.
pub(crate) fn pin(accountant: &Accountant, manifest: &SnapshotManifest, snapshot: &Snapshot) -> Result<(), OpenError> {
    if accountant.snapshots().contains_key(&manifest.number) {
        return Ok(());
    }
    let mut text = serde_json::to_value(manifest).map_err(|e| OpenError::Io("snapshot".into(), e.into()))?;
    let versions: BTreeMap<&String, &String> = snapshot.public.iter().map(|(n, table)| (n, &table.version)).collect();
    text["public"] = serde_json::json!(versions);
    let text = text.to_string().into_bytes();
    let blob = [&rand::random::<[u8; 32]>()[..], &text].concat();
    let entry = SnapshotPinned {
        number: manifest.number,
        cut_at: manifest.cut_at.clone(),
        scheduled: manifest.scheduled,
        commit: hex(&Sha256::digest(&blob)),
    };
    accountant.record(AuditEntry::Snapshot(entry), vec![blob])?;
    Ok(())
}

/// The dataset's secret: made once, readable by its owner alone.
fn secret(data: &Path) -> Result<[u8; 32], OpenError> {
    let path = Folder::new(data).keys().join("secret.key");
    if fs::metadata(&path).is_ok_and(|data| data.permissions().mode() & 0o077 != 0) {
        return Err(epiledger_ingest::IngestError::OpenKeyFile(path.display().to_string()).into());
    }
    match fs::read(&path) {
        Ok(bytes) => bytes.try_into().map_err(|_| {
            OpenError::Io(
                path.display().to_string(),
                std::io::Error::other("not 32 bytes; restore it from your copy of the keys"),
            )
        }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let secret = rand::random::<[u8; 32]>();
            let mut file =
                fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(io(&path))?;
            file.write_all(&secret).and_then(|()| file.sync_all()).map_err(io(&path))?;
            Ok(secret)
        }
        Err(e) => Err(io(&path)(e)),
    }
}

/// SHA-256 of the running program.
fn build_hash() -> Result<String, OpenError> {
    let path = std::env::current_exe().map_err(io(Path::new("the running program")))?;
    let mut file = File::open(&path).map_err(io(&path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = std::io::Read::read(&mut file, &mut buffer).map_err(io(&path))?;
        match buffer.get(..read) {
            Some(part) if read > 0 => hasher.update(part),
            _ => return Ok(hex(&hasher.finalize())),
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Today in UTC.
#[must_use]
pub fn today() -> Day {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    Day(i32::try_from(seconds / 86_400).unwrap_or(i32::MAX))
}

/// The default policy: lifetime rho 0.5 (epsilon 6.1), a fifth of it in any 24 hours, delta 1e-6.
#[must_use]
pub fn default_terms(catalog: &Catalog) -> PolicyTerms {
    let decimal = |text: &str| text.to_owned();
    PolicyTerms {
        id_space: ID_SPACE.to_owned(),
        rho_cap: decimal("0.5"),
        delta_cap: decimal("0.000001"),
        principal_rho_cap: decimal("0.5"),
        principal_delta_cap: decimal("0.000001"),
        window_rho_cap: decimal("0.1"),
        query_rho: decimal("0.0005"),
        query_delta: decimal("0.000000001"),
        delta_rep: decimal("0.00000001"),
        catalog: catalog.hash(),
    }
}

/// Makes the demo's data folder: people, hospitals and consents on a ledger, tables, a policy and a protocol.
///
/// The demo's policy raises the id space's caps over the defaults, so that a newcomer has room to play; nothing else does.
///
/// # Errors
/// The folder is not empty, or can't be written.
pub fn create_demo(data: &Path, people: u64, seed: u64, say: &mut dyn FnMut(String)) -> Result<(), OpenError> {
    let simulated = simulate(data, people, seed, &|_: Progress| {})?;
    say(format!(
        "ledger: {} signed transactions of {} people and {} hospitals; {} grants stand, {} people said no, {} took theirs back",
        simulated.transactions,
        simulated.people,
        simulated.hospitals,
        simulated.granted,
        simulated.denied,
        simulated.revoked
    ));
    let summary = Pipeline::run(data, Options::at(DATA_CUT))?;
    // The simulated records end on that day: a later cut would price the same questions anew.
    schedule::waive(data)?;
    let rows: u64 = summary.rows.values().sum();
    let bad: u64 = summary.quarantined.values().sum();
    say(format!(
        "tables: {rows} rows of {} of {} patients; {bad} bad transactions put aside: {:?}",
        summary.admitted, summary.patients, summary.quarantined
    ));
    let catalog = Folder::new(data).catalog()?;
    let accountant = Accountant::open(Arc::new(audit_log(data)?))?;
    let board = demo_principal(Role::Board).to_owned();
    let caps = "3".to_owned();
    let delta = "0.00001".to_owned();
    let terms = PolicyTerms {
        rho_cap: caps.clone(),
        delta_cap: delta.clone(),
        principal_rho_cap: caps.clone(),
        principal_delta_cap: delta.clone(),
        window_rho_cap: caps.clone(),
        ..default_terms(&catalog)
    };
    let proposal = accountant.propose_policy(terms, demo_principal(Role::Steward))?;
    accountant.confirm_policy(proposal, &board)?;
    let today = today();
    let protocol = ProtocolApprove {
        protocol: DEMO_PROTOCOL.to_owned(),
        title: "A first look at simulated people".to_owned(),
        purpose: "HMB".to_owned(),
        investigators: vec![demo_principal(Role::Researcher).to_owned()],
        rho_cap: caps,
        delta_cap: delta,
        valid_from: today.to_string(),
        valid_to: Day(today.0 + 365).to_string(),
        approver: board,
    };
    accountant.record(AuditEntry::ProtocolApprove(protocol), Vec::new())?;
    Ok(())
}
