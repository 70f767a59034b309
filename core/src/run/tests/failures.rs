//! Steps that fail: what is repeated, what becomes of the rest of the run.

use super::*;

#[test]
fn an_input_or_condition_that_cannot_be_evaluated_fails_the_step_before_it_starts() {
    let skipped = json!({"when": "false"});
    let broken_input = json!({"input": {"of": "${steps.a.output}"}});
    for broken in [broken_input, json!({"when": "steps.a.output > 0"})] {
        let plan = with(
            echoes(&[("a", &[]), ("b", &["a"])]),
            &[("a", skipped.clone()), ("b", broken)],
        );
        let mut bench = Bench::empty();
        bench.start(&plan);
        let state = bench.run.step(StepIndex(1)).unwrap();
        assert_eq!(state.status, StepStatus::Failed);
        assert_eq!(state.attempt, Attempt(0));
        assert_eq!(state.error.as_ref().unwrap().kind, ErrorKind::Expression);
        assert_eq!(bench.run.status(), RunStatus::Failed);
        assert!(bench.error().starts_with("b: "), "{}", bench.error());
    }
}

#[test]
fn a_failed_step_lets_running_steps_end_and_nothing_new_start() {
    let mut bench = Bench::started(&echoes(&[("a", &[]), ("b", &[]), ("c", &["b"])]));
    assert_eq!(
        names(&bench.fail("a", ErrorKind::Permanent)),
        ["step_failed"]
    );
    assert_eq!(bench.run.status(), RunStatus::Running);
    assert_eq!(
        names(&bench.complete("b")),
        ["step_completed", "run_failed"]
    );
    bench.assert_steps(&[
        ("a", StepStatus::Failed),
        ("b", StepStatus::Completed),
        ("c", StepStatus::Pending),
    ]);
    assert_eq!(bench.error(), "a: no luck");
    assert_eq!(bench.run.failure.unwrap().as_str(), "step_failed");
}

#[test]
fn the_first_of_several_failures_is_the_runs_error() {
    let mut bench = Bench::started(&echoes(&[("a", &[]), ("b", &[])]));
    bench.fail("b", ErrorKind::Permanent);
    bench.fail("a", ErrorKind::InvalidInput);
    assert_eq!(bench.error(), "b: no luck");
}

#[test]
fn a_failing_run_gives_its_waiting_steps_up() {
    let mut bench = Bench::started(&echoes(&[("a", &[]), ("b", &[])]));
    bench.fail("a", ErrorKind::Transient);
    assert!(bench.run.wake_at().is_some());
    let turn = bench.fail("b", ErrorKind::Permanent);
    assert_eq!(
        names(&turn),
        ["step_failed", "step_cancelled", "run_failed"]
    );
    assert_eq!(bench.run.wake_at(), None);
}

#[test]
fn a_failing_run_does_not_retry_what_still_runs() {
    let mut bench = Bench::started(&echoes(&[("a", &[]), ("b", &[])]));
    bench.fail("a", ErrorKind::Permanent);
    let turn = bench.fail("b", ErrorKind::Transient);
    assert_eq!(names(&turn), ["step_failed", "run_failed"]);
}

#[test]
fn a_run_whose_failures_may_all_be_is_completed() {
    let may_fail = json!({"on_error": "continue"});
    let plan = with(
        echoes(&[("a", &[]), ("b", &["a"]), ("c", &[])]),
        &[("a", may_fail.clone()), ("c", may_fail)],
    );
    let mut bench = Bench::started(&plan);
    assert_eq!(
        names(&bench.fail("a", ErrorKind::Permanent)),
        ["step_failed", "step_started"]
    );
    bench.fail("c", ErrorKind::Permanent);
    bench.complete("b");
    assert_eq!(bench.run.status(), RunStatus::Completed);
    assert_eq!(bench.run.result, Some(Json::null()), "the last step failed");
}

#[test]
fn a_dependent_may_look_at_the_status_of_what_failed() {
    let plan = with(
        echoes(&[("a", &[]), ("b", &["a"])]),
        &[
            ("a", json!({"on_error": "continue"})),
            ("b", json!({"when": "steps.a.status == 'completed'"})),
        ],
    );
    let mut bench = Bench::started(&plan);
    bench.fail("a", ErrorKind::Permanent);
    bench.assert_steps(&[("b", StepStatus::Skipped)]);
}

#[test]
fn a_retryable_failure_waits_for_its_back_off_and_is_repeated() {
    let mut bench = Bench::started(&echoes(&[("a", &[])]));
    let turn = bench.fail("a", ErrorKind::Transient);
    assert_eq!(names(&turn), ["step_attempt_failed"]);
    assert!(!turn.eager, "a failed attempt may ride with a later record");
    assert_eq!(bench.run.status(), RunStatus::Waiting);
    let due = bench.run.wake_at().unwrap();
    let wait = due.since(bench.now).as_millis();
    assert!((500..=1_000).contains(&wait), "{wait} ms");
    assert_eq!(timer(&turn), Some(due));

    bench.wait(Duration::from_millis(10));
    let turn = bench.turn([Input::TimerFired]);
    assert_eq!(names(&turn), Vec::<&str>::new(), "fired too early");
    assert_eq!(timer(&turn), Some(due), "and is set again");

    bench.now = due;
    let turn = bench.turn([Input::TimerFired]);
    assert_eq!(names(&turn), ["step_started"]);
    assert!(!turn.eager, "an attempt that may be repeated is lazy");
    assert_eq!(starts(&turn).next().unwrap().attempt, Attempt(2));
    assert_eq!(bench.run.wake_at(), None);
}

