//! Counts every request and measures it, by route.
//!
//! The route is the pattern that matched, such as `/api/v1/runs/{id}`, and `other` where none did,
//! so that no path from outside becomes a label. The time is that until the answer begins: for a
//! stream of events, and for `?wait=`, that says how long it took to begin and to end.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use metrics::{
    Counter, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use tokio::time::Instant;
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::{Operation, PathItem};

/// Requests answered.
const REQUESTS: &str = "crane_http_requests_total";
/// Time until an answer begins.
const SECONDS: &str = "crane_http_request_seconds";
/// Readers of event streams.
pub(super) const SUBSCRIBERS: &str = "crane_event_stream_subscribers";

/// The label of what matched no route.
const OTHER: &str = "other";
/// What answers no route decides about.
const OTHER_CODES: [u16; 2] = [401, 404];

/// The routes of a router.
#[derive(Clone, Debug)]
pub(super) struct Measured(Arc<HashMap<String, Route>>);

/// What is known of one route.
#[derive(Debug)]
struct Route {
    name: String,
    seconds: Histogram,
    codes: RwLock<Vec<(u16, Counter)>>,
}

impl Measured {
    /// Every route of the document, with each code that its handlers name: these exist before the
    /// first request, so that a rate is right from the first one on. Others come when they occur.
    pub(super) fn of(document: &OpenApi) -> Self {
        describe();
        let mut routes: HashMap<String, Route> = document
            .paths
            .paths
            .iter()
            .map(|(path, item)| (path.clone(), Route::new(path, codes(item))))
            .collect();
        routes.insert(OTHER.to_owned(), Route::new(OTHER, OTHER_CODES));
        Self(Arc::new(routes))
    }

    fn route(&self, path: Option<&MatchedPath>) -> Option<&Route> {
        let known = path.and_then(|path| self.0.get(path.as_str()));
        known.or_else(|| self.0.get(OTHER))
    }
}

impl Route {
    fn new(name: &str, codes: impl IntoIterator<Item = u16>) -> Self {
        let route = Self {
            name: name.to_owned(),
            seconds: histogram!(SECONDS, "route" => name.to_owned()),
            codes: RwLock::default(),
        };
        for code in codes {
            route.count(code, 0);
        }
        route
    }

    fn count(&self, code: u16, more: u64) {
        {
            let codes = self.codes.read().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, counter)) = codes.iter().find(|(known, _)| *known == code) {
                counter.increment(more);
                return;
            }
        }
        let labels = [("route", self.name.clone()), ("code", code.to_string())];
        let counter = counter!(REQUESTS, &labels);
        counter.increment(more);
        let mut codes = self.codes.write().unwrap_or_else(PoisonError::into_inner);
        codes.push((code, counter));
    }
}

fn describe() {
    describe_counter!(REQUESTS, "HTTP requests answered, by route and code.");
    describe_histogram!(
        SECONDS,
        Unit::Seconds,
        "Time from a request's head to its answer's, by route."
    );
    describe_gauge!(SUBSCRIBERS, "Readers of event streams.");
    gauge!(SUBSCRIBERS).increment(0.0);
}

fn codes(item: &PathItem) -> Vec<u16> {
    let operations: [&Option<Operation>; 6] = [
        &item.get,
        &item.put,
        &item.post,
        &item.delete,
        &item.patch,
        &item.head,
    ];
    let answers = operations
        .into_iter()
        .flatten()
        .flat_map(|operation| operation.responses.responses.keys());
    let mut codes: Vec<u16> = answers.filter_map(|code| code.parse().ok()).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

/// Counts a request and measures it.
pub(super) async fn measure(
    State(measured): State<Measured>,
    path: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let response = next.run(request).await;
    if let Some(route) = measured.route(path.as_ref()) {
        route.seconds.record(begun.elapsed());
        route.count(response.status().as_u16(), 1);
    }
    response
}
