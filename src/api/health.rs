//! Whether the node is alive, and whether it should be given work.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(live))
}

/// The process answers.
#[derive(Debug, Serialize, ToSchema)]
struct Live {
    alive: bool,
}

/// Whether the process answers at all; needs no token.
#[utoipa::path(get, path = "/health/live", tag = "health", responses((status = OK, body = Live)))]
async fn live() -> Json<Live> {
    Json(Live { alive: true })
}
