//! The orderly stop of a node in the middle of attempts: no crash, and no failure of a step.

use super::*;

fn once() -> Value {
    json!({"delivery": "at_most_once"})
}

/// The attempt of a step is cut off while its node goes down, and the run is loaded again.
#[track_caller]
fn stop_in(bench: &mut Bench, id: &str) -> Turn {
    let report = bench.report(id, Outcome::Interrupted);
    bench.limits.parallel_steps = 0;
    let turn = bench.turn([report]);
    assert_eq!(starts(&turn).count(), 0);
    bench.limits = Limits::default();
    bench.crash();
    turn
}

#[test]
fn an_interrupted_attempt_is_followed_by_the_next_and_counts_for_nothing() {
    let plan = with(
        echoes(&[("a", &[])]),
        &[("a", json!({"retry": {"max_attempts": 1}}))],
    );
    let mut bench = Bench::started(&plan);
    for stops in 1..=5 {
        let turn = stop_in(&mut bench, "a");
        assert_eq!(names(&turn), ["step_attempt_failed"]);
        let state = bench.run.step(StepIndex(0)).unwrap();
        assert_eq!(state.status, StepStatus::Running);
        assert_eq!(state.attempt, Attempt(stops + 1));
        assert_eq!((state.failed_attempts, state.lost_attempts), (0, 0));
    }
    bench.complete("a");
    assert_eq!(bench.run.status(), RunStatus::Completed);
}

#[test]
fn crashes_between_interruptions_still_count() {
    let mut bench = Bench::started(&echoes(&[("a", &[])]));
    for _ in 0..2 {
        stop_in(&mut bench, "a");
        bench.crash();
    }
    assert_eq!(bench.run.status(), RunStatus::Running);
    bench.crash();
    assert_eq!(bench.run.failure.unwrap().as_str(), "poisoned");
}

#[test]
fn failures_between_interruptions_still_count() {
    let plan = with(
        echoes(&[("a", &[])]),
        &[("a", json!({"retry": {"max_attempts": 2, "initial": "0ms"}}))],
    );
    let mut bench = Bench::started(&plan);
    stop_in(&mut bench, "a");
    bench.fail("a", ErrorKind::Transient);
    assert_eq!(bench.run.status(), RunStatus::Running);
    stop_in(&mut bench, "a");
    bench.fail("a", ErrorKind::Transient);
    assert_eq!(bench.run.status(), RunStatus::Failed);
}

#[test]
fn an_interrupted_at_most_once_attempt_is_of_unknown_outcome_and_never_repeated() {
    let mut bench = Bench::started(&with(echoes(&[("a", &[])]), &[("a", once())]));
    let turn = stop_in(&mut bench, "a");
    assert_eq!(names(&turn), ["step_failed", "run_failed"]);
    assert!(turn.eager);
    let error = bench.run.step(StepIndex(0)).unwrap().error.clone().unwrap();
    assert_eq!(error.kind, ErrorKind::OutcomeUnknown);
    assert!(error.message.contains("stop of its node"), "{error}");
}

#[test]
fn an_interruption_of_a_failing_run_ends_it() {
    let mut bench = Bench::started(&echoes(&[("a", &[]), ("b", &[])]));
    bench.fail("a", ErrorKind::Permanent);
    let turn = stop_in(&mut bench, "b");
    assert_eq!(names(&turn), ["step_cancelled", "run_failed"]);
    assert_eq!(bench.error(), "a: no luck");
}

#[test]
fn an_interruption_of_a_cancelled_run_ends_it() {
    let mut bench = Bench::started(&echoes(&[("a", &[])]));
    bench.turn([Input::Cancel]);
    let turn = stop_in(&mut bench, "a");
    assert_eq!(names(&turn), ["step_cancelled", "run_cancelled"]);
}

#[test]
fn a_tool_that_says_it_was_interrupted_has_failed_like_any_other() {
    let mut bench = Bench::started(&echoes(&[("a", &[])]));
    bench.fail("a", ErrorKind::Interrupted);
    let state = bench.run.step(StepIndex(0)).unwrap();
    assert_eq!(state.failed_attempts, 1);
    assert_eq!(state.error.as_ref().unwrap().kind, ErrorKind::Transient);
}
