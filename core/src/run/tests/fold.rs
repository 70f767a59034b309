//! Records that do not fit are errors, and leave the run as it was.

use super::super::FoldError;
use super::*;

fn record(bench: &Bench, event: Event) -> Record {
    Record {
        seq: bench.run.seq.next(),
        at: bench.now,
        event,
    }
}

#[track_caller]
fn refused(bench: &mut Bench, event: Event) {
    let before = bench.run.clone();
    let record = record(bench, event);
    let error = bench.run.apply(&record).unwrap_err();
    assert!(matches!(error, FoldError::Illegal { .. }), "{error}");
    assert_eq!(bench.run, before);
}

#[test]
fn a_record_out_of_sequence_is_refused() {
    let mut bench = Bench::started(&echoes(&[("a", &[])]));
    for seq in [0, 1, 3, 5, u64::MAX] {
        let record = Record {
            seq: Seq(seq),
            at: bench.now,
            event: Event::RunCancelRequested,
        };
        let error = bench.run.apply(&record).unwrap_err();
        let last = Seq(3);
        let found = Seq(seq);
        assert_eq!(error, FoldError::OutOfSequence { last, found });
    }
}

#[test]
fn events_that_cannot_happen_are_refused() {
    let mut bench = Bench::started(&echoes(&[("a", &[]), ("b", &["a"])]));
    let (a, b) = (StepIndex(0), StepIndex(1));
    let one = Attempt(1);
    let input = Json::null();
    refused(
        &mut bench,
        Event::RunAccepted(Box::new(accepted(None, None))),
    );
    refused(&mut bench, Event::RunPlanned { plan: Json::null() });
    refused(&mut bench, Event::RunStarted);
    refused(&mut bench, Event::RunReopened { round: Round(2) });
    refused(
        &mut bench,
        Event::RunCompleted {
            result: Json::null(),
        },
    );
    refused(&mut bench, Event::RunCancelled);
    refused(
        &mut bench,
        Event::RunFailed {
            reason: crate::event::FailureReason::Step,
            error: "a is still running".into(),
        },
    );
    for (step, attempt) in [(a, Attempt(2)), (b, one), (StepIndex(2), one)] {
        let input = input.clone();
        refused(
            &mut bench,
            Event::StepStarted {
                step,
                attempt,
                input,
            },
        );
    }
    for (step, attempt) in [(a, Attempt(2)), (b, one), (StepIndex(2), one)] {
        refused(&mut bench, Event::StepAttemptLost { step, attempt });
        refused(
            &mut bench,
            Event::StepCompleted {
                step,
                attempt,
                output: Json::null(),
                duration_us: 0,
            },
        );
        let late = None;
        refused(
            &mut bench,
            Event::StepCancelled {
                step,
                attempt,
                late,
            },
        );
    }
    refused(&mut bench, Event::StepSkipped { step: a });
    refused(&mut bench, Event::StepSkipped { step: b });
}

#[test]
fn a_completed_step_cannot_start_again() {
    let mut bench = Bench::started(&echoes(&[("a", &[]), ("b", &[])]));
    bench.complete("a");
    refused(
        &mut bench,
        Event::StepStarted {
            step: StepIndex(0),
            attempt: Attempt(2),
            input: Json::null(),
        },
    );
}

#[test]
fn a_round_is_opened_only_by_the_next_number() {
    let mut bench = Bench::started(&echoes(&[("a", &[])]));
    bench.fail("a", ErrorKind::Permanent);
    refused(&mut bench, Event::RunReopened { round: Round(1) });
    refused(&mut bench, Event::RunReopened { round: Round(3) });
}

#[test]
fn a_plan_that_does_not_load_is_an_error_of_its_event() {
    let mut bench = Bench::empty();
    bench.turn([submit_prompt("go")]);
    let event = Event::RunPlanned {
        plan: Json::from_trusted("{}"),
    };
    let record = record(&bench, event);
    let before = bench.run.clone();
    let error = bench.run.apply(&record).unwrap_err();
    assert!(matches!(error, FoldError::Plan { seq: Seq(2), .. }));
    assert_eq!(bench.run, before);
}

#[test]
fn replay_compiles_what_the_cache_does_not_have() {
    let mut bench = Bench::started(&echoes(&[("a", &[]), ("b", &["a"])]));
    bench.complete("a");
    let cold = Run::fold(bench.run.id, &bench.records, |_| None).unwrap();
    assert_eq!(cold, bench.run);
    let other = load(&echoes(&[("x", &[])]));
    let wrong = Run::fold(bench.run.id, &bench.records, |_| Some(Arc::clone(&other))).unwrap();
    assert_eq!(wrong, bench.run, "a plan of another text is ignored");
}

#[test]
fn a_cached_plan_is_shared_and_not_compiled_again() {
    let plan = load(&echoes(&[("a", &[])]));
    let mut bench = Bench::empty();
    bench.turn([submit_plan(&plan)]);
    let again = Run::fold(bench.run.id, &bench.records, |_| Some(Arc::clone(&plan))).unwrap();
    assert!(Arc::ptr_eq(again.plan.as_ref().unwrap(), &plan));
    assert!(Arc::ptr_eq(bench.run.plan.as_ref().unwrap(), &plan));
}

#[test]
fn every_prefix_of_a_journal_is_a_state_that_recovers_to_an_end() {
    let plan = with(
        echoes(&[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["b", "c"])]),
        &[(
            "b",
            json!({"retry": {"max_attempts": 2, "initial": "10ms"}}),
        )],
    );
    let mut whole = Bench::started(&plan);
    whole.complete("a");
    whole.fail("b", ErrorKind::Transient);
    whole.complete("c");
    whole.wait(Duration::from_secs(1));
    whole.turn([Input::TimerFired]);
    whole.complete("b");
    whole.complete("d");
    for length in 2..=whole.records.len() {
        let mut bench = Bench::empty();
        bench.records = whole.records[..length].to_vec();
        bench.run.plan = Some(load(&plan));
        bench.crash();
        bench.now = whole.now;
        if bench.run.phase == Phase::Pending {
            bench.turn([Input::Start]);
        }
        bench.turn(bench.run.wake_at().map(|_| Input::TimerFired));
        while let Some((step, attempt)) = bench.out.first().copied() {
            bench.turn([Input::StepReported {
                step,
                attempt,
                outcome: ok(&json!(1)),
                duration_us: 0,
            }]);
        }
        assert_eq!(
            bench.run.status(),
            RunStatus::Completed,
            "after {length} records"
        );
    }
}
