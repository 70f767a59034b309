//! From the body of a request to one document, strictly.
//!
//! ```text
//!   content-type ──> 415      length ──> 413      UTF-8, grammar, keys, depth ──> 400
//! ```
//!
//! A body that is too large, or of the wrong type, is refused unread; that its sender can hear why
//! is the listener's business.

use axum::body::Body;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::error::shorten;
use super::{ApiError, ErrorType};
use crate::plan_file::{self, Grammar};

/// The media type of JSON.
pub(super) const JSON: &str = "application/json";
/// The media type of YAML (RFC 9512).
pub(super) const YAML: &str = "application/yaml";

/// Reads a body of at most `limit` bytes in one of `grammars`.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    grammars: &[Grammar],
    limit: usize,
) -> Result<(Grammar, Value), ApiError> {
    let grammar = grammar(headers, grammars)?;
    let bytes = collect(headers, body, limit).await?;
    Ok((grammar, parse(grammar, &bytes, limit)?))
}

async fn collect(headers: &HeaderMap, mut body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let mut first = Bytes::new();
    let mut more: Option<BytesMut> = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| bad("the body ended early, or its encoding is wrong"))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let length = more.as_ref().map_or(first.len(), BytesMut::len) + data.len();
        if length > limit {
            return Err(too_large(limit));
        }
        // Most bodies come in one piece, which is then taken as it is.
        if first.is_empty() {
            first = data;
        } else {
            let all = more.get_or_insert_with(|| BytesMut::from(&first[..]));
            all.extend_from_slice(&data);
        }
    }
    Ok(more.map_or(first, BytesMut::freeze))
}

fn grammar(headers: &HeaderMap, grammars: &[Grammar]) -> Result<Grammar, ApiError> {
    if let Some(encoding) = headers.get(CONTENT_ENCODING)
        && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
    {
        return Err(unsupported(
            "content-encoding is not supported; send the body as it is",
            grammars,
        ));
    }
    let mut given = headers.get_all(CONTENT_TYPE).iter();
    match (given.next(), given.next()) {
        (Some(only), None) => known(only, grammars).ok_or_else(|| {
            let shown = shorten(&String::from_utf8_lossy(only.as_bytes()));
            unsupported(&format!("content-type {shown} is not supported"), grammars)
        }),
        (None, _) => Err(unsupported("content-type is missing", grammars)),
        (Some(_), Some(_)) => Err(unsupported("content-type is given twice", grammars)),
    }
}

/// The grammar of a media type, whatever its parameters; another charset than UTF-8 is not ours.
fn known(value: &HeaderValue, grammars: &[Grammar]) -> Option<Grammar> {
    let mut parts = value.to_str().ok()?.split(';').map(str::trim);
    let name = parts.next()?;
    let grammar = *grammars
        .iter()
        .find(|grammar| name.eq_ignore_ascii_case(media_type(**grammar)))?;
    let charset = parts.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("charset")
            .then(|| value.trim().trim_matches('"'))
    });
    let is_utf8 = charset.is_none_or(|charset| {
        charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("us-ascii")
    });
    is_utf8.then_some(grammar)
}

fn media_type(grammar: Grammar) -> &'static str {
    match grammar {
        Grammar::Json => JSON,
        Grammar::Yaml => YAML,
    }
}

fn parse(grammar: Grammar, bytes: &Bytes, limit: usize) -> Result<Value, ApiError> {
    plan_file::from_bytes(bytes, grammar, limit).map_err(|refused| {
        let name = match grammar {
            Grammar::Json => "JSON",
            Grammar::Yaml => "YAML",
        };
        let error = bad(format!("the body is not one {name} document: {refused}"));
        match refused.position {
            Some(place) => error.with(json!({ "line": place.line, "column": place.column })),
            None => error,
        }
    })
}

fn bad(detail: impl Into<String>) -> ApiError {
    ApiError::new(ErrorType::BadRequest, detail)
}

fn too_large(limit: usize) -> ApiError {
    ApiError::new(
        ErrorType::PayloadTooLarge,
        format!("the body is larger than {limit} bytes, the limit of a request"),
    )
    .with(json!({ "limit": limit }))
}

fn unsupported(detail: &str, grammars: &[Grammar]) -> ApiError {
    let names: Vec<&str> = grammars.iter().copied().map(media_type).collect();
    ApiError::new(
        ErrorType::UnsupportedMediaType,
        format!("{detail}; send {}", names.join(" or ")),
    )
    .with(json!({ "supported": names }))
}
