//! Cancellation, retry, and the races between them and reports.

use super::*;

fn two() -> Value {
    echoes(&[("a", &[]), ("b", &[])])
}

#[test]
fn a_pending_run_is_cancelled_in_one_batch() {
    let mut bench = Bench::empty();
    bench.turn([submit_plan(&load(&two()))]);
    let turn = bench.turn([Input::Cancel]);
    assert_eq!(names(&turn), ["run_cancel_requested", "run_cancelled"]);
    assert!(turn.eager);
}

#[test]
fn a_cancelled_run_aborts_what_runs_and_ends_when_nothing_does() {
    let mut bench = Bench::started(&two());
    let turn = bench.turn([Input::Cancel]);
    let aborted: Vec<StepIndex> = turn
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::AbortStep { step, .. } => Some(*step),
            _ => None,
        })
        .collect();
    assert_eq!(aborted, [StepIndex(0), StepIndex(1)]);
    assert_eq!(bench.run.status(), RunStatus::Running);
    let report = bench.report("a", Outcome::Aborted);
    assert_eq!(names(&bench.turn([report])), ["step_cancelled"]);
    let report = bench.report("b", Outcome::Aborted);
    assert_eq!(
        names(&bench.turn([report])),
        ["step_cancelled", "run_cancelled"]
    );
    assert_eq!(bench.run.status(), RunStatus::Cancelled);
}

#[test]
fn waiting_and_unstarted_steps_do_not_hold_a_cancellation_up() {
    let mut bench = Bench::started(&echoes(&[("a", &[]), ("b", &["a"])]));
    bench.fail("a", ErrorKind::Transient);
    let turn = bench.turn([Input::Cancel]);
    assert_eq!(
        names(&turn),
        ["run_cancel_requested", "step_cancelled", "run_cancelled"]
    );
    assert_eq!(timer(&turn), None);
    bench.assert_steps(&[("a", StepStatus::Cancelled), ("b", StepStatus::Pending)]);
}

#[test]
fn a_report_after_the_cancellation_is_kept_as_late_and_counts_for_nothing() {
    let mut bench = Bench::started(&two());
    bench.turn([Input::Cancel]);
    bench.complete("a");
    bench.fail("b", ErrorKind::Permanent);
    let late: Vec<Value> = bench
        .records
        .iter()
        .filter_map(|record| match &record.event {
            Event::StepCancelled { late, .. } => Some(late.as_ref().unwrap().to_value()),
            _ => None,
        })
        .collect();
    assert_eq!(
        late,
        [
            json!({"status": "completed", "output": {"by": "a"}}),
            json!({"status": "failed", "error":
                {"kind": "permanent", "message": "no luck", "retryable": false}}),
        ]
    );
    assert_eq!(bench.run.status(), RunStatus::Cancelled);
    bench.assert_steps(&[("a", StepStatus::Cancelled)]);
    assert_eq!(bench.run.step(StepIndex(0)).unwrap().output, None);
}

#[test]
fn of_a_late_output_without_end_only_the_size_is_kept() {
    let limits = Limits {
        payload_bytes: 50,
        ..Limits::default()
    };
    let mut bench = Bench::limited(limits);
    bench.start(&echoes(&[("a", &[])]));
    bench.turn([Input::Cancel]);
    let report = bench.report("a", ok(&json!("x".repeat(60))));
    bench.turn([report]);
    assert!(bench.records.iter().any(|record| matches!(
        &record.event,
        Event::StepCancelled { late: Some(late), .. }
            if late.to_value() == json!({"status": "completed", "output_bytes": 62})
    )));
}

#[test]
fn late_outputs_do_not_take_the_run_over_its_limit() {
    let limits = Limits {
        run_bytes: 3_000,
        ..Limits::default()
    };
    let mut bench = Bench::limited(limits);
    bench.start(&two());
    bench.turn([Input::Cancel]);
    for id in ["a", "b"] {
        let report = bench.report(id, ok(&json!("x".repeat(1_500))));
        bench.turn([report]);
    }
    assert_eq!(bench.run.status(), RunStatus::Cancelled);
    assert!(bench.run.bytes() < 3_300, "{}", bench.run.bytes());
}

#[test]
fn the_order_in_the_journal_decides_between_a_report_and_a_cancellation() {
    let mut bench = Bench::started(&echoes(&[("a", &[])]));
    let report = bench.report("a", ok(&json!(1)));
    let (_, answers) = bench.try_turn([report.clone(), Input::Cancel]);
    assert!(answers[0].is_ok() && answers[1].is_err());
    assert_eq!(bench.run.status(), RunStatus::Completed);

    let mut bench = Bench::started(&echoes(&[("a", &[])]));
    bench.turn([Input::Cancel, report]);
    assert_eq!(bench.run.status(), RunStatus::Cancelled);
}

#[test]
fn a_failing_run_that_is_cancelled_ends_cancelled() {
    let mut bench = Bench::started(&two());
    bench.fail("a", ErrorKind::Permanent);
    bench.turn([Input::Cancel]);
    bench.complete("b");
    assert_eq!(bench.run.status(), RunStatus::Cancelled);
    assert_eq!(bench.run.error, None);
}

#[test]
fn a_second_cancellation_changes_nothing() {
    let mut bench = Bench::started(&two());
    bench.turn([Input::Cancel]);
    let before = bench.run.clone();
    let turn = bench.turn([Input::Cancel]);
    assert_eq!(turn, Turn::default());
    assert_eq!(bench.run, before);
}

