//! `GET /runs`: a page of runs, newest first.

use std::collections::{BTreeSet, VecDeque};

use axum::extract::{RawQuery, State};
use axum::http::HeaderValue;
use axum::response::Response;
use bytes::Bytes;
use crane_core::{NodeName, RunStatus, limits};
use crane_store::{Filter, Page};
use futures_util::StreamExt as _;

use crate::api::{Api, ApiError, ErrorType, answer, models, query};
use crate::render::{self, Unread};
use crate::route::Item;

/// Runs of a page when nothing else is asked for.
const LIMIT: usize = 10;
/// Bytes of runs that are read before the head of the answer goes, where a member may be away.
const AHEAD: usize = 1 << 20;

/// Lists runs, newest first.
#[utoipa::path(
    get, path = "/runs", tag = "runs", operation_id = "list_runs",
    params(
        ("limit" = Option<u8>, Query, minimum = 1, maximum = 100,
            description = "Runs to answer at most; 10 by default"),
        ("offset" = Option<i64>, Query, minimum = 0, description = "Runs to leave out at the top"),
        ("status" = Option<Vec<models::StatusFilter>>, Query,
            description = "Only runs with this status, or with one of them; an empty one means any"),
        ("label" = Option<Vec<models::LabelFilter>>, Query,
            description = "Only runs with this label, written k=v, and with all of them"),
    ),
    responses((status = OK, body = Vec<models::Run>, description = "The runs of the page",
        headers(
            ("x-total-count" = u64, description = "Runs on all pages"),
            ("x-crane-unreachable" = Option<String>, description = "Members of a cluster without a common store that do not answer: their runs are missing here, or shown as they were last heard of"),
        ))),
)]
pub(super) async fn list(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let (filter, page) = read(query.as_deref().unwrap_or_default())?;
    let listing = api.node.router().list(filter, page).await?;
    let mut page = Shown {
        api,
        runs: VecDeque::from(listing.runs),
        away: BTreeSet::from_iter(listing.missing),
    };
    let first = page.first().await?;
    let missing = page.away.clone();
    let rest = futures_util::stream::unfold(page, async |mut page| {
        let text = page.next().await.transpose()?;
        if text.is_err() {
            page.runs.clear();
        }
        Some((text, page))
    });
    let runs = futures_util::stream::iter(first.into_iter().map(Ok)).chain(rest);
    let mut response = answer::array(runs).await?;
    let total = HeaderValue::from(listing.total);
    response.headers_mut().insert("x-total-count", total);
    if !missing.is_empty() {
        let missing: Vec<&str> = missing.iter().map(NodeName::as_str).collect();
        if let Ok(missing) = HeaderValue::from_str(&missing.join(",")) {
            response
                .headers_mut()
                .insert(crate::api::UNREACHABLE, missing);
        }
    }
    Ok(response)
}

/// A page on its way out.
struct Shown {
    api: Api,
    /// Those that are not written yet.
    runs: VecDeque<Item>,
    /// Members that do not answer.
    away: BTreeSet<NodeName>,
}

impl Shown {
    /// The first runs, where each node keeps its own: the head of the answer names the members that do
    /// not answer, and most pages are read as a whole before it goes.
    async fn first(&mut self) -> Result<Vec<Bytes>, ApiError> {
        let mut texts = Vec::new();
        let mut bytes = 0;
        if self.runs.iter().all(|run| run.home.is_none()) {
            return Ok(texts);
        }
        while bytes < AHEAD
            && let Some(text) = self.next().await?
        {
            bytes += text.len();
            texts.push(text);
        }
        Ok(texts)
    }

