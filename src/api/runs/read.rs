//! `GET /runs/{id}`: one run.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::api::answer::{self, Named};
use crate::api::{Api, ApiError, models};

/// Shows a run: its plan, what its steps did, its result.
#[utoipa::path(
    get, path = "/runs/{id}", tag = "runs", operation_id = "get_run",
    params(("id" = String, Path, description = "The run")),
    responses((status = OK, body = models::Run, description = "The run")),
)]
pub(super) async fn get(State(api): State<Api>, Named(id): Named) -> Result<Response, ApiError> {
    match api.node.router().load(id).await? {
        Some(run) => answer::run(&api, StatusCode::OK, run),
        None => Err(ApiError::run_not_found(id)),
    }
}
