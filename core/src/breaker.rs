//! The circuit breaker of a tool, as a value: no clock, no lock, no random source.
//!
//! ```text
//!             failure rate, slow rate, or failures in a row
//!   Closed ──────────────────────────────────────────────────> Open ── its time has passed ──┐
//!     ^  ^                                                      ^                            v
//!     │  └── force(Auto) from anywhere       a probe fails, or its deadline passes ──── HalfOpen
//!     └────────────────────────────── enough probes succeed ─────────────────────────────────┘
//! ```
//!
//! A call asks for a [`Permit`] and gives it back with a report. A permit carries the generation of
//! the state that gave it: a report on a call of an earlier state is dropped. A half-open breaker
//! cannot get stuck: each of its permits has a deadline, and is given back when its owner dies
//! ([`CallOutcome::Abandoned`]).
//!
//! Time moves only where a method is told what time it is. Between two calls,
//! [`Breaker::next_change`] says when time alone will change the state.

mod snapshot;
#[cfg(test)]
mod tests;
mod window;
mod words;

use std::collections::VecDeque;
use std::time::Duration;

use crate::retry;
use crate::time::Timestamp;
pub use snapshot::Snapshot;
use window::Window;
pub use window::{Bucket, Counts};
pub use words::{BreakerPolicy, CallOutcome, Denied, Mode, Reason, State, Transition};

/// Transitions that a breaker remembers.
pub const TRANSITIONS: usize = 32;

/// The right to make one call. It is to be given back with [`Breaker::report`], also when the call
/// came to nothing.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a permit that is not reported blocks a half-open breaker until its deadline"]
pub struct Permit {
    generation: u64,
    /// Which of the permits of its generation.
    number: u64,
}

/// The state with what belongs to it.
#[derive(Clone, Debug, PartialEq)]
enum Inner {
    Closed,
    Open { until: Timestamp },
    HalfOpen { out: Vec<Probe>, succeeded: u32 },
}

/// A half-open permit that is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Probe {
    number: u64,
    deadline: Timestamp,
}

/// A circuit breaker.
#[derive(Clone, Debug, PartialEq)]
pub struct Breaker {
    policy: BreakerPolicy,
    seed: u64,
    mode: Mode,
    inner: Inner,
    generation: u64,
    permits: u64,
    window: Window,
    /// Failures since the last success.
    in_a_row: u32,
    /// Openings since it was closed last.
    openings: u32,
    /// Until when the tool asked to be left alone.
    asked_until: Option<Timestamp>,
    /// Whether it opened because calls were slow: then a slow probe is a failed one.
    was_slow: bool,
    /// Until when a peer's breaker was to be open, as far as that was acted upon.
    advised_until: Option<Timestamp>,
    transitions: VecDeque<Transition>,
    changes: u64,
}

impl Breaker {
    /// A closed breaker; `seed` spreads the opening times of breakers that open together.
    pub fn new(policy: BreakerPolicy, seed: u64) -> Self {
        Self {
            window: Window::new(policy.window),
            policy,
            seed,
            mode: Mode::Auto,
            inner: Inner::Closed,
            generation: 0,
            permits: 0,
            in_a_row: 0,
            openings: 0,
            asked_until: None,
            was_slow: false,
            advised_until: None,
            transitions: VecDeque::new(),
            changes: 0,
        }
    }

    /// Asks for the right to make a call.
    ///
    /// # Errors
    /// When no call may be made now, with the time to wait.
    pub fn admit(&mut self, now: Timestamp) -> Result<Permit, Denied> {
        if self.inner != Inner::Closed {
            self.advance(now);
        }
        match &mut self.inner {
            Inner::Closed => Ok(Permit {
                generation: self.generation,
                number: 0,
            }),
            Inner::Open { until } => Err(Denied {
                retry_after: match self.mode {
                    Mode::Auto | Mode::ForcedClosed => until.since(now),
                    Mode::ForcedOpen => self.policy.open_for,
                },
            }),
            Inner::HalfOpen { out, .. } => {
                if out.len() >= self.policy.half_open_permits.max(1) as usize {
                    let earliest = out.iter().map(|probe| probe.deadline).min();
                    let wait = earliest.map_or(self.policy.open_for, |at| at.since(now));
                    return Err(Denied {
                        retry_after: wait.min(self.policy.open_for),
                    });
                }
                self.permits += 1;
                out.push(Probe {
                    number: self.permits,
                    deadline: now.after(self.policy.permit_deadline),
                });
                Ok(Permit {
                    generation: self.generation,
                    number: self.permits,
                })
            }
        }
    }

