//! The input of a call as the request that it asks for.

use std::fmt::Write;

use crane_actors::tool::CallContext;
use crane_core::limits::HTTP_HEADERS;
use crane_core::tool::ToolError;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;
use uuid::Uuid;

/// The methods that may be used.
pub(super) const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Headers that describe the connection or the framing of the message; the client makes them.
const OWN_HEADERS: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Namespace of the UUIDv5 whose first half is the parent id in `traceparent`.
const SPAN_NAMESPACE: Uuid = Uuid::from_u128(0x6372_616e_652d_6874_7470_2d73_7061_6e35);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    method: Option<String>,
    url: String,
    #[serde(default)]
    headers: Map<String, Value>,
    #[serde(default)]
    query: Map<String, Value>,
    json: Option<Value>,
    body: Option<String>,
    expect_status: Option<Expected>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Expected {
    One(u16),
    Several(Vec<u16>),
}

/// One request, ready to be sent.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<String>,
    /// The statuses that count as success; empty means 200 to 299.
    expected: Vec<u16>,
}

impl Request {
    /// Reads the input; `context` gives the idempotency key and the trace.
    pub(super) fn read(input: Value, context: &CallContext) -> Result<Self, ToolError> {
        let input: Input = crate::input::read(input)?;
        let mut headers = headers(&input.headers)?;
        let body = match (input.json, input.body) {
            (Some(_), Some(_)) => {
                return Err(ToolError::invalid_input(
                    "both json and body are given; give one of them",
                ));
            }
            (Some(json), None) => {
                default(&mut headers, CONTENT_TYPE, "application/json");
                Some(json.to_string())
            }
            (None, Some(body)) => {
                default(&mut headers, CONTENT_TYPE, "text/plain; charset=utf-8");
                Some(body)
            }
            (None, None) => None,
        };
        if let Some(origin) = &context.origin {
            let key = origin.idempotency_key();
            default(&mut headers, IDEMPOTENCY_KEY, &key);
            if let Some(parent) = context
                .trace_id
                .as_deref()
                .and_then(|trace| traceparent(trace, &format!("{key}/{}", origin.attempt)))
            {
                default(&mut headers, TRACEPARENT, &parent);
            }
        }
        Ok(Self {
            method: method(input.method.as_deref())?,
            url: url(&input.url, &input.query)?,
            headers,
            body,
            expected: match input.expect_status {
                None => Vec::new(),
                Some(Expected::One(status)) => vec![status],
                Some(Expected::Several(statuses)) => statuses,
            },
        })
    }

    /// Whether the caller named this status.
    pub(super) fn expects(&self, status: StatusCode) -> bool {
        self.expected.contains(&status.as_u16())
    }

    /// Whether this status is a success.
    pub(super) fn succeeds_with(&self, status: StatusCode) -> bool {
        if self.expected.is_empty() {
            status.is_success()
        } else {
            self.expects(status)
        }
    }

    /// What was asked of whom, for messages: without the query, which may hold secrets.
    pub(super) fn name(&self) -> String {
        let mut name = format!(
            "{} {}",
            self.method,
            self.url.origin().ascii_serialization()
        );
        // Writing to a string cannot fail.
        let _ = write!(name, "{}", self.url.path());
        name
    }
}

fn method(given: Option<&str>) -> Result<Method, ToolError> {
    let given = given.unwrap_or("GET").to_ascii_uppercase();
    METHODS
        .contains(&given.as_str())
        .then(|| Method::from_bytes(given.as_bytes()).ok())
        .flatten()
        .ok_or_else(|| {
            ToolError::invalid_input(format!(
                "method '{given}' is not supported; use one of {}",
                METHODS.join(", ")
            ))
        })
}

fn url(text: &str, query: &Map<String, Value>) -> Result<Url, ToolError> {
    let mut url = Url::parse(text).map_err(|error| {
        ToolError::invalid_input(format!(
            "the url cannot be read: {error}; give one such as https://example.com/path"
        ))
    })?;
    url.set_fragment(None);
    if query.is_empty() {
        return Ok(url);
    }
    let mut pairs = Vec::with_capacity(query.len());
    for (name, value) in query {
        match value {
            Value::Null => {}
            Value::Array(values) => {
                for value in values {
                    pairs.push((name, scalar("query", name, value)?));
                }
            }
            value => pairs.push((name, scalar("query", name, value)?)),
        }
    }
    if !pairs.is_empty() {
        url.query_pairs_mut().extend_pairs(pairs);
    }
    Ok(url)
}

fn headers(given: &Map<String, Value>) -> Result<HeaderMap, ToolError> {
    if given.len() > HTTP_HEADERS {
        return Err(ToolError::invalid_input(format!(
            "{} headers are given; at most {HTTP_HEADERS} are sent",
            given.len()
        )));
    }
    let mut headers = HeaderMap::with_capacity(given.len() + 3);
    for (name, value) in given {
        let header = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| ToolError::invalid_input(format!("'{name}' is no name of a header")))?;
        if OWN_HEADERS.contains(&header.as_str()) {
            return Err(ToolError::invalid_input(format!(
                "header '{name}' is made by Crane and cannot be given"
            )));
        }
        // The value is not in the message: it may be a secret.
        let value = HeaderValue::from_str(&scalar("headers", name, value)?).map_err(|_| {
            ToolError::invalid_input(format!(
                "the value of header '{name}' holds characters that a header cannot carry"
            ))
        })?;
        headers.insert(header, value);
    }
    Ok(headers)
}

fn scalar(place: &str, name: &str, value: &Value) -> Result<String, ToolError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(ToolError::invalid_input(format!(
            "{place}.{name} is no text, number or boolean"
        ))),
    }
}

/// Sets a header that the caller has not set; a value that no header can carry is left out.
fn default(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if !headers.contains_key(&name)
        && let Ok(value) = HeaderValue::from_str(value)
    {
        headers.insert(name, value);
    }
}

/// The header of W3C Trace Context, version 00, that names this attempt as the parent.
fn traceparent(trace: &str, attempt: &str) -> Option<String> {
    let valid = trace.len() == 32
        && trace
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        && trace.bytes().any(|b| b != b'0');
    valid.then(|| {
        let span = Uuid::new_v5(&SPAN_NAMESPACE, attempt.as_bytes())
            .simple()
            .to_string();
        format!("00-{trace}-{}-01", &span[..16])
    })
}
