//! Submissions with a key: one run, at whichever members they arrive, and never a twin.
//!
//! ```text
//!   everybody ever seen, at once:  do you hold it?  ── one does ──> it is asked
//!                                  one cannot be asked ───────────> 503
//!                                  one thinks of another home ────> a pause, and again
//!                                  all promise ───────────────────> the home creates it
//! ```

use std::time::Duration;

use crane_actors::submit::Request;
use crane_core::{NodeName, RunId, placement};
use futures_util::future::join_all;
use serde_json::json;
use tokio::time::Instant;

use super::Home;
use crate::api::{ApiError, ErrorType};
use crate::route::trip::{Next, Stuck, Trip, Turn};
use crate::route::words::{Answer, Ask, FindAsk, Found, NewRun, Trouble};
use crate::route::{stuck, wire};

/// What comes of asking everybody for a key.
#[derive(Debug, PartialEq, Eq)]
enum Search {
    /// One has it.
    At(NodeName),
    /// Nobody has it, and it may be created there.
    Free(NodeName),
    /// Somebody thinks of another home; it is asked again when everybody knows the same members.
    Taken,
    /// Nobody that could be asked has it.
    Missing(Vec<NodeName>),
    /// There are others, and none of them was met yet.
    Stranger,
}

impl Home {
    pub(super) async fn submit_keyed(
        &self,
        run: RunId,
        mut request: Request,
        wait: Duration,
    ) -> Result<Answer, ApiError> {
        request.id = Some(run);
        let ask = Ask::Submit(Box::new(NewRun { request, wait }));
        let start = Instant::now();
        let mut trip = Trip::new(run, 0, self.patience, true);
        loop {
            let node = match self.search(run).await? {
                Search::At(node) | Search::Free(node) => Some(node),
                Search::Taken => None,
                // Whoever has the address of another one may be luckier there.
                Search::Stranger => return Err(super::stranger()),
                Search::Missing(nodes) => return Err(unreachable(&nodes)),
            };
            if let Some(node) = node {
                match self.to(&node, run, &ask).await {
                    Ok(answer) => {
                        if matches!(answer, Answer::Run(_)) {
                            self.remember(run, node);
                        }
                        return Ok(answer);
                    }
                    // It has promised something else meanwhile, or goes down.
                    Err(Stuck::Unowned) => {}
                    Err(stuck) => return Err(stuck::refusal(run, &ask, stuck)),
                }
            }
            match trip.after(Turn::NotHere, start.elapsed()) {
                Next::Again => {}
                Next::Pause(length) => {
                    tokio::time::sleep(length).await;
                    trip.paused(length);
                }
                Next::GiveUp(stuck) => return Err(stuck::refusal(run, &ask, stuck)),
            }
        }
    }

    async fn search(&self, run: RunId) -> Result<Search, ApiError> {
        let me = self.field.me().clone();
        let others = self.others().await?;
        if let Some(node) = self.known_home(run)
            && others.contains(&node)
        {
            return Ok(Search::At(node));
        }
        if self.is_stranger() {
            // Unless it is here already.
            return Ok(match self.holds(run).await? {
                true => Search::At(me),
                false => Search::Stranger,
            });
        }
        let all = others.iter().cloned().chain([me.clone()]);
        let homes = placement::homes(run, all);
        let Some(home) = homes.into_iter().next() else {
            return Ok(Search::At(me));
        };
        let ask = FindAsk {
            by: me.clone(),
            home: home.clone(),
        };
        let mut taken = match self.find(run, &ask).await? {
            Found::Here => return Ok(Search::At(me)),
            Found::Promised(_) => false,
            // Somebody else may have created it meanwhile.
            Found::Taken(_) => true,
        };
        let asked = others.iter().map(|node| self.find_at(node, run, &ask));
        let found = join_all(asked).await;
        let (mut missing, mut news) = (Vec::new(), Vec::new());
        for (node, found) in others.iter().zip(found) {
            match found {
                Ok(Found::Here) => return Ok(Search::At(node.clone())),
                Ok(Found::Promised(members)) => news.extend(members),
                Ok(Found::Taken(members)) => {
                    taken = true;
                    news.extend(members);
                }
                Err(Turn::NotUnderstood(cause)) => {
                    let stuck = Stuck::NotUnderstood(cause);
                    return Err(stuck::refusal(run, &Ask::Load, stuck));
                }
                Err(_) => missing.push(node.clone()),
            }
        }
        news.retain(|node| *node != me && !others.contains(node));
        if !news.is_empty() {
            // There are members that were not asked.
            self.have_seen(news).await?;
            return Ok(Search::Taken);
        }
        Ok(match missing.is_empty() {
            false => Search::Missing(missing),
            true if taken => Search::Taken,
            true => Search::Free(home),
        })
    }

