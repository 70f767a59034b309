//! What surrounds every request: its id, and the answer when a handler panics or a node fails.

use std::fmt::Write;
use std::panic::AssertUnwindSafe;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;

use super::ApiError;
use super::error::Cause;

/// The header that names a request, in both directions.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that is taken over from a client, in bytes.
const REQUEST_ID_BYTES: usize = 128;

/// Marks an answer whose status is what was asked for, such as that the node is not ready: it is
/// not a failed request, however often a probe asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meant;

/// Names the request, contains panics of its handler, and logs what failed.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    let id = request
        .headers()
        .get(REQUEST_ID)
        .filter(|id| is_id(id))
        .cloned()
        .unwrap_or_else(new_id);
    let method = request.method().clone();
    let path = request.extensions().get::<MatchedPath>().cloned();
    let mut response = match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        // The panic is a log line of its own.
        Err(_) => ApiError::internal("the handler panicked").into_response(),
    };
    let status = response.status();
    let meant = response.extensions().get::<Meant>().is_some();
    if status >= StatusCode::INTERNAL_SERVER_ERROR && !meant {
        tracing::warn!(
            request_id = id.to_str().unwrap_or_default(),
            %method,
            route = path.as_ref().map(MatchedPath::as_str),
            status = status.as_u16(),
            cause = response.extensions().get::<Cause>().map(|Cause(cause)| cause.as_str()),
            "request failed"
        );
    }
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

fn is_id(id: &HeaderValue) -> bool {
    let bytes = id.as_bytes();
    (1..=REQUEST_ID_BYTES).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
}

/// An id that no other request of this or another process has: a random start and a count.
fn new_id() -> HeaderValue {
    static START: OnceLock<u64> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let start = START.get_or_init(|| {
        let mut random = [0; 8];
        if getrandom::fill(&mut random).is_err() {
            // Ids of two processes may then be the same; nothing depends on it.
            random = u64::from(std::process::id()).to_be_bytes();
        }
        u64::from_be_bytes(random)
    });
    let mut text = String::with_capacity(33);
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "{start:016x}-{:x}",
        COUNT.fetch_add(1, Ordering::Relaxed)
    );
    HeaderValue::from_maybe_shared(bytes::Bytes::from(text))
        .unwrap_or_else(|_| HeaderValue::from_static("unnamed"))
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn panics() -> &'static str {
        panic!("in /home/somebody/secret.rs")
    }

    #[tokio::test]
    async fn a_panic_is_an_answer_that_tells_nothing_of_the_inside() {
        let router = Router::new()
            .route("/", get(panics))
            .layer(axum::middleware::from_fn(guard));
        let request = Request::get("/").body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(response.headers().contains_key(REQUEST_ID));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&body);
        assert!(text.contains("\"internal\""), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}
