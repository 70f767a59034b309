//! Restart intensity of supervisors, in the terms of OTP: at most `intensity` restarts within
//! `period`, and one more makes the supervisor give up
//! (<https://www.erlang.org/doc/system/sup_princ.html#maximum-restart-intensity>). Unlike OTP, a
//! restart waits for a back-off that grows with the failures in the window.

use std::collections::VecDeque;
use std::time::Duration;

use crate::retry;
use crate::time::Timestamp;

/// How often a child may fail, and how long its supervisor waits before it starts it again.
#[derive(Clone, Debug, PartialEq)]
pub struct RestartPolicy {
    /// Restarts within the period that are still in order.
    pub intensity: u32,
    /// Length of the sliding window.
    pub period: Duration,
    /// The wait before a restart.
    pub backoff: Backoff,
}

impl Default for RestartPolicy {
    /// Three restarts a minute.
    fn default() -> Self {
        Self {
            intensity: 3,
            period: Duration::from_secs(60),
            backoff: Backoff::default(),
        }
    }
}

/// A wait that grows with the failures in the window; always jittered, because children tend to
/// fail together.
#[derive(Clone, Debug, PartialEq)]
pub struct Backoff {
    /// Wait before the first restart.
    pub initial: Duration,
    /// Each wait is this times the one before.
    pub factor: f64,
    /// No wait is longer.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(50),
            factor: 4.0,
            max: Duration::from_secs(10),
        }
    }
}

/// What a supervisor does about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Start the child again after this long.
    RestartAfter(Duration),
    /// It failed too often: give it up.
    GiveUp,
}

/// The failures of one child, in the sliding window.
#[derive(Clone, Debug, PartialEq)]
pub struct RestartIntensity {
    policy: RestartPolicy,
    seed: u64,
    /// At most `intensity + 1` times, oldest first.
    failures: VecDeque<Timestamp>,
}

impl RestartIntensity {
    /// No failure so far; `seed` spreads the waits of children that fail together.
    pub fn new(policy: RestartPolicy, seed: u64) -> Self {
        Self {
            policy,
            seed,
            failures: VecDeque::new(),
        }
    }

    /// The child failed at `now`.
    pub fn failed(&mut self, now: Timestamp) -> Verdict {
        self.forget(now);
        self.failures.push_back(now);
        let failures = u32::try_from(self.failures.len()).unwrap_or(u32::MAX);
        if failures > self.policy.intensity {
            // The next failure finds the window full again, whatever it was told before.
            self.failures.pop_front();
            return Verdict::GiveUp;
        }
        let backoff = &self.policy.backoff;
        let wait = retry::backoff(backoff.initial, backoff.factor, backoff.max, failures);
        let seed = self.seed.wrapping_add(now.0.unsigned_abs());
        Verdict::RestartAfter(retry::spread(wait, seed))
    }

    /// Failures that count at `now`.
    pub fn failures(&mut self, now: Timestamp) -> usize {
        self.forget(now);
        self.failures.len()
    }

    /// Drops what is older than the period. A clock that was set back makes no failure older.
    fn forget(&mut self, now: Timestamp) {
        while let Some(oldest) = self.failures.front()
            && now.since(*oldest) > self.policy.period
        {
            self.failures.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1_000_000)
    }

    fn three_in_ten_seconds() -> RestartIntensity {
        let policy = RestartPolicy {
            intensity: 3,
            period: Duration::from_secs(10),
            backoff: Backoff {
                initial: Duration::from_millis(100),
                factor: 2.0,
                max: Duration::from_millis(300),
            },
        };
        RestartIntensity::new(policy, 1)
    }

    #[track_caller]
    fn assert_restart(verdict: Verdict, longest: u128) {
        match verdict {
            Verdict::RestartAfter(wait) => {
                let wait = wait.as_millis();
                assert!((longest / 2..=longest).contains(&wait), "{wait} ms");
            }
            Verdict::GiveUp => panic!("gave up"),
        }
    }

    #[test]
    fn one_failure_more_than_the_intensity_within_the_period_is_too_often() {
        let mut child = three_in_ten_seconds();
        assert_restart(child.failed(at(0)), 100);
        assert_restart(child.failed(at(1)), 200);
        assert_restart(child.failed(at(2)), 300);
        assert_eq!(child.failed(at(3)), Verdict::GiveUp);
        assert_eq!(child.failed(at(4)), Verdict::GiveUp);
    }

    #[test]
    fn failures_leave_the_window_and_the_wait_shrinks_with_them() {
        let mut child = three_in_ten_seconds();
        for second in [0, 1, 2] {
            child.failed(at(second));
        }
        assert_restart(child.failed(at(11)), 300);
        assert_eq!(child.failures(at(30)), 0);
        assert_restart(child.failed(at(30)), 100);
    }

    #[test]
    fn an_intensity_of_zero_never_restarts() {
        let policy = RestartPolicy {
            intensity: 0,
            ..RestartPolicy::default()
        };
        assert_eq!(
            RestartIntensity::new(policy, 0).failed(at(0)),
            Verdict::GiveUp
        );
    }

    proptest! {
        #[test]
        fn it_gives_up_exactly_when_the_window_holds_more_failures_than_allowed(
            gaps in prop::collection::vec(0i64..8_000_000, 1..60),
        ) {
            let mut child = three_in_ten_seconds();
            let mut times: Vec<i64> = Vec::new();
            let mut now = 0;
            for gap in gaps {
                now += gap;
                times.push(now);
                let within = times.iter().filter(|time| now - **time <= 10_000_000).count();
                let gave_up = child.failed(Timestamp(now)) == Verdict::GiveUp;
                prop_assert_eq!(gave_up, within > 3);
            }
        }
    }
}