    pub(super) async fn find_at(
        &self,
        node: &NodeName,
        run: RunId,
        ask: &FindAsk,
    ) -> Result<Found, Turn> {
        let mut request = wire::encode_find(run, ask);
        request.deadline = self.patience.call;
        let bytes = self.call(node, &request).await?;
        wire::decode_found(&bytes)
            .map_err(|error| Turn::NotUnderstood(format!("the answer of node {node}: {error}")))
    }

    /// Whether the run of a key is here; if not, promises what is asked for. Who asks is a member.
    pub(in crate::route) async fn find(
        &self,
        run: RunId,
        ask: &FindAsk,
    ) -> Result<Found, ApiError> {
        // Before anything is promised: from now on this node asks them as well.
        let neighbors = self.field.neighbors().into_iter();
        let seen = neighbors.map(|neighbor| neighbor.node);
        let seen = seen.chain([ask.by.clone(), ask.home.clone()]);
        let seen = seen.filter(|node| node != self.field.me());
        self.have_seen(seen.collect()).await?;
        let promised = self.promises.give(run, ask);
        // Looked for after the promise, so that what is being created in between is not missed.
        if self.holds(run).await? {
            return Ok(Found::Here);
        }
        let members = self.members();
        Ok(match promised {
            true => Found::Promised(members),
            false => Found::Taken(members),
        })
    }

    async fn holds(&self, run: RunId) -> Result<bool, ApiError> {
        match self.here.answer(run, &Ask::Load, self.field.me()).await {
            Ok(Answer::NotFound) => Ok(false),
            Ok(Answer::Refused(error)) => Err(error),
            Ok(Answer::Run(_) | Answer::Events(_)) => Ok(true),
            Err(Trouble::NotOwner | Trouble::Unknown) => {
                Err(stuck::refusal(run, &Ask::Load, Stuck::Unowned))
            }
        }
    }

    /// Creates the run of a key here, or answers with the one that is here already. Nothing is created
    /// when this node has promised that it will be elsewhere.
    pub(super) async fn create_keyed(&self, run: RunId, ask: &Ask) -> Result<Answer, Trouble> {
        let me = self.field.me();
        if !self.promises.fix(run, me) {
            match self.holds(run).await {
                Ok(true) => {}
                Ok(false) => return Err(Trouble::NotOwner),
                Err(error) => return Ok(Answer::Refused(error)),
            }
        }
        self.here.answer(run, ask, me).await
    }
}

/// A member that cannot be asked may hold the key.
fn unreachable(missing: &[NodeName]) -> ApiError {
    let names = missing.iter().map(NodeName::as_str).collect::<Vec<_>>();
    ApiError::new(
        ErrorType::Unavailable,
        format!(
            "the Idempotency-Key may have been used at a member that cannot be reached ({}); nothing \
             was done. Try again when it is back, or `crane node remove` it if it never will be",
            names.join(", ")
        ),
    )
    .with(json!({ "unreachable": names }))
}
