//! Inputs, outputs, results, messages and whole runs that are too large.

use super::*;

#[test]
fn an_output_over_the_payload_limit_fails_the_step() {
    let limits = Limits {
        payload_bytes: 100,
        ..Limits::default()
    };
    let mut bench = Bench::limited(limits);
    bench.start(&echoes(&[("a", &[])]));
    let report = bench.report("a", ok(&json!("x".repeat(98))));
    let mut enough = Bench::limited(bench.limits.clone());
    enough.start(&echoes(&[("a", &[])]));
    enough.turn([report]);
    assert_eq!(enough.run.status(), RunStatus::Completed);

    let report = bench.report("a", ok(&json!("x".repeat(99))));
    assert_eq!(names(&bench.turn([report])), ["step_failed", "run_failed"]);
    assert_eq!(
        bench.error(),
        "a: output has 101 bytes, more than the limit of 100 bytes"
    );
    assert_eq!(bench.run.failure.unwrap().as_str(), "step_failed");
}

#[test]
fn an_input_over_the_payload_limit_fails_the_step_before_it_starts() {
    let limits = Limits {
        payload_bytes: 11,
        ..Limits::default()
    };
    let mut bench = Bench::limited(limits);
    let turn = bench.start(&with(
        echoes(&[("a", &[]), ("b", &["a"])]),
        &[
            ("a", json!({"on_error": "continue"})),
            ("b", json!({"input": {}})),
        ],
    ));
    assert_eq!(
        names(&turn),
        ["run_accepted", "run_started", "step_failed", "step_started"]
    );
    let error = bench.run.step(StepIndex(0)).unwrap().error.clone().unwrap();
    assert_eq!(error.kind, ErrorKind::Limit);
}

#[test]
fn an_output_that_takes_the_run_over_its_limit_fails_the_run_at_once() {
    let limits = Limits {
        run_bytes: 2_000,
        ..Limits::default()
    };
    let mut bench = Bench::limited(limits);
    let may_fail = json!({"on_error": "continue"});
    bench.start(&with(
        echoes(&[("a", &[]), ("b", &[]), ("c", &[])]),
        &[("a", may_fail)],
    ));
    bench.fail("c", ErrorKind::Transient);
    let report = bench.report("a", ok(&json!("x".repeat(1_900))));
    let turn = bench.turn([report]);
    assert_eq!(
        names(&turn),
        [
            "step_failed",
            "step_cancelled",
            "step_cancelled",
            "run_failed"
        ]
    );
    assert!(turn.effects.contains(&Effect::AbortStep {
        step: StepIndex(1),
        attempt: Attempt(1)
    }));
    assert_eq!(bench.run.failure.unwrap().as_str(), "limit_exceeded");
    assert!(
        bench.error().starts_with("a: run would take "),
        "{}",
        bench.error()
    );
}

#[test]
fn attempts_without_end_meet_the_limit_of_the_run() {
    let limits = Limits {
        run_bytes: 3_000,
        ..Limits::default()
    };
    let mut bench = Bench::limited(limits);
    bench.start(&with(
        echoes(&[("a", &[])]),
        &[(
            "a",
            json!({"retry": {"max_attempts": 100, "initial": "0ms"}}),
        )],
    ));
    let mut turns = 0;
    while bench.run.status() == RunStatus::Running {
        bench.fail("a", ErrorKind::Transient);
        turns += 1;
        assert!(turns < 100);
    }
    assert_eq!(bench.run.failure.unwrap().as_str(), "limit_exceeded");
    assert!(bench.run.bytes() < 3_000 + 300, "{}", bench.run.bytes());
}

#[test]
fn a_result_over_the_payload_limit_fails_the_run() {
    let limits = Limits {
        payload_bytes: 60,
        ..Limits::default()
    };
    let mut bench = Bench::limited(limits);
    let mut plan = echoes(&[("a", &[])]);
    plan["output"] = json!({"padding": "x".repeat(60)});
    bench.start(&plan);
    bench.complete("a");
    assert_eq!(bench.run.failure.unwrap().as_str(), "limit_exceeded");
    assert!(
        bench.error().starts_with("output has "),
        "{}",
        bench.error()
    );
}

#[test]
fn a_message_without_end_is_cut_at_a_character() {
    let mut bench = Bench::started(&echoes(&[("a", &[])]));
    let error = ToolError::permanent("é".repeat(10_000));
    let report = bench.report("a", Outcome::Failed(error));
    bench.turn([report]);
    let state = bench.run.step(StepIndex(0)).unwrap();
    let message = &state.error.as_ref().unwrap().message;
    assert!(message.ends_with("... (20000 bytes in all)"), "{message}");
    assert!(message.len() < 4_200);
}
