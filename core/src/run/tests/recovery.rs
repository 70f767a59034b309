//! Crashes: of an attempt, of the run's actor, of the whole process.

use super::super::resume;
use super::*;

fn once() -> Value {
    json!({"delivery": "at_most_once"})
}

#[test]
fn a_lost_attempt_is_followed_by_the_next_and_costs_no_try() {
    let mut bench = Bench::started(&echoes(&[("a", &[])]));
    let turn = bench.crash();
    assert_eq!(names(&turn), ["step_attempt_lost", "step_started"]);
    let state = bench.run.step(StepIndex(0)).unwrap();
    assert_eq!((state.attempt, state.lost_attempts), (Attempt(2), 1));
    assert_eq!(state.failed_attempts, 0);
}

#[test]
fn a_lost_at_most_once_attempt_is_of_unknown_outcome_and_never_repeated() {
    let mut bench = Bench::started(&with(echoes(&[("a", &[])]), &[("a", once())]));
    let turn = bench.crash();
    assert_eq!(
        names(&turn),
        ["step_attempt_lost", "step_failed", "run_failed"]
    );
    let error = bench.run.step(StepIndex(0)).unwrap().error.clone().unwrap();
    assert_eq!(error.kind, ErrorKind::OutcomeUnknown);
}

#[test]
fn a_lost_at_most_once_attempt_stops_what_was_lost_beside_it() {
    let plan = with(echoes(&[("a", &[]), ("b", &[])]), &[("b", once())]);
    let mut bench = Bench::started(&plan);
    let turn = bench.crash();
    assert_eq!(
        names(&turn),
        [
            "step_attempt_lost",
            "step_attempt_lost",
            "step_failed",
            "step_cancelled",
            "run_failed"
        ]
    );
    bench.assert_steps(&[("a", StepStatus::Cancelled), ("b", StepStatus::Failed)]);
}

#[test]
fn a_lost_at_most_once_attempt_that_may_fail_lets_the_run_go_on() {
    let mut once = once();
    once["on_error"] = json!("continue");
    let plan = with(echoes(&[("a", &[]), ("b", &[])]), &[("b", once)]);
    let mut bench = Bench::started(&plan);
    bench.crash();
    bench.assert_steps(&[("a", StepStatus::Running), ("b", StepStatus::Failed)]);
    bench.complete("a");
    assert_eq!(bench.run.status(), RunStatus::Completed);
}

#[test]
fn a_step_that_kills_its_process_poisons_the_run() {
    let mut bench = Bench::started(&echoes(&[("a", &[]), ("b", &[])]));
    bench.complete("a");
    bench.crash();
    bench.crash();
    let turn = bench.crash();
    assert_eq!(
        names(&turn),
        ["step_attempt_lost", "step_failed", "run_failed"]
    );
    assert_eq!(bench.error(), "b: lost 3 attempts to crashes");
    assert_eq!(bench.run.failure.unwrap().as_str(), "poisoned");
}

#[test]
fn a_poisoned_run_puts_away_whatever_else_it_had() {
    let mut bench = Bench::started(&echoes(&[("a", &[]), ("b", &[]), ("c", &[])]));
    bench.crash();
    bench.crash();
    bench.fail("c", ErrorKind::Transient);
    let turn = bench.crash();
    assert_eq!(
        names(&turn),
        [
            "step_attempt_lost",
            "step_attempt_lost",
            "step_failed",
            "step_cancelled",
            "step_cancelled",
            "run_failed"
        ]
    );
}

#[test]
fn losses_count_over_all_rounds() {
    let mut bench = Bench::started(&echoes(&[("a", &[])]));
    for _ in 0..3 {
        bench.crash();
    }
    bench.turn([Input::Retry]);
    assert_eq!(bench.run.status(), RunStatus::Running);
    bench.crash();
    assert_eq!(bench.error(), "a: lost 4 attempts to crashes");
}

