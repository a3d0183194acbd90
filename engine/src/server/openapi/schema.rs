//! The shapes that the document names: what requests hold and answers carry.

use utoipa::openapi::schema::{AdditionalProperties, SchemaType};
use utoipa::openapi::{ArrayBuilder, ObjectBuilder, Ref, RefOr, Schema, Type};

use super::Route;

/// A schema or a reference to one.
type Shape = RefOr<Schema>;

/// A member: name, shape, required.
type Member = (&'static str, Shape, bool);

/// Every named schema.
pub(super) fn all() -> Vec<(&'static str, Shape)> {
    let price = || named("Price");
    let entries = vec![
        (
            "Statement",
            object(vec![
                must("sql", text()),
                may("params", anything()),
                may("protocol", text()),
                may("privacy", named("Privacy")),
                may("wait", number()),
                may("row_limit", integer()),
            ]),
        ),
        (
            "Privacy",
            object(vec![
                may("epsilon", decimal()),
                may("rho", decimal()),
                may("accuracy", decimal()),
                may("assume_n", integer()),
            ]),
        ),
        (
            "GroupLoss",
            object(vec![
                must("people", integer()),
                must("rho", text()),
                must("epsilon", number()),
                may("delta", text()),
                must("odds_factor", number()),
                must("one_in_100_at_most", number()),
                must("one_in_100_at_least", number()),
                must("words", text()),
            ]),
        ),
        (
            "Plan",
            object(vec![
                must("questions", array(named("Statement"))),
                may("repeats", integer()),
                may("protocol", text()),
            ]),
        ),
        (
            "Reach",
            object(vec![
                must("once", price()),
                must("repeats", integer()),
                must("planned", price()),
                must("reaches", integer()),
                must("level", text()),
                must("days", integer()),
                must("groups", array(named("GroupLoss"))),
            ]),
        ),
        (
            "SpentPoint",
            object(vec![
                must("index", integer()),
                must("time", integer()),
                must("price", price()),
                must("levels", array(named("Level"))),
            ]),
        ),
        ("History", object(vec![must("points", array(named("SpentPoint")))])),
        ("Price", object(vec![must("rho", text()), must("delta", text()), must("epsilon", number())])),
        ("Column", object(vec![must("name", text()), must("type", text()), must("role", text())])),
        ("Snapshot", object(vec![must("number", integer()), must("cut_at", text())])),
        ("Cited", object(vec![must("index", integer()), must("proof", text())])),
        (
            "Receipt",
            object(vec![
                must("index", integer()),
                must("proof", text()),
                may("result", text()),
                may("bound", array(any_value())),
                may("cites", named("Cited")),
            ]),
        ),
        ("Transaction", object(vec![must("entry", text()), may("blobs", array(text()))])),
        ("PatientRecords", object(vec![must("patient", text()), must("records", array(named("PatientRecord")))])),
        (
            "PatientRecord",
            object(vec![
                must("index", integer()),
                must("record_id", text()),
                must("provider", text()),
                must("category", text()),
                must("effective_period", anything()),
                must("payload", anything()),
                may("bytes", text()),
                may("grant", integer()),
                may("wrap", text()),
            ]),
        ),
        (
            "Answer",
            object(vec![
                must("statement_id", text()),
                must("state", text()),
                must("columns", array(named("Column"))),
                must("rows", array(array(any_value()))),
                must("price", price()),
                must("remaining", price()),
                must("snapshot", named("Snapshot")),
                must("receipt", named("Receipt")),
                must("cached", boolean()),
                must("dummy", boolean()),
            ]),
        ),
        ("Primitive", object(vec![must("what", text()), must("sigma", text()), may("half_width", number())])),
        (
            "Estimate",
            object(vec![
                must("price", price()),
                must("primitives", array(named("Primitive"))),
                must("keys", text()),
                may("cells", integer()),
                may("k_min", integer()),
                may("threshold", integer()),
                may("assumed_n", integer()),
                must("deadline_seconds", number()),
                must("remaining", price()),
                must("groups", array(named("GroupLoss"))),
            ]),
        ),
        (
            "Level",
            object(vec![
                must("level", text()),
                must("name", text()),
                must("cap", price()),
                must("spent", price()),
                must("remaining", price()),
            ]),
        ),
        (
            "Budget",
            object(vec![
                must("levels", array(named("Level"))),
                must("remaining", price()),
                must("delta_rep", text()),
                must("groups", array(named("GroupLoss"))),
            ]),
        ),
        (
            "Release",
            object(vec![
                must("statement_id", text()),
                must("index", integer()),
                must("sql", text()),
                must("protocol", text()),
                must("price", price()),
                must("snapshot", integer()),
            ]),
        ),
        ("Releases", object(vec![must("releases", array(named("Release")))])),
        (
            "SeriesRequest",
            object(vec![
                must("sql", text()),
                may("params", anything()),
                may("protocol", text()),
                may("privacy", named("Privacy")),
                must("period", text()),
                must("from", text()),
                must("to", text()),
                may("lag", integer()),
            ]),
        ),
        (
            "SeriesTerms",
            object(vec![must("period", text()), must("from", text()), must("to", text()), must("lag", integer())]),
        ),
        (
            "SeriesPeriod",
            object(vec![
                must("from", text()),
                must("to", text()),
                must("state", text()),
                must("closes", text()),
                must("value", integer()),
                must("low", integer()),
                must("high", integer()),
                must("snapshot", named("Snapshot")),
                must("index", integer()),
            ]),
        ),
        (
            "Series",
            object(vec![
                must("id", text()),
                must("protocol", text()),
                must("sql", text()),
                must("terms", named("SeriesTerms")),
                must("state", text()),
                must("price", price()),
                must("sigma", number()),
                must("opened", integer()),
                must("next", text()),
                must("periods", array(named("SeriesPeriod"))),
            ]),
        ),
        ("SeriesList", object(vec![must("series", array(named("Series")))])),
        (
            "Approval",
            object(vec![
                must("protocol", text()),
                must("title", text()),
                must("purpose", text()),
                must("investigators", array(text())),
                must("rho_cap", text()),
                must("delta_cap", text()),
                must("valid_from", text()),
                must("valid_to", text()),
            ]),
        ),
        (
            "Protocol",
            object(vec![
                must("protocol", text()),
                must("title", text()),
                must("purpose", text()),
                must("investigators", array(text())),
                must("valid_from", text()),
                must("valid_to", text()),
                must("status", text()),
                must("cap", price()),
                must("spent", price()),
            ]),
        ),
        ("Protocols", object(vec![must("protocols", array(named("Protocol")))])),
        (
            "PolicyRequest",
            object(vec![
                may("rho_cap", text()),
                may("delta_cap", text()),
                may("principal_rho_cap", text()),
                may("principal_delta_cap", text()),
                may("window_rho_cap", text()),
                may("query_rho", text()),
                may("query_delta", text()),
                may("delta_rep", text()),
            ]),
        ),
        (
            "PolicyTerms",
            object(vec![
                must("id_space", text()),
                must("rho_cap", text()),
                must("delta_cap", text()),
                must("principal_rho_cap", text()),
                must("principal_delta_cap", text()),
                must("window_rho_cap", text()),
                must("query_rho", text()),
                must("query_delta", text()),
                must("delta_rep", text()),
                must("catalog", text()),
            ]),
        ),
        (
            "Policy",
            object(vec![
                must("policy", integer()),
                must("proposal", integer()),
                must("terms", named("PolicyTerms")),
                must("approvers", array(text())),
                must("time", integer()),
                must("effective", integer()),
            ]),
        ),
        ("Proposal", object(vec![must("index", integer()), must("by", text()), must("terms", named("PolicyTerms"))])),
        (
            "Policies",
            object(vec![
                may("in_force", named("Policy")),
                may("pending", named("Policy")),
                must("proposals", array(named("Proposal"))),
            ]),
        ),
        (
            "PolicyLogged",
            object(vec![
                must("index", integer()),
                must("policy", integer()),
                must("effective", integer()),
                must("in_force", boolean()),
            ]),
        ),
        ("Logged", object(vec![must("index", integer())])),
        ("RedactionRequest", object(vec![may("sha256", text()), may("statement", text()), must("basis", text())])),
        ("RedactedBlob", object(vec![must("sha256", text()), must("what", text()), must("index", integer())])),
        (
            "RedactionProposal",
            object(vec![
                must("id", integer()),
                must("by", text()),
                must("basis", text()),
                must("blobs", array(named("RedactedBlob"))),
            ]),
        ),
        ("RedactionProposals", object(vec![must("proposals", array(named("RedactionProposal")))])),
        ("Redacted", object(vec![must("indices", array(integer())), must("blobs", array(named("RedactedBlob")))])),
        (
            "AuditEntry",
            object(vec![
                must("index", integer()),
                must("type", text()),
                must("body", anything()),
                must("time", integer()),
                may("text", text()),
            ]),
        ),
        ("AuditEntries", object(vec![must("size", integer()), must("entries", array(named("AuditEntry")))])),
        ("AuditQuestion", object(vec![must("sql", text())])),
        ("AuditColumn", object(vec![must("name", text()), must("type", text())])),
        (
            "AuditAnswer",
            object(vec![
                must("columns", array(named("AuditColumn"))),
                must("rows", array(array(any_value()))),
                must("truncated", boolean()),
            ]),
        ),
        ("KeyRequest", object(vec![must("principal", text()), must("role", text()), may("days", integer())])),
        (
            "Key",
            object(vec![
                must("id", text()),
                must("principal", text()),
                must("role", text()),
                must("created", integer()),
                must("expires", integer()),
                must("revoked", boolean()),
            ]),
        ),
        ("NewKey", object(vec![must("token", text()), must("key", named("Key"))])),
        ("Keys", object(vec![must("keys", array(named("Key")))])),
        ("Position", object(vec![must("line", integer()), must("column", integer()), must("length", integer())])),
        (
            "Problem",
            object(vec![
                must("type", text()),
                must("title", text()),
                must("status", integer()),
                must("detail", text()),
                must("code", text()),
                may("position", named("Position")),
                may("hint", text()),
                may("required", price()),
                may("remaining", price()),
                may("level", text()),
                may("reachable", number()),
            ]),
        ),
    ];
    entries
}

/// The schema of a route's request body.
pub(super) const fn body(route: Route) -> Option<&'static str> {
    match route {
        Route::Ask | Route::Estimate => Some("Statement"),
        Route::SeriesOpen => Some("SeriesRequest"),
        Route::ProtocolApprove => Some("Approval"),
        Route::PolicyPropose => Some("PolicyRequest"),
        Route::RedactionPropose => Some("RedactionRequest"),
        Route::AuditQuery => Some("AuditQuestion"),
        Route::BudgetPlan => Some("Plan"),
        Route::KeyCreate => Some("KeyRequest"),
        Route::TransactionSubmit => Some("Transaction"),
        _ => None,
    }
}

