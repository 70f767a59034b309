//! Every metric of this crate, named once. Labels come from small fixed sets.

use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};

use crate::gossip::seal::Dropped;
use crate::ownership::words::{Reason, Sight};

/// Handles of gossip.
#[derive(Debug)]
pub(crate) struct GossipMetrics {
    pub(crate) sent: Counter,
    pub(crate) received: Counter,
    dropped: [Counter; Dropped::COUNTED.len()],
    members: [Gauge; 3],
    pub(crate) detection: Histogram,
}

impl GossipMetrics {
    pub(crate) fn new() -> Self {
        let dropped = Dropped::COUNTED
            .map(|reason| counter!("crane_gossip_dropped_total", "reason" => reason.as_str()));
        let members =
            SIGHTS.map(|sight| gauge!("crane_cluster_members", "state" => sight.as_str()));
        Self {
            sent: counter!("crane_gossip_bytes_total", "direction" => "sent"),
            received: counter!("crane_gossip_bytes_total", "direction" => "received"),
            dropped,
            members,
            detection: histogram!("crane_failure_detection_seconds"),
        }
    }

    /// Counts a datagram that was dropped.
    pub(crate) fn dropped(&self, reason: Dropped) {
        if let Some(counter) = self.dropped.get(reason as usize) {
            counter.increment(1);
        }
    }

    pub(crate) fn members(&self, sights: impl Iterator<Item = Sight>) {
        let mut counts = [0_u32; SIGHTS.len()];
        for sight in sights {
            counts[sight as usize] += 1;
        }
        for (gauge, count) in self.members.iter().zip(counts) {
            gauge.set(f64::from(count));
        }
    }
}

const SIGHTS: [Sight; 3] = [Sight::Alive, Sight::Suspect, Sight::Down];

/// Handles of ownership; all are there from the start, so that a rate has something to begin with.
#[derive(Debug)]
pub(crate) struct OwnershipMetrics {
    placed: [Counter; Reason::ALL.len()],
    owned: Gauge,
    takeover: Histogram,
}

impl OwnershipMetrics {
    pub(crate) fn new() -> Self {
        let placed = Reason::ALL
            .map(|reason| counter!("crane_placements_total", "reason" => reason.as_str()));
        Self {
            placed,
            owned: gauge!("crane_shards_owned"),
            takeover: histogram!("crane_takeover_seconds"),
        }
    }

    /// A shard came to this node.
    pub(crate) fn placed(&self, reason: Reason) {
        self.placed[reason as usize].increment(1);
    }

    /// A shard of a node that was found down so long ago is this node's now.
    pub(crate) fn taken_over(&self, after: Duration) {
        self.takeover.record(after);
    }

    /// Shards that this node owns.
    pub(crate) fn owned(&self, shards: usize) {
        self.owned
            .set(f64::from(u32::try_from(shards).unwrap_or(u32::MAX)));
    }
}

/// Tells the exporter what the metrics of this crate mean.
pub fn describe() {
    describe_counter!(
        "crane_gossip_bytes_total",
        Unit::Bytes,
        "gossip over the network, by direction"
    );
    describe_counter!(
        "crane_gossip_dropped_total",
        "datagrams that were not taken in, by reason"
    );
    describe_gauge!(
        "crane_cluster_members",
        "nodes of the cluster, by how they look"
    );
    describe_histogram!(
        "crane_failure_detection_seconds",
        Unit::Seconds,
        "from the last sign of life of a node to finding it down"
    );
    describe_histogram!(
        "crane_takeover_seconds",
        Unit::Seconds,
        "from finding a node down to owning a shard of it, a sample a shard"
    );
    describe_counter!(
        "crane_placements_total",
        "shards that came to this node, by reason"
    );
    describe_gauge!("crane_shards_owned", "shards that this node owns");
}
