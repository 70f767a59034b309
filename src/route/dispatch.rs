//! What other nodes ask: the other end of the gateway. Nothing is passed on from here; a node that does
//! not own a run says who does.

use crane_cluster::gateway::Dispatch;
use crane_cluster::gateway::envelope::{Reply, Request};
use crane_core::{NodeName, RunId, limits};
use futures_util::future::BoxFuture;

use super::Router;
use super::far::Far;
use super::home::Home;
use super::wire::{self, Asked};
use super::words::{Ask, FindAsk, ListAsk, Trouble};
use crate::api::ApiError;

/// Answers what other nodes ask about runs. Clones share it.
#[derive(Clone, Debug)]
pub struct Dispatcher(Far);

impl Dispatcher {
    /// That of the node of `router`; `None` for a node alone, which nobody asks.
    pub fn new(router: &Router) -> Option<Self> {
        router.far.clone().map(Self::of)
    }

    pub(super) fn of(far: Far) -> Self {
        Self(far)
    }
}

impl Dispatch for Dispatcher {
    fn dispatch(&self, request: Request) -> BoxFuture<'static, Reply> {
        let far = self.0.clone();
        Box::pin(async move {
            let asked = match wire::decode(&request) {
                Ok(asked) => asked,
                Err(error) => return Reply::NotUnderstood(error.to_string()),
            };
            if request.hops > limits::REDIRECTS {
                return Reply::NotUnderstood("it was sent on too often".to_owned());
            }
            match (asked, far) {
                (Asked::Run(run, ask), far) => about(&far, run, &ask).await,
                (Asked::List(ask), Far::Home(home)) => list(&home, &ask).await,
                (Asked::Find(run, ask), Far::Home(home)) => find(&home, run, &ask).await,
                (Asked::Forget(node), Far::Home(home)) => forget(&home, node).await,
                (Asked::List(_) | Asked::Find(..) | Asked::Forget(_), Far::Shared(_)) => {
                    Reply::NotUnderstood(
                        "this node has a common store with others, and was asked as if it had not"
                            .to_owned(),
                    )
                }
            }
        })
    }
}

async fn about(far: &Far, run: RunId, ask: &Ask) -> Reply {
    match far.answer_other(run, ask).await {
        Ok(answer) => Reply::Done(wire::encode_answer(&answer)),
        Err(Trouble::NotOwner) => {
            let (owner, epoch) = far.field().owner(run.shard());
            Reply::NotOwner { owner, epoch }
        }
        Err(Trouble::Unknown) => {
            Reply::Failed("the run's actor did not answer; it may have been done or not".to_owned())
        }
    }
}

async fn list(home: &Home, ask: &ListAsk) -> Reply {
    match home.list_here(ask).await {
        Ok(listed) => Reply::Done(wire::encode_listed(&listed)),
        Err(error) => failed(&error),
    }
}

async fn find(home: &Home, run: RunId, ask: &FindAsk) -> Reply {
    match home.find(run, ask).await {
        Ok(found) => Reply::Done(wire::encode_found(&found)),
        Err(error) => failed(&error),
    }
}

async fn forget(home: &Home, node: NodeName) -> Reply {
    match home.forget_member(node).await {
        Ok(_) => Reply::Done(Vec::new()),
        Err(error) => Reply::Failed(error.to_string()),
    }
}

/// The cause stays in this node's log.
fn failed(error: &ApiError) -> Reply {
    tracing::warn!(
        detail = error.detail,
        cause = error.cause,
        "another node was not answered"
    );
    Reply::Failed(error.detail.clone())
}
