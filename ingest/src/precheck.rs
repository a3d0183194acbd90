//! Whether the ingester would read a record, asked before it is on the ledger for good.

use epiledger_ledger::entry::consent::GrantAccess;
use epiledger_ledger::entry::record::Period;
use epiledger_privacy::consent::{Consents, Record, admit};
use epiledger_privacy::day::Day;
use epiledger_privacy::deidentify::{DeIdentifier, Fault};

use crate::bundle::Unpacker;
use crate::error::IngestError;
use crate::folder::Folder;

/// Reads an unsealed payload as the ingester would, under the folder's catalog; the rows are thrown away.
///
/// # Errors
/// The folder has no catalog or key. The inner error names the field that is wrong, never its value.
pub fn readable(
    folder: &Folder,
    provider: &str,
    record_id: &str,
    blob: &[u8],
) -> Result<Result<(), Fault>, IngestError> {
    let catalog = folder.catalog()?;
    let deidentifier = DeIdentifier::new(&catalog, folder.pseudonym_key()?)
        .map_err(|e| IngestError::Damaged { file: "catalog.json".to_owned(), reason: e.to_string() })?;
    let Some(rows) = Unpacker::new()?.unpack(blob) else { return Ok(Err(Fault::Bundle)) };
    // What the rows say does not depend on consent: one for everything stands in.
    let day = Day(0);
    let consent = GrantAccess {
        patient: String::new(),
        grantee: "*".to_owned(),
        purposes: vec!["GRU".to_owned()],
        categories: vec!["*".to_owned()],
        data_period: None,
        valid_from: day.to_string(),
        valid_to: None,
        wrap_sha256: None,
    };
    let mut consents = Consents::default();
    consents.grant(0, consent);
    let record = Record {
        person: 0,
        provider: provider.to_owned(),
        record_id: record_id.to_owned(),
        transaction: 1,
        category: "general".to_owned(),
        period: Period { start: day.to_string(), end: day.to_string() },
        rows,
    };
    let Some(consented) = admit(record, &consents, day) else { return Ok(Err(Fault::Bundle)) };
    let (_, refused) = deidentifier.patient(0, &[consented]);
    // Another record of the patient may have the person's row.
    let fault = refused.into_iter().map(|refused| refused.fault).find(|fault| *fault != Fault::NoPerson);
    Ok(fault.map_or(Ok(()), Err))
}
