//! The configuration as users meet it: files, variables and flags of the program.

use serde_json::json;

use super::Serving;
use crate::program::{Home, end};

#[test]
fn the_effective_configuration_is_shown_with_the_origin_of_each_value() {
    let home = Home::new();
    home.file(
        "crane.toml",
        "[api]\nmax_connections = 7\n[limits]\nsteps = 3\n",
    );
    let mut command = home.command(["config", "show", "-o", "json", "--listen", "127.0.0.1:9"]);
    command.env("CRANE__API__MAX_CONNECTIONS", "8");
    command.env("CRANE_LOG", "debug");
    let ended = end(assert_cmd::Command::from_std(command));
    let shown: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let value = |section: &str, key: &str| shown[section][key].clone();
    assert_eq!(
        value("api", "max_connections"),
        json!({"value": 8, "origin": "environment variable CRANE__API__MAX_CONNECTIONS"})
    );
    assert_eq!(
        value("limits", "steps"),
        json!({"value": 3, "origin": "crane.toml:4"})
    );
    assert_eq!(
        value("api", "listen"),
        json!({"value": "127.0.0.1:9", "origin": "flag --listen"})
    );
    assert_eq!(
        value("log", "filter"),
        json!({"value": "debug", "origin": "environment variable CRANE_LOG"})
    );
    assert_eq!(
        value("node", "data"),
        json!({"value": "./crane-data", "origin": "default"})
    );
}

#[test]
fn everything_that_is_wrong_is_said_at_once_and_nothing_starts() {
    let home = Home::new();
    home.file(
        "bad.toml",
        "[api]\nlsten = \"x\"\n[stor]\n[limits]\nsteps = 0\n",
    );
    for line in [
        "config check",
        "config show",
        "serve",
        "run --prompt hi",
        "tools list",
    ] {
        let ended = home.crane(&format!("{line} --config bad.toml"));
        assert_eq!(ended.code, Some(2), "{line}: {ended:?}");
        let wrong = [
            "bad.toml:2: api.lsten",
            "bad.toml:3: stor",
            "bad.toml:5: limits.steps",
        ];
        for place in wrong {
            let said = ended.stderr.contains(&format!("error: {place}"));
            assert!(said, "{line}: {}", ended.stderr);
        }
        assert!(!home.path("crane-data").exists());
    }
    let report = home.crane("config check --config bad.toml -o json");
    let report: serde_json::Value = serde_json::from_str(&report.stdout).unwrap();
    assert_eq!(report["valid"], json!(false));
    assert_eq!(report["errors"].as_array().unwrap().len(), 3, "{report}");
    let valid = home.crane("config check");
    assert_eq!(valid.code, Some(0), "{valid:?}");
    let missing = home.crane("serve --config nowhere.toml");
    assert_eq!(missing.code, Some(2));
    let whole = "error: nowhere.toml: cannot be read";
    assert!(missing.stderr.starts_with(whole), "{missing:?}");
}

#[test]
fn a_level_with_a_slip_is_refused_wherever_it_is_given() {
    let home = Home::new();
    home.file("c.toml", "[log]\nfilter = \"inof\"\n");
    for line in ["config check", "serve"] {
        let refused = |options: &str, variable: Option<&str>, place: &str| {
            let line = format!("{line} {options}");
            let mut command = home.command(line.split_whitespace());
            command.envs(variable.map(|value| ("CRANE_LOG", value)));
            let ended = end(assert_cmd::Command::from_std(command));
            assert_eq!(ended.code, Some(2), "{line}: {ended:?}");
            let begins = format!("error: {place}: log.filter is refused: \"inof\"");
            assert!(ended.stderr.starts_with(&begins), "{line}: {ended:?}");
        };
        refused("--config c.toml", None, "c.toml:2");
        refused("--log inof", None, "flag --log");
        refused("", Some("inof"), "environment variable CRANE_LOG");
    }
    let mut command = home.command(["config", "check"]);
    command.env("CRANE_LOG", "");
    assert_eq!(end(assert_cmd::Command::from_std(command)).code, Some(0));
}