#[test]
fn a_step_fails_for_good_after_its_last_attempt() {
    let mut bench = Bench::started(&echoes(&[("a", &[])]));
    for attempt in 1..=2 {
        bench.fail("a", ErrorKind::Timeout);
        let state = bench.run.step(StepIndex(0)).unwrap();
        assert_eq!(state.failed_attempts, attempt);
        bench.wait(Duration::from_secs(5));
        bench.turn([Input::TimerFired]);
    }
    let turn = bench.fail("a", ErrorKind::Timeout);
    assert_eq!(names(&turn), ["step_failed", "run_failed"]);
    let state = bench.run.step(StepIndex(0)).unwrap();
    assert_eq!(state.error.as_ref().unwrap().kind, ErrorKind::Timeout);
    assert_eq!(state.attempt, Attempt(3));
}

#[test]
fn the_kind_of_failure_decides_whether_it_is_repeated() {
    use ErrorKind::{
        Expression, InvalidInput, Limit, OutcomeUnknown, Panic, Permanent, Timeout, Transient,
        Unavailable,
    };
    for kind in [Transient, Timeout, Unavailable, Panic] {
        let mut bench = Bench::started(&echoes(&[("a", &[])]));
        assert_eq!(
            names(&bench.fail("a", kind)),
            ["step_attempt_failed"],
            "{kind:?}"
        );
    }
    for kind in [InvalidInput, Permanent, OutcomeUnknown, Expression, Limit] {
        let mut bench = Bench::started(&echoes(&[("a", &[])]));
        assert_eq!(
            names(&bench.fail("a", kind)),
            ["step_failed", "run_failed"],
            "{kind:?}"
        );
    }
}

#[test]
fn a_tool_that_says_when_to_come_back_is_left_alone_until_then() {
    let mut bench = Bench::started(&echoes(&[("a", &[])]));
    let error = ToolError {
        retry_after: Some(Duration::from_secs(30)),
        ..ToolError::transient("429 too many requests")
    };
    let input = bench.report("a", Outcome::Failed(error));
    bench.turn([input]);
    assert_eq!(
        bench.run.wake_at(),
        Some(bench.now.after(Duration::from_secs(30)))
    );
}

#[test]
fn an_attempt_without_back_off_starts_in_the_same_turn() {
    let plan = with(
        echoes(&[("a", &[])]),
        &[("a", json!({"retry": {"max_attempts": 2, "initial": "0ms"}}))],
    );
    let mut bench = Bench::started(&plan);
    let turn = bench.fail("a", ErrorKind::Transient);
    assert_eq!(names(&turn), ["step_attempt_failed", "step_started"]);
    assert_eq!(timer(&turn), None);
}

#[test]
fn an_at_most_once_step_of_unknown_outcome_fails_and_keeps_the_message() {
    use ErrorKind::{
        InvalidInput, OutcomeUnknown, Panic, Permanent, Timeout, Transient, Unavailable,
    };
    let plan = with(
        echoes(&[("a", &[])]),
        &[("a", json!({"delivery": "at_most_once"}))],
    );
    let table = [
        (Timeout, OutcomeUnknown),
        (Panic, OutcomeUnknown),
        (Transient, OutcomeUnknown),
        (Unavailable, Unavailable),
        (Permanent, Permanent),
        (InvalidInput, InvalidInput),
    ];
    for (reported, kept) in table {
        let mut bench = Bench::empty();
        let turn = bench.start(&plan);
        assert!(turn.eager);
        assert_eq!(
            names(&bench.fail("a", reported)),
            ["step_failed", "run_failed"]
        );
        let state = bench.run.step(StepIndex(0)).unwrap();
        let error = state.error.as_ref().unwrap();
        assert_eq!((error.kind, &*error.message), (kept, "no luck"));
    }
}

#[test]
fn only_the_intent_of_an_at_most_once_step_asks_for_a_sync() {
    for (delivery, eager) in [("at_most_once", true), ("at_least_once", false)] {
        let plan = with(
            echoes(&[("a", &[]), ("b", &[])]),
            &[(
                "b",
                json!({"delivery": delivery, "retry": {"max_attempts": 1}}),
            )],
        );
        let limits = Limits {
            parallel_steps: 1,
            ..Limits::default()
        };
        let mut bench = Bench::limited(limits);
        bench.start(&plan);
        let turn = bench.fail("a", ErrorKind::Transient);
        assert_eq!(names(&turn), ["step_attempt_failed", "step_started"]);
        assert_eq!(turn.eager, eager, "{delivery}");
    }
}