#[test]
fn an_attempt_whose_actor_died_alone_is_lost_as_well() {
    let mut bench = Bench::started(&echoes(&[("a", &[]), ("b", &[])]));
    for _ in 0..2 {
        let report = bench.report("a", Outcome::Aborted);
        assert_eq!(
            names(&bench.turn([report])),
            ["step_attempt_lost", "step_started"]
        );
    }
    let report = bench.report("a", Outcome::Aborted);
    let turn = bench.turn([report]);
    assert_eq!(
        names(&turn),
        [
            "step_attempt_lost",
            "step_failed",
            "step_cancelled",
            "run_failed"
        ]
    );
    assert!(turn.effects.contains(&Effect::AbortStep {
        step: StepIndex(1),
        attempt: Attempt(1)
    }));
    assert_eq!(bench.error(), "a: lost 3 attempts to crashes");
}

#[test]
fn an_at_most_once_attempt_whose_actor_died_alone_is_of_unknown_outcome() {
    let mut bench = Bench::started(&with(echoes(&[("a", &[])]), &[("a", once())]));
    let report = bench.report("a", Outcome::Aborted);
    let turn = bench.turn([report]);
    assert_eq!(
        names(&turn),
        ["step_attempt_lost", "step_failed", "run_failed"]
    );
}

#[test]
fn a_crash_in_a_failing_run_starts_nothing() {
    let mut bench = Bench::started(&echoes(&[("a", &[]), ("b", &[])]));
    bench.fail("a", ErrorKind::Permanent);
    let turn = bench.crash();
    assert_eq!(
        names(&turn),
        ["step_attempt_lost", "step_cancelled", "run_failed"]
    );
    assert_eq!(bench.error(), "a: no luck");
}

#[test]
fn a_crash_in_the_middle_of_a_cancellation_ends_it() {
    let mut bench = Bench::started(&echoes(&[("a", &[]), ("b", &[])]));
    bench.turn([Input::Cancel]);
    let turn = bench.crash();
    assert_eq!(
        names(&turn),
        ["step_cancelled", "step_cancelled", "run_cancelled"]
    );
}

#[test]
fn a_crash_during_a_back_off_sets_the_timer_again() {
    let mut bench = Bench::started(&echoes(&[("a", &[])]));
    bench.fail("a", ErrorKind::Transient);
    let due = bench.run.wake_at().unwrap();
    assert_eq!(resume(&bench.run), [Effect::SetTimer { at: due }]);
    let turn = bench.crash();
    assert_eq!(turn.effects, [Effect::SetTimer { at: due }]);
    bench.now = due;
    assert_eq!(names(&bench.crash()), ["step_started"]);
}

#[test]
fn a_step_whose_start_was_never_written_starts_after_the_crash() {
    let mut bench = Bench::started(&echoes(&[("a", &[]), ("b", &["a"])]));
    bench.complete("a");
    let lost = bench.records.pop().unwrap();
    assert_eq!(lost.event.name(), "step_started");
    let turn = bench.crash();
    assert_eq!(names(&turn), ["step_started"]);
    assert_eq!(starts(&turn).next().unwrap().attempt, Attempt(1));
}

#[test]
fn the_actor_of_an_ended_run_is_told_to_go() {
    let mut bench = Bench::started(&echoes(&[("a", &[])]));
    bench.complete("a");
    assert_eq!(resume(&bench.run), [Effect::Close]);
    assert_eq!(bench.crash().effects, [Effect::Close]);
}

#[test]
fn an_ended_run_that_is_loaded_and_reopened_in_one_turn_is_not_closed() {
    let mut bench = Bench::started(&echoes(&[("a", &[])]));
    bench.fail("a", ErrorKind::Permanent);
    let turn = bench.turn([Input::Recovered, Input::Retry]);
    assert_eq!(names(&turn), ["run_reopened", "step_started"]);
    assert!(!turn.effects.contains(&Effect::Close));
}

#[test]
fn nothing_is_owed_to_a_run_that_waits_for_a_slot() {
    let mut bench = Bench::empty();
    bench.turn([submit_plan(&load(&echoes(&[("a", &[])])))]);
    assert_eq!(resume(&bench.run), []);
    assert_eq!(bench.crash(), Turn::default());
}
