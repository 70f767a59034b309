//! How long a request may take.
//!
//! Only until its answer begins: an event stream goes on for as long as it likes. A request that
//! asks to wait for its run has that wait on top. When the time is over the handler is dropped;
//! what it had submitted goes on, and the same Idempotency-Key finds it.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use axum::response::{IntoResponse, Response};
use crane_core::limits;
use pin_project_lite::pin_project;
use tokio::time::{Timeout, timeout};
use tower::{Layer, Service};

use super::{ApiError, ErrorType};

/// Answers 503 to what takes longer than this.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeadlineLayer(pub(super) Duration);

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Deadline<S> {
        Deadline {
            inner,
            allowed: self.0,
        }
    }
}

/// See [`DeadlineLayer`].
#[derive(Clone, Debug)]
pub(super) struct Deadline<S> {
    inner: S,
    allowed: Duration,
}

impl<S> Service<Request<Body>> for Deadline<S>
where
    S: Service<Request<Body>, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Bounded<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let waits = request
            .uri()
            .query()
            .is_some_and(|query| query.contains("wait="));
        let allowed = match waits {
            true => self.allowed + limits::LONGEST_WAIT,
            false => self.allowed,
        };
        Bounded {
            inner: timeout(allowed, self.inner.call(request)),
            allowed,
        }
    }
}

pin_project! {
    /// An answer that comes in time, or another one.
    pub(super) struct Bounded<F> {
        #[pin]
        inner: Timeout<F>,
        allowed: Duration,
    }
}

impl<F> Future for Bounded<F>
where
    F: Future<Output = Result<Response, Infallible>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        Poll::Ready(match ready!(this.inner.poll(cx)) {
            Ok(answered) => answered,
            Err(_) => {
                let detail = format!("the request took longer than {:?}", this.allowed);
                Ok(ApiError::new(ErrorType::Unavailable, detail).into_response())
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    async fn ask(path: &str, seconds: u64) -> StatusCode {
        let slow = move || async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        };
        let router = Router::new()
            .route("/slow", get(slow))
            .layer(DeadlineLayer(Duration::from_secs(10)));
        let request = Request::get(path).body(Body::empty()).unwrap();
        router.oneshot(request).await.unwrap().status()
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_too_long_is_unavailable_and_a_wait_is_not() {
        assert_eq!(ask("/slow", 9).await, StatusCode::OK);
        assert_eq!(ask("/slow", 11).await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(ask("/slow?wait=60s", 69).await, StatusCode::OK);
        assert_eq!(
            ask("/slow?wait=60s", 71).await,
            StatusCode::SERVICE_UNAVAILABLE
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_has_begun_goes_on() {
        let stream = || async {
            let late = futures_util::stream::once(async {
                tokio::time::sleep(Duration::from_secs(1_000)).await;
                Ok::<_, Infallible>("late")
            });
            Body::from_stream(late)
        };
        let router = Router::new()
            .route("/stream", get(stream))
            .layer(DeadlineLayer(Duration::from_secs(10)));
        let request = Request::get("/stream").body(Body::empty()).unwrap();
        let body = router.oneshot(request).await.unwrap().into_body();
        let bytes = axum::body::to_bytes(body, 100).await.unwrap();
        assert_eq!(bytes, "late");
    }
}
