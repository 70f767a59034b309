//! The semantics of steps, one sentence of the contract after the other: when they start, what they
//! get, and what the run comes to. Those that fail are in `failures`.

use super::*;

#[test]
fn steps_run_in_parallel_unless_one_depends_on_another() {
    let mut bench = Bench::started(&echoes(&[("a", &[]), ("b", &[]), ("c", &["a", "b"])]));
    bench.assert_steps(&[
        ("a", StepStatus::Running),
        ("b", StepStatus::Running),
        ("c", StepStatus::Pending),
    ]);
    assert_eq!(starts(&bench.complete("a")).count(), 0);
    assert_eq!(starts(&bench.complete("b")).count(), 1);
    bench.assert_steps(&[("c", StepStatus::Running)]);
}

#[test]
fn a_start_carries_all_that_an_attempt_needs() {
    let plan = with(
        echoes(&[("a", &[])]),
        &[("a", json!({"delivery": "at_most_once"}))],
    );
    let mut bench = Bench::empty();
    let turn = bench.start(&plan);
    let start = starts(&turn).next().unwrap();
    assert_eq!((start.step, start.attempt), (StepIndex(0), Attempt(1)));
    assert_eq!(start.round, Round(1));
    assert_eq!(start.tool.as_str(), "echo");
    assert_eq!(start.input.as_str(), r#"{"from":"a"}"#);
    assert_eq!(start.delivery, Delivery::AtMostOnce);
}

#[test]
fn no_more_steps_run_at_once_than_the_limit_allows() {
    let limits = Limits {
        parallel_steps: 2,
        ..Limits::default()
    };
    let mut bench = Bench::limited(limits);
    let ids = ["a", "b", "c", "d"];
    let turn = bench.start(&echoes(&ids.map(|id| (id, &[][..]))));
    assert_eq!(starts(&turn).count(), 2);
    assert_eq!(
        starts(&bench.complete("b")).next().unwrap().step,
        StepIndex(2)
    );
    assert_eq!(
        starts(&bench.complete("a")).next().unwrap().step,
        StepIndex(3)
    );
}

#[test]
fn a_waiting_step_holds_no_place_and_comes_back_when_one_is_free() {
    let limits = Limits {
        parallel_steps: 1,
        ..Limits::default()
    };
    let mut bench = Bench::limited(limits);
    bench.start(&echoes(&[("a", &[]), ("b", &[]), ("c", &[])]));
    let turn = bench.fail("a", ErrorKind::Transient);
    assert_eq!(starts(&turn).next().unwrap().step, StepIndex(1));
    bench.wait(Duration::from_secs(2));
    let turn = bench.turn([Input::TimerFired]);
    assert_eq!(starts(&turn).count(), 0, "b has the only place");
    assert_eq!(
        timer(&turn),
        None,
        "a report brings the place, no timer does"
    );
    let turn = bench.complete("b");
    let next = starts(&turn).next().unwrap();
    assert_eq!((next.step, next.attempt), (StepIndex(0), Attempt(2)));
}

#[test]
fn a_step_whose_when_is_false_is_skipped_and_its_dependents_still_run() {
    let plan = with(
        echoes(&[("a", &[]), ("b", &["a"]), ("c", &["b"])]),
        &[("b", json!({"when": "false"}))],
    );
    let mut bench = Bench::started(&plan);
    let turn = bench.complete("a");
    assert_eq!(
        names(&turn),
        ["step_completed", "step_skipped", "step_started"]
    );
    bench.complete("c");
    assert_eq!(bench.run.status(), RunStatus::Completed);
}

#[test]
fn the_default_result_is_null_when_the_last_step_was_skipped() {
    let plan = with(
        echoes(&[("a", &[]), ("b", &["a"])]),
        &[("b", json!({"when": "false"}))],
    );
    let mut bench = Bench::started(&plan);
    let turn = bench.complete("a");
    assert_eq!(
        names(&turn),
        ["step_completed", "step_skipped", "run_completed"]
    );
    assert_eq!(bench.run.result, Some(Json::null()));
}

#[test]
fn the_result_is_the_plans_output_where_it_names_one() {
    let mut plan = echoes(&[("a", &[]), ("b", &["a"])]);
    plan["output"] = json!("${steps.a.output}");
    let mut bench = Bench::started(&plan);
    bench.complete("a");
    bench.complete("b");
    assert_eq!(bench.run.result.as_ref().unwrap().as_str(), r#"{"by":"a"}"#);
}

#[test]
fn an_output_that_cannot_be_evaluated_fails_the_run() {
    let mut plan = with(echoes(&[("a", &[])]), &[("a", json!({"when": "false"}))]);
    plan["output"] = json!("${steps.a.output}");
    let mut bench = Bench::empty();
    let turn = bench.start(&plan);
    assert_eq!(
        names(&turn),
        ["run_accepted", "run_started", "step_skipped", "run_failed"]
    );
    assert_eq!(bench.run.failure.unwrap().as_str(), "output_failed");
    assert!(bench.error().starts_with("output: "), "{}", bench.error());
    assert_eq!(
        names(&bench.turn([Input::Retry])),
        ["run_reopened", "run_failed"]
    );
}
