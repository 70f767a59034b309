//! Where a serving node is in its life, for everybody who has to let go in time.
//!
//! ```text
//!   Serving ── SIGTERM, POST /admin/drain ──> Draining ── running steps have ended ──> Closing
//!      │                                       ^ not ready, admits nothing,             streams end,
//!      └── in a cluster ──> Leaving ───────────┘ waits are answered                     connections close
//!                           not ready, hands its shards over, forwards what comes
//! ```

use std::sync::Arc;

use tokio::sync::watch;

/// See the module. Phases only go forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It admits runs.
    #[default]
    Serving,
    /// In a cluster: others take over, and what comes is forwarded to them.
    Leaving,
    /// It admits nothing and lets running steps end.
    Draining,
    /// No event will come any more.
    Closing,
}

/// The phase of a node, to read, to wait for and to move on. Clones share it.
#[derive(Clone, Debug)]
pub struct Life(Arc<watch::Sender<Phase>>);

impl Default for Life {
    /// The life of a node that serves.
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Phase::Serving)))
    }
}

impl Life {
    /// Where it is.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Moves on to `phase`; an earlier one than the present changes nothing.
    pub fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let moves = *now < phase;
            if moves {
                *now = phase;
            }
            moves
        });
    }

    /// Waits until `phase` is reached or passed.
    pub async fn reached(&self, phase: Phase) {
        let mut phases = self.0.subscribe();
        // The sender lives in `self`, so that this cannot fail before it is true.
        let _ = phases.wait_for(|now| *now >= phase).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_life_goes_forward_only_and_wakes_those_who_wait() {
        let life = Life::default();
        assert_eq!(life.phase(), Phase::Serving);
        let waiting = life.clone();
        let closing = tokio::join!(waiting.reached(Phase::Draining), async {
            life.advance(Phase::Closing);
        });
        assert_eq!(closing, ((), ()));
        life.advance(Phase::Draining);
        assert_eq!(life.phase(), Phase::Closing);
    }
}
