//! What an operator may order: another log filter, and going down.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use crane_core::plan::Finding;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Api, ApiError, body};
use crate::life::Phase;
use crate::plan_file::Grammar;
use crate::telemetry;

/// Largest body, in bytes; filters are short.
const BODY_BYTES: usize = 16 << 10;
/// Longest filter, in characters.
const FILTER_CHARS: usize = 4_096;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(log_level))
        .routes(routes!(drain))
}

/// What is logged.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LogLevel {
    /// Directives, such as `info,crane=debug`.
    #[schema(
        min_length = 1,
        max_length = 4_096,
        pattern = r"\S",
        example = "info,crane=debug"
    )]
    filter: String,
}

/// Changes what is logged, until the node ends or it is changed again.
#[utoipa::path(
    put, path = "/admin/log-level", tag = "operating", operation_id = "set_log_level",
    request_body = LogLevel,
    responses(
        (status = OK, description = "What is logged from now on", body = LogLevel),
    ),
)]
async fn log_level(headers: HeaderMap, body: Body) -> Result<Json<LogLevel>, ApiError> {
    let (_, document) = body::read(&headers, body, &[Grammar::Json], BODY_BYTES).await?;
    let filter = filter_of(&document).map_err(|(path, message)| invalid(path, message))?;
    telemetry::set_filter(filter).map_err(|error| match &error {
        telemetry::Error::Filter { reason, .. } => invalid("filter", reason.as_str()),
        telemetry::Error::NotStarted | telemetry::Error::Start(_) => ApiError::internal(error),
    })?;
    tracing::warn!(filter, "what is logged was changed");
    Ok(Json(LogLevel {
        filter: filter.to_owned(),
    }))
}

/// The filter in a document, or where it is wrong and how.
fn filter_of(document: &Value) -> Result<&str, (&str, String)> {
    let Value::Object(members) = document else {
        return Err(("", "must be an object with a filter".to_owned()));
    };
    if let Some(unknown) = members.keys().find(|name| *name != "filter") {
        return Err((unknown, "is unknown; there is filter".to_owned()));
    }
    match members.get("filter") {
        Some(Value::String(filter)) if filter.trim().is_empty() => Err((
            "filter",
            "is empty; give directives such as info".to_owned(),
        )),
        Some(Value::String(filter)) if filter.chars().count() > FILTER_CHARS => Err((
            "filter",
            format!("is longer than {FILTER_CHARS} characters"),
        )),
        Some(Value::String(filter)) => Ok(filter),
        Some(_) => Err(("filter", "must be a text".to_owned())),
        None => Err(("filter", "is missing".to_owned())),
    }
}

fn invalid(path: &str, message: impl Into<String>) -> ApiError {
    ApiError::invalid(&[Finding {
        path: path.to_owned(),
        message: message.into(),
    }])
}

/// Where the node is in its life.
#[derive(Debug, Serialize, ToSchema)]
struct Going {
    /// `draining`: it admits nothing and lets running steps end. `closing`: none is running.
    phase: String,
}

/// Makes the node go down: it admits nothing from now on, lets running steps end up to a limit, and
/// ends. What is unfinished goes on at the next start.
#[utoipa::path(
    post, path = "/admin/drain", tag = "operating", operation_id = "drain",
    responses((status = ACCEPTED, description = "It goes down", body = Going)),
)]
async fn drain(State(api): State<Api>) -> (StatusCode, Json<Going>) {
    api.life.advance(Phase::Draining);
    let phase = match api.life.phase() {
        Phase::Serving | Phase::Draining => "draining",
        Phase::Closing => "closing",
    };
    let phase = phase.to_owned();
    (StatusCode::ACCEPTED, Json(Going { phase }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_filter_is_taken_from_an_object_that_holds_nothing_else() {
        assert_eq!(filter_of(&json!({ "filter": "info" })), Ok("info"));
        let longest = json!({ "filter": "é".repeat(FILTER_CHARS) });
        assert!(filter_of(&longest).is_ok());
        for (document, place) in [
            (json!("info"), ""),
            (json!([]), ""),
            (json!({}), "filter"),
            (json!({ "filter": " " }), "filter"),
            (json!({ "filter": 3 }), "filter"),
            (json!({ "filter": "é".repeat(FILTER_CHARS + 1) }), "filter"),
            (json!({ "filter": "info", "level": "x" }), "level"),
        ] {
            assert_eq!(filter_of(&document).unwrap_err().0, place, "{document}");
        }
    }
}