    /// Gives a permit back; `took` is how long the call was.
    #[allow(clippy::needless_pass_by_value)] // a permit is used up by its report
    pub fn report(&mut self, permit: Permit, outcome: CallOutcome, took: Duration, now: Timestamp) {
        if self.inner != Inner::Closed {
            self.advance(now);
        }
        if permit.generation != self.generation {
            return;
        }
        match self.inner {
            Inner::Closed => self.count(outcome, took, now),
            Inner::HalfOpen { .. } => self.probed(permit.number, outcome, took, now),
            // An open breaker gave no permit of this generation.
            Inner::Open { .. } => {}
        }
    }

    fn count(&mut self, outcome: CallOutcome, took: Duration, now: Timestamp) {
        let slow = took > self.policy.slow_call;
        match outcome {
            CallOutcome::Success => {
                self.in_a_row = 0;
                self.window.count(now, false, slow);
            }
            CallOutcome::Failure { retry_after } => {
                self.in_a_row = self.in_a_row.saturating_add(1);
                self.window.count(now, true, slow);
                self.note_request(retry_after, now);
            }
            CallOutcome::Ignored | CallOutcome::Abandoned => return,
        }
        if self.mode == Mode::Auto
            && let Some(reason) = self.window_verdict()
        {
            self.open(reason, now);
        }
    }

    /// Whether what was counted is too much.
    fn window_verdict(&self) -> Option<Reason> {
        let Counts {
            calls,
            failed,
            slow,
        } = self.window.counts();
        if failed == 0 && slow == 0 {
            return None;
        }
        let policy = &self.policy;
        if policy.consecutive_failures > 0 && self.in_a_row >= policy.consecutive_failures {
            return Some(Reason::FailuresInARow(self.in_a_row));
        }
        if calls < policy.minimum_calls {
            return None;
        }
        let over = |part: u32, rate: f64| part > 0 && f64::from(part) >= rate * f64::from(calls);
        if over(failed, policy.failure_rate) {
            return Some(Reason::FailureRate { failed, calls });
        }
        over(slow, policy.slow_rate).then_some(Reason::SlowRate { slow, calls })
    }

    fn probed(&mut self, number: u64, outcome: CallOutcome, took: Duration, now: Timestamp) {
        let Inner::HalfOpen { out, succeeded } = &mut self.inner else {
            return;
        };
        let Some(place) = out.iter().position(|probe| probe.number == number) else {
            return;
        };
        out.swap_remove(place);
        let slow = self.was_slow && took > self.policy.slow_call;
        match outcome {
            CallOutcome::Success if slow => self.open(Reason::ProbeFailed, now),
            CallOutcome::Success => {
                *succeeded += 1;
                if *succeeded >= self.policy.half_open_successes.max(1) {
                    self.close(Reason::ProbesSucceeded, now);
                }
            }
            CallOutcome::Failure { retry_after } => {
                self.note_request(retry_after, now);
                self.open(Reason::ProbeFailed, now);
            }
            CallOutcome::Ignored | CallOutcome::Abandoned => {}
        }
    }

    fn note_request(&mut self, retry_after: Option<Duration>, now: Timestamp) {
        if let Some(wait) = retry_after {
            self.asked_until = self.asked_until.max(Some(now.after(wait)));
        }
    }

    /// Carries out what time alone has changed until `now`: an open breaker becomes half-open, a
    /// half-open permit that was not given back counts as a failure.
    pub fn advance(&mut self, now: Timestamp) {
        if self.mode != Mode::Auto {
            return;
        }
        match &self.inner {
            Inner::Open { until } if *until <= now => {
                let half_open = Inner::HalfOpen {
                    out: Vec::new(),
                    succeeded: 0,
                };
                self.become_state(half_open, Reason::OpenTimeOver, now);
            }
            Inner::HalfOpen { out, .. } if out.iter().any(|probe| probe.deadline <= now) => {
                self.open(Reason::ProbeOverdue, now);
            }
            Inner::Open { .. } | Inner::HalfOpen { .. } | Inner::Closed => {}
        }
    }

