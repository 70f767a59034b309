//! Changes of a run: cancel and retry. Both are durable when they are answered, and both are
//! answered with the run, whose end is yet to come.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use crane_core::RunId;
use serde_json::json;

use crate::api::answer::{self, Named};
use crate::api::{Api, ApiError, ErrorType, models};

/// Cancels a run. Repeating it is harmless until the run has ended.
#[utoipa::path(
    delete, path = "/runs/{id}", tag = "runs", operation_id = "cancel_run",
    params(("id" = String, Path, description = "The run")),
    responses(
        (status = ACCEPTED, body = models::Run, description = "It will end as cancelled"),
        (status = CONFLICT, body = ApiError, description = "It has ended already"),
    ),
)]
pub(super) async fn cancel(State(api): State<Api>, Named(id): Named) -> Result<Response, ApiError> {
    let cancelled = api.node.router().cancel(id).await;
    let run = cancelled.map_err(|error| about(id, error))?;
    answer::run(&api, StatusCode::ACCEPTED, run)
}

/// Lets a failed or cancelled run go on, keeping what is done.
#[utoipa::path(
    post, path = "/runs/{id}/retry", tag = "runs", operation_id = "retry_run",
    params(("id" = String, Path, description = "The run")),
    responses(
        (status = ACCEPTED, body = models::Run, description = "It goes on in a new round"),
        (status = CONFLICT, body = ApiError, description = "It has not ended, or is completed"),
    ),
)]
pub(super) async fn retry(State(api): State<Api>, Named(id): Named) -> Result<Response, ApiError> {
    if !api.node.router().admits(api.life.phase()) {
        return Err(ApiError::stopping());
    }
    let retried = api.node.router().retry(id).await;
    let run = retried.map_err(|error| about(id, error))?;
    answer::run(&api, StatusCode::ACCEPTED, run)
}

/// The error, with the run that it is about if it is in no state for what was asked.
fn about(id: RunId, error: ApiError) -> ApiError {
    match error.error_type {
        ErrorType::Conflict => error.with(json!({ "run_id": id })),
        _ => error,
    }
}
