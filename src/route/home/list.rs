//! Lists: each member's newest runs, merged.

use std::cmp::Reverse;

use crane_core::{NodeName, RunId, limits};
use crane_store::{Filter, Page};
use futures_util::future::join_all;

use super::Home;
use crate::api::ApiError;
use crate::route::trip::Turn;
use crate::route::wire;
use crate::route::words::{ListAsk, Listed, Outline};

/// A page of the runs of all members that could be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Runs that match, on all pages.
    pub total: usize,
    /// The runs of the page, newest first.
    pub runs: Vec<Item>,
    /// Members whose runs are missing, because they cannot be reached.
    pub missing: Vec<NodeName>,
}

/// A run of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Which.
    pub id: RunId,
    /// What is known of it.
    pub outline: Outline,
    /// The other node that keeps it, where each keeps its own.
    pub home: Option<NodeName>,
}

impl Home {
    pub(in crate::route) async fn list(
        &self,
        filter: Filter,
        page: Page,
    ) -> Result<Merged, ApiError> {
        let end = page.offset.saturating_add(page.limit);
        let limit = match page.offset < limits::MERGED_RUNS {
            true => end.min(limits::MERGED_RUNS),
            // They are only counted.
            false => 1,
        };
        let ask = ListAsk { filter, limit };
        let others = self.others().await?;
        let asked = others.iter().map(|node| self.list_at(node, &ask));
        let (here, asked) = tokio::join!(self.here.list(&ask), join_all(asked));
        let mut merged = Merged::default();
        let mut all: Vec<(RunId, Outline, Option<&NodeName>)> = Vec::new();
        let mut add = |listed: Listed, node| {
            merged.total += listed.total;
            let runs = listed.runs.into_iter();
            all.extend(runs.map(|(run, outline)| (run, outline, node)));
        };
        add(here?, None);
        for (node, listed) in others.iter().zip(asked) {
            match listed {
                Ok(listed) => add(listed, Some(node)),
                Err(turn) => {
                    tracing::debug!(%node, ?turn, "a list does without the runs of a member");
                    merged.missing.push(node.clone());
                }
            }
        }
        if end > limits::MERGED_RUNS && merged.total > page.offset.max(limits::MERGED_RUNS) {
            return Err(too_deep(page));
        }
        all.sort_unstable_by_key(|(run, outline, _)| Reverse((outline.created_at, *run)));
        for (id, outline, node) in all.into_iter().skip(page.offset).take(page.limit) {
            let home = node.cloned();
            if let Some(node) = &home {
                self.remember(id, node.clone());
            }
            merged.runs.push(Item { id, outline, home });
        }
        Ok(merged)
    }

    /// A page of the runs that are here.
    pub(in crate::route) async fn list_here(&self, ask: &ListAsk) -> Result<Listed, ApiError> {
        let limit = ask.limit.min(limits::MERGED_RUNS);
        let filter = ask.filter.clone();
        self.here.list(&ListAsk { filter, limit }).await
    }

    async fn list_at(&self, node: &NodeName, ask: &ListAsk) -> Result<Listed, Turn> {
        let mut request = wire::encode_list(ask);
        request.deadline = self.patience.call;
        let bytes = self.call(node, &request).await?;
        wire::decode_listed(&bytes).map_err(|error| Turn::NotUnderstood(error.to_string()))
    }
}

/// There are runs on that page, and nobody can merge so many.
fn too_deep(page: Page) -> ApiError {
    let most = limits::MERGED_RUNS - page.limit;
    let detail =
        format!("must be at most {most} where nodes have no common store and so many runs");
    ApiError::parameter("offset", detail)
}
