//! Every pair of phase and input: what is possible leads to these events, the rest is refused and
//! changes nothing.

use super::*;

const PHASES: [Phase; 8] = [
    Phase::Empty,
    Phase::Pending,
    Phase::Running,
    Phase::Failing,
    Phase::Cancelling,
    Phase::Completed,
    Phase::Failed,
    Phase::Cancelled,
];

/// A run of two parallel steps in this phase.
fn in_phase(phase: Phase) -> Bench {
    let mut bench = Bench::empty();
    let plan = echoes(&[("a", &[]), ("b", &[])]);
    match phase {
        Phase::Empty => {}
        Phase::Pending => drop(bench.turn([submit_plan(&load(&plan))])),
        Phase::Running => drop(bench.start(&plan)),
        Phase::Failing => {
            bench.start(&plan);
            bench.fail("a", ErrorKind::Permanent);
        }
        Phase::Cancelling => {
            bench.start(&plan);
            bench.turn([Input::Cancel]);
        }
        Phase::Completed => {
            bench.start(&plan);
            bench.complete("a");
            bench.complete("b");
        }
        Phase::Failed => {
            bench.start(&plan);
            bench.fail("a", ErrorKind::Permanent);
            bench.complete("b");
        }
        Phase::Cancelled => drop(bench.turn([submit_plan(&load(&plan)), Input::Cancel])),
    }
    assert_eq!(bench.run.phase, phase);
    bench
}

fn report_of_b() -> Input {
    Input::StepReported {
        step: StepIndex(1),
        attempt: Attempt(1),
        outcome: ok(&json!(1)),
        duration_us: 1,
    }
}

/// Sends `input` in every phase. The events of the phases in which it is possible are in `possible`;
/// in all others it must be refused and change nothing.
#[track_caller]
fn table(name: &str, input: impl Fn() -> Input, possible: &[(Phase, &[&str])]) {
    for phase in PHASES {
        let mut bench = in_phase(phase);
        let before = bench.run.clone();
        let (turn, answers) = bench.try_turn([input()]);
        match possible.iter().find(|(other, _)| *other == phase) {
            Some((_, events)) => {
                assert_eq!(answers, [Ok(())], "{name} in {phase:?}");
                assert_eq!(names(&turn), *events, "{name} in {phase:?}");
            }
            None => {
                assert!(answers[0].is_err(), "{name} in {phase:?} must be refused");
                assert_eq!(turn, Turn::default(), "{name} in {phase:?}");
                assert_eq!(bench.run, before, "{name} in {phase:?}");
            }
        }
    }
}

#[test]
fn submit_is_possible_only_on_an_empty_run() {
    let plan = load(&echoes(&[("a", &[])]));
    table(
        "submit",
        || submit_plan(&plan),
        &[(Phase::Empty, &["run_accepted"])],
    );
}

#[test]
fn planned_is_possible_only_on_a_pending_run_without_a_plan() {
    let plan = load(&echoes(&[("a", &[])]));
    table("planned", || Input::Planned(Ok(Arc::clone(&plan))), &[]);
    table("not planned", || Input::Planned(Err("no".into())), &[]);
}

#[test]
fn start_is_possible_only_on_a_pending_run() {
    table(
        "start",
        || Input::Start,
        &[(
            Phase::Pending,
            &["run_started", "step_started", "step_started"],
        )],
    );
}

#[test]
fn a_report_is_possible_only_while_the_attempt_runs() {
    table(
        "report",
        report_of_b,
        &[
            (Phase::Running, &["step_completed"]),
            (Phase::Failing, &["step_completed", "run_failed"]),
            (Phase::Cancelling, &["step_cancelled"]),
        ],
    );
}

#[test]
fn a_report_of_no_such_step_or_attempt_is_stale() {
    for (step, attempt) in [(9, 1), (1, 0), (1, 2)] {
        let report = || Input::StepReported {
            step: StepIndex(step),
            attempt: Attempt(attempt),
            outcome: Outcome::Aborted,
            duration_us: 0,
        };
        table("stale report", report, &[]);
        let (_, answers) = in_phase(Phase::Running).try_turn([report()]);
        let stale = Rejected::Stale {
            step: StepIndex(step),
            attempt: Attempt(attempt),
        };
        assert_eq!(answers, [Err(stale)]);
    }
}

#[test]
fn a_timer_that_fires_late_is_nobodys_mistake() {
    let nothing: &[&str] = &[];
    table(
        "timer",
        || Input::TimerFired,
        &PHASES[1..]
            .iter()
            .map(|phase| (*phase, nothing))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn cancel_is_possible_until_the_run_has_ended() {
    table(
        "cancel",
        || Input::Cancel,
        &[
            (Phase::Pending, &["run_cancel_requested", "run_cancelled"]),
            (Phase::Running, &["run_cancel_requested"]),
            (Phase::Failing, &["run_cancel_requested"]),
            (Phase::Cancelling, &[]),
        ],
    );
}

#[test]
fn retry_is_possible_only_on_a_run_that_failed_or_was_cancelled() {
    table(
        "retry",
        || Input::Retry,
        &[
            (Phase::Failed, &["run_reopened", "step_started"]),
            (
                Phase::Cancelled,
                &["run_reopened", "step_started", "step_started"],
            ),
        ],
    );
}

#[test]
fn recovery_starts_again_what_was_running() {
    table(
        "recovered",
        || Input::Recovered,
        &[
            (Phase::Pending, &[]),
            (
                Phase::Running,
                &[
                    "step_attempt_lost",
                    "step_attempt_lost",
                    "step_started",
                    "step_started",
                ],
            ),
            (
                Phase::Failing,
                &["step_attempt_lost", "step_cancelled", "run_failed"],
            ),
            (
                Phase::Cancelling,
                &["step_cancelled", "step_cancelled", "run_cancelled"],
            ),
            (Phase::Completed, &[]),
            (Phase::Failed, &[]),
            (Phase::Cancelled, &[]),
        ],
    );
}

#[test]
fn poison_ends_a_run_that_has_not_ended() {
    table(
        "poison",
        || Input::Poison("crashed too often".into()),
        &[
            (Phase::Pending, &["run_failed"]),
            (
                Phase::Running,
                &["step_cancelled", "step_cancelled", "run_failed"],
            ),
            (Phase::Failing, &["step_cancelled", "run_failed"]),
            (
                Phase::Cancelling,
                &["step_cancelled", "step_cancelled", "run_failed"],
            ),
        ],
    );
}

#[test]
fn a_refusal_says_what_was_asked_and_where_the_run_stands() {
    let (_, answers) = in_phase(Phase::Completed).try_turn([Input::Retry]);
    let error = answers[0].clone().unwrap_err();
    assert_eq!(error.to_string(), "run is completed: retry is not possible");
}
