//! An audit entry as a FHIR R4 AuditEvent (hl7.org/fhir/R4/auditevent.html).
//!
//! `type` and `subtype` say what happened, `agent` who did it, `source` which log holds it, and `entity` what it was
//! about; the entry itself stands in `entity.detail`, as it is stored, so that nothing is lost on the way.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use epiledger_ledger::AuditEntry;
use serde_json::{Value, json};

/// The code system of subtypes: the entries' own type names.
const SYSTEM: &str = "https://epiledger.example/fhir/CodeSystem/audit-entry";

/// The resource of one entry; `time` is its block's, in Unix seconds.
pub(super) fn audit_event(origin: &str, index: u64, entry: &AuditEntry, time: u64) -> Value {
    let json = serde_json::to_value(entry).unwrap_or_default();
    let body = json.get("body").cloned().unwrap_or_default();
    let ((system, code, display), action) = kind(entry);
    let mut event = json!({
        "resourceType": "AuditEvent",
        "id": format!("entry-{index}"),
        "type": {
            "system": system,
            "code": code,
            "display": display,
        },
        "subtype": [{ "system": SYSTEM, "code": entry.type_name() }],
        "action": action,
        "recorded": instant(time),
        "outcome": outcome(entry),
        "agent": agents(&body),
        "source": { "observer": { "display": origin } },
    });
    let mut entity = json!({
        "what": { "identifier": { "system": format!("urn:epiledger:{origin}"), "value": index.to_string() } },
        "detail": [{ "type": "entry", "valueBase64Binary": BASE64_STANDARD.encode(stored(entry)) }],
    });
    if let Some(purpose) = body.get("purpose").and_then(Value::as_str)
        && let Some(members) = event.as_object_mut()
    {
        // Data use permissions (GA4GH): not HL7's own list, so as text.
        members.insert("purposeOfEvent".into(), json!([{ "text": purpose }]));
    }
    if let Some(protocol) = body.get("protocol").and_then(Value::as_str)
        && let Some(members) = entity.as_object_mut()
    {
        members.insert("name".into(), json!(protocol));
    }
    if let Some(members) = event.as_object_mut() {
        members.insert("entity".into(), json!([entity]));
    }
    event
}

/// The entry's canonical bytes: those of the log, since it was parsed from them.
fn stored(entry: &AuditEntry) -> Vec<u8> {
    entry.to_canonical().map(epiledger_ledger::Canonical::into_bytes).unwrap_or_default()
}

/// System, code and display of the event's type (FHIR's own list, or DICOM's), and its action: C, R, U, D or E.
fn kind(entry: &AuditEntry) -> ((&'static str, &'static str, &'static str), &'static str) {
    let rest = ("http://terminology.hl7.org/CodeSystem/audit-event-type", "rest", "RESTful Operation");
    let dicom = |code, display| ("http://dicom.nema.org/resources/ontology/DCM", code, display);
    match entry {
        AuditEntry::QueryIntent(_)
        | AuditEntry::QueryOutcome(_)
        | AuditEntry::QueryRepeated(_)
        | AuditEntry::QueryRefused(_) => (rest, "E"),
        AuditEntry::AccessDenied(_) => (dicom("110113", "Security Alert"), "E"),
        AuditEntry::RoleChange(_) => (dicom("110136", "Security Roles Changed"), "U"),
        AuditEntry::Redaction(_) => (rest, "D"),
        AuditEntry::Snapshot(_) | AuditEntry::RecordRead(_) => (rest, "R"),
        AuditEntry::ProtocolApprove(_)
        | AuditEntry::PolicyPropose(_)
        | AuditEntry::PolicySet(_)
        | AuditEntry::LogContinue(_) => (rest, "C"),
        AuditEntry::ProtocolSuspend(_) | AuditEntry::LogClose(_) => (rest, "U"),
    }
}

/// 0 success, 4 minor failure (a refusal), 8 serious failure.
fn outcome(entry: &AuditEntry) -> &'static str {
    use epiledger_ledger::entry::query::Outcome;
    match entry {
        AuditEntry::QueryRefused(_) | AuditEntry::AccessDenied(_) => "4",
        AuditEntry::QueryOutcome(ended) if ended.outcome != Outcome::Answered => "8",
        _ => "0",
    }
}

/// Who did it; an entry that names nobody was written by the service.
fn agents(body: &Value) -> Vec<Value> {
    let named = |name: &str| body.get(name).and_then(Value::as_str);
    // Where both stand, `by` acted and `principal` is whom it concerns.
    let mut names: Vec<&str> = named("by")
        .or_else(|| named("principal"))
        .or_else(|| named("approver"))
        .or_else(|| named("reader"))
        .into_iter()
        .collect();
    let approvers = body.get("approvers").and_then(Value::as_array);
    names.extend(approvers.into_iter().flatten().filter_map(Value::as_str));
    if names.is_empty() {
        return vec![json!({ "who": { "display": "epiledger" }, "requestor": false })];
    }
    let role = body.get("role").and_then(Value::as_str);
    let agent = |name: &&str| match role {
        Some(role) => json!({
            "role": [{ "text": role }], "who": { "identifier": { "value": name } }, "requestor": true,
        }),
        None => json!({ "who": { "identifier": { "value": name } }, "requestor": true }),
    };
    names.iter().map(agent).collect()
}

/// A FHIR instant in UTC.
fn instant(time: u64) -> String {
    let (days, seconds) = (time / 86_400, time % 86_400);
    let day = epiledger_privacy::day::Day(i32::try_from(days).unwrap_or(i32::MAX));
    format!("{day}T{:02}:{:02}:{:02}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use epiledger_ledger::entry::{AccessDenied, QueryRefused};

    use super::*;

    #[test]
    fn an_event_has_what_r4_requires_and_the_whole_entry() {
        let refused = QueryRefused {
            principal: "ada".into(),
            protocol: "x".into(),
            sql_commit: "0".repeat(64),
            code: "ROW_LEVEL_OUTPUT".into(),
        };
        let entry = AuditEntry::QueryRefused(refused);
        let event = audit_event("log.example/audit", 17, &entry, 1_772_366_400);
        assert_eq!(event["recorded"], "2026-03-01T12:00:00Z");
        assert_eq!((&event["outcome"], &event["action"]), (&json!("4"), &json!("E")));
        assert_eq!(event["agent"][0]["who"]["identifier"]["value"], "ada");
        assert_eq!(event["agent"][0]["requestor"], true);
        assert_eq!(event["source"]["observer"]["display"], "log.example/audit");
        assert_eq!(event["entity"][0]["what"]["identifier"]["value"], "17");
        let text = event["entity"][0]["detail"][0]["valueBase64Binary"].as_str().unwrap();
        assert_eq!(BASE64_STANDARD.decode(text).unwrap(), entry.to_canonical().unwrap().into_bytes());
        // R4, AuditEvent: elements of cardinality 1..
        for required in ["resourceType", "type", "recorded", "agent", "source"] {
            assert!(event.get(required).is_some(), "{required}");
        }
    }

    #[test]
    fn who_did_nothing_is_the_service() {
        let denied = AccessDenied { principal: "ada".into(), route: "/v1".into(), count: 2 };
        let event = audit_event("o", 0, &AuditEntry::AccessDenied(denied), 0);
        assert_eq!(event["type"]["code"], "110113");
        assert_eq!(agents(&json!({}))[0]["requestor"], false);
        assert_eq!(agents(&json!({ "approvers": ["one", "two"] })).len(), 2);
    }
}
