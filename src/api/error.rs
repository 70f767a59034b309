//! The one form in which the API refuses or fails.

mod convert;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

/// What kind of refusal or failure; the name decides the status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorType {
    /// A query parameter, a header or the JSON itself is wrong: 400.
    BadRequest,
    /// A token is missing or wrong: 401.
    Unauthorized,
    /// There is no such route: 404.
    NotFound,
    /// There is no such run: 404.
    RunNotFound,
    /// There is no such tool: 404.
    ToolNotFound,
    /// The route has no such method: 405.
    MethodNotAllowed,
    /// The run is not in a state for it, or a key was used for something else: 409.
    Conflict,
    /// The body is larger than allowed: 413.
    PayloadTooLarge,
    /// The body is of another type than the route takes: 415.
    UnsupportedMediaType,
    /// The body is well-formed and not valid, with all that is wrong in `details.errors`: 422.
    ValidationError,
    /// More than the node takes at a time: 429.
    TooManyRequests,
    /// The node failed: 500.
    Internal,
    /// Not now: 503.
    Unavailable,
}

impl ErrorType {
    /// The status code that goes with it.
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::NotFound | Self::RunNotFound | Self::ToolNotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict => StatusCode::CONFLICT,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::ValidationError => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// A refusal or failure as it is answered.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ApiError {
    /// What kind.
    pub error_type: ErrorType,
    /// What was wrong and what to do, in words.
    pub detail: String,
    /// The same for programs, by type.
    #[schema(value_type = Object)]
    pub details: Value,
    /// Seconds after which it may be tried again, as the header Retry-After.
    #[serde(skip)]
    pub retry_after: Option<u64>,
    /// Why, for the log and nobody else.
    #[serde(skip)]
    pub cause: Option<String>,
}

/// Why a request failed, on its way to the log as an extension of the response.
#[derive(Clone, Debug)]
pub(super) struct Cause(pub(super) String);

impl ApiError {
    /// An error without details.
    pub fn new(error_type: ErrorType, detail: impl Into<String>) -> Self {
        let retry_after = match error_type {
            ErrorType::TooManyRequests | ErrorType::Unavailable => Some(1),
            ErrorType::BadRequest
            | ErrorType::Unauthorized
            | ErrorType::NotFound
            | ErrorType::RunNotFound
            | ErrorType::ToolNotFound
            | ErrorType::MethodNotAllowed
            | ErrorType::Conflict
            | ErrorType::PayloadTooLarge
            | ErrorType::UnsupportedMediaType
            | ErrorType::ValidationError
            | ErrorType::Internal => None,
        };
        Self {
            error_type,
            detail: detail.into(),
            details: json!({}),
            retry_after,
            cause: None,
        }
    }

    /// A query parameter that is wrong; `detail` goes on after its name, such as "must be ...".
    pub fn parameter(name: &str, detail: impl std::fmt::Display) -> Self {
        let name = shorten(name);
        Self::new(
            ErrorType::BadRequest,
            format!("query parameter {name} {detail}"),
        )
        .with(json!({ "parameter": name }))
    }

    /// A header that is wrong.
    pub fn header(name: &str, detail: impl std::fmt::Display) -> Self {
        Self::new(ErrorType::BadRequest, format!("header {name}: {detail}"))
            .with(json!({ "header": name }))
    }

    /// The error with what programs need to know, a JSON object.
    #[must_use]
    pub fn with(mut self, details: Value) -> Self {
        self.details = details;
        self
    }

    /// The error with its cause, for the log.
    #[must_use]
    pub fn because(mut self, cause: impl std::fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// There is no such run.
    pub fn run_not_found(id: impl std::fmt::Display) -> Self {
        let id = shorten(&id.to_string());
        Self::new(ErrorType::RunNotFound, format!("Run not found: {id}"))
            .with(json!({ "run_id": id }))
    }

    /// There is no such tool.
    pub fn tool_not_found(name: &str) -> Self {
        let name = shorten(name);
        Self::new(ErrorType::ToolNotFound, format!("Tool not found: {name}"))
            .with(json!({ "tool": name }))
    }
}

/// The beginning of a text that somebody else wrote.
pub(super) fn shorten(text: &str) -> String {
    const CHARS: usize = 80;
    let mut shown: String = text.chars().take(CHARS).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

impl IntoResponse for ApiError {
    fn into_response(mut self) -> Response {
        let retry_after = self.retry_after;
        let cause = self.cause.take();
        let mut response = (self.error_type.status(), axum::Json(self)).into_response();
        if let Some(seconds) = retry_after {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(cause) = cause {
            response.extensions_mut().insert(Cause(cause));
        }
        response
    }
}
