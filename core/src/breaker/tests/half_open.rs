//! Trial calls and their permits.

use super::*;

/// A breaker that is half-open, and the time.
fn half_open() -> (Breaker, Timestamp) {
    let mut breaker = opened(at(0));
    let now = breaker.next_change().unwrap();
    breaker.advance(now);
    assert_eq!(breaker.state(), State::HalfOpen);
    (breaker, now)
}

#[test]
fn a_half_open_breaker_lets_only_a_few_calls_through_at_once() {
    let (mut breaker, now) = half_open();
    let first = breaker.admit(now).unwrap();
    let second = breaker.admit(now).unwrap();
    let denied = breaker.admit(now).unwrap_err();
    assert_eq!(denied.retry_after, Duration::from_secs(5));
    breaker.report(first, OK, QUICK, now);
    let third = breaker.admit(now).unwrap();
    breaker.report(second, OK, QUICK, now);
    breaker.report(third, OK, QUICK, now);
    assert_eq!(breaker.state(), State::Closed);
    assert_eq!(last_reason(&breaker), Reason::ProbesSucceeded);
}

#[test]
fn a_half_open_permit_is_given_back_when_its_owner_dies() {
    let (mut breaker, now) = half_open();
    for _ in 0..10 {
        let first = breaker.admit(now).unwrap();
        let second = breaker.admit(now).unwrap();
        for permit in [first, second] {
            breaker.report(permit, CallOutcome::Abandoned, QUICK, now);
        }
    }
    assert_eq!(breaker.state(), State::HalfOpen);
    calls(&mut breaker, &[OK, OK, OK], now);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn a_half_open_permit_that_is_kept_too_long_counts_as_a_failure() {
    let (mut breaker, now) = half_open();
    let kept = breaker.admit(now).unwrap();
    let deadline = breaker.next_change().unwrap();
    assert_eq!(deadline, now.after(Duration::from_secs(5)));
    breaker.advance(Timestamp(deadline.0 - 1));
    assert_eq!(breaker.state(), State::HalfOpen);
    breaker.advance(deadline);
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(last_reason(&breaker), Reason::ProbeOverdue);
    let before = breaker.clone();
    breaker.report(kept, OK, QUICK, deadline);
    assert_eq!(breaker, before, "its report is too late");
}

#[test]
fn a_report_that_is_itself_overdue_is_a_failure_though_nobody_looked() {
    let (mut breaker, now) = half_open();
    let kept = breaker.admit(now).unwrap();
    breaker.report(kept, OK, QUICK, now.after(Duration::from_secs(6)));
    assert_eq!(last_reason(&breaker), Reason::ProbeOverdue);
}

#[test]
fn a_report_on_a_call_of_an_earlier_state_is_not_counted() {
    let mut breaker = breaker();
    let mut old: Vec<Permit> = (0..8).map(|_| breaker.admit(at(0)).unwrap()).collect();
    calls(&mut breaker, &[BAD; 4], at(0));
    let mut late = |breaker: &mut Breaker, outcomes: &[CallOutcome], now| {
        let before = breaker.clone();
        for outcome in outcomes {
            breaker.report(old.pop().unwrap(), *outcome, QUICK, now);
        }
        assert_eq!(*breaker, before, "{:?}", breaker.state());
    };
    late(&mut breaker, &[OK, BAD], at(1));
    let now = breaker.next_change().unwrap();
    breaker.advance(now);
    late(&mut breaker, &[OK, BAD], now);
    calls(&mut breaker, &[OK, OK, OK], now);
    assert_eq!(breaker.state(), State::Closed);
    late(&mut breaker, &[BAD, BAD, BAD, BAD], now);
}

#[test]
fn a_slow_trial_counts_as_failed_only_where_slowness_had_opened_it() {
    let slow = Duration::from_secs(2);
    let (mut breaker, now) = half_open();
    call(&mut breaker, OK, slow, now);
    assert_eq!(breaker.state(), State::HalfOpen);

    let mut breaker = self::breaker();
    for _ in 0..4 {
        call(&mut breaker, OK, slow, at(0));
    }
    assert_eq!(
        last_reason(&breaker),
        Reason::SlowRate { slow: 4, calls: 4 }
    );
    let now = breaker.next_change().unwrap();
    call(&mut breaker, OK, slow, now);
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn permits_from_before_a_restart_are_void() {
    let (mut breaker, now) = half_open();
    let first = breaker.admit(now).unwrap();
    let second = breaker.admit(now).unwrap();
    let mut restored = Breaker::restore(policy(), 42, &breaker.snapshot(), now);
    assert_eq!(restored.state(), State::HalfOpen);
    restored.report(first, BAD, QUICK, now);
    restored.report(second, BAD, QUICK, now);
    assert_eq!(restored.state(), State::HalfOpen);
    calls(&mut restored, &[OK, OK, OK], now);
    assert_eq!(restored.state(), State::Closed);
}

#[test]
fn the_open_breaker_of_a_peer_puts_the_tool_on_trial_and_refuses_nothing_for_ever() {
    let mut breaker = breaker();
    assert!(breaker.advise(at(9_000), at(1_000)));
    assert_eq!(breaker.state(), State::HalfOpen);
    assert_eq!(last_reason(&breaker), Reason::Advised);
    calls(&mut breaker, &[OK, OK, OK], at(1_001));
    assert_eq!(breaker.state(), State::Closed);
    // The same advice comes with each round of gossip.
    assert!(!breaker.advise(at(9_000), at(1_002)));
    assert_eq!(breaker.state(), State::Closed);
    // The peer has opened again.
    assert!(breaker.advise(at(20_000), at(10_000)));
    call(&mut breaker, BAD, QUICK, at(10_001));
    assert_eq!(breaker.state(), State::Open);
    assert!(!breaker.advise(at(30_000), at(10_002)), "it knows better");
}

#[test]
fn advice_that_is_over_or_against_an_order_changes_nothing() {
    let mut breaker = breaker();
    assert!(!breaker.advise(at(1_000), at(1_000)));
    breaker.force(Mode::ForcedClosed, at(1_000));
    assert!(!breaker.advise(at(9_000), at(1_000)));
    assert_eq!(breaker.state(), State::Closed);
}
