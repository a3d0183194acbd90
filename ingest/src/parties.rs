//! Who signs: the registrar, hospitals, an expert and patients, with their keys under `DATA/keys`.
//!
//! Only a simulation or an import has patients' keys here. Elsewhere each party keeps its own.
//! `keys/patients.jsonl` has one line per patient: `{"patient": id, "seed": hex}`.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use epiledger_ledger::entry::key::{Determination, KeyRegister, Party};
use epiledger_ledger::entry::{Canonical, SignedTransaction, Transaction};
use epiledger_ledger::{Log, NewEntry, NoteKey, StdFs};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{IngestError, short};
use crate::folder::{Folder, hex, read_seed, seed_from_hex, write_secret};

/// The registrar's id.
pub const REGISTRAR: &str = "registrar";
/// The built-in expert's id.
pub const EXPERT: &str = "expert-1";
/// Name of the ledger in its checkpoints.
pub const LEDGER_ORIGIN: &str = "epiledger.example/ledger";

/// 32 bytes that anyone with the root can make again: keys of simulated parties.
pub(crate) fn derive(root: &[u8; 32], kind: &str, name: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [b"epiledger key".as_slice(), root, kind.as_bytes(), name.as_bytes()] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// 32 bytes from the machine's source of randomness.
pub(crate) fn random_seed() -> Result<[u8; 32], IngestError> {
    let path = Path::new("/dev/urandom");
    let mut seed = [0_u8; 32];
    File::open(path)
        .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut seed))
        .map_err(IngestError::io("read", path))?;
    Ok(seed)
}

/// Those who admit: the registrar, the hospitals and the expert of one data folder.
pub(crate) struct Authorities {
    registrar: SigningKey,
    expert: SigningKey,
    hospitals: Vec<(String, SigningKey)>,
}

impl Authorities {
    /// Makes the keys of a new data folder from its root and writes them to `DATA/keys`.
    pub(crate) fn create(folder: &Folder, root: &[u8; 32], hospitals: &[&str]) -> Result<Self, IngestError> {
        let keys = folder.keys();
        let make = |kind: &str, name: &str, file: &Path| {
            let seed = derive(root, kind, name);
            write_secret(file, hex(&seed).as_bytes()).map(|()| SigningKey::from_bytes(&seed))
        };
        let registrar = make("registrar", REGISTRAR, &keys.join("registrar.key"))?;
        let expert = make("expert", EXPERT, &keys.join("expert.key"))?;
        let hospitals = hospitals
            .iter()
            .map(|id| {
                let file = keys.join("hospitals").join(format!("{id}.key"));
                make("hospital", id, &file).map(|key| ((*id).to_owned(), key))
            })
            .collect::<Result<_, _>>()?;
        let pseudonym = derive(root, "pseudonym", "");
        write_secret(&keys.join("pseudonym.key"), hex(&pseudonym).as_bytes())?;
        Ok(Self { registrar, expert, hospitals })
    }

    /// The hospital's key at a position, round and round.
    pub(crate) fn hospital(&self, position: usize) -> Option<&(String, SigningKey)> {
        self.hospitals.get(position.checked_rem(self.hospitals.len())?)
    }

    /// The first transactions of a ledger: every authority's key.
    pub(crate) fn opening(&self) -> Result<Vec<NewEntry>, IngestError> {
        let mut entries = vec![
            plain(register(REGISTRAR, Party::Registrar, &self.registrar, &self.registrar)?),
            plain(register(EXPERT, Party::Expert, &self.expert, &self.registrar)?),
        ];
        for (id, key) in &self.hospitals {
            entries.push(plain(register(id, Party::Hospital, key, &self.registrar)?));
        }
        Ok(entries)
    }

    /// The expert's determination.
    pub(crate) fn determination(&self, date: &str, expires: &str) -> Result<NewEntry, IngestError> {
        determination(&self.expert, date, expires).map(plain)
    }
}

/// Registers a key, signed by who may.
pub(crate) fn register(owner: &str, party: Party, key: &SigningKey, by: &SigningKey) -> Result<Canonical, IngestError> {
    let body =
        KeyRegister { owner: owner.to_owned(), party, public_key: hex(key.verifying_key().as_bytes()), from_height: 0 };
    Ok(SignedTransaction::sign(Transaction::KeyRegister(body), by)?)
}

/// An expert's determination.
fn determination(expert: &SigningKey, date: &str, expires: &str) -> Result<Canonical, IngestError> {
    let body = Determination {
        expert: EXPERT.to_owned(),
        method: "k-anonymity of county, birth year, sex and race, with noise on every answer".to_owned(),
        date: date.to_owned(),
        expires: expires.to_owned(),
        risk_max: "0.09".to_owned(),
    };
    Ok(SignedTransaction::sign(Transaction::Determination(body), expert)?)
}

