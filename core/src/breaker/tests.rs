//! Breakers in virtual time.
#![allow(clippy::unwrap_used)]

mod half_open;
mod life;
mod opening;
mod random;
mod restored;

use super::*;

const OK: CallOutcome = CallOutcome::Success;
const BAD: CallOutcome = CallOutcome::Failure { retry_after: None };
const QUICK: Duration = Duration::from_millis(1);

fn at(milliseconds: i64) -> Timestamp {
    Timestamp(milliseconds * 1_000)
}

fn policy() -> BreakerPolicy {
    BreakerPolicy {
        window: Duration::from_secs(10),
        minimum_calls: 4,
        failure_rate: 0.5,
        slow_call: Duration::from_secs(1),
        slow_rate: 0.75,
        consecutive_failures: 10,
        open_for: Duration::from_secs(10),
        open_factor: 2.0,
        open_max: Duration::from_secs(30),
        half_open_permits: 2,
        half_open_successes: 3,
        permit_deadline: Duration::from_secs(5),
    }
}

fn breaker() -> Breaker {
    Breaker::new(policy(), 42)
}

#[track_caller]
fn call(breaker: &mut Breaker, outcome: CallOutcome, took: Duration, now: Timestamp) {
    let permit = breaker.admit(now).unwrap();
    breaker.report(permit, outcome, took, now);
}

#[track_caller]
fn calls(breaker: &mut Breaker, outcomes: &[CallOutcome], now: Timestamp) {
    for outcome in outcomes {
        call(breaker, *outcome, QUICK, now);
    }
}

/// Opens the breaker by its failure rate at `now`.
fn opened(now: Timestamp) -> Breaker {
    let mut breaker = breaker();
    calls(&mut breaker, &[OK, OK, BAD, BAD], now);
    assert_eq!(breaker.state(), State::Open);
    breaker
}

fn last_reason(breaker: &Breaker) -> Reason {
    breaker.transitions().last().unwrap().reason
}
