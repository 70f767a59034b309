//! One breaker through all that can happen to it.

use super::*;

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
