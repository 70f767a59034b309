//! Runs: submitting, reading, changing.

mod change;
mod list;
mod message;
mod read;
mod submit;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(submit::submit, list::list))
        .routes(routes!(read::get, change::cancel))
        .routes(routes!(change::retry))
}
