//! `GET /openapi.json`: the OpenAPI 3.1 document of this node.
//!
//! ```text
//!   annotations of the handlers ──> OpenApi ──> complete ──> JSON text, made once
//!                                                  ^── what all routes have in common, and shapes
//!                                                      that no derive can express (shapes.rs)
//! ```
//!
//! Every error is added here and not at the handlers, so that no route can forget one: which may
//! occur follows from what the route takes.

mod shapes;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Api, ApiError, answer, models};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(document))
        .routes(routes!(plan_schema))
}

/// The head of the document.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Crane",
        description = "Durable runs of AI agents: submit a goal or a plan, follow it live, read it back. Every answer that acknowledges something means that it is durable.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(ApiError, models::LabelFilter, models::StatusFilter)),
    tags(
        (name = "runs", description = "Submitting runs, reading them, changing them"),
        (name = "tools", description = "What steps can call, and the circuit breakers"),
        (name = "health", description = "Whether the node is well"),
        (name = "operating", description = "Metrics, the supervision tree, and orders of operators"),
        (name = "documents", description = "What describes the API"),
    ),
)]
struct Head;

/// A document with nothing but its head.
pub(super) fn head() -> OpenApi {
    Head::openapi()
}

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "documents", operation_id = "openapi",
    responses((status = OK, body = Object, description = "OpenAPI 3.1", content_type = "application/json")),
)]
async fn document(State(api): State<Api>) -> Result<Response, ApiError> {
    let document = api
        .document()
        .ok_or_else(|| ApiError::internal("the document was not made"))?;
    Ok(answer::respond(StatusCode::OK, document))
}

/// The JSON Schema of a plan, for editors and planners.
#[utoipa::path(
    get, path = "/schemas/plan", tag = "documents", operation_id = "plan_schema",
    responses((status = OK, body = Object, description = "JSON Schema 2020-12", content_type = "application/json")),
)]
async fn plan_schema(State(api): State<Api>) -> Result<Response, ApiError> {
    answer::json(StatusCode::OK, &crane_core::plan::schema(&api.limits))
}

/// The text of the document of this API; `secured` says whether it asks for a token.
pub(super) fn text(
    document: &OpenApi,
    api: &Api,
    secured: bool,
) -> Result<Bytes, serde_json::Error> {
    let mut document = serde_json::to_value(document)?;
    shapes::replace(&mut document["components"]["schemas"], &api.limits);
    document["components"]["responses"] = errors();
    if let Value::Object(paths) = &mut document["paths"] {
        for (path, item) in paths {
            for operation in item.as_object_mut().into_iter().flat_map(Map::values_mut) {
                complete(path, operation, secured);
            }
        }
    }
    if secured {
        document["components"]["securitySchemes"] =
            json!({ "token": { "type": "http", "scheme": "bearer" } });
    }
    serde_json::to_vec(&document).map(Bytes::from)
}

/// Adds to an operation the errors that follow from what it takes.
fn complete(path: &str, operation: &mut Value, secured: bool) {
    let Some(operation) = operation.as_object_mut() else {
        return;
    };
    let takes_body = operation.contains_key("requestBody");
    let is_health = path.contains("/health");
    let mut possible = vec!["400", "500"];
    if secured && !is_health {
        possible.push("401");
        operation.insert("security".to_owned(), json!([{ "token": [] }]));
    }
    if path.contains("/runs") || path.contains("/tools") {
        possible.push("503");
    }
    if path.contains('{') {
        possible.push("404");
    }
    if takes_body {
        possible.extend(["413", "415", "422"]);
    }
    for parameter in operation
        .get_mut("parameters")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        // One that may be left out cannot be `null` for that.
        shapes::not_null(&mut parameter["schema"]);
    }
    if let Some(Value::Object(responses)) = operation.get_mut("responses") {
        for status in possible {
            responses
                .entry(status)
                .or_insert_with(|| json!({ "$ref": format!("#/components/responses/{status}") }));
        }
    }
}

/// The errors, by status.
fn errors() -> Value {
    let all = [
        (
            "400",
            "A query parameter, a header or the syntax of the body is wrong",
        ),
        ("401", "The token is missing or wrong"),
        ("404", "There is no such run or tool"),
        ("413", "The body is larger than allowed"),
        ("415", "The body is of another type than the route takes"),
        (
            "422",
            "The body is well-formed and not valid; details.errors says all that is wrong",
        ),
        ("500", "The node failed"),
        (
            "503",
            "Not now: the node is on its way down, its disk is nearly full, or its store fails",
        ),
    ];
    let responses = all.into_iter().map(|(status, description)| {
        let mut response = json!({
            "description": description,
            "content": { "application/json": { "schema": { "$ref": "#/components/schemas/ApiError" } } },
        });
        if status == "503" {
            response["headers"] = json!({
                "retry-after": { "description": "Seconds", "schema": { "type": "integer", "minimum": 0 } },
            });
        }
        (status.to_owned(), response)
    });
    Value::Object(responses.collect())
}
