//! From the submission to the first step.

use super::*;

#[test]
fn a_plan_is_accepted_started_and_run_to_its_end() {
    let mut bench = Bench::empty();
    let turn = bench.start(&echoes(&[("a", &[]), ("b", &["a"])]));
    assert_eq!(
        names(&turn),
        ["run_accepted", "run_started", "step_started"]
    );
    assert!(turn.eager);
    assert_eq!(
        names(&bench.complete("a")),
        ["step_completed", "step_started"]
    );
    let turn = bench.complete("b");
    assert_eq!(names(&turn), ["step_completed", "run_completed"]);
    assert_eq!(bench.run.status(), RunStatus::Completed);
    assert_eq!(bench.run.result.as_ref().unwrap().as_str(), r#"{"by":"b"}"#);
    assert_eq!(
        turn.effects,
        [Effect::Publish { upto: Seq(7) }, Effect::Close]
    );
}

#[test]
fn a_prompt_asks_for_a_plan() {
    let mut bench = Bench::empty();
    let turn = bench.turn([submit_prompt("add 1 and 2")]);
    let asked = Effect::MakePlan {
        prompt: "add 1 and 2".into(),
    };
    assert!(turn.effects.contains(&asked));
    assert_eq!(super::super::resume(&bench.run), [asked]);
    assert_eq!(bench.run.status(), RunStatus::Pending);
}

#[test]
fn a_prompt_whose_plan_comes_in_the_same_turn_asks_for_none() {
    let plan = load(&echoes(&[("a", &[])]));
    let mut bench = Bench::empty();
    let turn = bench.turn([submit_prompt("go"), Input::Planned(Ok(plan)), Input::Start]);
    assert_eq!(
        names(&turn),
        ["run_accepted", "run_planned", "run_started", "step_started"]
    );
    assert!(
        !turn
            .effects
            .iter()
            .any(|effect| matches!(effect, Effect::MakePlan { .. }))
    );
}

#[test]
fn a_run_that_has_a_slot_starts_when_its_plan_comes() {
    let plan = load(&echoes(&[("a", &[])]));
    let mut bench = Bench::empty();
    bench.turn([submit_prompt("go"), Input::Start]);
    assert_eq!(bench.run.status(), RunStatus::Pending);
    let turn = bench.turn([Input::Planned(Ok(plan))]);
    assert_eq!(names(&turn), ["run_planned", "run_started", "step_started"]);
}

#[test]
fn a_slot_is_not_remembered_over_a_crash() {
    let plan = load(&echoes(&[("a", &[])]));
    let mut bench = Bench::empty();
    bench.turn([submit_prompt("go"), Input::Start]);
    assert_eq!(names(&bench.crash()), Vec::<&str>::new());
    assert_eq!(
        names(&bench.turn([Input::Planned(Ok(plan))])),
        ["run_planned"]
    );
    assert_eq!(
        names(&bench.turn([Input::Start])),
        ["run_started", "step_started"]
    );
}

#[test]
fn a_planner_is_asked_once_and_again_only_when_the_run_was_loaded_again() {
    let question = Effect::MakePlan {
        prompt: "go".into(),
    };
    let mut bench = Bench::empty();
    let turn = bench.turn([submit_prompt("go"), Input::Start]);
    let asked = turn.effects.iter().filter(|effect| **effect == question);
    assert_eq!(asked.count(), 1);
    assert_eq!(bench.turn([Input::Start]), Turn::default());
    assert_eq!(bench.crash().effects, [question]);
    assert_eq!(bench.turn([Input::Start]), Turn::default());
}

#[test]
fn a_second_plan_is_refused() {
    let plan = load(&echoes(&[("a", &[])]));
    let mut bench = Bench::empty();
    bench.turn([submit_prompt("go"), Input::Planned(Ok(Arc::clone(&plan)))]);
    let (turn, answers) = bench.try_turn([Input::Planned(Ok(plan))]);
    assert!(turn.records.is_empty());
    assert_eq!(
        answers,
        [Err(Rejected::WrongStatus {
            input: "plan",
            status: RunStatus::Pending
        })]
    );
}

#[test]
fn a_prompt_that_no_planner_understands_fails_the_run_with_the_planners_words() {
    let mut bench = Bench::empty();
    let error = "Could not parse prompt: gibberish";
    let turn = bench.turn([
        submit_prompt("gibberish"),
        Input::Planned(Err(error.into())),
    ]);
    assert_eq!(names(&turn), ["run_accepted", "run_failed"]);
    assert_eq!(bench.error(), error);
    assert_eq!(bench.run.failure.unwrap().as_str(), "planning_failed");
}

#[test]
fn a_failed_planning_can_be_retried_and_goes_straight_on() {
    let plan = load(&echoes(&[("a", &[])]));
    let mut bench = Bench::empty();
    bench.turn([submit_prompt("go"), Input::Planned(Err("busy".into()))]);
    let turn = bench.turn([Input::Retry]);
    assert_eq!(names(&turn), ["run_reopened"]);
    assert!(turn.effects.contains(&Effect::MakePlan {
        prompt: "go".into()
    }));
    assert_eq!(bench.run.status(), RunStatus::Pending);
    let turn = bench.turn([Input::Planned(Ok(plan))]);
    assert_eq!(names(&turn), ["run_planned", "run_started", "step_started"]);
}

#[test]
fn a_run_with_neither_prompt_nor_plan_ends_in_every_round() {
    let mut bench = Bench::empty();
    bench.turn([Input::Submit(Box::new(Submission {
        accepted: accepted(None, None),
        plan: None,
    }))]);
    assert_eq!(bench.run.status(), RunStatus::Failed);
    assert_eq!(
        names(&bench.turn([Input::Retry])),
        ["run_reopened", "run_failed"]
    );
}

#[test]
fn a_submitted_plan_that_nobody_compiled_is_compiled() {
    let plan = load(&echoes(&[("a", &[])]));
    let other = load(&echoes(&[("b", &[])]));
    for given in [None, Some(other)] {
        let mut bench = Bench::empty();
        bench.turn([Input::Submit(Box::new(Submission {
            accepted: accepted(None, Some(&plan)),
            plan: given,
        }))]);
        assert_eq!(bench.run.plan.as_ref().unwrap().source, plan.source);
    }
}

#[test]
fn a_submitted_plan_that_does_not_load_is_refused() {
    let mut bench = Bench::empty();
    let accepted = Accepted {
        plan: Some(Json::from_trusted(r#"{"steps": 7}"#)),
        ..accepted(None, None)
    };
    let (_, answers) = bench.try_turn([Input::Submit(Box::new(Submission {
        accepted,
        plan: None,
    }))]);
    assert!(matches!(answers[..], [Err(Rejected::Plan { .. })]));
    assert_eq!(bench.run.phase, Phase::Empty);
}

#[test]
fn a_run_that_is_started_and_cancelled_in_one_turn_starts_nothing() {
    let mut bench = Bench::empty();
    let plan = load(&echoes(&[("a", &[])]));
    let turn = bench.turn([submit_plan(&plan), Input::Start, Input::Cancel]);
    assert_eq!(starts(&turn).count(), 0);
    assert_eq!(bench.run.status(), RunStatus::Cancelled);
}

#[test]
fn a_planner_is_asked_once_of_a_run_that_is_loaded_and_reopened_in_one_turn() {
    let mut bench = Bench::empty();
    bench.turn([submit_prompt("go"), Input::Planned(Err("busy".into()))]);
    let turn = bench.turn([Input::Retry, Input::Recovered]);
    let asked = turn.effects.iter();
    let asked = asked.filter(|effect| matches!(effect, Effect::MakePlan { .. }));
    assert_eq!(asked.count(), 1);
    assert!(!turn.effects.contains(&Effect::Close));
}
