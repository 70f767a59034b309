//! Whatever happens, a breaker is never stuck, and its window counts right.

use proptest::prelude::*;

use super::*;

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
