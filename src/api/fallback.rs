//! Answers to requests that no route takes.

use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::error::shorten;
use super::{ApiError, ErrorType};

/// There is no such route.
pub(super) async fn not_found(uri: Uri) -> ApiError {
    let path = shorten(uri.path());
    ApiError::new(
        ErrorType::NotFound,
        format!("there is no {path}; the routes are in /api/v1/openapi.json"),
    )
    .with(json!({ "path": path }))
}

/// The route has no such method. The router adds the header Allow, which is all that OPTIONS asks
/// for.
pub(super) async fn method_not_allowed(method: Method) -> Response {
    if method == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    let method = shorten(method.as_str());
    ApiError::new(
        ErrorType::MethodNotAllowed,
        format!("{method} is not possible here; the header Allow says what is"),
    )
    .with(json!({ "method": method }))
    .into_response()
}
