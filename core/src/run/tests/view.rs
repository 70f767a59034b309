//! The JSON of runs and events, as the contract has it.

use super::super::view::{Rounds, event_view, event_views, run_view};
use super::*;

fn labelled() -> Bench {
    let plan = load(&with(
        json!({"final_goal": "two echoes", "steps": echoes(&[("a", &[]), ("b", &["a"])])["steps"]}),
        &[("b", json!({"input": {"of": "${steps.a.output}"}}))],
    ));
    let mut bench = Bench::empty();
    let mut accepted = accepted(Some("say it twice"), Some(&plan));
    accepted.labels.insert("team".to_owned(), "red".to_owned());
    bench.turn([
        Input::Submit(Box::new(Submission {
            accepted,
            plan: Some(plan),
        })),
        Input::Start,
    ]);
    bench
}

#[test]
fn a_run_looks_as_the_contract_says() {
    let mut bench = labelled();
    bench.wait(Duration::from_millis(2));
    bench.complete("a");
    let view = serde_json::to_value(run_view(&bench.run, "north")).unwrap();
    assert_eq!(
        view,
        json!({
            "run_id": bench.run.id.to_string(),
            "prompt": "say it twice",
            "status": "running",
            "labels": {"team": "red"},
            "plan": {
                "name": null,
                "final_goal": "two echoes",
                "steps": [
                    {"step_number": 1, "id": "a", "tool_name": "echo", "tool_input": {"from": "a"},
                     "depends_on": [], "reasoning": null},
                    {"step_number": 2, "id": "b", "tool_name": "echo",
                     "tool_input": {"of": "${steps.a.output}"}, "depends_on": ["a"], "reasoning": null},
                ],
            },
            "execution_log": [
                {"step_number": 1, "id": "a", "tool_name": "echo", "tool_input": {"from": "a"},
                 "status": "completed", "success": true, "output": {"by": "a"}, "error": null,
                 "attempts": 1, "duration_ms": 1.5, "started_at": "1970-01-01T00:00:01.000000Z",
                 "completed_at": "1970-01-01T00:00:01.002000Z"},
                {"step_number": 2, "id": "b", "tool_name": "echo", "tool_input": {"of": {"by": "a"}},
                 "status": "running", "success": false, "output": null, "error": null,
                 "attempts": 1, "duration_ms": null, "started_at": "1970-01-01T00:00:01.002000Z",
                 "completed_at": null},
            ],
            "result": null,
            "error": null,
            "seq": 5,
            "node": "north",
            "created_at": "1970-01-01T00:00:01.000000Z",
            "started_at": "1970-01-01T00:00:01.000000Z",
            "completed_at": null,
        })
    );
}

#[test]
fn a_run_without_a_plan_has_none_and_an_empty_log() {
    let mut bench = Bench::empty();
    bench.turn([submit_prompt("gibberish"), Input::Planned(Err("no".into()))]);
    let view = serde_json::to_value(run_view(&bench.run, "n")).unwrap();
    assert_eq!(view["plan"], Value::Null);
    assert_eq!(view["execution_log"], json!([]));
    assert_eq!(view["labels"], json!({}));
    assert_eq!(
        (&view["status"], &view["error"]),
        (&json!("failed"), &json!("no"))
    );
    assert_eq!(view["started_at"], Value::Null);
}

#[test]
fn the_log_holds_only_the_steps_that_started() {
    let plan = with(
        echoes(&[("a", &[]), ("b", &["a"]), ("c", &["b"])]),
        &[("a", json!({"when": "false"}))],
    );
    let mut bench = Bench::started(&plan);
    bench.fail("b", ErrorKind::Permanent);
    let view = serde_json::to_value(run_view(&bench.run, "n")).unwrap();
    let log = view["execution_log"].as_array().unwrap();
    assert_eq!(log.len(), 1);
    assert_eq!(
        (&log[0]["id"], &log[0]["error"]),
        (&json!("b"), &json!("no luck"))
    );
    assert_eq!(log[0]["success"], json!(false));
}