#[test]
fn a_retry_keeps_what_is_done_and_numbers_attempts_on() {
    let mut bench = Bench::started(&echoes(&[("a", &[]), ("b", &["a"]), ("c", &["b"])]));
    bench.complete("a");
    let first_start = bench.run.started_at;
    bench.fail("b", ErrorKind::Permanent);
    bench.wait(Duration::from_secs(60));
    let turn = bench.turn([Input::Retry]);
    assert_eq!(names(&turn), ["run_reopened", "step_started"]);
    let start = starts(&turn).next().unwrap();
    assert_eq!((start.step, start.attempt), (StepIndex(1), Attempt(2)));
    assert_eq!(start.round, Round(2));
    assert_eq!(bench.run.started_at, first_start);
    assert_eq!(
        (bench.run.error.clone(), bench.run.completed_at),
        (None, None)
    );
    let state = bench.run.step(StepIndex(1)).unwrap();
    assert_eq!(state.started_at, Some(bench.now));
    assert_eq!(state.failed_attempts, 0);
    bench.complete("b");
    bench.complete("c");
    assert_eq!(bench.run.status(), RunStatus::Completed);
}

#[test]
fn a_retry_gives_each_step_its_attempts_anew() {
    let mut bench = Bench::started(&echoes(&[("a", &[])]));
    for _ in 0..2 {
        for _ in 0..2 {
            bench.fail("a", ErrorKind::Transient);
            bench.wait(Duration::from_secs(5));
            bench.turn([Input::TimerFired]);
        }
        bench.fail("a", ErrorKind::Transient);
        assert_eq!(bench.run.status(), RunStatus::Failed);
        bench.turn([Input::Retry]);
    }
    assert_eq!(bench.run.step(StepIndex(0)).unwrap().attempt, Attempt(7));
}

#[test]
fn a_retry_starts_over_what_was_skipped_behind_a_failure_and_nothing_else() {
    let plan = with(
        echoes(&[
            ("a", &[]),
            ("b", &["a"]),
            ("c", &["b"]),
            ("other", &[]),
            ("end", &["c", "other"]),
        ]),
        &[
            ("a", json!({"on_error": "continue"})),
            ("b", json!({"when": "steps.a.status == 'completed'"})),
            ("other", json!({"when": "false"})),
        ],
    );
    let mut bench = Bench::started(&plan);
    bench.fail("a", ErrorKind::Permanent);
    bench.complete("c");
    bench.fail("end", ErrorKind::Permanent);
    bench.assert_steps(&[("b", StepStatus::Skipped), ("other", StepStatus::Skipped)]);
    let turn = bench.turn([Input::Retry]);
    assert_eq!(
        starts(&turn).map(|start| start.step).collect::<Vec<_>>(),
        [StepIndex(0), StepIndex(4)]
    );
    bench.assert_steps(&[
        ("b", StepStatus::Pending),
        ("c", StepStatus::Completed),
        ("other", StepStatus::Skipped),
    ]);
    bench.complete("a");
    bench.assert_steps(&[("b", StepStatus::Running)]);
    bench.complete("end");
    bench.complete("b");
    assert_eq!(bench.run.status(), RunStatus::Completed);
}

#[test]
fn a_run_cancelled_before_it_started_is_retried_from_its_beginning() {
    let mut bench = Bench::empty();
    bench.turn([submit_plan(&load(&two())), Input::Cancel]);
    let turn = bench.turn([Input::Retry]);
    assert_eq!(
        names(&turn),
        ["run_reopened", "step_started", "step_started"]
    );
    assert_eq!(bench.run.started_at, Some(bench.now));
}

#[test]
fn of_two_retries_one_wins() {
    let mut bench = Bench::started(&echoes(&[("a", &[])]));
    bench.fail("a", ErrorKind::Permanent);
    let (turn, answers) = bench.try_turn([Input::Retry, Input::Retry]);
    assert!(answers[0].is_ok() && answers[1].is_err());
    assert_eq!(names(&turn), ["run_reopened", "step_started"]);
}

#[test]
fn a_run_that_ends_and_is_reopened_in_one_turn_is_not_closed() {
    let mut bench = Bench::started(&echoes(&[("a", &[])]));
    let report = bench.report("a", failed(ErrorKind::Permanent));
    let turn = bench.turn([report, Input::Retry]);
    assert_eq!(
        names(&turn),
        ["step_failed", "run_failed", "run_reopened", "step_started"]
    );
    assert!(!turn.effects.contains(&Effect::Close));
}

#[test]
fn a_report_from_the_round_before_is_stale() {
    let mut bench = Bench::started(&two());
    let old = bench.report("b", ok(&json!(1)));
    bench.turn([Input::Poison("crashed too often".into()), Input::Retry]);
    let (_, answers) = bench.try_turn([old]);
    assert!(matches!(answers[..], [Err(Rejected::Stale { .. })]));
}

#[test]
fn a_poisoned_run_aborts_what_runs_and_says_why() {
    let mut bench = Bench::started(&two());
    bench.fail("a", ErrorKind::Transient);
    let turn = bench.turn([Input::Poison("actor failed 4 times in 60 s".into())]);
    assert_eq!(
        names(&turn),
        ["step_cancelled", "step_cancelled", "run_failed"]
    );
    assert!(turn.effects.contains(&Effect::AbortStep {
        step: StepIndex(1),
        attempt: Attempt(1)
    }));
    assert_eq!(bench.error(), "actor failed 4 times in 60 s");
    assert_eq!(bench.run.failure.unwrap().as_str(), "poisoned");
}
