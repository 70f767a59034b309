//! What of a breaker survives a restart of its tool's actor, or of the node.

use super::{Breaker, BreakerPolicy, Bucket, Inner, Mode, State, TRANSITIONS, Transition};
use crate::time::Timestamp;

/// A breaker as plain data.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Where it stood.
    pub state: State,
    /// What an operator had ordered.
    pub mode: Mode,
    /// When its time was to be over, while it was open by itself.
    pub open_until: Option<Timestamp>,
    /// Openings since it was closed last.
    pub openings: u32,
    /// Failures since the last success.
    pub failures_in_a_row: u32,
    /// Until when the tool had asked to be left alone.
    pub asked_until: Option<Timestamp>,
    /// Whether it had opened because calls were slow.
    pub was_slow: bool,
    /// Number of the state, over its whole life.
    pub generation: u64,
    /// Half-open permits given, over its whole life.
    pub permits: u64,
    /// The window, oldest first.
    pub buckets: Vec<Bucket>,
    /// The last transitions, oldest first.
    pub transitions: Vec<Transition>,
    /// Transitions over its whole life.
    pub changes: u64,
}

impl Breaker {
    /// What is to survive a restart.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            state: self.state(),
            mode: self.mode,
            open_until: self.open_until(),
            openings: self.openings,
            failures_in_a_row: self.in_a_row,
            asked_until: self.asked_until,
            was_slow: self.was_slow,
            generation: self.generation,
            permits: self.permits,
            buckets: self.window.buckets(),
            transitions: self.transitions.iter().cloned().collect(),
            changes: self.changes,
        }
    }

    /// The breaker of `snapshot` under `policy`, which may be another than before. The permits that
    /// were out are void: their owners died, or report to a generation that is over. It stays open
    /// no longer than the policy allows from `now`, whatever the clock did meanwhile.
    pub fn restore(policy: BreakerPolicy, seed: u64, snapshot: &Snapshot, now: Timestamp) -> Self {
        let mut breaker = Self::new(policy, seed);
        breaker.mode = snapshot.mode;
        breaker.inner = match (snapshot.mode, snapshot.state) {
            (Mode::ForcedOpen, State::Open | State::HalfOpen | State::Closed) => Inner::Open {
                until: Timestamp(i64::MAX),
            },
            (Mode::ForcedClosed, State::Open | State::HalfOpen | State::Closed)
            | (Mode::Auto, State::Closed) => Inner::Closed,
            (Mode::Auto, State::Open) => Inner::Open {
                until: snapshot
                    .open_until
                    .unwrap_or(now)
                    .min(now.after(breaker.policy.open_max)),
            },
            (Mode::Auto, State::HalfOpen) => Inner::HalfOpen {
                out: Vec::new(),
                succeeded: 0,
            },
        };
        breaker.generation = snapshot.generation.wrapping_add(1);
        breaker.permits = snapshot.permits;
        breaker.in_a_row = snapshot.failures_in_a_row;
        breaker.openings = snapshot.openings;
        breaker.asked_until = snapshot.asked_until;
        breaker.was_slow = snapshot.was_slow;
        breaker.changes = snapshot.changes;
        let skipped = snapshot.transitions.len().saturating_sub(TRANSITIONS);
        breaker.transitions = snapshot.transitions.iter().skip(skipped).cloned().collect();
        for bucket in snapshot.buckets.iter().filter(|bucket| bucket.start <= now) {
            breaker.window.restore(*bucket);
        }
        breaker.window.advance(now);
        breaker
    }
}
