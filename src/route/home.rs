//! Nodes with a store each: a run is where it was accepted, its home, and stays there.
//!
//! ```text
//!   new run         to a living member, by rendezvous of its id      may be anywhere
//!   new run, key    to a member by rendezvous of its id, once every member that was ever seen has said
//!                   that it does not hold it                          503 when one cannot be asked
//!   known run       here? else all members are asked at once         503 when it is nowhere and one
//!                                                                    cannot be asked
//!   known run, key  at a node that has met nobody, and has seeds     503: whom should it ask?
//!   list            of each member, merged
//! ```

mod company;
mod keyed;
mod list;
mod promises;
mod roster;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crane_actors::submit::Request;
use crane_cluster::gateway::envelope;
use crane_core::{NodeName, RunId, limits, placement};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde_json::json;
use tokio::time::Instant;

use super::field::{Answers, Field};
use super::trip::{Next, Patience, Stuck, Trip, Turn};
use super::way::{answer_of, brought};
use super::words::{Answer, Ask, NewRun, Trouble};
use super::{stuck, wire};
use crate::api::{ApiError, ErrorType};
use promises::Promises;
use roster::Roster;

pub use list::{Item, Merged};

/// See the module.
#[derive(Debug)]
pub(super) struct Home {
    field: Arc<dyn Field>,
    here: Arc<dyn Answers>,
    roster: Roster,
    promises: Promises,
    /// Where runs were found, so that they need not be looked for again.
    homes: Mutex<HashMap<RunId, NodeName>>,
    patience: Patience,
}

impl Home {
    /// Requests are `allowed` that long. Members ever seen are kept in the directory `data`.
    pub(super) fn open(
        field: Arc<dyn Field>,
        here: Arc<dyn Answers>,
        data: Option<&Path>,
        allowed: Duration,
    ) -> io::Result<Self> {
        Ok(Self {
            field,
            here,
            roster: Roster::open(data)?,
            promises: Promises::default(),
            homes: Mutex::default(),
            patience: Patience::of_request(allowed),
        })
    }

    pub(super) fn field(&self) -> &Arc<dyn Field> {
        &self.field
    }

    pub(super) async fn submit(
        &self,
        request: Request,
        wait: Duration,
    ) -> Result<(RunId, Answer), ApiError> {
        match &request.key {
            Some(key) => {
                let run = RunId::from_key(&request.tenant, key);
                let answer = self.submit_keyed(run, request, wait).await?;
                Ok((run, answer))
            }
            None => self.submit_anywhere(request, wait).await,
        }
    }

    /// A new run goes to the first living member, in the order of its id, that takes it in. One that
    /// may have taken it in without saying so is asked again, and nobody else.
    async fn submit_anywhere(
        &self,
        mut request: Request,
        wait: Duration,
    ) -> Result<(RunId, Answer), ApiError> {
        let run = self.here.new_id();
        request.id = Some(run);
        let ask = Ask::Submit(Box::new(NewRun { request, wait }));
        let me = self.field.me().clone();
        let mut last = Stuck::Unowned;
        for node in placement::homes(run, self.takers().await.into_iter().chain([me])) {
            match self.to(&node, run, &ask).await {
                Ok(mut answer) => {
                    if let Answer::Run(told) = &mut answer {
                        told.created = true;
                        self.remember(run, node);
                    }
                    return Ok((run, answer));
                }
                Err(Stuck::Unknown) => return Err(stuck::unknown(run, &ask)),
                Err(stuck) => last = stuck,
            }
        }
        Err(stuck::refusal(run, &ask, last))
    }

    /// The others that may be sent new runs: none that is not remembered.
    async fn takers(&self) -> Vec<NodeName> {
        let neighbors = self.field.neighbors().into_iter();
        let takes = neighbors.filter(|neighbor| neighbor.takes);
        let mut nodes: Vec<NodeName> = takes.map(|neighbor| neighbor.node).collect();
        if let Err(error) = self.have_seen(nodes.clone()).await {
            tracing::debug!(cause = error.cause, "new members get no runs");
            let known = self.roster.all();
            nodes.retain(|node| known.contains(node));
        }
        nodes
    }

