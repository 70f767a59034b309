//! What commands say to who has made a slip, and what they leave out.

use serde_json::json;

use crate::program::process::Process;
use crate::program::{Home, end};

#[test]
fn the_directory_around_a_data_directory_is_not_taken_for_one() {
    let home = Home::new();
    assert_eq!(
        home.crane("run --prompt hello --data d/crane-data").code,
        Some(1)
    );
    let id = "0199d3a0-1f2e-7c3b-9a4d-5e6f708192a3";
    for line in [
        "check",
        "runs list",
        &format!("runs show {id}"),
        "run --resume",
        "run --prompt hello",
        "tools list",
        "tools close http",
    ] {
        let ended = home.crane(&format!("{line} --data d"));
        assert_eq!(ended.code, Some(1), "{line}: {ended:?}");
        let hint = "error: d is no data directory; did you mean d/crane-data?";
        assert!(ended.stderr.starts_with(hint), "{line}: {ended:?}");
        assert!(!home.path("d/FORMAT").exists(), "{line}");
    }
    assert_eq!(home.crane("check --data d/crane-data").code, Some(0));
}

#[test]
fn who_meets_a_serving_node_on_its_data_is_shown_the_way_to_it() {
    let home = Home::new();
    let _node = Process::serve(&home, "");
    let ended = home.crane("runs list");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.stderr.contains("--server URL (or CRANE_SERVER)"),
        "{ended:?}"
    );
}

#[test]
fn an_input_that_the_plan_does_not_know_is_warned_of_and_taken() {
    let home = Home::new();
    let plan = "input: {price: 2}\nsteps: [{id: a, tool: echo, input: {v: \"${input.price}\"}}]\n";
    home.file("p.yaml", plan);
    let ended = home.crane("run p.yaml --input prise=3");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let warning = "warning: p.yaml declares no input called prise, and nothing in it uses one\n";
    assert!(ended.stderr.starts_with(warning), "{ended:?}");
    let ended = home.crane("run p.yaml --input price=3");
    assert!(!ended.stderr.contains("warning"), "{ended:?}");
}

#[test]
fn a_prompt_that_nobody_understood_is_not_to_be_tried_again() {
    let home = Home::new();
    let ended = home.crane("run --prompt gibberish");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(!ended.stderr.contains("retry"), "{ended:?}");
    home.file(
        "p.yaml",
        "steps: [{id: a, tool: fail, input: {kind: permanent}}]",
    );
    let ended = home.crane("run p.yaml");
    assert!(ended.stderr.contains("crane runs retry"), "{ended:?}");
}

#[test]
fn a_short_token_is_hashed_with_a_warning() {
    let home = Home::new();
    for (token, is_warned) in [("abc", true), ("0123456789abcdef", false)] {
        let command = home.command(["config", "token", "--stdin"]);
        let mut command = assert_cmd::Command::from_std(command);
        command.write_stdin(token);
        let ended = end(command);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.starts_with("tokens = [\"blake3:"), "{ended:?}");
        assert_eq!(
            ended.stderr.contains("can be guessed"),
            is_warned,
            "{ended:?}"
        );
        assert!(!ended.stderr.contains(token), "{ended:?}");
    }
}

#[test]
fn a_list_counts_ended_steps_and_names_goals_alike_with_and_without_a_server() {
    let home = Home::new();
    let steps = "steps:\n  - {id: a, tool: fail, input: {kind: permanent}, on_error: continue}\n  \
        - {id: b, tool: echo, input: {}, when: \"steps.a.status == 'completed'\", depends_on: [a]}\n";
    home.file("named.yaml", format!("name: the-name\n{steps}"));
    home.file(
        "both.yaml",
        format!("name: the-name\nfinal_goal: The goal\n{steps}"),
    );
    home.file("bare.yaml", steps);
    for plan in ["named", "both", "bare"] {
        assert_eq!(home.crane(&format!("run {plan}.yaml")).code, Some(0));
    }
    let here = home.crane("runs list").stdout;
    for goal in ["the-name", "The goal", "a, b"] {
        assert_eq!(here.matches(&format!("  {goal}\n")).count(), 1, "{here}");
    }
    assert_eq!(here.matches("completed  2/2 ").count(), 3, "{here}");
    let node = Process::serve(&home, "");
    let there = home.crane(&format!("runs list --server http://{}", node.address));
    assert_eq!(there.stdout, here);
}

#[test]
fn a_call_of_a_tool_that_is_forced_open_says_who_has_done_that() {
    let home = Home::new();
    home.crane("tools open echo");
    let ended = home.run(["tools", "call", "echo", "--input", &json!({}).to_string()]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.stderr.contains("`crane tools reset echo`"),
        "{ended:?}"
    );
    assert!(!ended.stderr.contains("try again"), "{ended:?}");
}
