//! The response as the output of the call, or as its error.

use std::time::Duration;

use crane_core::Timestamp;
use crane_core::limits::HTTP_RETRY_AFTER;
use crane_core::tool::{ErrorKind, ToolError};
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::request::Request;

/// As much of an error's body is looked at, in bytes ...
const ERROR_BODY_BYTES: usize = 4_096;
/// ... and as much of it is put into the message, in characters.
const ERROR_BODY_CHARS: usize = 200;

/// Reads the response to its end.
pub(super) async fn read(
    request: &Request,
    mut response: Response,
    limit: usize,
    now: Timestamp,
) -> Result<Value, ToolError> {
    let status = response.status();
    if !request.succeeds_with(status) {
        let (body, _) = body(request, &mut response, ERROR_BODY_BYTES)
            .await
            .unwrap_or_default();
        return Err(unexpected(request, &response, &body, now));
    }
    let (body, complete) = body(request, &mut response, limit).await?;
    if !complete {
        return Err(ToolError::new(
            ErrorKind::Limit,
            format!(
                "the answer to {} is longer than {limit} bytes",
                request.name()
            ),
        ));
    }
    let mut output = json!({
        "status": status.as_u16(),
        "headers": headers(response.headers()),
    });
    let parsed = if is_json(response.headers()) {
        serde_json::from_slice::<Value>(&body).ok()
    } else {
        None
    };
    match parsed {
        Some(value) => output["json"] = value,
        None => output["body"] = text(body).into(),
    }
    Ok(output)
}

/// The body, up to `limit` bytes, and whether that is all of it.
async fn body(
    request: &Request,
    response: &mut Response,
    limit: usize,
) -> Result<(Vec<u8>, bool), ToolError> {
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| super::failed(request, &error))?
    {
        let room = limit - body.len();
        if chunk.len() > room {
            body.extend_from_slice(&chunk[..room]);
            return Ok((body, false));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body, true))
}

/// The error for a status that is no success.
fn unexpected(request: &Request, response: &Response, body: &[u8], now: Timestamp) -> ToolError {
    let status = response.status();
    let mut message = format!("{} answered {status}", request.name());
    let body = String::from_utf8_lossy(body);
    let excerpt: String = body
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(ERROR_BODY_CHARS)
        .collect();
    if !excerpt.is_empty() {
        message = format!("{message}: {excerpt}");
    }
    if !(status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS) {
        return ToolError::permanent(message);
    }
    ToolError {
        retry_after: retry_after(response.headers(), now),
        ..ToolError::transient(message)
    }
}

/// How long the server asks to wait (RFC 9110 section 10.2.3): seconds, or a date, which is
/// compared with the server's own clock where it tells it.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let given = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = !given.is_empty() && given.bytes().all(|b| b.is_ascii_digit());
    let wait = if seconds {
        // More digits than a number holds mean "very long".
        Duration::from_secs(given.parse().unwrap_or(u64::MAX))
    } else {
        let server_now = headers
            .get(DATE)
            .and_then(|date| http_date(date.to_str().ok()?));
        http_date(given)?.since(server_now.unwrap_or(now))
    };
    Some(wait.min(HTTP_RETRY_AFTER))
}

/// An IMF-fixdate, such as `Sun, 06 Nov 1994 08:49:37 GMT`, which is also an RFC 2822 date.
fn http_date(text: &str) -> Option<Timestamp> {
    let zoned = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(Timestamp(zoned.timestamp().as_microsecond()))
}

/// Names in lower case; a header that came several times is joined with ", ".
fn headers(headers: &HeaderMap) -> Value {
    let mut output = Map::new();
    for name in headers.keys() {
        let values: Vec<_> = headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        output.insert(name.as_str().to_owned(), values.join(", ").into());
    }
    Value::Object(output)
}

/// `application/json` or any `+json`, with or without parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()) else {
        return false;
    };
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let kind = kind.to_ascii_lowercase();
    kind == "application/json" || kind.ends_with("+json")
}

/// Bytes that are no UTF-8 become replacement characters: an output is JSON.
fn text(body: Vec<u8>) -> String {
    String::from_utf8(body)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn wait(given: &str, date: Option<&str>) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, given.parse().unwrap());
        if let Some(date) = date {
            headers.insert(DATE, date.parse().unwrap());
        }
        // Sun, 06 Nov 1994 08:49:37 GMT
        let now = Timestamp(784_111_777_000_000);
        retry_after(&headers, now).map(|wait| wait.as_secs())
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date() {
        let date = "Sun, 06 Nov 1994 08:50:37 GMT";
        assert_eq!(wait("7", None), Some(7));
        assert_eq!(wait("0", None), Some(0));
        assert_eq!(wait(date, None), Some(60));
        assert_eq!(wait(date, Some("Sun, 06 Nov 1994 08:50:27 GMT")), Some(10));
        assert_eq!(wait(date, Some("Mon, 07 Nov 1994 08:50:27 GMT")), Some(0));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:00 GMT", None), Some(0));
        assert_eq!(wait("99999999999999999999999", None), Some(86_400));
        assert_eq!(wait("Sun, 06 Nov 2094 08:49:37 GMT", None), None);
        assert_eq!(wait("Sat, 06 Nov 2094 08:49:37 GMT", None), Some(86_400));
        for nonsense in ["soon", "-1", "1.5", "", "tomorrow"] {
            assert_eq!(wait(nonsense, None), None, "{nonsense}");
        }
    }
}
