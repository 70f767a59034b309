//! Answers in JSON: made once, as bytes.

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::extract::Path;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use crane_core::RunId;
use futures_util::{Stream, StreamExt};
use serde::Serialize;

use super::{Api, ApiError, body};
use crate::render;
use crate::route::Shown;

/// Bytes of an array that are collected before it is answered in parts.
const ARRAY_PART: usize = 64 << 10;

/// A value as JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Result<Response, ApiError> {
    Ok(respond(
        status,
        serde_json::to_vec(value).map_err(ApiError::internal)?,
    ))
}

/// Bytes that are JSON.
pub(super) fn respond(status: StatusCode, bytes: impl Into<Body>) -> Response {
    let mut response = Response::new(bytes.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(body::JSON));
    response
}

/// A run as JSON text.
pub(super) fn run_bytes(api: &Api, run: Shown) -> Result<Bytes, ApiError> {
    match run {
        Shown::Run(run) => {
            let text = render::run(&run, &api.name).map_err(ApiError::internal)?;
            Ok(text.into())
        }
        Shown::Text(text) => Ok(text),
    }
}

/// A run.
pub(super) fn run(api: &Api, status: StatusCode, run: Shown) -> Result<Response, ApiError> {
    Ok(respond(status, run_bytes(api, run)?))
}

/// An array of the JSON texts that `items` gives. A short one is answered as a whole; a long one
/// part by part as the client takes it, so that it never stands in memory at once. A failure after
/// the first part can only break the connection.
pub(super) async fn array(
    items: impl Stream<Item = Result<Bytes, ApiError>> + Send + 'static,
) -> Result<Response, ApiError> {
    let mut parts = Box::pin(parts(items));
    let Some(first) = parts.next().await.transpose()? else {
        return Ok(respond(StatusCode::OK, "[]"));
    };
    let Some(second) = parts.next().await else {
        return Ok(respond(StatusCode::OK, first));
    };
    let start = futures_util::stream::iter([Ok(first), second]);
    let all = start.chain(parts).map(|part| {
        part.map_err(|error| {
            tracing::warn!(
                detail = error.detail,
                cause = error.cause,
                "an answer was cut short"
            );
            std::io::Error::other("the node failed")
        })
    });
    Ok(respond(StatusCode::OK, Body::from_stream(all)))
}

/// The text of the array in parts.
fn parts(
    items: impl Stream<Item = Result<Bytes, ApiError>> + Send + 'static,
) -> impl Stream<Item = Result<Bytes, ApiError>> + Send {
    let state = Some((Box::pin(items), b'['));
    futures_util::stream::unfold(state, async |state| {
        let (mut items, mut separator) = state?;
        let mut part = Vec::new();
        while let Some(item) = items.next().await {
            match item {
                Ok(item) => {
                    part.push(separator);
                    separator = b',';
                    part.extend_from_slice(&item);
                }
                Err(error) => return Some((Err(error), None)),
            }
            if part.len() >= ARRAY_PART {
                return Some((Ok(part.into()), Some((items, separator))));
            }
        }
        if separator == b'[' {
            part.push(b'[');
        }
        part.push(b']');
        Some((Ok(part.into()), None))
    })
}

/// The run that a path names; what is no id names no run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named(pub(super) RunId);

impl FromRequestParts<Api> for Named {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let text = match Path::<String>::from_request_parts(parts, api).await {
            Ok(Path(text)) => text,
            Err(_) => return Err(ApiError::run_not_found("(not UTF-8)")),
        };
        // Other spellings of a UUID than the one that is answered are not taken.
        let id = text.parse().ok().filter(|_| text.len() == 36);
        id.map(Self).ok_or_else(|| ApiError::run_not_found(&text))
    }
}
