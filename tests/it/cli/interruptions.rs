//! Runs that are killed, interrupted, resumed, retried, cancelled, or found in use.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{answer, held_plan, starts};
use crate::program::{Home, Server};

#[test]
fn after_kill_nine_a_run_goes_on_and_finished_steps_do_not_run_again() {
    let (home, server) = (Home::new(), Server::start());
    let plan = held_plan(&home, &server);
    let running = home.start(&format!("run {plan}"));
    let first = server.request();
    running.signal(Signal::KILL);
    assert_eq!(running.end().code, None);

    let ids = home.crane("runs list -o ids --status running");
    let id = ids.stdout.trim();
    let resumed = home.start("run --resume -o json");
    let second = server.request();
    assert_eq!(
        first.header("idempotency-key"),
        second.header("idempotency-key"),
        "an attempt that repeats a lost one has the same key"
    );
    answer(second);
    let ended = resumed.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let runs: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(runs[0]["result"], json!("yes"));
    assert_eq!(runs[0]["run_id"], json!(id));
    assert_eq!(starts(&home, id, "add"), 1);
    assert_eq!(starts(&home, id, "ask"), 2);
    let todos = home.json(r#"tools call todo_store --input {"action":"list"}"#);
    assert_eq!(todos["total_count"], json!(1));
    let check = home.json("check -o json");
    assert_eq!(check["sound"], json!(true), "{check}");
}

#[test]
fn ctrl_c_lets_running_steps_end_says_how_to_go_on_and_exits_130() {
    let (home, server) = (Home::new(), Server::start());
    let plan = held_plan(&home, &server);
    let mut running = home.start(&format!("run {plan}"));
    let request = server.request();
    running.signal(Signal::INT);
    running.wait_for("interrupted");
    answer(request);
    let line = running.wait_for("crane run --resume");
    let id = line.split_whitespace().last().unwrap().to_owned();
    assert_eq!(running.end().code, Some(130));

    let ended = home.crane(&format!("run --resume {id}"));
    assert_eq!(
        (ended.code, ended.stdout.trim()),
        (Some(0), "\"yes\""),
        "{ended:?}"
    );
    assert_eq!(
        starts(&home, &id, "ask"),
        1,
        "its answer had come before the end"
    );
}

#[test]
fn a_run_whose_last_step_ends_after_ctrl_c_is_reported_as_what_it_is() {
    let (home, server) = (Home::new(), Server::start());
    let plan = json!({"steps": [
        {"id": "ask", "tool": "http", "input": {"method": "GET", "url": server.url}},
    ], "output": "${steps.ask.output.json.word}"});
    let plan = home.file("p.json", plan.to_string());
    let mut running = home.start(&format!("run {plan}"));
    let request = server.request();
    running.signal(Signal::INT);
    running.wait_for("interrupted");
    answer(request);
    let ended = running.end();
    assert_eq!(
        (ended.code, ended.stdout.trim()),
        (Some(0), "\"yes\""),
        "{ended:?}"
    );
    assert!(!ended.stderr.contains("--resume"), "{}", ended.stderr);
}

#[test]
fn a_second_ctrl_c_ends_at_once_and_however_often_does_no_harm_to_the_run() {
    let (home, server) = (Home::new(), Server::start());
    let plan = held_plan(&home, &server);
    let mut line = format!("run {plan}");
    // More often than a run may crash.
    for _ in 0..4 {
        let mut running = home.start(&line);
        let _never_answered = server.request();
        running.signal(Signal::INT);
        running.wait_for("interrupted");
        running.signal(Signal::TERM);
        assert_eq!(running.end().code, Some(130));
        "run --resume".clone_into(&mut line);
    }
    let id = home.crane("runs list -o ids").stdout.trim().to_owned();
    assert_eq!(kinds_of_failure(&home, &id), ["interrupted"; 4]);

    let resumed = home.start("run --resume");
    answer(server.request());
    assert_eq!(resumed.end().code, Some(0));
}

/// Why the attempts failed that were repeated.
fn kinds_of_failure(home: &Home, id: &str) -> Vec<String> {
    let events = home.json(&format!("runs events {id} -o json"));
    let events = events.as_array().unwrap().iter();
    events
        .filter(|event| event["type"] == "step_attempt_failed")
        .map(|event| event["data"]["error"]["kind"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn other_unfinished_runs_are_counted_and_left_alone() {
    let (home, server) = (Home::new(), Server::start());
    let plan = held_plan(&home, &server);
    for _ in 0..2 {
        let running = home.start(&format!("run {plan}"));
        let _never_answered = server.request();
        running.signal(Signal::KILL);
        running.end();
    }
    let simple = home.file("simple.yaml", "steps: [{id: a, tool: echo, input: {v: 1}}]");
    let ended = home.crane(&format!("run {simple}"));
    assert_eq!(ended.code, Some(0));
    assert!(
        ended.stderr.contains("2 other unfinished runs"),
        "{}",
        ended.stderr
    );
    let unfinished = home.json("runs list --status running,pending,waiting -o json");
    assert_eq!(unfinished.as_array().unwrap().len(), 2);

    let resumed = home.start("run --resume");
    answer(server.request());
    answer(server.request());
    let ended = resumed.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(
        ended.stdout.matches("completed").count(),
        2,
        "{}",
        ended.stdout
    );
    assert_eq!(home.json("run --resume -o json"), json!([]));
}

#[test]
fn a_directory_in_use_is_refused_to_everybody_else() {
    let (home, server) = (Home::new(), Server::start());
    let plan = held_plan(&home, &server);
    let running = home.start(&format!("run {plan}"));
    let request = server.request();
    for line in [&format!("run {plan}"), "runs list", "check", "tools list"] {
        let ended = home.crane(line);
        assert_eq!(ended.code, Some(1), "{line}: {ended:?}");
        assert!(
            ended.stderr.contains("is in use by another process"),
            "{ended:?}"
        );
        assert!(ended.stdout.is_empty());
    }
    answer(request);
    assert_eq!(running.end().code, Some(0));
}

#[test]
fn a_failed_run_is_retried_where_it_failed() {
    let (home, server) = (Home::new(), Server::start());
    let plan = json!({"steps": [
        {"id": "add", "tool": "todo_store", "input": {"action": "add", "text": "once"}},
        {"id": "ask", "tool": "http", "depends_on": ["add"], "retry": {"max_attempts": 1},
         "input": {"method": "GET", "url": server.url}},
    ]});
    let plan = home.file("p.json", plan.to_string());
    let running = home.start(&format!("run {plan} -o json"));
    drop(server.request());
    let ended = running.end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.stderr.contains("crane runs retry"),
        "{}",
        ended.stderr
    );
    let run: Value = serde_json::from_str(&ended.stdout).unwrap();
    let id = run["run_id"].as_str().unwrap();
    assert!(run["error"].as_str().unwrap().starts_with("ask: "));
    let no_result = home.crane(&format!("runs result {id}"));
    assert_eq!(no_result.code, Some(1));
    assert!(
        no_result.stderr.contains("is failed and has no result"),
        "{no_result:?}"
    );

    let retried = home.start(&format!("runs retry {id} -o json"));
    answer(server.request());
    let ended = retried.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(starts(&home, id, "add"), 1);
    let result = home.json(&format!("runs result {id}"));
    assert_eq!(result["json"]["word"], json!("yes"));
    for line in [format!("runs retry {id}"), format!("runs cancel {id}")] {
        let ended = home.crane(&line);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains("is completed"), "{ended:?}");
    }
}

#[test]
fn an_unfinished_run_is_cancelled_without_being_carried_on() {
    let (home, server) = (Home::new(), Server::start());
    let plan = held_plan(&home, &server);
    let running = home.start(&format!("run {plan}"));
    let _never_answered = server.request();
    running.signal(Signal::KILL);
    running.end();
    let id = home.crane("runs list -o ids").stdout.trim().to_owned();

    let refused = home.crane(&format!("runs retry {id}"));
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("crane run --resume"), "{refused:?}");
    let follow = home.crane(&format!("runs events {id} --follow"));
    assert_eq!(follow.code, Some(0));
    assert!(follow.stderr.contains("nothing executes it"), "{follow:?}");
    assert_eq!(
        starts(&home, &id, "ask"),
        1,
        "neither command has started it"
    );

    let run = home.json(&format!("runs cancel {id} -o json"));
    assert_eq!(run["status"], json!("cancelled"));
    assert_eq!(starts(&home, &id, "ask"), 1);
    let resumed = home.crane(&format!("run --resume {id}"));
    assert_eq!(resumed.code, Some(1), "{resumed:?}");
}
