//! What an operator may order: another log filter, and going down.

use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use crane_core::NodeName;
use crane_core::plan::Finding;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::shorten;
use super::{Api, ApiError, ErrorType, body, query};
use crate::cluster::OrderError;
use crate::life::Phase;
use crate::plan_file::Grammar;
use crate::telemetry;

/// Largest body, in bytes; filters are short.
const BODY_BYTES: usize = 16 << 10;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(log_level))
        .routes(routes!(drain))
}

/// What is logged.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LogLevel {
    /// Directives, separated by commas: a level (`off`, `error`, `warn`, `info`, `debug`, `trace`),
    /// or a part of the program and its level, such as `crane_actors=debug`.
    #[schema(
        max_length = 1024,
        pattern = r"^([A-Za-z_][A-Za-z0-9_:-]*=)?(off|error|warn|info|debug|trace)(,([A-Za-z_][A-Za-z0-9_:-]*=)?(off|error|warn|info|debug|trace))*$",
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
    /// `draining`: it lets running steps end, and in a cluster others take over. `closing`: none is
    /// running.
    phase: String,
}

/// Makes the node go down: it lets running steps end up to a limit, and ends. In a cluster others
/// take its shards over, and what comes meanwhile is passed on to them; alone it admits nothing from
/// now on, and what is unfinished goes on at the next start.
#[utoipa::path(
    post, path = "/admin/drain", tag = "operating", operation_id = "drain",
    params(("node" = Option<String>, Query,
        description = "The node that is to go down, which may be another one of the cluster")),
    responses(
        (status = ACCEPTED, description = "It goes down", body = Going),
        (status = NOT_FOUND, description = "There is no such node", body = ApiError),
        (status = CONFLICT, description = "The node is down, or has left", body = ApiError),
        (status = SERVICE_UNAVAILABLE, description = "The other node was not reached", body = ApiError),
    ),
)]
async fn drain(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<(StatusCode, Json<Going>), ApiError> {
    no_body(body).await?;
    let mut node = None;
    for (name, value) in query::pairs(query.as_deref().unwrap_or_default())? {
        query::once(&mut node, &name, value)?;
    }
    let phase = match node.filter(|node| *node != api.name) {
        Some(node) => {
            pass_on(&api, node).await?;
            "draining"
        }
        None => {
            api.life.advance(match api.node.cluster() {
                Some(_) => Phase::Leaving,
                None => Phase::Draining,
            });
            match api.life.phase() {
                Phase::Serving | Phase::Leaving | Phase::Draining => "draining",
                Phase::Closing => "closing",
            }
        }
    };
    let phase = phase.to_owned();
    Ok((StatusCode::ACCEPTED, Json(Going { phase })))
}

/// Refuses an order that says something where it is not read: it may name another node.
async fn no_body(body: Body) -> Result<(), ApiError> {
    let said = axum::body::to_bytes(body, BODY_BYTES).await;
    if said.is_ok_and(|said| matches!(said.trim_ascii(), b"" | b"{}")) {
        return Ok(());
    }
    Err(invalid(
        "",
        "has no body; another node is named in the query, as ?node=NAME",
    ))
}

/// Has another node go down.
async fn pass_on(api: &Api, node: String) -> Result<(), ApiError> {
    let unknown = || {
        let shown = shorten(&node);
        ApiError::new(ErrorType::NotFound, format!("there is no node {shown}"))
            .with(json!({ "node": shown }))
    };
    let Some(cluster) = api.node.cluster() else {
        return Err(unknown());
    };
    let ordered = cluster.order_drain(&NodeName::new(node.clone())).await;
    ordered.map_err(|error| match error {
        OrderError::Unknown(_) => unknown(),
        OrderError::Gone(_) => {
            ApiError::new(ErrorType::Conflict, error.to_string()).with(json!({ "node": node }))
        }
        OrderError::NotReached { .. } => ApiError::new(ErrorType::Unavailable, error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_taken_from_an_object_that_holds_nothing_else() {
        let filter = "warn,crane_actors::run=trace";
        assert_eq!(filter_of(&json!({ "filter": filter })), Ok(filter));
        for (document, place) in [
            (json!("info"), ""),
            (json!([]), ""),
            (json!({}), "filter"),
            (json!({ "filter": 3 }), "filter"),
            (json!({ "filter": "info", "level": "x" }), "level"),
        ] {
            assert_eq!(filter_of(&document).unwrap_err().0, place, "{document}");
        }
    }
}
