//! Events read back from the API's JSON. That every record of a run survives the way there and back
//! is checked at the end of each random run; here are the texts that are no events.

use super::super::read::Unreadable;
use super::*;

#[test]
fn a_run_of_a_prompt_reads_back_with_its_labels_and_its_plan() {
    let plan = load(&echoes(&[("a", &[])]));
    let mut bench = Bench::empty();
    let mut accepted = accepted(Some("say \"it\""), None);
    accepted.labels.insert("team".to_owned(), "red".to_owned());
    accepted.trace_id = Some("4bf92f3577b34da6a3ce929d0e0e4736".into());
    let submission = Submission {
        accepted,
        plan: None,
    };
    bench.turn([
        Input::Submit(Box::new(submission)),
        Input::Planned(Ok(plan)),
        Input::Start,
    ]);
    bench.fail("a", ErrorKind::Timeout);
    bench.wait(Duration::from_secs(2));
    bench.turn([Input::TimerFired]);
    bench.complete("a");
    assert_eq!(bench.read_back(), bench.run);
}

fn unreadable(text: &str) -> Unreadable {
    let bench = Bench::started(&echoes(&[("a", &[])]));
    record_of(&bench.run, text).unwrap_err()
}

fn event(r#type: &str, step: Option<&str>, data: &Value) -> String {
    json!({"seq": 4, "at": "2026-01-02T03:04:05.000006Z", "type": r#type, "run_id": "x",
        "step": step, "attempt": 1, "round": 1, "data": data})
    .to_string()
}

#[test]
fn what_is_no_event_of_the_run_is_refused_with_the_reason() {
    let started = json!({"input": {}});
    let bench = Bench::started(&echoes(&[("a", &[])]));
    let known = event("step_started", Some("a"), &started);
    assert!(record_of(&bench.run, &known).is_ok());

    for text in ["", "{", "[]", "{\"seq\":1}", "null"] {
        assert!(
            matches!(unreadable(text), Unreadable::Malformed(_)),
            "{text}"
        );
    }
    let text = event("step_started", Some("a"), &json!({}));
    assert!(matches!(unreadable(&text), Unreadable::Malformed(_)));
    let text = event("step_started", Some("b"), &started);
    assert_eq!(
        unreadable(&text).to_string(),
        "event 4 is about the step \"b\", which the plan does not have"
    );
    for step in [None, Some("a")] {
        let text = event("step_danced", step, &started);
        assert!(matches!(unreadable(&text), Unreadable::Type(name) if name == "step_danced"));
    }
}

#[test]
fn kinds_that_a_newer_node_knows_are_read_by_what_they_mean() {
    let bench = Bench::started(&echoes(&[("a", &[])]));
    for (retryable, expected) in [(true, ErrorKind::Transient), (false, ErrorKind::Permanent)] {
        let error = json!({"kind": "rained_on", "message": "wet", "retryable": retryable});
        let data = json!({"error": error, "duration_ms": 1.5});
        let text = event("step_failed", Some("a"), &data);
        let Event::StepFailed { error, .. } = record_of(&bench.run, &text).unwrap().event else {
            panic!("{text}");
        };
        assert_eq!(error, ToolError::new(expected, "wet"));
    }
}
