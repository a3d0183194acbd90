//! `/openapi.json`: OpenAPI 3.1, built from the permission table, so that no route is missing and none is invented.

use axum::response::{IntoResponse, Json, Response};
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn, PathItem, PathsBuilder};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, HttpMethod, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, Required,
    ResponseBuilder,
};

use super::format::Format;
use super::permission::{Access, Kind, Route, Verb};

mod schema;

/// Name of the security scheme.
const BEARER: &str = "api_key";

/// `GET /openapi.json`.
pub async fn document() -> Response {
    Json(build()).into_response()
}

/// The document.
#[must_use]
pub fn build() -> OpenApi {
    let mut paths = PathsBuilder::new();
    for route in Route::ALL.iter().copied().filter(|r| r.kind() == Kind::Api) {
        let method = match route.verb() {
            Verb::Get => HttpMethod::Get,
            Verb::Post => HttpMethod::Post,
            Verb::Delete => HttpMethod::Delete,
        };
        // OpenAPI has no name for "the rest of the path".
        let path = route.path().replace("{*", "{");
        paths = paths.path(path, PathItem::new(method, operation(route)));
    }
    let info = InfoBuilder::new()
        .title("Epiledger")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Differentially private answers about populations, each question on a public log."));
    let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("epl_<id>_<secret>").build();
    let components = ComponentsBuilder::new()
        .schemas_from_iter(schema::all())
        .security_scheme(BEARER, SecurityScheme::Http(scheme))
        .build();
    OpenApiBuilder::new().info(info.build()).paths(paths.build()).components(Some(components)).build()
}

fn operation(route: Route) -> utoipa::openapi::path::Operation {
    let mut operation = OperationBuilder::new()
        .operation_id(Some(format!("{route:?}")))
        .summary(Some(route.summary().trim()))
        .tag(route.path().split('/').nth(2).unwrap_or("health"));
    for name in route.path().split(['{', '}']).skip(1).step_by(2) {
        let parameter = ParameterBuilder::new()
            .name(name.trim_start_matches('*'))
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .schema(Some(schema::text()));
        operation = operation.parameter(parameter);
    }
    for (name, about) in schema::query(route) {
        let parameter = ParameterBuilder::new()
            .name(*name)
            .parameter_in(ParameterIn::Query)
            .required(Required::False)
            .description(Some(*about))
            .schema(Some(schema::text()));
        operation = operation.parameter(parameter);
    }
    if let Some(name) = schema::body(route) {
        let body = RequestBodyBuilder::new()
            .content("application/json", ContentBuilder::new().schema(Some(reference(name))).build())
            .required(Some(Required::True));
        operation = operation.request_body(Some(body.build()));
    }
    operation = operation.response(success(route), answer(route));
    for (status, about) in problems(route) {
        let content = ContentBuilder::new().schema(Some(reference("Problem"))).build();
        let response = ResponseBuilder::new().description(about).content("application/problem+json", content);
        operation = operation.response(status, response.build());
    }
    if let Access::Roles(roles) = route.access() {
        let names: Vec<&str> = roles.iter().map(|r| r.as_str()).collect();
        operation = operation
            .security(SecurityRequirement::new::<_, [&str; 0], &str>(BEARER, []))
            .description(Some(format!("For a key of the role {}.", names.join(" or "))));
    }
    operation.build()
}

/// The status of success.
fn success(route: Route) -> &'static str {
    match route {
        Route::ProtocolApprove
        | Route::PolicyPropose
        | Route::PolicyConfirm
        | Route::TransactionSubmit
        | Route::RedactionPropose
        | Route::RedactionConfirm
        | Route::SeriesOpen
        | Route::KeyCreate => "201",
        _ => "200",
    }
}

fn answer(route: Route) -> utoipa::openapi::Response {
    let mut response = ResponseBuilder::new().description("What was asked for.");
    let media: Vec<&str> = match route {
        Route::Ask | Route::Dummy | Route::Statement | Route::StatementResult => {
            Format::ALL.iter().map(|f| f.media_type()).collect()
        }
        Route::AuditCheckpoint | Route::LedgerCheckpoint | Route::AuditProof | Route::Health => vec!["text/plain"],
        Route::AuditTile | Route::LedgerTile | Route::AuditBlob | Route::LedgerBlob => vec!["application/octet-stream"],
        _ => vec!["application/json"],
    };
    for media in media {
        let named = (media == "application/json").then(|| schema::answer(route)).flatten();
        let content = match named {
            Some(name) => ContentBuilder::new().schema(Some(reference(name))).build(),
            None => ContentBuilder::new().schema(Some(schema::text())).build(),
        };
        response = response.content(media, content);
    }
    response.build()
}

