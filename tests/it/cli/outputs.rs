//! What commands print, for people and for programs, and who reads it.

use std::process::Stdio;

use serde_json::{Value, json};

use super::{keys, sorted};
use crate::program::{Home, end};

#[test]
fn a_run_as_json_has_the_members_of_the_contract() {
    let home = Home::new();
    let ended = home.run(["run", "--prompt", "calculate (10 + 5) * 2", "-o", "json"]);
    assert_eq!(ended.code, Some(0));
    let run: Value = serde_json::from_str(&ended.stdout).unwrap();
    let expected = sorted([
        "run_id",
        "prompt",
        "status",
        "labels",
        "plan",
        "execution_log",
        "result",
        "error",
        "seq",
        "node",
        "created_at",
        "started_at",
        "completed_at",
    ]);
    assert_eq!(keys(&run), expected);
    let expected = sorted([
        "step_number",
        "id",
        "tool_name",
        "tool_input",
        "status",
        "success",
        "output",
        "error",
        "attempts",
        "duration_ms",
        "started_at",
        "completed_at",
    ]);
    assert_eq!(keys(&run["execution_log"][0]), expected);
    assert_eq!(run["execution_log"][0]["output"], json!(30.0));
    let expected = sorted([
        "step_number",
        "id",
        "tool_name",
        "tool_input",
        "depends_on",
        "reasoning",
    ]);
    assert_eq!(keys(&run["plan"]["steps"][0]), expected);
    // What is shown is what is stored, and a plan that was shown can be run again.
    let id = run["run_id"].as_str().unwrap();
    assert_eq!(home.json(&format!("runs show {id} -o json")), run);
    let again = home.file("again.json", run["plan"].to_string());
    assert_eq!(home.json(&format!("run {again}")), json!(30.0));
}

#[test]
fn events_as_json_are_numbered_without_gaps() {
    let home = Home::new();
    let plan = home.file("p.yaml", "steps: [{id: a, tool: echo, input: {v: 1}}]");
    let run = home.json(&format!("run {plan} -o json --label team=a --input x=1"));
    let id = run["run_id"].as_str().unwrap();
    let events = home.json(&format!("runs events {id} -o json"));
    let events = events.as_array().unwrap();
    let numbers: Vec<u64> = events.iter().map(|e| e["seq"].as_u64().unwrap()).collect();
    assert_eq!(
        numbers,
        (1..=run["seq"].as_u64().unwrap()).collect::<Vec<_>>()
    );
    assert_eq!(events[0]["type"], json!("run_accepted"));
    assert_eq!(events[0]["data"]["labels"], json!({"team": "a"}));
    assert_eq!(events[0]["data"]["input"], json!({"x": 1}));
    assert_eq!(events.last().unwrap()["type"], json!("run_completed"));
    for event in events {
        assert_eq!(event["run_id"], json!(id));
        assert_eq!(event["round"], json!(1));
    }
    let seqs = home.crane(&format!("runs events {id} -o ids"));
    assert_eq!(seqs.stdout.lines().count(), events.len());
}

#[test]
fn runs_are_listed_newest_first_and_filtered() {
    let home = Home::new();
    let good = home.file(
        "good.yaml",
        "name: good\nsteps: [{id: a, tool: echo, input: {}}]",
    );
    let bad = home.file(
        "bad.yaml",
        "steps: [{id: a, tool: fail, input: {kind: permanent}}]",
    );
    let mut ids = Vec::new();
    for plan in [&good, &good, &bad] {
        let ended = home.crane(&format!("run {plan} -o json --label plan={plan}"));
        let run: Value = serde_json::from_str(&ended.stdout).unwrap();
        ids.insert(0, run["run_id"].as_str().unwrap().to_owned());
    }
    let listed = |options: &str| -> Vec<String> {
        let ended = home.crane(&format!("runs list -o ids {options}"));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.stdout.lines().map(str::to_owned).collect()
    };
    assert_eq!(listed(""), ids);
    assert_eq!(listed("--status failed"), ids[..1]);
    assert_eq!(listed("--label plan=good.yaml"), ids[1..]);
    assert_eq!(
        listed("--label plan=good.yaml --status failed"),
        Vec::<String>::new()
    );
    assert_eq!(listed("--limit 1 --offset 1"), ids[1..2]);
    assert_eq!(listed("--offset 9"), Vec::<String>::new());
    let runs = home.json("runs list -o json");
    assert_eq!(runs[2]["status"], json!("completed"));
    let table = home.crane("runs list --limit 2");
    assert!(table.stdout.starts_with("RUN"), "{}", table.stdout);
    assert_eq!(table.stdout.lines().count(), 3);
    assert!(table.stderr.contains("3 runs in all"), "{}", table.stderr);
    assert!(!table.stdout.contains('\u{1b}'));
}