/// Appends a determination of the data folder's expert, in force from `date` to `expires` (`YYYY-MM-DD`, inclusive):
/// the `expert_determination` profile needs one. Its ledger index.
///
/// # Errors
/// The ledger is in use or missing, or the folder has no expert's key.
pub fn determine(data: &Path, date: &str, expires: &str) -> Result<u64, IngestError> {
    let folder = Folder::new(data);
    let expert = signing_key(data, Party::Expert, EXPERT)?.ok_or_else(|| IngestError::Missing {
        file: "keys/expert.key".to_owned(),
        hint: "the expert must sign elsewhere and send the transaction",
    })?;
    let log = Log::open(Arc::new(StdFs), &folder.ledger(), NoteKey::load(&folder.ledger_key())?)?;
    let appended = log.append(vec![plain(determination(&expert, date, expires)?)])?;
    log.flush()?;
    Ok(appended.first)
}

/// An entry without blobs.
pub(crate) fn plain(entry: Canonical) -> NewEntry {
    NewEntry { entry, blobs: Vec::new() }
}

/// A key that lies in the data folder: `registrar`, `expert-1`, a hospital's or a patient's id.
///
/// # Errors
/// The key's file is damaged. `None` when there is no such key.
pub fn signing_key(data: &Path, party: Party, owner: &str) -> Result<Option<SigningKey>, IngestError> {
    let keys = Folder::new(data).keys();
    let file = match party {
        Party::Registrar => keys.join("registrar.key"),
        Party::Expert => keys.join("expert.key"),
        Party::Hospital if owner.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') => {
            keys.join("hospitals").join(format!("{owner}.key"))
        }
        Party::Hospital => return Ok(None),
        Party::Patient => return patient_key(&keys.join("patients.jsonl"), owner),
    };
    if !file.exists() {
        return Ok(None);
    }
    read_seed(&file).map(|seed| Some(SigningKey::from_bytes(&seed)))
}

/// One line of `patients.jsonl`.
#[derive(Serialize, Deserialize)]
struct PatientLine<'a> {
    patient: &'a str,
    seed: &'a str,
}

fn patient_key(path: &Path, patient: &str) -> Result<Option<SigningKey>, IngestError> {
    if !path.exists() {
        return Ok(None);
    }
    let file = File::open(path).map_err(IngestError::io("read", path))?;
    if file.metadata().map_err(IngestError::io("read", path))?.permissions().mode() & 0o077 != 0 {
        return Err(IngestError::OpenKeyFile(short(path)));
    }
    for line in BufReader::new(file).lines() {
        let line = line.map_err(IngestError::io("read", path))?;
        let damaged = |reason: String| IngestError::Damaged { file: "keys/patients.jsonl".to_owned(), reason };
        let entry: PatientLine<'_> = serde_json::from_str(&line).map_err(|e| damaged(e.to_string()))?;
        if entry.patient == patient {
            let seed = seed_from_hex(entry.seed).ok_or_else(|| damaged("a seed is not 64 hex digits".to_owned()))?;
            return Ok(Some(SigningKey::from_bytes(&seed)));
        }
    }
    Ok(None)
}

/// Writes `patients.jsonl`, line by line.
pub(crate) struct PatientKeys {
    out: BufWriter<File>,
}

impl PatientKeys {
    /// A new, empty file.
    pub(crate) fn create(folder: &Folder) -> Result<Self, IngestError> {
        let path = folder.keys().join("patients.jsonl");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .map_err(IngestError::io("make", &path))?;
        Ok(Self { out: BufWriter::new(file) })
    }

    /// Adds a patient.
    pub(crate) fn add(&mut self, patient: &str, seed: &[u8; 32]) -> Result<(), IngestError> {
        let seed = hex(seed);
        let failed = || IngestError::io("write", Path::new("keys/patients.jsonl"));
        serde_json::to_writer(&mut self.out, &PatientLine { patient, seed: &seed })
            .map_err(|e| failed()(std::io::Error::other(e)))?;
        self.out.write_all(b"\n").map_err(failed())
    }

    /// Writes what is buffered, durably.
    pub(crate) fn finish(mut self) -> Result<(), IngestError> {
        let written = self.out.flush().and_then(|()| self.out.get_ref().sync_all());
        written.map_err(IngestError::io("write", Path::new("keys/patients.jsonl")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        folder.create().unwrap();
        let made = Authorities::create(&folder, &[3; 32], &["h-1", "h-2"]).unwrap();
        let found = signing_key(dir.path(), Party::Hospital, "h-2").unwrap().unwrap();
        assert_eq!(found.to_bytes(), made.hospitals[1].1.to_bytes());
        assert!(signing_key(dir.path(), Party::Hospital, "../registrar").unwrap().is_none());
        let mut keys = PatientKeys::create(&folder).unwrap();
        keys.add("p-1", &[4; 32]).unwrap();
        keys.add("p-2", &[5; 32]).unwrap();
        keys.finish().unwrap();
        let found = signing_key(dir.path(), Party::Patient, "p-2").unwrap().unwrap();
        assert_eq!(found.to_bytes(), [5; 32]);
        assert!(signing_key(dir.path(), Party::Patient, "p-3").unwrap().is_none());
        let open = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(folder.keys().join("patients.jsonl"), open).unwrap();
        assert!(matches!(signing_key(dir.path(), Party::Patient, "p-2"), Err(IngestError::OpenKeyFile(_))));
    }
}
