//! What opens a breaker, and for how long.

use super::*;

#[test]
fn failures_in_a_row_open_it_at_once_whatever_the_rate() {
    let mut breaker = Breaker::new(
        BreakerPolicy {
            minimum_calls: 1_000,
            consecutive_failures: 3,
            ..policy()
        },
        1,
    );
    calls(&mut breaker, &[BAD, BAD, OK, BAD, BAD], at(0));
    assert_eq!(breaker.state(), State::Closed);
    calls(&mut breaker, &[BAD], at(1));
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(last_reason(&breaker), Reason::FailuresInARow(3));
}

#[test]
fn a_limit_of_zero_failures_in_a_row_means_none() {
    let mut breaker = Breaker::new(
        BreakerPolicy {
            minimum_calls: 1_000,
            consecutive_failures: 0,
            ..policy()
        },
        1,
    );
    calls(&mut breaker, &[BAD; 500], at(0));
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn a_call_that_completes_the_minimum_opens_it_even_when_it_succeeds() {
    let mut breaker = breaker();
    calls(&mut breaker, &[BAD, BAD, BAD, OK], at(0));
    assert_eq!(
        last_reason(&breaker),
        Reason::FailureRate {
            failed: 3,
            calls: 4
        }
    );
}

#[test]
fn openings_grow_with_jitter_and_never_beyond_the_longest() {
    for seed in 0..200 {
        let mut breaker = Breaker::new(policy(), seed);
        let mut now = at(0);
        calls(&mut breaker, &[BAD; 4], now);
        for base in [10.0, 20.0, 30.0, 30.0, 30.0] {
            let open = breaker.open_until().unwrap().since(now).as_secs_f64();
            let longest = f64::min(base * 1.2, 30.0);
            assert!(
                (base * 0.8..=longest).contains(&open),
                "{open} s, not about {base} s"
            );
            now = breaker.next_change().unwrap();
            call(&mut breaker, BAD, QUICK, now);
        }
    }
    let first = |seed| {
        let mut breaker = Breaker::new(policy(), seed);
        calls(&mut breaker, &[BAD; 4], at(0));
        breaker.open_until()
    };
    assert_ne!(
        first(1),
        first(2),
        "breakers that open together close apart"
    );
    assert_eq!(first(1), first(1));
}

#[test]
fn a_tool_that_asks_for_time_gets_it_up_to_the_longest() {
    for (asked, until) in [(25, 25_000), (3_600, 30_000)] {
        let mut breaker = breaker();
        let busy = CallOutcome::Failure {
            retry_after: Some(Duration::from_secs(asked)),
        };
        calls(&mut breaker, &[OK, BAD, OK, busy], at(0));
        assert_eq!(breaker.open_until(), Some(at(until)));
    }
    let mut breaker = breaker();
    let soon = CallOutcome::Failure {
        retry_after: Some(QUICK),
    };
    calls(&mut breaker, &[BAD, BAD, BAD, soon], at(0));
    assert!(
        breaker.open_until() >= Some(at(8_000)),
        "never shorter than its own time"
    );
}

#[test]
fn a_denied_call_is_told_when_to_try_again() {
    let mut breaker = opened(at(0));
    let until = breaker.open_until().unwrap();
    let denied = breaker.admit(at(1_000)).unwrap_err();
    assert_eq!(denied.retry_after, until.since(at(1_000)));
    breaker.force(Mode::ForcedOpen, at(2_000));
    let denied = breaker.admit(at(3_000)).unwrap_err();
    assert_eq!(denied.retry_after, policy().open_for);
}

#[test]
fn counts_leave_the_window_after_its_length() {
    let mut breaker = breaker();
    calls(&mut breaker, &[OK, OK, BAD], at(0));
    assert_eq!(
        breaker.counts(at(8_999)),
        Counts {
            calls: 3,
            failed: 1,
            slow: 0
        }
    );
    assert_eq!(breaker.counts(at(10_000)), Counts::default());
}

#[test]
fn a_clock_that_is_set_back_does_no_harm() {
    let mut breaker = breaker();
    calls(&mut breaker, &[OK, OK], at(100_000));
    calls(&mut breaker, &[BAD, BAD], at(0));
    assert_eq!(breaker.state(), State::Open);
    assert!(breaker.open_until().unwrap() <= at(12_000));
}

#[test]
fn the_last_transitions_are_kept_and_numbered() {
    let mut breaker = breaker();
    for n in 0..100 {
        breaker.force(Mode::ForcedOpen, at(n));
    }
    let numbers: Vec<u64> = breaker.transitions().map(|change| change.number).collect();
    assert_eq!(numbers.len(), TRANSITIONS);
    assert_eq!((numbers[0], *numbers.last().unwrap()), (68, 99));
    let texts: Vec<String> = opened(at(0))
        .transitions()
        .map(|change| {
            let (from, to) = (change.from.as_str(), change.to.as_str());
            format!("{from} to {to}: {}", change.reason)
        })
        .collect();
    assert_eq!(texts, ["closed to open: 2 of 4 calls failed"]);
}