/// The error statuses of a route, and what each says.
fn problems(route: Route) -> Vec<(&'static str, &'static str)> {
    let mut list = Vec::new();
    if route.access() == Access::Signed {
        list.push(("401", "Not signed by a ledger key that is registered to the party it names."));
    } else if route.access() != Access::Public {
        list.push(("401", "No valid API key."));
        list.push(("403", "The key's role may not; the denial is logged."));
    }
    match route {
        Route::Ask => list.extend([
            ("400", "The request is malformed."),
            ("406", "No format that was asked for can be given; nothing was spent."),
            ("409", "The same Idempotency-Key is in flight."),
            ("422", "The rules refuse the question; nothing was spent."),
            ("429", "The budget does not cover it: required and remaining."),
            ("504", "Paid, and no answer by the deadline."),
        ]),
        Route::SeriesOpen => list.extend([
            ("400", "The request is malformed."),
            ("422", "The question can't be a series; nothing was spent."),
            ("429", "The budget does not cover it: required and remaining."),
            ("504", "Paid, and the periods closed so far have no answer; later ones will."),
        ]),
        Route::SeriesRefresh => list.extend([
            ("404", "Nothing there that the caller may read."),
            ("503", "The series can't go on; nothing was spent."),
            ("504", "The periods closed by now have no answer; later ones will."),
        ]),
        Route::Dummy => list.extend([
            ("400", "The request is malformed."),
            ("406", "No format that was asked for can be given."),
            ("422", "The rules refuse the question."),
            ("503", "Simulated people can't be made now."),
        ]),
        Route::Estimate
        | Route::BudgetPlan
        | Route::PolicyPropose
        | Route::PolicyConfirm
        | Route::RedactionPropose
        | Route::RedactionConfirm => {
            list.extend([("400", "The request is malformed."), ("422", "The rules refuse it.")]);
        }
        Route::Statement | Route::StatementResult => {
            list.extend([("404", "Nothing there that the caller may read."), ("406", "No such format.")]);
        }
        Route::TransactionSubmit => list.extend([
            ("400", "The request is malformed."),
            ("409", "The record is there already, or the ledger is written elsewhere."),
            ("422", "The ledger would not count it; its code says why. Nothing was appended."),
            ("503", "Another process appends."),
        ]),
        Route::Ready => list.push(("503", "Not ready.")),
        Route::AuditQuery => list.extend([
            ("400", "The request is malformed."),
            ("422", "The text is no question of this context, or passes a limit of time or memory."),
            ("503", "Another question runs."),
        ]),
        r if r.path().contains('{') => list.push(("404", "Nothing there.")),
        _ => {}
    }
    list
}

fn reference(name: &str) -> RefOr<utoipa::openapi::Schema> {
    RefOr::Ref(Ref::from_schema_name(name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;
    use crate::api::{Estimate, EstimatedPrimitive, LevelBudget, Position, Price, ReleaseSummary};
    use crate::server::error::Problem;
    use crate::server::format::tests::answer;

    fn document() -> Value {
        serde_json::to_value(build()).unwrap()
    }

    #[test]
    fn it_is_3_1_and_has_exactly_the_routes_of_the_table() {
        let document = document();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let mut got = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys().filter(|k| *k != "parameters") {
                got.insert((method.to_uppercase(), path.clone()));
            }
        }
        let expected: BTreeSet<(String, String)> = Route::ALL
            .iter()
            .filter(|r| r.kind() == Kind::Api)
            .map(|r| (r.verb().as_str().to_owned(), r.path().replace("{*", "{")))
            .collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references(value: &Value, into: &mut Vec<String>) {
            match value {
                Value::Object(map) => {
                    into.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    map.values().for_each(|v| references(v, into));
                }
                Value::Array(list) => list.iter().for_each(|v| references(v, into)),
                _ => {}
            }
        }
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 20);
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn public_routes_need_no_key_and_others_name_their_roles() {
        let document = document();
        assert!(document.pointer("/paths/~1healthz/get/security").is_none());
        let ask = &document["paths"]["/v1/statements"]["post"];
        assert_eq!(ask["security"], json!([{ BEARER: [] }]));
        assert!(ask["description"].as_str().unwrap().contains("researcher"));
        assert!(ask["responses"]["200"]["content"]["text/csv"].is_object());
    }

    /// A value as it is sent has exactly the members that the named schema lists.
    fn matches_schema(name: &str, value: &Value) {
        let document = document();
        let schema = &document["components"]["schemas"][name];
        let listed: BTreeSet<&String> = schema["properties"].as_object().unwrap().keys().collect();
        let sent: BTreeSet<&String> = value.as_object().unwrap().keys().collect();
        assert_eq!(sent, listed, "{name}");
    }

    #[tokio::test]
    async fn what_is_sent_has_the_members_that_the_document_lists() {
        let price = || Price { rho: "1".into(), delta: "0".into(), epsilon: 1.0 };
        let body = Format::Json.respond(&answer()).unwrap().into_body();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        matches_schema("Answer", &serde_json::from_slice(&bytes).unwrap());
        matches_schema("Price", &serde_json::to_value(price()).unwrap());
        let primitive = EstimatedPrimitive { what: "COUNT(*)".into(), sigma: "1".into(), half_width: Some(2.0) };
        matches_schema("Primitive", &serde_json::to_value(&primitive).unwrap());
        let estimate = Estimate {
            price: price(),
            primitives: vec![primitive],
            keys: "public".into(),
            cells: None,
            k_min: None,
            threshold: None,
            assumed_n: Some(1),
            deadline_seconds: 0.1,
            remaining: price(),
            groups: Vec::new(),
        };
        matches_schema("Estimate", &serde_json::to_value(estimate).unwrap());
        let level = LevelBudget {
            level: "protocol".into(),
            name: "p".into(),
            cap: price(),
            spent: price(),
            remaining: price(),
        };
        matches_schema("Level", &serde_json::to_value(level).unwrap());
        let release = ReleaseSummary {
            statement_id: "s".into(),
            index: 1,
            sql: "q".into(),
            protocol: "p".into(),
            price: price(),
            snapshot: 1,
        };
        matches_schema("Release", &serde_json::to_value(release).unwrap());
        let mut problem = Problem::unauthorized();
        problem.position = Some(Position { line: 1, column: 1, length: 1 });
        (problem.required, problem.remaining, problem.level) = (Some(price()), Some(price()), Some("protocol".into()));
        problem.reachable = Some(1.0);
        matches_schema("Problem", &serde_json::to_value(problem).unwrap());
    }
}
