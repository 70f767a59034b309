//! A breaker after a restart.

use super::*;

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
fn a_clock_that_was_set_back_over_a_restart_opens_it_no_longer_than_allowed() {
    let open = opened(at(10_000_000));
    let restored = Breaker::restore(policy(), 42, &open.snapshot(), at(0));
    assert_eq!(restored.open_until(), Some(at(30_000)));
}
