//! Gossip that slows down as the cluster grows.
//!
//! chitchat starts a round at a fixed interval, and each message lists all nodes, so that traffic
//! grows with the square of their number. Its rounds go on at 200 ms; this transport lets only every
//! n-th of them out. What is measured of a peer is the interval at which it is heard of, so that the
//! failure detector follows by itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chitchat::ChitchatMessage;
use chitchat::transport::{Socket, Transport};
use tokio::time::Instant;

/// Interval of the rounds.
pub(crate) const ROUND: Duration = Duration::from_millis(200);
/// Up to so many nodes every round goes out.
const NODES: usize = 30;

/// The interval for a cluster of `nodes`.
pub(crate) fn interval(nodes: usize) -> Duration {
    let millis = ROUND.as_millis() * nodes.max(NODES) as u128 / NODES as u128;
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// The interval at which rounds go out; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Pace(Arc<AtomicU64>);

impl Default for Pace {
    fn default() -> Self {
        let pace = Self(Arc::default());
        pace.set(ROUND);
        pace
    }
}

impl Pace {
    pub(crate) fn set(&self, interval: Duration) {
        let millis = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        self.0.store(millis, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// A transport that lets rounds out at a pace.
pub(crate) struct Paced<T> {
    pub(crate) inner: T,
    pub(crate) pace: Pace,
}

#[async_trait]
impl<T: Transport> Transport for Paced<T> {
    async fn open(&self, listen: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        Ok(Box::new(PacedSocket {
            inner: self.inner.open(listen).await?,
            gate: Gate::new(self.pace.clone()),
        }))
    }
}

struct PacedSocket {
    inner: Box<dyn Socket>,
    gate: Gate,
}

#[async_trait]
impl Socket for PacedSocket {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        let starts = matches!(message, ChitchatMessage::Syn { .. });
        if starts && !self.gate.passes(Instant::now()) {
            return Ok(());
        }
        self.inner.send(to, message).await
    }

    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        self.inner.recv().await
    }
}

/// Decides once a round, since a round sends to several nodes.
struct Gate {
    pace: Pace,
    round: Option<Instant>,
    open: bool,
    last: Option<Instant>,
}

impl Gate {
    fn new(pace: Pace) -> Self {
        Self {
            pace,
            round: None,
            open: true,
            last: None,
        }
    }

    fn passes(&mut self, now: Instant) -> bool {
        let same = self.round.is_some_and(|start| now - start < ROUND / 2);
        if !same {
            self.round = Some(now);
            let due = self.pace.get().saturating_sub(ROUND / 2);
            self.open = self.last.is_none_or(|last| now - last >= due);
            if self.open {
                self.last = Some(now);
            }
        }
        self.open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_grows_with_the_number_of_nodes() {
        assert_eq!(interval(1), Duration::from_millis(200));
        assert_eq!(interval(30), Duration::from_millis(200));
        assert_eq!(interval(100), Duration::from_millis(666));
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_rounds_only_those_at_the_pace_go_out_and_each_with_all_its_messages() {
        let pace = Pace::default();
        pace.set(Duration::from_millis(600));
        let mut gate = Gate::new(pace);
        let mut passed = Vec::new();
        for _ in 0..9 {
            let sent = (0..4).filter(|_| gate.passes(Instant::now())).count();
            passed.push(sent);
            tokio::time::advance(ROUND).await;
        }
        assert_eq!(passed, [4, 0, 0, 4, 0, 0, 4, 0, 0]);
    }
}
