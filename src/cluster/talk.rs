//! How ownership talks to other nodes: through the gateway, and without minding what gets lost.

use std::time::Duration;

use crane_cluster::gateway::Peers;
use crane_cluster::gateway::envelope::Request;
use crane_cluster::ownership::messages::{KIND, Message};
use crane_cluster::ports::Talk;
use crane_core::{Epoch, NodeName};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

/// How long it is tried: what comes later is old news.
const DEADLINE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Messenger(pub(super) Peers);

impl Talk for Messenger {
    fn tell(&self, node: &NodeName, message: &Message) -> BoxFuture<'static, ()> {
        let (peers, node) = (self.0.clone(), node.clone());
        let request = Request {
            kind: KIND,
            run: None,
            epoch: Epoch::default(),
            trace: None,
            deadline: DEADLINE,
            hops: 0,
            body: message.encode(),
        };
        async move {
            if let Err(error) = peers.call(&node, &request).await {
                tracing::debug!(%node, %error, "a message of ownership was lost");
            }
        }
        .boxed()
    }
}