    /// Answers about a run, wherever it is.
    pub(super) async fn ask(&self, run: RunId, ask: &Ask) -> Result<Answer, ApiError> {
        let me = self.field.me().clone();
        match self.here.answer(run, ask, &me).await {
            Ok(Answer::NotFound) => {}
            Ok(answer) => return Ok(answer),
            Err(Trouble::Unknown) => return Err(stuck::unknown(run, ask)),
            Err(Trouble::NotOwner) => return Err(stuck::refusal(run, ask, Stuck::Unowned)),
        }
        if let Some(node) = self.known_home(run) {
            match self.to(&node, run, ask).await {
                Ok(Answer::NotFound) => self.forget(run),
                Ok(answer) => return Ok(answer),
                Err(Stuck::Unowned) => return Err(away(run, &[node])),
                Err(stuck) => return Err(stuck::refusal(run, ask, stuck)),
            }
        }
        self.look_for(run, ask).await
    }

    /// Asks everybody at once; the one that has the run answers, and does what is asked.
    async fn look_for(&self, run: RunId, ask: &Ask) -> Result<Answer, ApiError> {
        let others = self.others().await?;
        if self.is_stranger() {
            return Err(stranger());
        }
        let asked = others.into_iter().map(|node| async move {
            let answered = self.to(&node, run, ask).await;
            (node, answered)
        });
        let mut asked: FuturesUnordered<_> = asked.collect();
        let (mut missing, mut trouble) = (Vec::new(), None);
        while let Some((node, answered)) = asked.next().await {
            match answered {
                Ok(Answer::NotFound) => {}
                Ok(answer) => {
                    self.remember(run, node);
                    return Ok(answer);
                }
                Err(Stuck::Unowned) => missing.push(node),
                Err(stuck) => trouble = Some(stuck),
            }
        }
        match trouble {
            Some(stuck) => Err(stuck::refusal(run, ask, stuck)),
            None if missing.is_empty() => Ok(Answer::NotFound),
            None => Err(away(run, &missing)),
        }
    }

    /// Asks `node`, which may be this one, until it answers or does not.
    async fn to(&self, node: &NodeName, run: RunId, ask: &Ask) -> Result<Answer, Stuck> {
        let start = Instant::now();
        let patience = match ask.is_poll() {
            true => Patience::of_poll(),
            false => self.patience,
        };
        let mut trip = Trip::new(run, 0, patience, ask.may_be_repeated());
        loop {
            let turn = match self.try_at(node, run, ask, &trip, start.elapsed()).await {
                Ok(answer) => return Ok(answer),
                // It is not moving: there is nothing to wait for.
                Err(Turn::NotHere | Turn::Unreachable | Turn::Redirected) => {
                    return Err(match trip.was_unknown() {
                        true => Stuck::Unknown,
                        false => Stuck::Unowned,
                    });
                }
                Err(turn) => turn,
            };
            match trip.after(turn, start.elapsed()) {
                Next::Again => {}
                Next::Pause(length) => {
                    tokio::time::sleep(length).await;
                    trip.paused(length);
                }
                Next::GiveUp(stuck) => return Err(stuck),
            }
        }
    }

    async fn try_at(
        &self,
        node: &NodeName,
        run: RunId,
        ask: &Ask,
        trip: &Trip,
        elapsed: Duration,
    ) -> Result<Answer, Turn> {
        if node == self.field.me() {
            let answered = self.answer_other(run, ask).await;
            return answered.map_err(Turn::from);
        }
        let mut request = wire::encode(run, ask);
        request.deadline = trip.call(elapsed, ask.wait());
        answer_of(node, self.call(node, &request).await?)
    }

    /// One call, and what it brought.
    async fn call(&self, node: &NodeName, request: &envelope::Request) -> Result<Vec<u8>, Turn> {
        brought(node, self.field.call(node, request).await)
    }