#[test]
fn numbers_keep_the_form_in_which_the_tool_wrote_them() {
    let mut bench = Bench::started(&echoes(&[("a", &[])]));
    let report = bench.report("a", Outcome::Completed(Json::from_trusted("30.0")));
    bench.turn([report]);
    let text = serde_json::to_string(&run_view(&bench.run, "n")).unwrap();
    assert!(text.contains(r#""result":30.0"#), "{text}");
}

/// The events of a run as JSON, each checked for the fields that all have.
#[track_caller]
fn events(bench: &Bench) -> Vec<Value> {
    let views: Vec<Value> = event_views(&bench.run, &bench.records)
        .map(|view| serde_json::to_value(view).unwrap())
        .collect();
    for (view, record) in views.iter().zip(&bench.records) {
        let keys: Vec<&String> = view.as_object().unwrap().keys().collect();
        assert_eq!(
            keys,
            [
                "at", "attempt", "data", "round", "run_id", "seq", "step", "type"
            ]
        );
        assert_eq!(view["type"], record.event.name());
        assert_eq!(view["seq"], record.seq.0);
        assert!(view["data"].is_object());
    }
    views
}

#[test]
fn an_event_looks_as_the_contract_says() {
    let mut bench = labelled();
    bench.complete("a");
    assert_eq!(
        events(&bench)[3],
        json!({"seq": 4, "at": "1970-01-01T00:00:01.000000Z", "type": "step_completed",
            "run_id": bench.run.id.to_string(), "step": "a", "attempt": 1, "round": 1,
            "data": {"output": {"by": "a"}, "duration_ms": 1.5}})
    );
}

#[test]
fn each_event_carries_its_payload_and_its_round() {
    let mut bench = labelled();
    bench.fail("a", ErrorKind::Transient);
    bench.wait(Duration::from_secs(2));
    bench.turn([Input::TimerFired]);
    bench.crash();
    bench.fail("a", ErrorKind::Permanent);
    bench.turn([Input::Retry]);
    bench.turn([Input::Cancel]);
    bench.complete("a");
    let events = events(&bench);
    let find = |name: &str| events.iter().find(|event| event["type"] == name).unwrap();
    assert_eq!(find("run_accepted")["data"]["prompt"], "say it twice");
    assert_eq!(
        find("run_accepted")["data"]["labels"],
        json!({"team": "red"})
    );
    assert_eq!(find("run_accepted")["step"], Value::Null);
    assert_eq!(find("run_accepted")["attempt"], Value::Null);
    assert_eq!(
        find("step_started")["data"],
        json!({"input": {"from": "a"}})
    );
    let attempt_failed = &find("step_attempt_failed")["data"];
    assert_eq!(
        attempt_failed["error"],
        json!({"kind": "transient", "message": "no luck", "retryable": true})
    );
    assert!(attempt_failed["retry_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(attempt_failed["duration_ms"], 1.5);
    assert_eq!(find("step_attempt_lost")["attempt"], 2);
    assert_eq!(find("step_failed")["data"]["error"]["kind"], "permanent");
    assert_eq!(
        find("run_failed")["data"],
        json!({"reason": "step_failed", "error": "a: no luck"})
    );
    assert_eq!(find("run_failed")["round"], 1);
    assert_eq!(find("run_reopened")["data"], json!({"round": 2}));
    assert_eq!(find("run_reopened")["round"], 2);
    let cancelled = find("step_cancelled");
    assert_eq!(cancelled["data"]["late"]["status"], "completed");
    assert_eq!(cancelled["round"], 2);
}

#[test]
fn a_reader_may_start_in_the_middle_when_it_knows_the_round() {
    let mut bench = labelled();
    bench.fail("a", ErrorKind::Permanent);
    bench.turn([Input::Retry]);
    bench.complete("a");
    let all = events(&bench);
    let middle = 5;
    let mut rounds = Rounds::from(Round(1));
    for (record, whole) in bench.records.iter().zip(&all).skip(middle) {
        let view = event_view(&bench.run, record, rounds.of(record));
        assert_eq!(&serde_json::to_value(view).unwrap(), whole);
    }
}

#[test]
fn a_result_and_a_plan_from_the_planner_are_in_their_events() {
    let plan = load(&echoes(&[("a", &[])]));
    let mut bench = Bench::empty();
    bench.turn([
        submit_prompt("go"),
        Input::Planned(Ok(Arc::clone(&plan))),
        Input::Start,
    ]);
    bench.complete("a");
    let events = events(&bench);
    assert_eq!(events[1]["data"]["plan"], plan.source.to_value());
    assert_eq!(events[5]["data"], json!({"result": {"by": "a"}}));
}
