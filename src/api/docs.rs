//! `/docs`: a page to try the API. It is one file in the program and loads nothing but the OpenAPI
//! document of the node it comes from, so that it works without any other network.

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;

const PAGE: &str = include_str!("docs/page.html");

/// Nothing but what is in the page, and calls of the node itself.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                      connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(page))
}

/// Where people look first.
pub(super) fn root_routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(root_page))
}

/// A page to try the API.
#[utoipa::path(
    get, path = "/docs", tag = "documents", operation_id = "docs",
    responses((status = OK, body = String, description = "HTML", content_type = "text/html")),
)]
async fn page() -> Response {
    html()
}

/// The same page, where people look first.
#[utoipa::path(
    get, path = "/docs", tag = "documents", operation_id = "docs_at_root",
    responses((status = OK, body = String, description = "HTML", content_type = "text/html")),
)]
async fn root_page() -> Response {
    html()
}

fn html() -> Response {
    const HEADERS: [(HeaderName, &str); 3] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    let mut response = Response::new(PAGE.into());
    for (name, value) in HEADERS {
        let headers = response.headers_mut();
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
