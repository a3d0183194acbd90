//! First pass: every ledger entry is read in order, its signature verified in parallel, its signer judged in order,
//! and what concerns a patient goes to that patient's bucket.
//!
//! Only the keys of registrar, hospitals and experts are held here; a patient's keys are judged in the second pass
//! with the rest of that patient, so memory does not grow with patients, and no patient's transaction can decide
//! another's (the neighbour promise).

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

use epiledger_ledger::entry::key::{Determination, Party};
use epiledger_ledger::{KeyFault, KeyRegistry, LedgerEntry, LogError, LogReader, SignedTransaction, StoredEntry};
use epiledger_ledger::{Transaction, parse_ledger_entry};
use epiledger_privacy::deidentify::PseudonymKey;

use super::spill::Spill;
use crate::error::IngestError;
use crate::progress::{Progress, Stage};
use crate::quarantine::{Quarantine, Reason};

/// Entries that a worker verifies at a time.
const BATCH: usize = 512;

/// Batches that wait at each worker.
const WAITING: usize = 2;

/// An entry as the ledger holds it: nothing is known of it yet.
struct Envelope {
    index: u64,
    entry: Vec<u8>,
    payload: Option<Vec<u8>>,
}

/// An entry whose signature fits its own key; who that key belongs to is not known yet.
struct Verified {
    envelope: Envelope,
    signed: SignedTransaction,
}

/// A worker's answer about one entry.
enum Checked {
    Verified(Box<Verified>),
    Block,
    Bad(u64, KeyFault),
}

/// What the first pass leaves.
pub(super) struct Verification {
    /// Keys of registrar, hospitals and experts.
    pub(super) authorities: KeyRegistry,
    /// Determinations by experts whose keys were valid.
    pub(super) determinations: Vec<Determination>,
    /// Transactions read, blocks not counted.
    pub(super) transactions: u64,
    /// What was put aside.
    pub(super) quarantine: Quarantine,
}

/// Reads the whole ledger; see the module's text. `progress` may stop it.
pub(super) fn verify(
    reader: &LogReader,
    ledger_size: u64,
    key: &PseudonymKey,
    spill: &mut Spill,
    progress: &dyn Fn(Progress) -> Result<(), IngestError>,
) -> Result<Verification, IngestError> {
    let mut sorter = Sorter {
        key,
        spill,
        out: Verification {
            authorities: KeyRegistry::new(),
            determinations: Vec::new(),
            transactions: 0,
            quarantine: Quarantine { ledger_size, ..Quarantine::default() },
        },
    };
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| -> Result<(), IngestError> {
        let pool: Vec<Worker> = (0..workers).map(|_| Worker::start(scope)).collect();
        let mut entries = reader.entries(0);
        let mut sent = 0_usize;
        let mut done = 0_usize;
        let mut read = 0_u64;
        loop {
            // Answers are taken in the order of the questions, so the order of the ledger is kept.
            let batch = take(&mut entries)?;
            let end = batch.is_empty();
            let room = if end { 0 } else { workers * WAITING };
            while sent - done > room.saturating_sub(1) {
                let answers = pool.get(done % workers).ok_or(IngestError::Worker)?.answer()?;
                done += 1;
                for checked in answers {
                    sorter.sort(checked)?;
                    read += 1;
                }
                progress(Progress { stage: Stage::Verify, done: read, total: ledger_size })?;
            }
            if end {
                return Ok(());
            }
            pool.get(sent % workers).ok_or(IngestError::Worker)?.ask(batch)?;
            sent += 1;
        }
    })?;
    Ok(sorter.out)
}

/// The next batch; empty at the end of the ledger.
fn take(entries: &mut dyn Iterator<Item = Result<StoredEntry, LogError>>) -> Result<Vec<Envelope>, IngestError> {
    entries
        .take(BATCH)
        .map(|stored| {
            let (index, entry, blobs) = stored?;
            Ok(Envelope { index, entry, payload: blobs.into_iter().next() })
        })
        .collect()
}

/// A thread that verifies signatures.
struct Worker {
    questions: SyncSender<Vec<Envelope>>,
    answers: Receiver<Vec<Checked>>,
}