#[test]
fn tools_are_listed_tried_and_forced() {
    let home = Home::new();
    let ids = home.crane("tools list -o ids").stdout;
    let names: Vec<&str> = ids.lines().collect();
    assert_eq!(
        names,
        ["calculator", "echo", "fail", "http", "sleep", "todo_store"]
    );
    let tried = home.json(r#"tools call calculator --input {"expression":"6*7"} -o json"#);
    assert_eq!(keys(&tried), ["duration_ms", "error", "output", "success"]);
    assert_eq!(tried["output"], json!(42.0));
    assert!(
        !home.path("crane-data").exists(),
        "trying a pure tool stores nothing"
    );
    let failed = home.crane(r#"tools call calculator --input {"expression":"6/0"}"#);
    assert_eq!(failed.code, Some(1));
    assert!(failed.stderr.contains("division by zero"), "{failed:?}");

    let state = |line: &str| home.json(line)["breaker"]["state"].clone();
    assert_eq!(state("tools open echo -o json"), json!("open"));
    assert_eq!(
        state("tools show echo -o json"),
        json!("open"),
        "it survives a restart"
    );
    let refused = home.crane("tools call echo --input {}");
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("tool_unavailable"), "{refused:?}");
    assert_eq!(state("tools reset echo -o json"), json!("closed"));
    assert_eq!(home.crane("tools call echo --input {}").code, Some(0));
    assert_eq!(home.crane("tools show nothing").code, Some(1));
}

#[test]
fn a_reader_who_goes_away_is_no_error() {
    let home = Home::new();
    let long = "x".repeat(500_000);
    let plan = format!("steps: [{{id: a, tool: echo, input: {{v: {long}}}}}]");
    let plan = home.file("p.yaml", plan);
    let id = home.json(&format!("run {plan} -o json"))["run_id"].clone();
    let show = format!("runs show {} -o json", id.as_str().unwrap());
    for line in [
        show.as_str(),
        "runs list",
        "completions bash",
        "--help",
        "--version",
    ] {
        let mut child = home
            .command(line.split_whitespace())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{line}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line}");
    }
}

#[test]
fn a_full_disk_behind_standard_output_is_an_error() {
    let home = Home::new();
    let mut command = home.command(["tools", "list"]);
    command.stdout(
        std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap(),
    );
    let output = command
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("standard output"));
}

#[test]
fn the_bench_prints_the_figures_of_the_contract() {
    let home = Home::new();
    let expected = sorted([
        "shape",
        "concurrency",
        "runs",
        "errors",
        "seconds",
        "runs_per_second",
        "steps_per_second",
        "p50_ms",
        "p99_ms",
        "p999_ms",
        // Beside the contract's: what explains the figures.
        "fdatasync_us",
        "rss_bytes",
    ]);
    let one = home.json("bench --shape chain:3 --concurrency 4 --runs 20 -o json");
    assert_eq!(keys(&one), expected);
    assert_eq!((&one["runs"], &one["errors"]), (&json!(20), &json!(0)));
    let several = home.json("bench --shape diamond,mixed --concurrency 4 --runs 20 -o json");
    assert_eq!(several[1]["shape"], json!("mixed"));
    let table = home
        .crane("bench --shape fanout:5 --concurrency 2 --runs 10 --data b")
        .stdout;
    assert!(table.contains("median fdatasync"), "{table}");
    // 10 counted runs and the warm-up.
    assert_eq!(home.json("check --data b -o json")["runs"], json!(11));
}

#[test]
fn the_version_names_the_commit_and_completions_the_commands() {
    let home = Home::new();
    let version = home.crane("--version").stdout;
    assert!(
        version.starts_with("crane 0.") && version.contains("(commit "),
        "{version}"
    );
    for shell in ["bash", "zsh", "fish"] {
        let script = home.crane(&format!("completions {shell}")).stdout;
        assert!(script.contains("completions"), "{shell}");
    }
}

#[test]
fn the_live_view_is_plain_lines_without_a_terminal_and_the_result_stands_alone() {
    let home = Home::new();
    let plan = "steps: [{id: a, tool: fail, input: {times: 1}, retry: {initial: 1ms}}]";
    let plan = home.file("p.yaml", plan);
    let ended = home.crane(&format!("run {plan}"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.stderr.contains('\u{1b}'), "{}", ended.stderr);
    for text in [
        "a: running",
        "a: waiting",
        "a: running, attempt 2",
        "a: completed in",
        "after",
    ] {
        assert!(ended.stderr.contains(text), "{text}: {}", ended.stderr);
    }
    let result: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(result, json!({"attempts": 2}));
}

#[test]
fn a_plan_comes_from_standard_input_as_well() {
    let home = Home::new();
    let command = home.command(["run", "-"]);
    let mut command = assert_cmd::Command::from_std(command);
    command.write_stdin("steps: [{id: a, tool: echo, input: {v: 1}}]");
    let ended = end(command);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(
        serde_json::from_str::<Value>(&ended.stdout).unwrap(),
        json!({"v": 1})
    );
}

#[test]
fn a_panic_of_a_tool_fails_its_step_and_nothing_else() {
    let home = Home::new();
    let plan = "steps: [{id: a, tool: fail, input: {kind: panic}, retry: {max_attempts: 1}}]";
    let plan = home.file("p.yaml", plan);
    let ended = home.crane(&format!("run {plan}"));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("a: failed"), "{}", ended.stderr);
}
