//! Who may come in: `Authorization: Bearer TOKEN` on everything but the health of the node.
//!
//! The layer stands inside those that count requests and give them ids, so that refusals are
//! counted too, and outside everything else: a route that does not exist is not told apart from
//! one that does without a token. The header goes no further than this layer, so that nothing
//! behind it can log it.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Request, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::Either;
use tower::{Layer, Service};

use super::{ApiError, BASE, ErrorType};
use crate::token::Tokens;

/// Lets in who has one of the tokens; without tokens everybody.
#[derive(Clone, Debug)]
pub(super) struct AuthLayer(Arc<Tokens>);

impl AuthLayer {
    pub(super) fn new(tokens: Tokens) -> Self {
        Self(Arc::new(tokens))
    }
}

impl<S> Layer<S> for AuthLayer {
    type Service = Auth<S>;

    fn layer(&self, inner: S) -> Auth<S> {
        Auth {
            inner,
            tokens: Arc::clone(&self.0),
        }
    }
}

/// See [`AuthLayer`].
#[derive(Clone, Debug)]
pub(super) struct Auth<S> {
    inner: S,
    tokens: Arc<Tokens>,
}

impl<S> Service<Request<Body>> for Auth<S>
where
    S: Service<Request<Body>, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Response, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let is_open = self.tokens.is_empty() || needs_no_token(request.uri().path());
        if !is_open && let Err(reason) = admit(&self.tokens, request.headers()) {
            return Either::Right(ready(Ok(unauthorized(reason))));
        }
        request.headers_mut().remove(header::AUTHORIZATION);
        Either::Left(self.inner.call(request))
    }
}

/// Balancers and service managers ask for the health of a node, and have no token.
fn needs_no_token(path: &str) -> bool {
    let health = path
        .strip_prefix(BASE)
        .and_then(|path| path.strip_prefix("/health"));
    health.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn admit(tokens: &Tokens, headers: &HeaderMap) -> Result<(), &'static str> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (given.next(), given.next()) else {
        return Err("one header is needed: Authorization: Bearer TOKEN");
    };
    let token = bearer(value.as_bytes()).ok_or("it must be: Authorization: Bearer TOKEN")?;
    match tokens.admit(token) {
        true => Ok(()),
        false => Err("the token is not known to this node"),
    }
}

/// The token of a header's value; the scheme is written in any case.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked("Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| rest.trim_ascii())
}

fn unauthorized(reason: &str) -> Response {
    let mut response = ApiError::new(ErrorType::Unauthorized, reason).into_response();
    let scheme = HeaderValue::from_static("Bearer");
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, scheme);
    response
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;
    use crate::token::TokenHash;

    /// A router that answers with the headers it is given.
    fn router(tokens: &[&str]) -> Router {
        let tokens = tokens.iter().map(|token| TokenHash::of(token.as_bytes()));
        let show = |headers: HeaderMap| async move { format!("{headers:?}") };
        Router::new()
            .route("/api/v1/health", get(show))
            .route("/api/v1/health/live", get(show))
            .route("/api/v1/runs", get(show))
            .route("/metrics", get(show))
            .layer(AuthLayer::new(tokens.collect()))
    }

    async fn ask(router: &Router, path: &str, headers: &[&str]) -> Response {
        let mut request = Request::get(path);
        for value in headers {
            request = request.header(header::AUTHORIZATION, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn everything_but_health_needs_one_of_the_tokens() {
        let router = router(&["one", "other"]);
        let paths = [
            "/api/v1/runs",
            "/metrics",
            "/nothing",
            "/api/v1/healthy",
            "/health",
        ];
        for path in paths {
            for headers in [
                &[][..],
                &["Bearer"],
                &["Bearer "],
                &["Bearer wrong"],
                &["Bearer one x"],
                &["Basic one"],
                &["one"],
                &["Bearer one", "Bearer one"],
            ] {
                let response = ask(&router, path, headers).await;
                assert_eq!(
                    response.status(),
                    StatusCode::UNAUTHORIZED,
                    "{path} {headers:?}"
                );
                assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
                assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
            }
        }
        for header in ["Bearer one", "bearer other", "BEARER  one "] {
            let response = ask(&router, "/api/v1/runs", &[header]).await;
            assert_eq!(response.status(), StatusCode::OK, "{header}");
        }
        for path in ["/api/v1/health", "/api/v1/health/live"] {
            assert_eq!(ask(&router, path, &[]).await.status(), StatusCode::OK);
        }
        let found = ask(&router, "/nothing", &["Bearer one"]).await;
        assert_eq!(found.status(), StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn without_tokens_everybody_comes_in_and_the_header_never_does() {
        for tokens in [&[][..], &["one"]] {
            let response = ask(&router(tokens), "/api/v1/runs", &["Bearer one"]).await;
            assert_eq!(response.status(), StatusCode::OK);
            let body = axum::body::to_bytes(response.into_body(), 1_000).await;
            let headers = String::from_utf8(body.unwrap().to_vec()).unwrap();
            assert!(!headers.contains("one"), "{headers}");
        }
    }
}
