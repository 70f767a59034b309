//! The life of a breaker in virtual time.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

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

/// A breaker that is half-open, and the time.
fn half_open() -> (Breaker, Timestamp) {
    let mut breaker = opened(at(0));
    let now = breaker.next_change().unwrap();
    breaker.advance(now);
    assert_eq!(breaker.state(), State::HalfOpen);
    (breaker, now)
}

fn last_reason(breaker: &Breaker) -> Reason {
    breaker.transitions().last().unwrap().reason
}

/// One line of the life: when, what is done, and where the breaker stands after it.
enum Do {
    Call(CallOutcome),
    Slow(CallOutcome),
    Denied,
    Force(Mode),
    Look,
}

#[test]
#[allow(clippy::too_many_lines)] // one table
fn the_whole_life_of_a_breaker() {
    use State::{Closed, HalfOpen, Open};
    let ignored = CallOutcome::Ignored;
    let life = [
        (0, Do::Call(OK), Closed, "a call goes through"),
        (
            1,
            Do::Call(BAD),
            Closed,
            "one failure of two calls is too few calls",
        ),
        (
            2,
            Do::Call(ignored),
            Closed,
            "the caller's mistake does not count",
        ),
        (3, Do::Call(ignored), Closed, "nor does another"),
        (4, Do::Call(OK), Closed, "one of three"),
        (5, Do::Call(BAD), Open, "two of four"),
        (6, Do::Denied, Open, "it stays open"),
        (
            7_900,
            Do::Denied,
            Open,
            "for at least eight tenths of its time",
        ),
        (12_100, Do::Look, HalfOpen, "and at most twelve tenths"),
        (12_200, Do::Call(OK), HalfOpen, "one trial succeeds"),
        (12_300, Do::Call(BAD), Open, "the next does not"),
        (
            28_000,
            Do::Denied,
            Open,
            "the second opening is twice as long",
        ),
        (36_400, Do::Call(OK), HalfOpen, "a trial"),
        (
            36_500,
            Do::Call(ignored),
            HalfOpen,
            "a mistake is no success",
        ),
        (36_600, Do::Call(OK), HalfOpen, "a second success"),
        (36_700, Do::Call(OK), Closed, "and the third closes it"),
        (36_800, Do::Call(BAD), Closed, "the window starts anew"),
        (36_801, Do::Call(BAD), Closed, "two failures"),
        (36_802, Do::Call(BAD), Closed, "three"),
        (48_000, Do::Call(BAD), Closed, "those have left the window"),
        (48_001, Do::Slow(OK), Closed, "slow calls count"),
        (48_002, Do::Slow(OK), Closed, "even when they succeed"),
        (48_003, Do::Slow(OK), Open, "three of four are slow"),
        (
            56_000,
            Do::Denied,
            Open,
            "the first opening in a row is short again",
        ),
        (
            60_100,
            Do::Slow(OK),
            Open,
            "a slow trial is a failed one here",
        ),
        (
            60_200,
            Do::Force(Mode::ForcedClosed),
            Closed,
            "an operator forces it",
        ),
        (60_201, Do::Call(BAD), Closed, "whatever happens"),
        (60_202, Do::Call(BAD), Closed, "it"),
        (60_203, Do::Call(BAD), Closed, "stays"),
        (60_204, Do::Call(BAD), Closed, "closed"),
        (60_300, Do::Force(Mode::ForcedOpen), Open, "or open"),
        (9_000_000, Do::Denied, Open, "however long"),
        (
            9_000_100,
            Do::Force(Mode::Auto),
            Closed,
            "until it is given back",
        ),
        (9_000_101, Do::Call(OK), Closed, "and goes on by itself"),
    ];
    let mut breaker = breaker();
    for (now, action, state, why) in life {
        let now = at(now);
        match action {
            Do::Call(outcome) => call(&mut breaker, outcome, QUICK, now),
            Do::Slow(outcome) => call(&mut breaker, outcome, Duration::from_secs(2), now),
            Do::Denied => drop(breaker.admit(now).unwrap_err()),
            Do::Force(mode) => breaker.force(mode, now),
            Do::Look => breaker.advance(now),
        }
        assert_eq!(breaker.state(), state, "at {now}: {why}");
    }
}

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

#[test]
fn a_restored_breaker_goes_on_where_it_was() {
    let mut closed = breaker();
    calls(&mut closed, &[OK, BAD], at(0));
    calls(&mut closed, &[BAD], at(5_000));
    let mut restored = Breaker::restore(policy(), 42, &closed.snapshot(), at(6_000));
    assert_eq!(restored.counts(at(6_000)), closed.counts(at(6_000)));
    assert_eq!(restored.failures_in_a_row(), 2);
    calls(&mut restored, &[OK], at(6_000));
    assert_eq!(
        last_reason(&restored),
        Reason::FailureRate {
            failed: 2,
            calls: 4
        }
    );

    let open = opened(at(0));
    let restored = Breaker::restore(policy(), 42, &open.snapshot(), at(1_000));
    assert_eq!(restored.open_until(), open.open_until());
    assert_eq!(
        restored.transitions().collect::<Vec<_>>(),
        open.transitions().collect::<Vec<_>>()
    );

    let mut forced = breaker();
    forced.force(Mode::ForcedOpen, at(0));
    let mut restored = Breaker::restore(policy(), 42, &forced.snapshot(), at(1_000_000));
    assert!(restored.admit(at(2_000_000)).is_err());
}

