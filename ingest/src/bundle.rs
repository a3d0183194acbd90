//! The payload of a record transaction: zstd over JSON `omop-rows/1`, one bundle of a patient's rows.
//!
//! Rows are named by OMOP's columns without ids; `visit` is the number of a visit within the bundle. Nothing here
//! identifies a person: who writes a bundle stands at the hospital and has dropped that before.

use std::io::Read;

use epiledger_ledger::entry::record::{Payload, Seal};
use epiledger_privacy::deidentify::BUNDLE_FORMAT;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::error::IngestError;
use crate::folder::hex;

/// Largest bundle, unpacked, in bytes: a longer one is refused, so that no payload fills the memory.
pub const MAX_BUNDLE: u64 = 32 * 1024 * 1024;

/// A bundle of one patient's rows.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Bundle {
    /// Who.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person: Option<Person>,
    /// While what was observed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observation_period: Option<ObservationPeriod>,
    /// Visits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub visit_occurrence: Vec<Visit>,
    /// Conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub condition_occurrence: Vec<Condition>,
    /// Prescriptions and vaccinations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drug_exposure: Vec<Drug>,
    /// Measurements.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub measurement: Vec<Measurement>,
    /// Procedures.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub procedure_occurrence: Vec<Procedure>,
    /// Death.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub death: Option<Death>,
}

/// A person's row. Dates are `YYYY-MM-DD` everywhere.
#[derive(Clone, Debug, Serialize)]
pub struct Person {
    /// Day of birth, when known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub birth_date: Option<String>,
    /// Year of birth, when only that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub year_of_birth: Option<i32>,
    /// `female`, `male`, `other`.
    pub gender: String,
    /// See `epiledger_privacy::research::RACES`.
    pub race: String,
    /// See `epiledger_privacy::research::ETHNICITIES`.
    pub ethnicity: String,
    /// State code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// County FIPS code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub county: Option<String>,
    /// ZIP code; three digits of it go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zip: Option<String>,
}

/// An observation period.
#[derive(Clone, Debug, Serialize)]
pub struct ObservationPeriod {
    /// First day.
    pub observation_period_start_date: String,
    /// Last day.
    pub observation_period_end_date: String,
    /// `data_cut`, `died`, `withdrew` or `moved`.
    pub end_reason: &'static str,
}

/// A visit.
#[derive(Clone, Debug, Serialize)]
pub struct Visit {
    /// Its number within the bundle.
    pub visit: i64,
    /// AMB, IMP, EMER, ..
    pub visit_source_value: &'static str,
    /// First day.
    pub visit_start_date: String,
    /// Last day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visit_end_date: Option<String>,
    /// County FIPS code of the place of care.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub care_site_region: Option<String>,
}

/// A condition.
#[derive(Clone, Debug, Serialize)]
pub struct Condition {
    /// The visit's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visit: Option<i64>,
    /// Code.
    pub condition_source_value: String,
    /// Vocabulary of the code.
    pub condition_source_vocabulary: &'static str,
    /// `finding` for what is no disease; else the ingester looks the category up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition_category: Option<&'static str>,
    /// First day.
    pub condition_start_date: String,
    /// Last day; none while active.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition_end_date: Option<String>,
}

/// A prescription or a vaccination.
#[derive(Clone, Debug, Serialize)]
pub struct Drug {
    /// The visit's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visit: Option<i64>,
    /// Code.
    pub drug_source_value: String,
    /// Vocabulary of the code.
    pub drug_source_vocabulary: &'static str,
    /// First day.
    pub drug_exposure_start_date: String,
    /// Last day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drug_exposure_end_date: Option<String>,
    /// Amount, a decimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<String>,
    /// Days it lasts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days_supply: Option<i64>,
    /// Lot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lot_number: Option<String>,
}

/// A measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Measurement {
    /// The visit's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visit: Option<i64>,
    /// Code.
    pub measurement_source_value: String,
    /// Vocabulary of the code.
    pub measurement_source_vocabulary: &'static str,
    /// Day.
    pub measurement_date: String,
    /// The value, a decimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_as_number: Option<String>,
    /// The value, a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_as_string: Option<String>,
    /// UCUM unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit_source_value: Option<String>,
}

/// A procedure.
#[derive(Clone, Debug, Serialize)]
pub struct Procedure {
    /// The visit's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visit: Option<i64>,
    /// Code.
    pub procedure_source_value: String,
    /// Vocabulary of the code.
    pub procedure_source_vocabulary: &'static str,
    /// Day.
    pub procedure_date: String,
}