impl Worker {
    fn start<'scope>(scope: &'scope Scope<'scope, '_>) -> Self {
        let (questions, inbox) = sync_channel::<Vec<Envelope>>(WAITING + 1);
        let (outbox, answers) = sync_channel(WAITING + 1);
        scope.spawn(move || {
            for batch in inbox {
                let checked = batch.into_iter().map(check).collect();
                if outbox.send(checked).is_err() {
                    return;
                }
            }
        });
        Self { questions, answers }
    }

    fn ask(&self, batch: Vec<Envelope>) -> Result<(), IngestError> {
        self.questions.send(batch).map_err(|_| IngestError::Worker)
    }

    fn answer(&self) -> Result<Vec<Checked>, IngestError> {
        self.answers.recv().map_err(|_| IngestError::Worker)
    }
}

fn check(envelope: Envelope) -> Checked {
    match parse_ledger_entry(&envelope.entry) {
        Err(_) => Checked::Bad(envelope.index, KeyFault::Malformed),
        Ok(LedgerEntry::Block(_)) => Checked::Block,
        Ok(LedgerEntry::Transaction(signed)) => match signed.verify_signature() {
            Ok(()) => Checked::Verified(Box::new(Verified { envelope, signed })),
            Err(_) => Checked::Bad(envelope.index, KeyFault::BadSignature),
        },
    }
}

/// Judges signers in the order of the ledger, and sorts by patient.
struct Sorter<'a> {
    key: &'a PseudonymKey,
    spill: &'a mut Spill,
    out: Verification,
}

impl Sorter<'_> {
    fn sort(&mut self, checked: Checked) -> Result<(), IngestError> {
        match checked {
            Checked::Block => Ok(()),
            Checked::Bad(index, fault) => {
                self.out.transactions += 1;
                self.out.quarantine.add(index, &Reason::Key(fault));
                Ok(())
            }
            Checked::Verified(verified) => {
                self.out.transactions += 1;
                let index = verified.envelope.index;
                match judge(&mut self.out.authorities, &verified.signed, index) {
                    Err(fault) => {
                        self.out.quarantine.add(index, &Reason::Key(fault));
                        Ok(())
                    }
                    Ok(None) => {
                        if let Transaction::Determination(body) = verified.signed.transaction {
                            self.out.determinations.push(body);
                        }
                        Ok(())
                    }
                    Ok(Some(patient)) => {
                        let Envelope { index, entry, payload } = &verified.envelope;
                        self.spill.add(self.key.person(&patient), *index, entry, payload.as_deref())
                    }
                }
            }
        }
    }
}

/// Whether the key may sign this, and which patient it is about. What only the patient's own keys can decide is left to
/// the second pass.
pub(super) fn judge(
    authorities: &mut KeyRegistry,
    signed: &SignedTransaction,
    index: u64,
) -> Result<Option<String>, KeyFault> {
    let SignedTransaction { transaction, key, .. } = signed;
    match transaction {
        Transaction::NewRecord(body) => {
            authorities.may_sign(transaction, key, index).map(|()| Some(body.patient.clone()))
        }
        Transaction::ModifyRecord(body) => {
            authorities.may_sign(transaction, key, index).map(|()| Some(body.patient.clone()))
        }
        Transaction::GrantAccess(body) => Ok(Some(body.patient.clone())),
        Transaction::RevokeAccess(body) => Ok(Some(body.patient.clone())),
        Transaction::Erase(body) => Ok(Some(body.patient.clone())),
        Transaction::KeyRegister(body) if body.party == Party::Patient => {
            authorities.may_sign(transaction, key, index).map(|()| Some(body.owner.clone()))
        }
        Transaction::KeyRegister(_) => authorities.apply(transaction, key, index).map(|()| None),
        Transaction::KeyRotate(body) => authority_or(authorities, signed, index, &body.owner),
        Transaction::KeyRevoke(body) => authority_or(authorities, signed, index, &body.owner),
        Transaction::Determination(_) => authorities.may_sign(transaction, key, index).map(|()| None),
        // It informs, and grants nothing: whoever signed it, there is nothing to put aside.
        Transaction::RequestAccess(_) => Ok(None),
    }
}

/// Applies a change of an authority's key; a key that is no authority's can only be a patient's.
fn authority_or(
    authorities: &mut KeyRegistry,
    signed: &SignedTransaction,
    index: u64,
    owner: &str,
) -> Result<Option<String>, KeyFault> {
    match authorities.apply(&signed.transaction, &signed.key, index) {
        Ok(()) => Ok(None),
        Err(KeyFault::UnknownKey) => Ok(Some(owner.to_owned())),
        Err(fault) => Err(fault),
    }
}