/// The schema of a route's JSON answer.
pub(super) const fn answer(route: Route) -> Option<&'static str> {
    match route {
        Route::Ask | Route::Statement | Route::StatementResult => Some("Answer"),
        Route::Estimate => Some("Estimate"),
        Route::Budget => Some("Budget"),
        Route::BudgetPlan => Some("Reach"),
        Route::BudgetHistory => Some("History"),
        Route::Releases => Some("Releases"),
        Route::SeriesList => Some("SeriesList"),
        Route::SeriesOpen | Route::SeriesShow | Route::SeriesRefresh => Some("Series"),
        Route::Protocols => Some("Protocols"),
        Route::Policies => Some("Policies"),
        Route::PolicyConfirm => Some("PolicyLogged"),
        Route::Redactions => Some("RedactionProposals"),
        Route::RedactionPropose => Some("RedactionProposal"),
        Route::RedactionConfirm => Some("Redacted"),
        Route::ProtocolApprove | Route::ProtocolSuspend | Route::PolicyPropose => Some("Logged"),
        Route::AuditSearch => Some("AuditEntries"),
        Route::AuditQuery => Some("AuditAnswer"),
        Route::Keys => Some("Keys"),
        Route::TransactionSubmit => Some("Cited"),
        Route::PatientRecords => Some("PatientRecords"),
        Route::KeyCreate => Some("NewKey"),
        _ => None,
    }
}

