//! Runs at a server: submitted, followed, listed, shown, cancelled, retried, measured.

use std::collections::BTreeMap;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::Node;
use crate::program::{Home, Server};

/// The paths of all members, and what kind of value each holds: the shape of a document.
fn shape(value: &Value) -> BTreeMap<String, &'static str> {
    let mut shape = BTreeMap::new();
    collect(value, "", &mut shape);
    shape
}

fn collect(value: &Value, path: &str, shape: &mut BTreeMap<String, &'static str>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    shape.insert(path.to_owned(), kind);
    match value {
        Value::Array(elements) => {
            for (place, element) in elements.iter().enumerate() {
                collect(element, &format!("{path}[{place}]"), shape);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                collect(member, &format!("{path}.{name}"), shape);
            }
        }
        _ => {}
    }
}

const PLAN: &str = "name: two\nsteps:\n  - {id: a, tool: calculator, input: {expression: '2 + 3'}}\n  \
    - {id: b, tool: echo, input: {v: '${steps.a.output}', x: '${input.x}'}}\n";

#[test]
fn json_has_the_same_shape_with_and_without_a_server() {
    let home = Home::new();
    let node = Node::start(&home);
    let plan = home.file("p.yaml", PLAN);
    let places = [format!("--server {}", node.url), "--data here".to_owned()];
    let [there, here] = places.map(|place| {
        let run = home.json(&format!(
            "run {plan} -o json --label team=a --input x=1 {place}"
        ));
        let id = run["run_id"].as_str().unwrap().to_owned();
        let verbs = [
            "runs list -o json".to_owned(),
            format!("runs show {id} -o json"),
            format!("runs events {id} -o json"),
            format!("runs events {id} --follow -o json"),
            format!("runs result {id} -o json"),
            "bench --shape chain:2 --concurrency 2 --runs 4 -o json".to_owned(),
        ];
        let mut said = vec![run];
        for verb in verbs {
            // A server without process metrics does not say how much memory it uses.
            let mut value = home.json(&format!("{verb} {place}"));
            if let Some(bench) = value.as_object_mut() {
                bench.remove("rss_bytes");
                bench.remove("fdatasync_us");
            }
            said.push(value);
        }
        said
    });
    for (there, here) in there.iter().zip(&here) {
        assert_eq!(shape(there), shape(here));
    }
    assert_eq!(there[0]["result"], json!({"v": 5.0, "x": 1}));
    assert_eq!(there[2], there[0], "what is shown is what was printed");
    assert_eq!(
        there[3], there[4],
        "following an ended run gives its events"
    );
}

#[test]
fn the_live_view_and_the_tables_are_those_of_a_data_directory() {
    let home = Home::new();
    let node = Node::start(&home);
    let plan = home.file("p.yaml", PLAN);
    let places = [format!("--server {}", node.url), "--data here".to_owned()];
    let [there, here] = places.map(|place| {
        let ran = home.crane(&format!("run {plan} --input x=1 {place}"));
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let id = home.crane(&format!("runs list -o ids {place}")).stdout;
        let show = home.crane(&format!("runs show {} {place}", id.trim()));
        let events = home.crane(&format!("runs events {} {place}", id.trim()));
        let list = home.crane(&format!("runs list {place}"));
        // Ids and times differ, with their units; words do not.
        let words = |text: &str| -> Vec<String> {
            let is_unit = |word: &str| ["us", "ms", "s"].contains(&word);
            let is_word = |word: &str| word.chars().all(|c| c.is_ascii_alphabetic() || c == ':');
            let word = |word: &&str| is_word(word) && !is_unit(word);
            let words = text.split_whitespace();
            words.filter(word).map(str::to_owned).collect()
        };
        let mut said = vec![words(&ran.stdout), words(&ran.stderr)];
        said.extend([words(&show.stdout), words(&events.stdout)]);
        (said, list.stdout)
    });
    assert_eq!(there.0, here.0);
    for list in [there.1, here.1] {
        assert!(list.contains("2/2") && list.ends_with("  two\n"), "{list}");
    }
}

#[test]
fn runs_are_listed_by_status_and_label_and_page() {
    let home = Home::new();
    let node = Node::start(&home);
    let server = format!("--server {}", node.url);
    let good = home.file("good.yaml", "steps: [{id: a, tool: echo, input: {}}]");
    let bad = home.file(
        "bad.yaml",
        "steps: [{id: a, tool: fail, input: {kind: permanent}}]",
    );
    let mut ids = Vec::new();
    for (plan, code) in [(&good, 0), (&good, 0), (&bad, 1)] {
        let ended = home.crane(&format!("run {plan} -o json --label plan={plan} {server}"));
        assert_eq!(ended.code, Some(code), "{ended:?}");
        let run: Value = serde_json::from_str(&ended.stdout).unwrap();
        ids.insert(0, run["run_id"].as_str().unwrap().to_owned());
    }
    let listed = |options: &str| -> Vec<String> {
        let ended = home.crane(&format!("runs list -o ids {options} {server}"));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.stdout.lines().map(str::to_owned).collect()
    };
    assert_eq!(listed(""), ids);
    assert_eq!(listed("--status failed"), ids[..1]);
    assert_eq!(listed("--status completed,failed"), ids);
    assert_eq!(listed("--label plan=good.yaml"), ids[1..]);
    assert_eq!(listed("--limit 1 --offset 1"), ids[1..2]);
    let table = home.crane(&format!("runs list --limit 2 {server}"));
    assert!(table.stderr.contains("3 runs in all"), "{}", table.stderr);
    let none = home.crane(&format!("runs list --label plan=x {server}"));
    assert!(none.stderr.contains("no such runs"), "{none:?}");

    let failed = home.crane(&format!("runs result {} {server}", ids[0]));
    assert_eq!(failed.code, Some(1));
    assert!(failed.stderr.contains("is failed and has no result"));
}

