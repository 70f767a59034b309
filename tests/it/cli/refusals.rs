//! Everything a user may get wrong, each with exactly one clear error and exit code 2.

use serde_json::Value;

use crate::program::{Ended, Home};

/// The program says once what is wrong, in words that contain `expected`.
#[track_caller]
fn refused(ended: &Ended, what: &str, expected: &str) {
    assert_eq!(ended.code, Some(2), "{what}: {ended:?}");
    let errors = ended
        .stderr
        .lines()
        .filter(|line| line.starts_with("error:"));
    assert_eq!(errors.count(), 1, "{what}: {}", ended.stderr);
    assert!(
        ended.stderr.contains(expected),
        "{what}: {expected:?} is not in {}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("panic"), "{what}: {}", ended.stderr);
    assert_eq!(ended.stdout, "", "{what}");
}

/// Plans, and what is said about each.
const PLANS: &[(&str, &str)] = &[
    // no document
    ("", "is empty"),
    ("# only a comment\n", "is empty"),
    ("a\0b", "binary file"),
    ("steps: [", "plan.yaml:1"),
    ("steps: []\nsteps: []\n", "plan.yaml:2:1"),
    ("1: x\n", "the key 1 is not text"),
    ("a: 1\n---\nb: 2\n", "several documents"),
    ("a: *unknown\n", "plan.yaml:1"),
    ("a: .inf\n", "plan.yaml:1"),
    ("{\"steps\": [}", "plan.yaml:1"),
    ("a:\n\t- b\n", "plan.yaml:2"),
    // no plan
    ("just text", "object"),
    ("[]", "object"),
    ("42", "object"),
    ("name: x", "steps"),
    ("steps: []", "steps"),
    ("steps: {}", "steps"),
    ("steps: [1]", "steps[0]"),
    ("steps: [{tool: echo, input: {}}]", "steps[0]"),
    ("steps: [{id: a, input: {}}]", "steps[0]"),
    (
        "stepz: []\nsteps: [{id: a, tool: echo, input: {}}]",
        "stepz",
    ),
    ("name: [x]\nsteps: [{id: a, tool: echo, input: {}}]", "name"),
    ("input: 3\nsteps: [{id: a, tool: echo, input: {}}]", "input"),
    (
        "final_goal: {}\nsteps: [{id: a, tool: echo, input: {}}]",
        "final_goal",
    ),
    (
        "output: '${steps.b.output}'\nsteps: [{id: a, tool: echo, input: {}}]",
        "output",
    ),
    // no step
    ("steps: [{id: 1a, tool: echo, input: {}}]", "steps[0].id"),
    ("steps: [{id: 'a b', tool: echo, input: {}}]", "steps[0].id"),
    ("steps: [{id: '', tool: echo, input: {}}]", "steps[0].id"),
    (
        "steps: [{id: a, tool: echo, input: {}}, {id: a, tool: echo, input: {}}]",
        "steps[1].id",
    ),
    (
        "steps: [{id: a, tool: calculater, input: {expression: '1'}}]",
        "calculator",
    ),
    ("steps: [{id: a, tool: 3, input: {}}]", "steps[0].tool"),
    (
        "steps: [{id: a, tool: echo, tool_name: echo, input: {}}]",
        "tool_name",
    ),
    ("steps: [{id: a, tool: echo, input: 3}]", "steps[0].input"),
    (
        "steps: [{id: a, tool: echo, input: {}, dependson: []}]",
        "dependson",
    ),
    (
        "steps: [{id: a, tool: calculator, input: {}}]",
        "steps[0].input",
    ),
    (
        "steps: [{id: a, tool: calculator, input: {expression: 3}}]",
        "steps[0].input.expression",
    ),
    (
        "steps: [{id: a, tool: calculator, input: {expression: '1', x: 2}}]",
        "steps[0].input",
    ),
    (
        "steps: [{id: a, tool: echo, input: {}, depends_on: [b]}]",
        "steps[0].depends_on[0]",
    ),
    (
        "steps: [{id: a, tool: echo, input: {}, depends_on: [a]}]",
        "steps[0].depends_on[0]",
    ),
    (
        "steps: [{id: a, tool: echo, input: {}, depends_on: a}]",
        "steps[0].depends_on",
    ),
    (
        "steps: [{id: a, tool: echo, input: {}, depends_on: [b]}, \
         {id: b, tool: echo, input: {}, depends_on: [a]}]",
        "a -> b -> a",
    ),
    (
        "steps: [{id: a, tool: echo, input: {}, timeout: soon}]",
        "steps[0].timeout",
    ),
    (
        "steps: [{id: a, tool: echo, input: {}, timeout: 0s}]",
        "steps[0].timeout",
    ),
    (
        "steps: [{id: a, tool: echo, input: {}, timeout: 900d}]",
        "steps[0].timeout",
    ),
    (
        "steps: [{id: a, tool: echo, input: {}, retry: 3}]",
        "steps[0].retry",
    ),
    (
        "steps: [{id: a, tool: echo, input: {}, retry: {max_attempts: 0}}]",
        "retry.max_attempts",
    ),
    (
        "steps: [{id: a, tool: echo, input: {}, retry: {max_attempts: 101}}]",
        "retry.max_attempts",
    ),
    (
        "steps: [{id: a, tool: echo, input: {}, retry: {factor: 0.5}}]",
        "retry.factor",
    ),
    (
        "steps: [{id: a, tool: echo, input: {}, retry: {initial: 5s, max: 1s}}]",
        "steps[0].retry",
    ),
    (
        "steps: [{id: a, tool: echo, input: {}, retry: {tries: 3}}]",
        "tries",
    ),
    (
        "steps: [{id: a, tool: echo, input: {}, delivery: exactly_once}]",
        "steps[0].delivery",
    ),
    (
        "steps: [{id: a, tool: echo, input: {}, delivery: at_most_once, retry: {max_attempts: 2}}]",
        "at_most_once",
    ),
    (
        "steps: [{id: a, tool: echo, input: {}, on_error: ignore}]",
        "steps[0].on_error",
    ),
    // no expression
    (
        "steps: [{id: a, tool: echo, input: {v: '${'}}]",
        "steps[0].input.v",
    ),
    (
        "steps: [{id: a, tool: echo, input: {v: '${1 +}'}}]",
        "steps[0].input.v",
    ),
    (
        "steps: [{id: a, tool: echo, input: {v: '${steps.b.output}'}}]",
        "steps[0].input.v",
    ),
    (
        "steps: [{id: a, tool: echo, input: {v: '${secrets.x}'}}]",
        "secrets",
    ),
    (
        "steps: [{id: a, tool: echo, input: {v: '${input.x | shout}'}}]",
        "steps[0].input.v",
    ),
    (
        "steps: [{id: a, tool: echo, input: {}, when: 'input.x =='}]",
        "steps[0].when",
    ),
    (
        "steps: [{id: a, tool: echo, input: {}, when: 3}]",
        "steps[0].when",
    ),
];

#[test]
fn a_malformed_plan_is_refused_with_one_error_and_nothing_is_stored() {
    let home = Home::new();
    for (plan, expected) in PLANS {
        home.file("plan.yaml", plan);
        for line in ["run plan.yaml", "plan check plan.yaml"] {
            refused(&home.crane(line), plan, expected);
        }
    }
    assert!(!home.path("crane-data").exists());
}

/// Command lines, and what is said about each.
const LINES: &[(&[&str], &str)] = &[
    (&["run"], "PLAN"),
    (&["run", "none.yaml"], "no such file"),
    (&["run", "."], "is a directory"),
    (&["run", "latin.yaml"], "not UTF-8"),
    (&["run", "large.yaml"], "longer than"),
    (
        &["run", "good.yaml", "--prompt", "x"],
        "cannot be used with",
    ),
    (&["run", "good.yaml", "--resume"], "cannot be used with"),
    (
        &["run", "--resume", "--input", "a=1"],
        "cannot be used with",
    ),
    (&["run", "--resume", "not-an-id"], "not-an-id"),
    (&["run", "good.yaml", "--detach"], "needs a server"),
    (&["run", "good.yaml", "--input", "novalue"], "NAME=VALUE"),
    (&["run", "good.yaml", "--input", "=3"], "name"),
    (
        &["run", "good.yaml", "--input", "a=1", "--input", "a=2"],
        "given twice",
    ),
    (
        &["run", "good.yaml", "--input-file", "none.json"],
        "no such file",
    ),
    (
        &["run", "good.yaml", "--input-file", "list.json"],
        "must hold an object",
    ),
    (
        &["run", "good.yaml", "--input-file", "latin.yaml"],
        "not UTF-8",
    ),
    (&["run", "good.yaml", "--label", "novalue"], "NAME=VALUE"),
    (
        &["run", "good.yaml", "--label", "a=1", "--label", "a=2"],
        "given twice",
    ),
    (&["run", "good.yaml", "-o", "xml"], "xml"),
    (&["run", "good.yaml", "--fast"], "--fast"),
    (&["run", "--prompt", ""], "prompt"),
    (&["run", "--prompt", "  \n "], "prompt"),
    (&["runs", "list", "--limit", "0"], "limit"),
    (&["runs", "list", "--limit", "101"], "limit"),
    (&["runs", "list", "--offset=-1"], "offset"),
    (&["runs", "list", "--status", "done"], "completed"),
    (&["runs", "show", "not-an-id"], "not-an-id"),
    (&["runs", "show"], "ID"),
    (&["tools", "call", "echo"], "--input"),
    (&["tools", "call", "echo", "--input", "{"], "not JSON"),
    (&["plan", "graph", "good.yaml", "--format", "png"], "png"),
    (&["bench", "--shape", "ring"], "chain:N"),
    (&["bench", "--concurrency", "0"], "concurrency"),
    (&["completions", "tcl"], "tcl"),
    (&["tools", "list", "--log", "a=b=c"], "flag --log: "),
    (&["tools", "list", "--log", "inof"], "is not a level"),
    (&["dance"], "dance"),
];

#[test]
fn a_wrong_command_line_is_refused_with_one_error() {
    let home = Home::new();
    home.file("good.yaml", "steps: [{id: a, tool: echo, input: {}}]");
    home.file("list.json", "[1]");
    home.file("latin.yaml", b"name: caf\xe9\n");
    home.file("large.yaml", vec![b'#'; (4 << 20) + 1]);
    for (arguments, expected) in LINES {
        let ended = home.run(arguments.iter().copied());
        refused(&ended, &arguments.join(" "), expected);
    }
}

#[test]
fn what_is_too_long_for_the_command_is_refused() {
    let home = Home::new();
    home.file("good.yaml", "steps: [{id: a, tool: echo, input: {}}]");
    let prompt = "x".repeat(2_001);
    let label = format!("a={}", "x".repeat(300));
    let cases: [(&[&str], &str); 2] = [
        (&["run", "--prompt", &prompt], "2000"),
        (&["run", "good.yaml", "--label", &label], "labels.a"),
    ];
    for (arguments, expected) in cases {
        refused(&home.run(arguments.iter().copied()), arguments[0], expected);
    }
    assert!(PLANS.len() + LINES.len() >= 60);
}

#[test]
fn an_unknown_setting_in_the_environment_is_refused_by_name() {
    let home = Home::new();
    let mut command = home.command(["tools", "list"]);
    command.env("CRANE__TOOLS__HTTP__ALOW_PRIVATE", "true");
    let ended = crate::program::end(assert_cmd::Command::from_std(command));
    refused(&ended, "setting", "CRANE__TOOLS__HTTP__ALOW_PRIVATE");
}

#[test]
fn all_findings_of_a_plan_are_said_at_once_with_their_lines() {
    let home = Home::new();
    let plan = "steps:\n  - id: a\n    tool: ecko\n    input: {}\n  - id: b\n    tool: echo\n    \
                input: {}\n    timeout: soon\n";
    home.file("plan.yaml", plan);
    let ended = home.crane("run plan.yaml");
    assert_eq!(ended.code, Some(2));
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].starts_with("error: plan.yaml:3:5: steps[0].tool: "),
        "{}",
        lines[0]
    );
    assert!(
        lines[1].starts_with("error: plan.yaml:8:5: steps[1].timeout: "),
        "{}",
        lines[1]
    );

    let ended = home.crane("plan check plan.yaml -o json");
    assert_eq!(ended.code, Some(2));
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["valid"], Value::Bool(false));
    assert_eq!(report["errors"][1]["path"], "steps[1].timeout");
    assert_eq!(report["errors"][1]["line"], 8);
}

#[test]
fn what_is_not_there_is_no_usage_error() {
    let home = Home::new();
    home.file("good.yaml", "steps: [{id: a, tool: echo, input: {}}]");
    let id = "00000000-0000-7000-8000-000000000000";
    let lines = ["runs list", "run --resume", "check"];
    for line in lines {
        let ended = home.crane(line);
        assert_eq!(ended.code, Some(1), "{line}: {ended:?}");
        assert!(ended.stderr.contains("--data"), "{line}: {ended:?}");
    }
    assert!(
        !home.path("crane-data").exists(),
        "asking makes no directory"
    );
    assert_eq!(home.crane("run good.yaml").code, Some(0));
    for command in ["show", "events", "cancel", "retry", "result"] {
        let ended = home.crane(&format!("runs {command} {id}"));
        assert_eq!(ended.code, Some(1), "{command}: {ended:?}");
        assert!(
            ended.stderr.contains("run not found"),
            "{command}: {ended:?}"
        );
    }
    let ended = home.crane(&format!("run --resume {id}"));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(home.crane("tools call nothing --input {}").code, Some(1));
}