    /// Forces the breaker open or closed, or gives it back to itself: then it is closed and has
    /// counted nothing.
    pub fn force(&mut self, mode: Mode, now: Timestamp) {
        self.mode = mode;
        self.forget();
        let (inner, reason) = match mode {
            Mode::Auto => (Inner::Closed, Reason::Reset),
            Mode::ForcedClosed => (Inner::Closed, Reason::Forced),
            Mode::ForcedOpen => (
                Inner::Open {
                    until: Timestamp(i64::MAX),
                },
                Reason::Forced,
            ),
        };
        self.become_state(inner, reason, now);
    }

    /// Hears that a peer's breaker of the same tool is open until then. A closed one becomes
    /// half-open: whether the tool is well is found out here, by a few calls at a time. The same
    /// advice again changes nothing. Returns whether the state changed.
    pub fn advise(&mut self, until: Timestamp, now: Timestamp) -> bool {
        self.advance(now);
        if until <= now || self.advised_until.is_some_and(|before| until <= before) {
            return false;
        }
        self.advised_until = Some(until);
        if self.mode != Mode::Auto || self.inner != Inner::Closed {
            return false;
        }
        let half_open = Inner::HalfOpen {
            out: Vec::new(),
            succeeded: 0,
        };
        self.become_state(half_open, Reason::Advised, now);
        true
    }

    fn open(&mut self, reason: Reason, now: Timestamp) {
        if let Reason::SlowRate { .. } = reason {
            self.was_slow = true;
        }
        self.openings = self.openings.saturating_add(1);
        let policy = &self.policy;
        let grown = retry::backoff(
            policy.open_for,
            policy.open_factor,
            policy.open_max,
            self.openings,
        );
        // A fifth to either side, so that many nodes do not try the tool in the same moment.
        let share = 0.8 + 0.4 * retry::fraction(self.seed.wrapping_add(self.generation));
        let jittered = retry::scale(grown, share).min(policy.open_max);
        let asked = self
            .asked_until
            .take()
            .map_or(Duration::ZERO, |at| at.since(now));
        let until = now.after(jittered.max(asked).min(policy.open_max));
        self.become_state(Inner::Open { until }, reason, now);
    }

    fn close(&mut self, reason: Reason, now: Timestamp) {
        self.forget();
        self.become_state(Inner::Closed, reason, now);
    }

    fn forget(&mut self) {
        self.window = Window::new(self.policy.window);
        self.in_a_row = 0;
        self.openings = 0;
        self.asked_until = None;
        self.was_slow = false;
    }

    fn become_state(&mut self, inner: Inner, reason: Reason, now: Timestamp) {
        let from = self.state();
        self.inner = inner;
        self.generation = self.generation.wrapping_add(1);
        if self.transitions.len() == TRANSITIONS {
            self.transitions.pop_front();
        }
        self.transitions.push_back(Transition {
            number: self.changes,
            at: now,
            from,
            to: self.state(),
            reason,
        });
        self.changes += 1;
    }

    /// Where the breaker stands, as of the last time it was told ([`Breaker::advance`]).
    pub fn state(&self) -> State {
        match self.inner {
            Inner::Closed => State::Closed,
            Inner::Open { .. } => State::Open,
            Inner::HalfOpen { .. } => State::HalfOpen,
        }
    }

    /// What an operator ordered.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// When its time is over, while it is open by itself.
    pub fn open_until(&self) -> Option<Timestamp> {
        match self.inner {
            Inner::Open { until } if self.mode == Mode::Auto => Some(until),
            Inner::Open { .. } | Inner::Closed | Inner::HalfOpen { .. } => None,
        }
    }

    /// When time alone changes the state next: the end of the open time, or the first deadline of a
    /// half-open permit.
    pub fn next_change(&self) -> Option<Timestamp> {
        match &self.inner {
            Inner::Closed => None,
            Inner::Open { .. } => self.open_until(),
            Inner::HalfOpen { out, .. } => out.iter().map(|probe| probe.deadline).min(),
        }
    }

    /// What was counted in the window that ends at `now`.
    pub fn counts(&mut self, now: Timestamp) -> Counts {
        self.window.advance(now);
        self.window.counts()
    }

    /// Failures since the last success.
    pub fn failures_in_a_row(&self) -> u32 {
        self.in_a_row
    }

    /// The last transitions, oldest first.
    pub fn transitions(&self) -> impl ExactSizeIterator<Item = &Transition> {
        self.transitions.iter()
    }
}
