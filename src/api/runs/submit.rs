//! `POST /runs`: the way in.
//!
//! ```text
//!   body ──> document ──> run message ──> Router::submit (durable) ──> 201, or 200 for a known key
//!                                                 └── ?wait: the run's end, the time, or the drain
//! ```

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use crane_actors::submit;
use crane_core::{limits, plan};

use super::message;
use crate::api::{Api, ApiError, BASE, answer, body, models, query, trace};
use crate::plan_file::Grammar;

/// Shortest `?wait=`.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// Submits a run: a goal in words or a plan.
///
/// The run is durable when this answers. With an Idempotency-Key the request may be repeated
/// safely: it never creates a second run.
#[utoipa::path(
    post, path = "/runs", tag = "runs", operation_id = "submit_run",
    params(
        ("wait" = Option<String>, Query, example = "30s",
            pattern = r"^([1-9][0-9]{0,2}ms|[1-9]s|[1-5][0-9]s|60s)$",
            description = "Answer when the run ends, or after this time (1ms to 60s) with the run as it is then; going away does not cancel it"),
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = r"^[!-~]+$",
            description = "The same key with the same body gives the same run again; with another body it is refused"),
        ("traceparent" = Option<String>, Header,
            description = "W3C Trace Context; its trace id goes on to the tools that the run calls"),
    ),
    request_body(content(
        (models::NewRun = "application/json"),
        (models::PlanDocument = "application/yaml"),
    )),
    responses(
        (status = CREATED, body = models::Run, description = "The run is durable",
            headers(("location" = String, description = "Where the run is"))),
        (status = OK, body = models::Run, description = "The run that this key created before",
            headers(("location" = String, description = "Where the run is"))),
        (status = CONFLICT, body = ApiError, description = "The key was used with another body"),
        (status = TOO_MANY_REQUESTS, body = ApiError, description = "As many runs wait as may",
            headers(("retry-after" = u64, description = "Seconds"))),
    ),
)]
pub(super) async fn submit(State(api): State<Api>, request: Request) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let router = api.node.router();
    if !router.admits(api.life.phase()) {
        return Err(ApiError::stopping());
    }
    let wait = wait(parts.uri.query())?;
    let key = key(&parts.headers)?;
    let limit = api.limits.request_bytes;
    let grammars = [Grammar::Json, Grammar::Yaml];
    let (grammar, document) = body::read(&parts.headers, body, &grammars, limit).await?;
    let mut request = match grammar {
        Grammar::Json => message::read(document, api.node.runtime()).await?,
        Grammar::Yaml => submit::Request {
            plan: Some(document),
            ..submit::Request::default()
        },
    };
    request.key = key;
    request.trace_id = trace::trace_id(&parts.headers);
    let accepted = router.submit(request, wait, &api.life).await?;
    let status = if accepted.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let place = format!("{BASE}/runs/{}", accepted.id);
    let mut response = answer::run(&api, status, accepted.run)?;
    if let Ok(place) = HeaderValue::from_maybe_shared(bytes::Bytes::from(place)) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    Ok(response)
}

fn wait(query: Option<&str>) -> Result<Option<Duration>, ApiError> {
    let Some(query) = query else {
        return Ok(None);
    };
    let mut given = None;
    for (name, value) in query::pairs(query)? {
        if name == "wait" {
            query::once(&mut given, "wait", value)?;
        }
    }
    let Some(text) = given else {
        return Ok(None);
    };
    let wait = plan::parse_duration(&text)
        .map_err(|error| ApiError::parameter("wait", format!("is refused: {error}")))?;
    if (SHORTEST_WAIT..=limits::LONGEST_WAIT).contains(&wait) {
        return Ok(Some(wait));
    }
    Err(ApiError::parameter("wait", "must be from 1ms to 60s"))
}

fn key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    const NAME: &str = "Idempotency-Key";
    let mut given = headers.get_all(NAME).iter();
    let Some(key) = given.next() else {
        return Ok(None);
    };
    if given.next().is_some() {
        return Err(ApiError::header(NAME, "is given twice"));
    }
    let length = key.as_bytes().len();
    if length > limits::REQUEST_KEY_BYTES {
        let limit = limits::REQUEST_KEY_BYTES;
        let detail = format!("is {length} characters long, the limit is {limit}");
        return Err(ApiError::header(NAME, detail));
    }
    match key.to_str() {
        Ok(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(Some(text.to_owned()))
        }
        _ => Err(ApiError::header(
            NAME,
            "must be 1 to 255 visible ASCII characters, without blanks",
        )),
    }
}
