//! What other nodes ask: the other end of the gateway. Nothing is passed on from here; a node that does
//! not own a run says who does.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crane_cluster::gateway::Dispatch;
use crane_cluster::gateway::envelope::{Reply, Request};
use crane_core::{NodeName, RunId, limits};
use futures_util::future::BoxFuture;

use super::Router;
use super::far::Far;
use super::home::Home;
use super::shared::Shared;
use super::wire::{self, Asked};
use super::words::{Ask, FindAsk, ListAsk, Trouble};
use crate::api::ApiError;

/// When to ask again a node that is still starting.
const STARTING: Duration = Duration::from_millis(100);

/// Answers what other nodes ask about runs; everything else goes to `rest`. Clones share it.
#[derive(Clone)]
pub struct Dispatcher(Arc<Inner>);

struct Inner {
    far: OnceLock<Far>,
    rest: Arc<dyn Dispatch>,
}

impl fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher")
            .field("far", &self.0.far)
            .finish_non_exhaustive()
    }
}

impl Dispatcher {
    /// Until it is told to [`Dispatcher::serve`], it says that it is busy.
    pub fn new(rest: Arc<dyn Dispatch>) -> Self {
        let far = OnceLock::new();
        Self(Arc::new(Inner { far, rest }))
    }

    /// Answers from now on, for the node of `router`; the first one counts.
    pub fn serve(&self, router: &Router) {
        if let Some(far) = &router.far {
            let _ = self.0.far.set(far.clone());
        }
    }
}

impl Dispatch for Dispatcher {
    fn dispatch(&self, request: Request) -> BoxFuture<'static, Reply> {
        let Some(asked) = wire::decode(&request) else {
            return self.0.rest.dispatch(request);
        };
        let far = self.0.far.get().cloned();
        Box::pin(async move {
            let (asked, far) = match (asked, far) {
                (Err(error), _) => return Reply::NotUnderstood(error.to_string()),
                (Ok(_), None) => {
                    let retry_after = STARTING;
                    return Reply::Busy { retry_after };
                }
                (Ok(asked), Some(far)) => (asked, far),
            };
            if request.hops > limits::REDIRECTS {
                return Reply::NotUnderstood("it was sent on too often".to_owned());
            }
            match (asked, far) {
                (Asked::Run(run, ask), Far::Shared(shared)) => about(&shared, run, &ask).await,
                (Asked::Run(run, ask), Far::Home(home)) => about_at_home(&home, run, &ask).await,
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

async fn about(shared: &Shared, run: RunId, ask: &Ask) -> Reply {
    match shared.answer_other(run, ask).await {
        Ok(answer) => Reply::Done(wire::encode_answer(&answer)),
        Err(Trouble::NotOwner) => {
            let (owner, epoch) = shared.field().owner(run.shard());
            Reply::NotOwner { owner, epoch }
        }
        Err(Trouble::Unknown) => unknown(),
    }
}

async fn about_at_home(home: &Home, run: RunId, ask: &Ask) -> Reply {
    match home.answer_other(run, ask).await {
        Ok(answer) => Reply::Done(wire::encode_answer(&answer)),
        Err(Trouble::NotOwner) => Reply::NotOwner {
            owner: None,
            epoch: crane_core::Epoch(0),
        },
        Err(Trouble::Unknown) => unknown(),
    }
}

fn unknown() -> Reply {
    Reply::Failed("the run's actor did not answer; it may have been done or not".to_owned())
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
