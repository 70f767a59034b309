//! What a server refuses, what is no server, and what cannot be meant.

use super::Node;
use crate::program::{Ended, Home};

/// The command says in one line of these words that it was not done, and ends with this code.
#[track_caller]
fn refused(ended: &Ended, code: i32, expected: &str) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    assert!(ended.stderr.contains(expected), "{expected}: {ended:?}");
    let errors = ended
        .stderr
        .lines()
        .filter(|line| line.starts_with("error:"));
    assert_eq!(errors.count(), 1, "{ended:?}");
    assert_eq!(ended.stdout, "");
}

#[test]
fn all_findings_of_a_server_are_lines_of_the_plan_file() {
    let home = Home::new();
    let node = Node::start(&home);
    let plan = "steps:\n  - id: a\n    tool: ecko\n    input: {}\n  - id: b\n    tool: echo\n    \
                input: {}\n    timeout: soon\n";
    home.file("plan.yaml", plan);
    let there = home.crane(&format!("run plan.yaml --server {}", node.url));
    assert_eq!(there.code, Some(2), "{there:?}");
    let here = home.crane("run plan.yaml --data here");
    assert_eq!(
        there.stderr, here.stderr,
        "the same complaints in both places"
    );
    assert!(
        there
            .stderr
            .starts_with("error: plan.yaml:3:5: steps[0].tool: ")
    );
}

#[test]
fn what_a_server_refuses_is_one_error_with_the_code_of_its_kind() {
    let home = Home::new();
    let node = Node::start(&home);
    let server = format!("--server {}", node.url);
    home.file("good.yaml", "steps: [{id: a, tool: echo, input: {}}]");
    home.file("broken.yaml", "steps: [");
    let id = "00000000-0000-7000-8000-000000000000";
    let label = "x".repeat(300);
    for (line, code, expected) in [
        ("run broken.yaml".to_owned(), 2, "broken.yaml:1"),
        ("run none.yaml".to_owned(), 2, "no such file"),
        (format!("run good.yaml --label a={label}"), 2, "labels.a"),
        (format!("runs show {id}"), 1, "run not found"),
        (format!("runs show {id} -o json"), 1, "run not found"),
        (format!("runs events {id}"), 1, "run not found"),
        (
            format!("runs events {id} --follow -o ids"),
            1,
            "run not found",
        ),
        (format!("runs cancel {id}"), 1, "run not found"),
        (format!("runs retry {id}"), 1, "run not found"),
        (format!("runs result {id}"), 1, "run not found"),
        ("run --resume".to_owned(), 2, "--resume"),
        (
            "runs list --data x".to_owned(),
            2,
            "--server excludes --data",
        ),
        (
            "runs list --config c.toml".to_owned(),
            2,
            "--server excludes --data and --config",
        ),
        ("bench --data x".to_owned(), 2, "--server excludes --data"),
    ] {
        refused(&home.crane(&format!("{line} {server}")), code, expected);
    }
    let ended = home.run(["run", "--prompt", " ", "--server", &node.url]);
    refused(&ended, 2, "prompt");
    assert!(!home.path("x").exists() && !home.path("crane-data").exists());
}

#[test]
fn what_is_no_server_is_one_error() {
    let home = Home::new();
    home.file("good.yaml", "steps: [{id: a, tool: echo, input: {}}]");
    let nobody = "--server http://127.0.0.1:1";
    for line in ["run good.yaml", "runs list", "tools list", "bench --runs 1"] {
        let expected =
            "cannot reach http://127.0.0.1:1: connection refused; is `crane serve` running";
        refused(&home.crane(&format!("{line} {nobody}")), 1, expected);
    }
    for url in ["ftp://x", "http://x?y", "http://me:secret@x"] {
        let ended = home.crane(&format!("runs list --server {url}"));
        refused(&ended, 2, "is no address");
        assert!(!ended.stderr.contains("secret"), "{ended:?}");
    }
    refused(&home.crane("runs list --token-file none"), 2, "--server");
    let ended = home.crane(&format!("runs list --token-file none {nobody}"));
    refused(&ended, 2, "none");
    home.file("token", "two words\n");
    let ended = home.crane(&format!("runs list --token-file token {nobody}"));
    refused(&ended, 2, "the token is not usable");
    assert!(!ended.stderr.contains("two words"), "{ended:?}");
}

#[test]
fn a_data_directory_that_is_named_goes_before_the_server_of_the_environment() {
    let home = Home::new();
    let crane = |line: &str| {
        let mut command = home.command(line.split_whitespace());
        command.env("CRANE_SERVER", "http://127.0.0.1:1");
        crate::program::end(assert_cmd::Command::from_std(command))
    };
    home.file("good.yaml", "steps: [{id: a, tool: echo, input: {}}]");
    assert_eq!(crane("run good.yaml --data here").code, Some(0));
    refused(
        &crane("run good.yaml"),
        1,
        "cannot reach http://127.0.0.1:1",
    );
    refused(
        &crane("run --resume"),
        2,
        "--resume is for a data directory",
    );
}
