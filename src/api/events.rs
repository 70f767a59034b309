//! `GET /runs/{id}/events`: everything that happens to a run, live or so far.
//!
//! ```text
//!   Tail (route) ──> frames (written once for all who listen) ──> text/event-stream
//!        └─────────> array of what there is so far ─────────────> application/json
//! ```
//!
//! Where a reader begins: without `Last-Event-ID` at the first event, otherwise behind the one it
//! names. An id behind the last event of an ended run is answered like the last one, with 204: there
//! is nothing more, and a browser stops asking. The same for a run that goes on is refused: no event
//! with that id was ever sent, and waiting for it would leave a gap.

mod stream;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use crane_core::Seq;
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{self, Named};
use super::{Api, ApiError, models};
use crate::route::Tail;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(events))
}

/// The media type of a stream of events.
const STREAM: &str = "text/event-stream";
/// The header that says which event a reader has.
const LAST_EVENT_ID: &str = "Last-Event-ID";

/// Follows a run: its events, from the first or from behind one on, until it ends.
///
/// A stream of server-sent events: `id` is the event's `seq`, `event` its type, `data` the event.
/// It ends after the event that ends the run's current round. An `event: lagged` without an id says
/// that the reader was too slow; it can go on from its last id with a new request. A comment comes
/// every 15 seconds. With `Accept: application/json` the answer is the list so far.
#[utoipa::path(
    get, path = "/runs/{id}/events", tag = "runs", operation_id = "follow_run",
    params(
        ("id" = String, Path, description = "The run"),
        ("Last-Event-ID" = Option<i64>, Header, minimum = 0, description = "Only events behind this one; an id that a run under way has not reached is refused"),
    ),
    responses(
        (status = OK, description = "The events", content(
            (models::Frame = "text/event-stream"),
            (Vec<models::Event> = "application/json"),
        )),
        (status = NO_CONTENT, description = "The run has ended, and there is nothing behind that event"),
    ),
)]
async fn events(
    State(api): State<Api>,
    Named(id): Named,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let after = last_event_id(&headers)?;
    let as_list = wants_list(&headers);
    let tail = api.node.router().tail(id, after, as_list).await?;
    let tail = tail.ok_or_else(|| ApiError::run_not_found(id))?;
    if as_list {
        return list(tail).await;
    }
    if tail.is_at_end() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    if tail.seen() < after {
        let last = tail.seen();
        return Err(ApiError::header(
            LAST_EVENT_ID,
            format!("is {after}, and the last event of the run is {last}"),
        )
        .with(json!({ "header": LAST_EVENT_ID, "last": last })));
    }
    let mut response = Response::new(stream::body(&api, id, tail));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(STREAM));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies that buffer answers would hold events back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// The events so far.
async fn list(tail: Tail) -> Result<Response, ApiError> {
    let pieces = futures_util::stream::unfold(Some(tail), |tail| async move {
        let mut tail = tail?;
        match tail.next_stored().await {
            Ok(piece) => piece.map(|piece| (Ok(piece), Some(tail))),
            Err(error) => Some((Err(error), None)),
        }
    });
    answer::array(pieces).await
}

fn last_event_id(headers: &HeaderMap) -> Result<Seq, ApiError> {
    let mut given = headers.get_all(LAST_EVENT_ID).iter();
    let Some(id) = given.next() else {
        return Ok(Seq(0));
    };
    if given.next().is_some() {
        return Err(ApiError::header(LAST_EVENT_ID, "is given twice"));
    }
    let number = id
        .to_str()
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse::<i64>().ok())
        .and_then(|number| u64::try_from(number).ok());
    number
        .map(Seq)
        .ok_or_else(|| ApiError::header(LAST_EVENT_ID, "must be the id of an event, a number"))
}

/// Whether a list is asked for rather than a stream; what admits neither, or both alike, gets the
/// stream.
fn wants_list(headers: &HeaderMap) -> bool {
    let accepted: Vec<&str> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    quality(&accepted, "application", "json") > quality(&accepted, "text", "event-stream")
}

/// How welcome a media type is (RFC 9110, 12.5.1): the most specific range that fits decides.
fn quality(accepted: &[&str], class: &str, name: &str) -> f32 {
    let mut best = (0, 0.0);
    for range in accepted {
        let mut parts = range.split(';').map(str::trim);
        let range = parts.next().unwrap_or_default().to_ascii_lowercase();
        let specific = match range.split_once('/') {
            Some(("*", "*")) => 1,
            Some((given, "*")) if given == class => 2,
            Some((given, rest)) if given == class && rest == name => 3,
            _ => continue,
        };
        let quality = parts
            .find_map(|part| part.strip_prefix("q="))
            .and_then(|quality| quality.parse().ok())
            .unwrap_or(1.0);
        if specific > best.0 {
            best = (specific, quality);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_accepted_decides_between_list_and_stream() {
        let wants = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_str(accept).unwrap());
            wants_list(&headers)
        };
        for list in [
            "application/json",
            "Application/JSON; q=0.9, text/event-stream;q=0.5",
            "application/*",
            "text/event-stream;q=0, */*",
        ] {
            assert!(wants(list), "{list}");
        }
        for stream in [
            "*/*",
            "text/event-stream",
            "text/html",
            "text/event-stream, application/json",
            "application/json;q=0",
            "text/html, application/xhtml+xml, */*;q=0.8",
        ] {
            assert!(!wants(stream), "{stream}");
        }
        assert!(!wants_list(&HeaderMap::new()));
    }
}