    /// The next run as JSON; `None` behind the last.
    async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        while let Some(run) = self.runs.pop_front() {
            // Of some the retention has ended in between.
            if let Some(text) = self.text(&run).await? {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    /// A run. One that is damaged, or whose node has gone, takes no other one along: what is known of it
    /// is shown, and why that is all.
    async fn text(&mut self, run: &Item) -> Result<Option<Bytes>, ApiError> {
        let is_away = |home: &NodeName| self.away.contains(home);
        if run.home.as_ref().is_some_and(is_away) {
            return self.outline(run, Unread::Away).map(Some);
        }
        match (self.api.node.router().load(run.id).await, &run.home) {
            (Ok(loaded), _) => loaded
                .map(|loaded| answer::run_bytes(&self.api, loaded))
                .transpose(),
            (Err(error), _) if error.error_type == ErrorType::Internal => {
                tracing::error!(run_id = %run.id, cause = error.cause, "a listed run cannot be read");
                self.outline(run, Unread::Damaged).map(Some)
            }
            (Err(error), Some(home)) if error.error_type == ErrorType::Unavailable => {
                tracing::debug!(node = %home, detail = error.detail, "a listed run is away");
                self.away.insert(home.clone());
                self.outline(run, Unread::Away).map(Some)
            }
            (Err(error), _) => Err(error),
        }
    }

    fn outline(&self, run: &Item, why: Unread) -> Result<Bytes, ApiError> {
        let node = run.home.as_ref().map_or(&*self.api.name, NodeName::as_str);
        let text = render::outline(run.id, &run.outline, why, node);
        Ok(text.map_err(ApiError::internal)?.into())
    }
}

fn read(query: &str) -> Result<(Filter, Page), ApiError> {
    let (mut limit, mut offset) = (None, None);
    let mut filter = Filter::default();
    for (name, value) in query::pairs(query)? {
        match name.as_str() {
            "limit" => query::once(&mut limit, "limit", value)?,
            "offset" => query::once(&mut offset, "offset", value)?,
            "status" => {
                for status in value.split(',').filter(|status| !status.is_empty()) {
                    filter.statuses.push(known_status(status)?);
                }
            }
            "label" => filter.labels.push(label(&value)?),
            _ => {}
        }
    }
    if filter.labels.len() > limits::LABELS {
        let limit = limits::LABELS;
        let detail = format!("is given more than {limit} times");
        return Err(ApiError::parameter("label", detail));
    }
    filter.statuses.sort_unstable();
    filter.statuses.dedup();
    let page = Page {
        limit: number(limit, LIMIT)
            .filter(|limit| (1..=limits::PAGE_RUNS).contains(limit))
            .ok_or_else(|| ApiError::parameter("limit", "must be a number from 1 to 100"))?,
        offset: number(offset, 0)
            .ok_or_else(|| ApiError::parameter("offset", "must be a number from 0"))?,
    };
    Ok((filter, page))
}

fn number(given: Option<String>, default: usize) -> Option<usize> {
    match given {
        None => Some(default),
        // `+5` parses as a number too.
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            let number: i64 = text.parse().ok()?;
            usize::try_from(number).ok()
        }
        Some(_) => None,
    }
}

fn known_status(text: &str) -> Result<RunStatus, ApiError> {
    let mut all = RunStatus::ALL.into_iter();
    all.find(|status| status.as_str() == text).ok_or_else(|| {
        let names = RunStatus::ALL.map(RunStatus::as_str).join(", ");
        ApiError::parameter("status", format!("must be one of {names}"))
    })
}

fn label(text: &str) -> Result<(String, String), ApiError> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(ApiError::parameter("label", "must be written k=v")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_which_runs_and_which_page() {
        let (filter, page) = read("limit=5&offset=7&status=failed,running&status=failed").unwrap();
        assert_eq!(filter.statuses, [RunStatus::Running, RunStatus::Failed]);
        assert_eq!((page.limit, page.offset), (5, 7));
        let (filter, page) = read("label=team=red&label=a=b%3Dc&status=").unwrap();
        let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(filter.labels, [label("team", "red"), label("a", "b=c")]);
        assert!(filter.statuses.is_empty());
        assert_eq!((page.limit, page.offset), (10, 0));
    }

    #[test]
    fn what_is_wrong_in_a_query_is_named() {
        for (query, name) in [
            ("limit=0", "limit"),
            ("limit=101", "limit"),
            ("limit=-1", "limit"),
            ("limit=%2B5", "limit"),
            ("limit=", "limit"),
            ("limit=5&limit=5", "limit"),
            ("offset=-1", "offset"),
            ("offset=x", "offset"),
            ("offset=9223372036854775808", "offset"),
            ("status=done", "status"),
            ("status=failed,done", "status"),
            ("label=team", "label"),
            ("label==red", "label"),
            ("label=", "label"),
        ] {
            let error = read(query).unwrap_err();
            assert_eq!(error.details["parameter"], name, "{query}");
        }
    }
}
