//! Which pages may call the API from a browser: none, unless origins are configured.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// The layer for these origins (`*` is all of them); `None` when there are none.
pub(super) fn layer(origins: &[String]) -> Option<CorsLayer> {
    let allowed = match origins {
        [] => return None,
        [any] if any == "*" => AllowOrigin::any(),
        // The configuration has seen to it that they are values of a header.
        some => AllowOrigin::list(some.iter().filter_map(|o| HeaderValue::from_str(o).ok())),
    };
    let layer = CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers([
            header::ACCEPT,
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("last-event-id"),
            HeaderName::from_static("traceparent"),
            HeaderName::from_static("x-request-id"),
        ])
        .expose_headers([
            header::RETRY_AFTER,
            HeaderName::from_static("x-total-count"),
            HeaderName::from_static("x-request-id"),
        ])
        .max_age(Duration::from_secs(600));
    Some(layer)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::http::{Request, Response};
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    async fn preflight(origins: &[&str]) -> Response<Body> {
        let origins: Vec<String> = origins.iter().map(ToString::to_string).collect();
        let mut router = Router::new().route("/", get(|| async {}));
        if let Some(layer) = layer(&origins) {
            router = router.layer(layer);
        }
        let request = Request::options("/")
            .header(header::ORIGIN, "https://a.example")
            .header(header::ACCESS_CONTROL_REQUEST_METHOD, "GET");
        let request = request.body(Body::empty()).unwrap();
        router.oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn only_configured_origins_are_let_in() {
        let allowed = header::ACCESS_CONTROL_ALLOW_ORIGIN;
        let response = preflight(&["https://b.example", "https://a.example"]).await;
        assert_eq!(response.headers()[&allowed], "https://a.example");
        assert_eq!(preflight(&["*"]).await.headers()[&allowed], "*");
        for origins in [&[][..], &["https://b.example"]] {
            assert!(!preflight(origins).await.headers().contains_key(&allowed));
        }
    }
}
