//! What one node orders another to do.

use std::time::Duration;

use crane_cluster::gateway::envelope::{Reply, Request};
use crane_cluster::ownership::words::Sight;
use crane_core::{Epoch, NodeName};

use super::{Cluster, dispatch};

/// How long another node may take to answer an order.
const ORDER: Duration = Duration::from_secs(5);

/// Why an order did not reach its node.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// Nobody is called that.
    #[error("there is no node {0} in the cluster")]
    Unknown(NodeName),
    /// It is down, or has left.
    #[error("node {0} is down or has left: there is nothing to drain")]
    Gone(NodeName),
    /// It did not answer, or not as expected.
    #[error("node {node} was not reached: {reason}")]
    NotReached {
        /// Which.
        node: NodeName,
        /// Why.
        reason: String,
    },
}

impl Cluster {
    /// Orders another node to drain.
    ///
    /// # Errors
    /// No such node, or it was not reached.
    pub async fn order_drain(&self, node: &NodeName) -> Result<(), OrderError> {
        let members = self.members();
        let sight = {
            let members = members.borrow();
            let member = members.members.iter().find(|m| m.node == *node);
            member.map(|member| member.sight)
        };
        match sight {
            None => return Err(OrderError::Unknown(node.clone())),
            Some(Sight::Down) => return Err(OrderError::Gone(node.clone())),
            Some(Sight::Alive | Sight::Suspect) => {}
        }
        let request = Request {
            kind: dispatch::DRAIN,
            run: None,
            epoch: Epoch::default(),
            trace: None,
            deadline: ORDER,
            hops: 0,
            body: Vec::new(),
        };
        let reason = match self.0.peers.call(node, &request).await {
            Ok(Reply::Done(_)) => return Ok(()),
            Ok(other) => format!("it answered {other:?}"),
            Err(error) => error.to_string(),
        };
        let node = node.clone();
        Err(OrderError::NotReached { node, reason })
    }
}