#[test]
fn what_was_counted_too_long_ago_is_not_restored() {
    let mut closed = breaker();
    calls(&mut closed, &[BAD, BAD, BAD], at(0));
    let mut restored = Breaker::restore(policy(), 42, &closed.snapshot(), at(60_000));
    assert_eq!(restored.counts(at(60_000)), Counts::default());
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
fn a_clock_that_was_set_back_over_a_restart_opens_it_no_longer_than_allowed() {
    let open = opened(at(10_000_000));
    let restored = Breaker::restore(policy(), 42, &open.snapshot(), at(0));
    assert_eq!(restored.open_until(), Some(at(30_000)));
}

/// What may happen to a breaker.
#[derive(Clone, Debug)]
enum Act {
    Admit,
    Report(u8, u8, bool),
    Wait(u32),
    Force(u8),
    Restart,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => Just(Act::Admit),
        6 => (any::<u8>(), any::<u8>(), any::<bool>()).prop_map(|(a, b, c)| Act::Report(a, b, c)),
        4 => (0u32..8_000).prop_map(Act::Wait),
        1 => any::<u8>().prop_map(Act::Force),
        1 => Just(Act::Restart),
    ];
    prop::collection::vec(act, 1..200)
}

fn outcome(number: u8) -> CallOutcome {
    match number % 6 {
        0 | 1 => OK,
        2 => BAD,
        3 => CallOutcome::Failure {
            retry_after: Some(Duration::from_secs(u64::from(number))),
        },
        4 => CallOutcome::Ignored,
        _ => CallOutcome::Abandoned,
    }
}

fn do_at_random(breaker: &mut Breaker, out: &mut Vec<Permit>, act: &Act, now: &mut Timestamp) {
    match *act {
        Act::Admit => out.extend(breaker.admit(*now)),
        Act::Report(which, how, slow) => {
            if !out.is_empty() {
                let permit = out.swap_remove(usize::from(which) % out.len());
                let took = if slow { Duration::from_secs(2) } else { QUICK };
                breaker.report(permit, outcome(how), took, *now);
            }
        }
        Act::Wait(milliseconds) => *now = now.after(Duration::from_millis(u64::from(milliseconds))),
        Act::Force(which) => {
            let modes = [Mode::Auto, Mode::Auto, Mode::ForcedOpen, Mode::ForcedClosed];
            breaker.force(modes[usize::from(which) % 4], *now);
        }
        Act::Restart => *breaker = Breaker::restore(policy(), 42, &breaker.snapshot(), *now),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happened, and with every permit that is out lost for good: after the longest open
    /// time and a deadline, calls that succeed close the breaker.
    #[test]
    fn a_breaker_is_never_stuck(acts in acts()) {
        let mut breaker = breaker();
        let mut out = Vec::new();
        let mut now = at(0);
        for act in &acts {
            do_at_random(&mut breaker, &mut out, act, &mut now);
            if let Inner::HalfOpen { out, .. } = &breaker.inner {
                prop_assert!(out.len() <= 2);
                prop_assert!(breaker.next_change().is_some() || out.is_empty());
            }
            prop_assert!(breaker.open_until().is_none_or(|until| until <= now.after(policy().open_max)));
        }
        if breaker.mode() != Mode::Auto {
            breaker.force(Mode::Auto, now);
        }
        drop(out);
        for _ in 0..2 {
            now = now.after(policy().open_max.max(policy().permit_deadline));
            breaker.advance(now);
        }
        for _ in 0..3 {
            prop_assert!(breaker.admit(now).is_ok() || breaker.state() == State::Open);
            now = now.after(policy().permit_deadline);
            breaker.advance(now);
            if let Some(until) = breaker.open_until() {
                now = until;
                breaker.advance(now);
            }
            calls(&mut breaker, &[OK; 20], now);
            prop_assert_eq!(breaker.state(), State::Closed);
        }
    }

    /// The window holds what a list of all calls says it should.
    #[test]
    fn the_window_counts_the_calls_of_its_time(
        calls in prop::collection::vec((0i64..3_000, any::<bool>(), any::<bool>()), 1..100),
    ) {
        let mut window = Window::new(Duration::from_secs(10));
        let mut all: Vec<(i64, bool, bool)> = Vec::new();
        let mut now = 0;
        for (gap, failed, slow) in calls {
            now += gap;
            all.push((now / 1_000, failed, slow));
            window.count(at(now), failed, slow);
            let within: Vec<_> = all.iter().filter(|(at, ..)| *at > now / 1_000 - 10).collect();
            let of = |what: fn(&(i64, bool, bool)) -> bool| {
                u32::try_from(within.iter().filter(|call| what(call)).count()).unwrap()
            };
            let expected = Counts { calls: of(|_| true), failed: of(|c| c.1), slow: of(|c| c.2) };
            prop_assert_eq!(window.counts(), expected);
            let mut again = Window::new(Duration::from_secs(10));
            for bucket in window.buckets() {
                again.restore(bucket);
            }
            again.advance(at(now));
            prop_assert_eq!(again.counts(), expected);
            prop_assert_eq!(again.buckets(), window.buckets());
        }
    }
}
