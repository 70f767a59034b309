//! Requests of other nodes, by whose business they are.

use std::sync::Arc;

use crane_cluster::gateway::Dispatch;
use crane_cluster::gateway::envelope::{Reply, Request};
use crane_cluster::ownership::messages::{KIND, Message};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::link::Link;
use crate::life::{Life, Phase};

/// The order to drain.
pub(super) const DRAIN: u16 = 2;
/// Kinds of requests from here on are not the cluster's own.
const FIRST_FREE_KIND: u16 = 16;

/// Takes what is the cluster's own and hands the rest on.
pub(super) struct Switch {
    pub(super) link: Arc<Link>,
    pub(super) life: Life,
    pub(super) rest: Arc<dyn Dispatch>,
}

impl Dispatch for Switch {
    fn dispatch(&self, request: Request) -> BoxFuture<'static, Reply> {
        let reply = match request.kind {
            KIND => match Message::decode(&request.body) {
                Ok(message) => {
                    self.link.tell(message.event());
                    Reply::Done(Vec::new())
                }
                Err(error) => Reply::NotUnderstood(error.to_string()),
            },
            DRAIN => {
                tracing::warn!("another node has passed on the order to drain");
                self.life.advance(Phase::Leaving);
                Reply::Done(Vec::new())
            }
            kind if kind < FIRST_FREE_KIND => unknown(kind),
            _ => return self.rest.dispatch(request),
        };
        std::future::ready(reply).boxed()
    }
}

fn unknown(kind: u16) -> Reply {
    Reply::NotUnderstood(format!("unknown request: kind {kind}"))
}
