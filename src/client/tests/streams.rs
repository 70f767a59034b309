//! Streams of events that are cut, silent, slow or wrong.

use std::time::Duration;

use axum::http::StatusCode;
use crane_core::{RunStatus, Seq};
use serde_json::{Value, json};

use super::server::{Act, Server, answer, stream, whole_stream};
use super::{client, said_about};
use crate::client::{Error, Events};

const ID: &str = "0199d3a0-1f2e-7c3b-9a4d-5e6f708192a3";

/// The events of a run of one step.
fn event(seq: u64) -> String {
    let plan = json!({"steps": [{"id": "a", "tool": "echo", "input": {"v": 1}}]});
    let (name, step, data): (_, Option<&str>, Value) = match seq {
        1 => (
            "run_accepted",
            None,
            json!({"prompt": null, "plan": plan, "input": {}, "labels": {}, "trace_id": null}),
        ),
        2 => ("run_started", None, json!({})),
        3 => ("step_started", Some("a"), json!({"input": {"v": 1}})),
        4 => (
            "step_completed",
            Some("a"),
            json!({"output": {"v": 1}, "duration_ms": 0.25}),
        ),
        _ => ("run_completed", None, json!({"result": {"v": 1}})),
    };
    let event = json!({"seq": seq, "at": "2026-01-02T03:04:05.000006Z", "type": name,
        "run_id": ID, "step": step, "attempt": step.map(|_| 1), "round": 1, "data": data});
    format!("id: {seq}\nevent: {name}\ndata: {event}\n\n")
}

fn events(numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
    numbers.into_iter().map(event).collect()
}

fn lagged() -> String {
    "event: lagged\ndata: {}\n\n".to_owned()
}

fn no_content() -> Act {
    Act::Say("HTTP/1.1 204 No Content\r\n\r\n".to_owned())
}

fn read(server: &Server) -> Events {
    client(server).events(ID.parse().unwrap(), Seq(0))
}

/// The numbers of the events up to the end, or to the error.
async fn numbers(events: &mut Events) -> (Vec<u64>, Option<Error>) {
    let mut seen = Vec::new();
    loop {
        match events.next().await {
            Ok(Some(text)) => seen.push(text.seq.0),
            Ok(None) => return (seen, None),
            Err(error) => return (seen, Some(error)),
        }
    }
}

/// The `Last-Event-ID` of each request.
fn asked_from(server: &Server) -> Vec<Option<String>> {
    let id = |request: &String| {
        let line = request
            .lines()
            .find_map(|line| line.strip_prefix("last-event-id: "));
        line.map(str::to_owned)
    };
    server.requests().iter().map(id).collect()
}

fn from(id: &str) -> Option<String> {
    Some(id.to_owned())
}

#[tokio::test]
async fn a_run_is_folded_from_its_stream() {
    let server = Server::start([Act::Say(whole_stream(&events(1..=5)))]).await;
    let mut follower = client(&server).follow(ID.parse().unwrap());
    let mut types = Vec::new();
    while let Some(record) = follower.next().await.unwrap() {
        types.push(record.event.name());
    }
    assert_eq!(types.len(), 5);
    let run = follower.run();
    assert_eq!((run.status(), run.seq), (RunStatus::Completed, Seq(5)));
    assert_eq!(run.result.as_ref().unwrap().as_str(), "{\"v\":1}");
    assert_eq!(run.steps[0].duration_us, 250);
}

#[tokio::test]
async fn a_stream_that_was_cut_goes_on_without_gap_or_repeat() {
    let half = &event(3)[..20];
    let mut first = events(1..=2);
    first.push(half.to_owned());
    let server = Server::start([
        Act::SayAndClose(stream(&first)),
        // It says one again that was seen before, and ends in order but too early.
        Act::Say(whole_stream(&events([2, 3]))),
        // A restart: nobody answers on this connection.
        Act::SayAndClose(String::new()),
        Act::SayAndClose(stream(&events(4..=5))),
        no_content(),
    ])
    .await;
    let (seen, error) = numbers(&mut read(&server)).await;
    assert_eq!((seen, error), (vec![1, 2, 3, 4, 5], None));
    assert_eq!(
        asked_from(&server),
        [None, from("2"), from("3"), from("3"), from("5")]
    );
    let said = said_about(&server).join("\n");
    assert!(said.contains("was lost"), "{said}");
    assert!(said.contains("trying again for 300 s"), "{said}");
}

#[tokio::test]
async fn a_reader_who_was_too_slow_reads_on_from_where_it_was() {
    let mut first = events(1..=2);
    first.push(lagged());
    let server = Server::start([
        Act::Say(whole_stream(&first)),
        // Lagged before anything came: once more, after a pause.
        Act::Say(whole_stream(&[lagged()])),
        Act::Say(whole_stream(&events(3..=5))),
    ])
    .await;
    let (seen, error) = numbers(&mut read(&server)).await;
    assert_eq!((seen, error), (vec![1, 2, 3, 4, 5], None));
    assert_eq!(asked_from(&server), [None, from("2"), from("2")]);
    assert_eq!(said_about(&server).len(), 1, "only of the pause");
}

#[tokio::test]
async fn comments_are_no_events_and_a_silent_stream_is_given_up() {
    let mut first = events([1]);
    first.insert(0, ":\n\n".to_owned());
    let server = Server::start([
        Act::Say(stream(&first)),
        Act::Say(whole_stream(&events(2..=5))),
    ])
    .await;
    let mut events = read(&server).impatient(Duration::from_millis(300));
    let (seen, error) = numbers(&mut events).await;
    assert_eq!((seen, error), (vec![1, 2, 3, 4, 5], None));
    assert!(said_about(&server)[0].contains("nothing came for 300ms"));
}

#[tokio::test]
async fn an_ended_run_has_nothing_more_to_say() {
    let server = Server::start([no_content()]).await;
    let mut events = client(&server).events(ID.parse().unwrap(), Seq(5));
    assert_eq!(events.next().await, Ok(None));
    assert_eq!(asked_from(&server), [from("5")]);
}

#[tokio::test]
async fn what_no_node_streams_is_an_error() {
    for (text, expected) in [
        (stream(&events([1, 3])), "event 3 follows event 1"),
        (stream(&["id: x\ndata: {}\n\n".to_owned()]), "\"x\""),
        (answer(200, "{}"), "no event stream"),
    ] {
        let server = Server::start([Act::Say(text)]).await;
        let (_, error) = numbers(&mut read(&server)).await;
        let error = error.unwrap();
        assert!(matches!(error, Error::Strange { .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_run_that_is_not_there_is_a_refusal() {
    let body = r#"{"error_type":"run_not_found","detail":"Run not found: x","details":{}}"#;
    let server = Server::start([Act::Say(answer(404, body))]).await;
    let (_, error) = numbers(&mut read(&server)).await;
    assert!(error.unwrap().refused(StatusCode::NOT_FOUND).is_some());
}
