//! Every example runs as its comment says.

use serde_json::{Value, json};

use crate::program::{Home, Server, repository};

fn example(name: &str) -> String {
    repository("examples").join(name).display().to_string()
}

/// Runs an example and gives its result.
fn result(home: &Home, name: &str, options: &str) -> Value {
    home.json(&format!("run {} {options}", example(name)))
}

#[test]
fn every_example_is_a_valid_plan_that_can_be_drawn() {
    let home = Home::new();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(repository("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let path = path.display().to_string();
        let ended = home.crane(&format!("plan check {path}"));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        for format in ["text", "mermaid", "dot"] {
            let ended = home.crane(&format!("plan graph {path} --format {format}"));
            assert_eq!(ended.code, Some(0), "{ended:?}");
            assert!(!ended.stdout.is_empty());
        }
        names.push(path);
    }
    assert!(names.len() >= 5, "{names:?}");
    assert!(
        !home.path("crane-data").exists(),
        "checking a plan stores nothing"
    );
}

#[test]
fn the_order_is_added_up_with_the_values_given() {
    let home = Home::new();
    let first = json!({"total": 360.4, "text": "7 pieces cost 360.4"});
    assert_eq!(result(&home, "order.yaml", ""), first);
    let other = result(&home, "order.yaml", "--input price=3 --input quantity=2");
    assert_eq!(other["total"], json!(20.7));
}

#[test]
fn a_document_is_fetched_and_used() {
    let (home, server) = (Home::new(), Server::start());
    let running = home.start(&format!(
        "run {} --input url={}",
        example("fetch.yaml"),
        server.url
    ));
    let request = server.request();
    assert!(request.head.starts_with("get / "), "{}", request.head);
    assert!(request.header("idempotency-key").is_some());
    request.answer_json(&json!({"name": "crane", "stars": 3}));
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let result: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(result["status"], json!(200));
    assert_eq!(result["members"], json!(2.0));
    assert_eq!(result["document"]["name"], json!("crane"));
}

#[test]
fn a_private_address_is_refused_unless_allowed() {
    let (home, server) = (Home::new(), Server::start());
    let line = format!("run {} --input url={}", example("fetch.yaml"), server.url);
    let mut command = home.command(line.split_whitespace());
    command.env_remove("CRANE__TOOLS__HTTP__ALLOW_PRIVATE");
    let ended = crate::program::end(assert_cmd::Command::from_std(command));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("page: "), "{}", ended.stderr);
}

#[test]
fn ten_branches_take_as_long_as_the_slowest() {
    let home = Home::new();
    let path = example("parallel.yaml");
    let run = home.json(&format!("run {path} --input milliseconds=100 -o json"));
    assert_eq!(run["result"], json!({"slept_in_all_ms": 5500.0}));
    let log = run["execution_log"].as_array().unwrap();
    assert_eq!(log.len(), 12);
    let times = |step: &Value, name: &str| step[name].as_str().unwrap().to_owned();
    let branches = &log[1..11];
    let last_start = branches.iter().map(|step| times(step, "started_at")).max();
    let first_end = branches
        .iter()
        .map(|step| times(step, "completed_at"))
        .min();
    assert!(
        last_start < first_end,
        "the branches ran one after the other"
    );
}

#[test]
fn a_step_fails_twice_and_succeeds_and_an_accepted_failure_has_its_fallback() {
    let home = Home::new();
    let run = home.json(&format!("run {} -o json", example("retry.yaml")));
    let expected = json!({
        "attempts": 3, "optional": "failed", "fallback": "used instead", "never": "skipped"
    });
    assert_eq!(run["result"], expected);
    let attempts = |id: &str| {
        let log = run["execution_log"].as_array().unwrap();
        log.iter()
            .find(|step| step["id"] == id)
            .map(|step| step["attempts"].clone())
    };
    assert_eq!(attempts("flaky"), Some(json!(3)));
    assert_eq!(
        attempts("optional"),
        Some(json!(1)),
        "permanent errors are not retried"
    );
    assert_eq!(attempts("never"), None);
}

#[test]
fn todos_stay_from_run_to_run() {
    let home = Home::new();
    let first = result(&home, "todo.yaml", "");
    assert_eq!(first, json!({"done": "water the plants", "in_all": 1}));
    let second = result(&home, "todo.yaml", "--input text=milk");
    assert_eq!(second, json!({"done": "milk", "in_all": 2}));
}

#[test]
fn a_prompt_is_planned_and_carried_out() {
    let home = Home::new();
    let ended = home.run(["run", "--prompt", "calculate (10 + 5) * 2"]);
    assert_eq!(
        (ended.code, ended.stdout.trim()),
        (Some(0), "30.0"),
        "{}",
        ended.stderr
    );
    let ended = home.run(["run", "--prompt", "sing me a song"]);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stderr.contains("Could not parse prompt: "),
        "{}",
        ended.stderr
    );
}