/// A death.
#[derive(Clone, Debug, Serialize)]
pub struct Death {
    /// Day.
    pub death_date: String,
    /// Code of the cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause_source_value: Option<String>,
}

#[derive(Serialize)]
struct Formatted<'a> {
    format: &'static str,
    #[serde(flatten)]
    bundle: &'a Bundle,
}

/// Packs bundles; it keeps its buffers between them.
pub struct Packer(zstd::bulk::Compressor<'static>);

impl Packer {
    /// A new packer.
    ///
    /// # Errors
    /// The compressor can't be made.
    pub fn new() -> Result<Self, IngestError> {
        // Level 1: bundles are small and repeat their field names, so higher levels win little.
        zstd::bulk::Compressor::new(1).map(Self).map_err(pack_error)
    }

    /// The blob of a bundle, and the payload that names it.
    ///
    /// # Errors
    /// The bundle can't be written.
    pub fn pack(&mut self, bundle: &Bundle) -> Result<(Vec<u8>, Payload), IngestError> {
        let text = serde_json::to_vec(&Formatted { format: BUNDLE_FORMAT, bundle })
            .map_err(|e| pack_error(std::io::Error::other(e)))?;
        self.pack_text(&text)
    }

    /// The blob of a bundle that is already JSON.
    pub(crate) fn pack_text(&mut self, text: &[u8]) -> Result<(Vec<u8>, Payload), IngestError> {
        let blob = self.0.compress(text).map_err(pack_error)?;
        let payload =
            Payload { sha256: hex(&Sha256::digest(&blob)), size: blob.len() as u64, seal: Seal::None, key_id: None };
        Ok((blob, payload))
    }
}

fn pack_error(source: std::io::Error) -> IngestError {
    IngestError::Io { action: "pack", file: "a bundle".to_owned(), source }
}

/// Unpacks payloads; it keeps its buffers between them.
pub(crate) struct Unpacker(zstd::bulk::Decompressor<'static>);

impl Unpacker {
    /// A new unpacker.
    pub(crate) fn new() -> Result<Self, IngestError> {
        zstd::bulk::Decompressor::new().map(Self).map_err(pack_error)
    }

    /// A payload's JSON; `None` when it is not zstd or longer than [`MAX_BUNDLE`].
    pub(crate) fn unpack(&mut self, blob: &[u8]) -> Option<Vec<u8>> {
        match zstd::zstd_safe::get_frame_content_size(blob) {
            Ok(Some(size)) if size <= MAX_BUNDLE => self.0.decompress(blob, usize::try_from(size).ok()?).ok(),
            Ok(Some(_)) | Err(_) => None,
            // The frame does not tell its length, as a stream's: it may tell it by stopping in time.
            Ok(None) => {
                let mut text = Vec::with_capacity(blob.len() * 6);
                let mut reader = zstd::stream::read::Decoder::with_buffer(blob).ok()?.take(MAX_BUNDLE + 1);
                reader.read_to_end(&mut text).ok()?;
                (text.len() as u64 <= MAX_BUNDLE).then_some(text)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_survives_its_packing() {
        let bundle = Bundle {
            procedure_occurrence: vec![Procedure {
                visit: Some(0),
                procedure_source_value: "430193006".into(),
                procedure_source_vocabulary: "SNOMED",
                procedure_date: "2024-02-03".into(),
            }],
            ..Bundle::default()
        };
        let (blob, payload) = Packer::new().unwrap().pack(&bundle).unwrap();
        assert_eq!(payload.size, blob.len() as u64);
        let value: serde_json::Value =
            serde_json::from_slice(&Unpacker::new().unwrap().unpack(&blob).unwrap()).unwrap();
        assert_eq!(value["format"], BUNDLE_FORMAT);
        assert_eq!(value["procedure_occurrence"][0]["procedure_source_value"], "430193006");
        assert!(value.get("person").is_none());
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let mut unpacker = Unpacker::new().unwrap();
        let zeros = vec![0_u8; usize::try_from(MAX_BUNDLE).unwrap() + 1];
        assert!(unpacker.unpack(&zstd::encode_all(zeros.as_slice(), 1).unwrap()).is_none());
        assert!(unpacker.unpack(&zstd::bulk::compress(&zeros, 1).unwrap()).is_none());
        assert!(unpacker.unpack(b"not zstd").is_none());
        assert_eq!(unpacker.unpack(&zstd::encode_all(b"{}".as_slice(), 1).unwrap()).unwrap(), b"{}");
    }
}