/// A route's query parameters, and what each does.
pub(super) const fn query(route: Route) -> &'static [(&'static str, &'static str)] {
    match route {
        Route::Ask | Route::Statement | Route::StatementResult => {
            &[("format", "json, csv, ndjson, arrow or parquet; beats Accept.")]
        }
        Route::BudgetHistory => &[
            ("protocol", "The protocol whose level is shown; the key's only one when absent."),
            ("limit", "At most this many of the newest points, 10,000 at most."),
        ],
        Route::AuditSearch => &[
            ("type", "Only this type, for example query.intent."),
            ("principal", "Only this principal."),
            ("protocol", "Only this protocol."),
            ("text", "Only questions that hold this text."),
            ("from", "From this index on."),
            ("limit", "At most this many, 1,000 at most."),
        ],
        _ => &[],
    }
}

/// A text.
pub(super) fn text() -> Shape {
    plain(Type::String)
}

fn integer() -> Shape {
    plain(Type::Integer)
}

fn number() -> Shape {
    plain(Type::Number)
}

fn boolean() -> Shape {
    plain(Type::Boolean)
}

fn plain(kind: Type) -> Shape {
    ObjectBuilder::new().schema_type(kind).into()
}

/// A number or a decimal text.
fn decimal() -> Shape {
    ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::Number, Type::String])).into()
}

fn any_value() -> Shape {
    ObjectBuilder::new().schema_type(SchemaType::AnyValue).into()
}

fn anything() -> Shape {
    ObjectBuilder::new().additional_properties(Some(AdditionalProperties::FreeForm(true))).into()
}

fn array(items: Shape) -> Shape {
    ArrayBuilder::new().items(items).into()
}

fn named(name: &str) -> Shape {
    RefOr::Ref(Ref::from_schema_name(name))
}

fn must(name: &'static str, shape: Shape) -> Member {
    (name, shape, true)
}

fn may(name: &'static str, shape: Shape) -> Member {
    (name, shape, false)
}

fn object(members: Vec<Member>) -> Shape {
    let mut object = ObjectBuilder::new();
    for (name, shape, required) in members {
        object = object.property(name, shape);
        if required {
            object = object.required(name);
        }
    }
    object.into()
}