#[test]
fn a_detached_run_is_followed_later_and_cancelled() {
    let (home, web) = (Home::new(), Server::start());
    let node = Node::start(&home);
    let plan = json!({"steps": [
        {"id": "ask", "tool": "http", "input": {"method": "GET", "url": web.url}},
        {"id": "said", "tool": "echo", "input": {"v": "${steps.ask.output.json.word}"}},
    ]});
    let plan = home.file("p.json", plan.to_string());
    let mut command = home.command(["run", &plan, "--detach"]);
    command.env("CRANE_SERVER", &node.url);
    let detached = crate::program::end(assert_cmd::Command::from_std(command));
    assert_eq!(detached.code, Some(0), "{detached:?}");
    let id = detached.stdout.trim().to_owned();
    assert_eq!(detached.stdout.lines().count(), 1);
    let server = format!("--server {}", node.url);

    let held = web.request();
    let no_result = home.crane(&format!("runs result {id} {server}"));
    assert_eq!(no_result.code, Some(1), "{no_result:?}");
    let retry = home.crane(&format!("runs retry {id} {server}"));
    assert_eq!(retry.code, Some(1));
    assert!(retry.stderr.contains("goes on by itself"), "{retry:?}");
    let follow = home.start(&format!("runs events {id} --follow -o ids {server}"));
    held.answer_json(&json!({"word": "yes"}));
    let followed = follow.end();
    assert_eq!(followed.code, Some(0), "{followed:?}");
    let seqs: Vec<&str> = followed.stdout.lines().collect();
    assert_eq!(seqs, ["1", "2", "3", "4", "5", "6", "7"]);

    let again = home.crane(&format!("run {plan} --detach {server}"));
    let id = again.stdout.trim().to_owned();
    let _never_answered = web.request();
    let run = home.json(&format!("runs cancel {id} -o json {server}"));
    assert_eq!(run["status"], json!("cancelled"));
    for line in [format!("runs cancel {id}"), format!("run {plan} --resume")] {
        let ended = home.crane(&format!("{line} {server}"));
        assert_ne!(ended.code, Some(0), "{ended:?}");
    }
}

#[test]
fn a_failed_run_is_retried_where_it_failed_and_seen_to_its_end() {
    let (home, web) = (Home::new(), Server::start());
    let node = Node::start(&home);
    let server = format!("--server {}", node.url);
    let plan = json!({"steps": [
        {"id": "first", "tool": "echo", "input": {}},
        {"id": "ask", "tool": "http", "depends_on": ["first"], "retry": {"max_attempts": 1},
         "input": {"method": "GET", "url": web.url}},
    ]});
    let plan = home.file("p.json", plan.to_string());
    let running = home.start(&format!("run {plan} -o json {server}"));
    drop(web.request());
    let ended = running.end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("crane runs retry"), "{ended:?}");
    let run: Value = serde_json::from_str(&ended.stdout).unwrap();
    let id = run["run_id"].as_str().unwrap();

    let retried = home.start(&format!("runs retry {id} {server}"));
    web.request().answer_json(&json!({"word": "yes"}));
    let ended = retried.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("goes on in round 2"), "{ended:?}");
    assert!(!ended.stderr.contains("first:"), "{}", ended.stderr);
    let result: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(result["json"]["word"], json!("yes"));
}

#[test]
fn ctrl_c_ends_the_looking_and_not_the_run() {
    let (home, web) = (Home::new(), Server::start());
    let node = Node::start(&home);
    let plan = json!({"steps": [
        {"id": "ask", "tool": "http", "input": {"method": "GET", "url": web.url}},
    ]});
    let plan = home.file("p.json", plan.to_string());
    let server = format!("--server {}", node.url);
    let mut running = home.start(&format!("run {plan} {server}"));
    let held = web.request();
    running.wait_for("ask: running");
    running.signal(Signal::INT);
    let line = running.wait_for("interrupted");
    let id = line.split_whitespace().nth(2).unwrap().to_owned();
    let ended = running.end();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    let hint = format!("crane runs cancel {id} {server}");
    assert!(ended.stderr.contains(&hint), "{}", ended.stderr);
    held.answer_json(&json!({"word": "yes"}));
    let events = home.crane(&format!("runs events {id} --follow -o ids {server}"));
    assert_eq!(events.code, Some(0), "{events:?}");
    let run = home.json(&format!("runs show {id} -o json {server}"));
    assert_eq!(run["status"], json!("completed"));
}