#[test]
fn every_certificate_that_cannot_be_used_is_said_at_once_with_its_line() {
    let home = Home::new();
    home.file("empty.pem", "nothing\n");
    let text = "[api]\ntls_cert = \"a.pem\"\ntls_key = \"b.pem\"\n\
        [cluster]\nlisten = \"127.0.0.1:7946\"\n\
        tls_cert = \"empty.pem\"\ntls_key = \"d.pem\"\ntls_ca = \"e.pem\"\n\
        [store]\nurl = \"postgres://crane@db.example/crane\"\nca = \"f.pem\"\n\
        [node]\nname = \"a\"\n";
    home.file("c.toml", text);
    for line in ["config check", "serve"] {
        let ended = home.crane(&format!("{line} --config c.toml"));
        assert_eq!(ended.code, Some(2), "{line}: {ended:?}");
        let wrong = [
            "c.toml:2: api.tls_cert is \"a.pem\", which cannot be read",
            "c.toml:3: api.tls_key is \"b.pem\", which cannot be read",
            "c.toml:6: cluster.tls_cert is \"empty.pem\", which holds no certificate",
            "c.toml:7: cluster.tls_key is \"d.pem\", which cannot be read",
            "c.toml:8: cluster.tls_ca is \"e.pem\", which cannot be read",
            "c.toml:11: store.ca is \"f.pem\", which cannot be read",
        ];
        let said: Vec<&str> = ended.stderr.lines().collect();
        assert_eq!(said.len(), wrong.len(), "{line}: {}", ended.stderr);
        for (said, wrong) in said.iter().zip(wrong) {
            assert!(said.starts_with(&format!("error: {wrong}")), "{said}");
        }
    }
    // What is shown needs no keys.
    let shown = home.crane("config show --config c.toml");
    assert_eq!(shown.code, Some(0), "{shown:?}");
}

#[test]
fn one_limit_holds_for_every_command() {
    let home = Home::new();
    let plan = "steps: [{id: a, tool: echo, input: {}}, {id: b, tool: echo, input: {}}]";
    let plan = home.file("two.yaml", plan);
    home.file(
        "crane.toml",
        "[limits]\nsteps = 1\n[node]\ndata = \"elsewhere\"\n",
    );
    for line in ["plan check", "run"] {
        let ended = home.crane(&format!("{line} {plan}"));
        assert_eq!(ended.code, Some(2), "{line}: {ended:?}");
    }
    let node = Serving::start(&home, "");
    assert!(
        node.greeting
            .iter()
            .any(|line| line.starts_with("data: elsewhere"))
    );
    assert!(
        node.greeting
            .iter()
            .any(|line| line == "config: crane.toml")
    );
    let body = json!({"plan": {"steps": [
        {"id": "a", "tool": "echo", "input": {}}, {"id": "b", "tool": "echo", "input": {}},
    ]}});
    let refused = node.post("/api/v1/runs", &body.to_string());
    assert_eq!(refused.status, 422, "{refused:?}");
    drop(node);
    // Without the file the same is accepted: it was the file that refused.
    std::fs::remove_file(home.path("crane.toml")).unwrap();
    assert_eq!(home.crane(&format!("run {plan}")).code, Some(0));
}

#[test]
fn log_lines_look_as_they_are_told_to() {
    let home = Home::new();
    for (format, is_json) in [("json", true), ("pretty", false)] {
        home.file(
            "c.toml",
            format!("[log]\nfilter = \"info\"\nformat = \"{format}\"\n"),
        );
        let node = Serving::start(&home, "--config c.toml");
        node.wait_for("opened the store");
        assert_eq!(
            node.said().contains("\"level\":\"INFO\""),
            is_json,
            "{format}"
        );
    }
}