    /// Answers another node, or this one as if it were another.
    pub(super) async fn answer_other(&self, run: RunId, ask: &Ask) -> Result<Answer, Trouble> {
        if let Ask::Submit(new) = ask
            && new.request.key.is_some()
        {
            return self.create_keyed(run, ask).await;
        }
        self.here.answer(run, ask, self.field.me()).await
    }

    /// All other members that were ever seen, the present ones among them.
    async fn others(&self) -> Result<Vec<NodeName>, ApiError> {
        let neighbors = self.field.neighbors();
        let seen = neighbors.into_iter().map(|neighbor| neighbor.node);
        self.have_seen(seen.collect()).await?;
        let mut others = self.roster.all();
        others.remove(self.field.me());
        Ok(others.into_iter().collect())
    }

    /// Whether this node has never met any of those that there should be.
    pub(super) fn is_stranger(&self) -> bool {
        !self.roster.has_met_any() && self.field.expects_others()
    }

    async fn have_seen(&self, seen: Vec<NodeName>) -> Result<(), ApiError> {
        self.roster.add(seen).await.map_err(not_written)
    }

    /// All members that were ever seen, this one among them.
    pub(super) fn members(&self) -> Vec<NodeName> {
        let mut members = self.roster.all();
        members.insert(self.field.me().clone());
        members.into_iter().collect()
    }

    /// Forgets a member that will not come back; gives whether it was known.
    pub(super) async fn forget_member(&self, node: NodeName) -> io::Result<bool> {
        self.homes().retain(|_, home| *home != node);
        self.roster.remove(node).await
    }

    /// Forgets a member at this node and at all that can be reached.
    pub(super) async fn remove_everywhere(&self, node: NodeName) -> Result<bool, ApiError> {
        let present = self.field.neighbors();
        if node == *self.field.me() || present.iter().any(|neighbor| neighbor.node == node) {
            return Err(ApiError::new(
                ErrorType::Conflict,
                format!("node {node} is a member that is alive; stop it first"),
            ));
        }
        let mut request = wire::encode_forget(&node);
        request.deadline = self.patience.call;
        for neighbor in present {
            if let Err(turn) = self.call(&neighbor.node, &request).await {
                return Err(ApiError::new(
                    ErrorType::Unavailable,
                    format!(
                        "node {} does not answer, and must forget {node} as well; try again",
                        neighbor.node
                    ),
                )
                .because(format!("{turn:?}")));
            }
        }
        self.forget_member(node).await.map_err(not_written)
    }

    fn homes(&self) -> std::sync::MutexGuard<'_, HashMap<RunId, NodeName>> {
        self.homes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_home(&self, run: RunId) -> Option<NodeName> {
        self.homes().get(&run).cloned()
    }

    fn remember(&self, run: RunId, node: NodeName) {
        if node == *self.field.me() {
            return;
        }
        let mut homes = self.homes();
        if homes.len() >= limits::KNOWN_HOMES {
            // They are found again.
            homes.clear();
        }
        homes.insert(run, node);
    }

    fn forget(&self, run: RunId) {
        self.homes().remove(&run);
    }
}

/// Others may have the run, and this node does not know them.
fn stranger() -> ApiError {
    ApiError::new(
        ErrorType::Unavailable,
        "this node has met no other member of its cluster yet (cluster.seeds), and one of them may \
         have the run; nothing was done, try again",
    )
    .with(json!({ "unreachable": [] }))
}

/// The run may be at a member that cannot be asked.
fn away(run: RunId, missing: &[NodeName]) -> ApiError {
    let names = missing.iter().map(NodeName::as_str).collect::<Vec<_>>();
    ApiError::new(
        ErrorType::Unavailable,
        format!(
            "the run may be at a member that cannot be reached ({}); try again when it is back",
            names.join(", ")
        ),
    )
    .with(json!({ "run_id": run, "unreachable": names }))
}

/// The roster cannot be written.
fn not_written(error: io::Error) -> ApiError {
    let detail = "the node cannot write down which members it has seen; its log says why";
    ApiError::new(ErrorType::Unavailable, detail).because(error)
}
