//! Metrics: that each is there, means what it says, and has no label from outside.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::Stdio;

use super::mixed_load;
use super::node::{Node, program};
use super::scrape::{samples, strangers, value};
use crate::program::{Home, repository};

/// Every name of the contract that can exist without a cluster.
const NAMES: &str = "
    runs_submitted_total runs_finished_total runs_active run_duration_seconds
    run_queue_wait_seconds runs_rejected_total runs_deduplicated_total
    steps_total step_duration_seconds step_schedule_to_start_seconds step_retries_total
    step_timeouts_total
    actors actor_spawns_total actor_restarts_total actor_failures_total
    restart_budget_exhausted_total mailbox_depth message_handle_seconds
    tool_calls_total tool_breaker_state tool_breaker_transitions_total tool_rejected_total
    tool_inflight
    journal_append_seconds journal_batch_records journal_bytes_total checkpoint_seconds
    snapshot_bytes_total recovery_seconds recovered_runs_total store_errors_total storage_bytes
    http_requests_total http_request_seconds event_stream_subscribers build_info";

#[test]
fn every_metric_of_the_contract_is_there_from_the_first_scrape() {
    let home = Home::new();
    let node = Node::start(&home);
    let text = node.scrape();
    let names = NAMES.split_whitespace().map(|name| format!("crane_{name}"));
    let process = ["process_cpu_seconds_total", "process_resident_memory_bytes"];
    for name in names.chain(process.map(str::to_owned)) {
        assert!(text.contains(&format!("# HELP {name} ")), "{name}: {text}");
        assert!(text.contains(&format!("# TYPE {name} ")), "{name}: {text}");
        let has_series = ["", "_count"].iter().any(|suffix| {
            let name = format!("{name}{suffix}");
            samples(&text).iter().any(|sample| sample.name == name)
        });
        assert!(has_series, "{name} has no series: {text}");
    }
    assert!(!text.contains(" summary\n"), "{text}");
    // Labels, too, are there before anything was counted.
    for (name, labels) in [
        ("crane_runs_finished_total", [("outcome", "failed")]),
        ("crane_runs_rejected_total", [("reason", "too_many_runs")]),
        ("crane_store_errors_total", [("op", "fatal")]),
        ("crane_tool_breaker_state", [("tool", "http")]),
    ] {
        let found = samples(&text).into_iter().any(|sample| {
            sample.name == name
                && sample
                    .labels
                    .get(labels[0].0)
                    .is_some_and(|v| v == labels[0].1)
        });
        assert!(found, "{name}{labels:?}");
    }
}

#[test]
fn promtool_finds_nothing_wrong_with_a_live_scrape() {
    let home = Home::new();
    let node = Node::start(&home);
    mixed_load(&node);
    let Some(said) = promtool(&node.scrape()) else {
        return;
    };
    assert_eq!(said, "");
}

#[test]
fn promtool_finds_what_is_wrong() {
    let Some(said) = promtool("# TYPE crane_things gauge\ncrane_things_total 1\n") else {
        return;
    };
    assert_ne!(said, "");
}

/// What `promtool check metrics` says about a scrape; `None` where there is no promtool.
fn promtool(text: &str) -> Option<String> {
    let mut child = program("promtool")?
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert_eq!(output.status.success(), said.is_empty(), "{said}");
    Some(said)
}

#[test]
fn labels_come_from_small_fixed_sets_whatever_is_asked() {
    let home = Home::new();
    let node = Node::start(&home);
    let series = samples(&node.scrape()).len();
    mixed_load(&node);
    let text = node.scrape();
    assert_eq!(strangers(&text), Vec::<String>::new());
    // What nobody asked for before adds a code here and there, and nothing else.
    let more = samples(&text).len() - series;
    assert!(more < 10, "{more} more series: {text}");
}

#[test]
fn a_label_with_a_run_in_it_would_be_noticed() {
    let text = "crane_steps_total{tool=\"echo\",outcome=\"completed\"} 1\n\
        crane_http_requests_total{route=\"/api/v1/runs/017f22e2\",code=\"200\"} 1\n\
        crane_steps_total{tool=\"my_tool\",run_id=\"017f\"} 1\n";
    assert_eq!(strangers(text).len(), 3, "{:?}", strangers(text));
}

/// Labels that a series has.
type Labels = &'static [(&'static str, &'static str)];

/// What [`mixed_load`] leaves in the metrics.
const LOADED: &[(&str, Labels, f64)] = &[
    ("runs_submitted_total", &[], 8.0),
    ("runs_finished_total", &[("outcome", "completed")], 4.0),
    ("runs_finished_total", &[("outcome", "failed")], 3.0),
    ("runs_finished_total", &[("outcome", "cancelled")], 1.0),
    ("run_duration_seconds_count", &[("outcome", "failed")], 3.0),
    ("runs_deduplicated_total", &[], 1.0),
    ("runs_rejected_total", &[("reason", "invalid")], 3.0),
    ("run_queue_wait_seconds_count", &[], 8.0),
    (
        "steps_total",
        &[("tool", "echo"), ("outcome", "completed")],
        3.0,
    ),
    (
        "steps_total",
        &[("tool", "calculator"), ("outcome", "skipped")],
        1.0,
    ),
    (
        "steps_total",
        &[("tool", "sleep"), ("outcome", "failed")],
        1.0,
    ),
    (
        "steps_total",
        &[("tool", "sleep"), ("outcome", "cancelled")],
        1.0,
    ),
    ("step_duration_seconds_count", &[("tool", "echo")], 3.0),
    ("step_retries_total", &[("reason", "transient")], 1.0),
    ("step_retries_total", &[("reason", "panic")], 1.0),
    ("step_timeouts_total", &[], 1.0),
    ("actor_failures_total", &[("kind", "step")], 2.0),
    (
        "tool_calls_total",
        &[("tool", "sleep"), ("outcome", "cancelled")],
        1.0,
    ),
    (
        "tool_calls_total",
        &[("tool", "fail"), ("outcome", "success")],
        1.0,
    ),
    ("tool_inflight", &[("tool", "sleep")], 0.0),
    ("runs_active", &[("state", "running")], 0.0),
    ("actors", &[("kind", "node")], 1.0),
    (
        "http_requests_total",
        &[("route", "/api/v1/runs"), ("code", "422")],
        3.0,
    ),
    (
        "http_requests_total",
        &[("route", "other"), ("code", "404")],
        3.0,
    ),
    ("build_info", &[], 1.0),
];

#[test]
fn metrics_count_what_was_done() {
    let home = Home::new();
    let node = Node::start(&home);
    mixed_load(&node);
    let text = node.scrape();
    let count = |name: &str, labels| value(&text, &format!("crane_{name}"), labels);
    let wrong: Vec<_> = LOADED
        .iter()
        .map(|(name, labels, expected)| (name, labels, expected, count(name, labels)))
        .filter(|(_, _, expected, found)| (*expected - found).abs() > 1e-9)
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(count("journal_bytes_total", &[]) > 0.0);
    assert!(count("journal_batch_records_sum", &[]) >= 20.0);
    assert!(count("storage_bytes", &[("class", "journal")]) > 0.0);
}

#[test]
fn the_summary_counts_and_its_runs_survive_a_restart() {
    let home = Home::new();
    let node = Node::start(&home);
    mixed_load(&node);
    let summary = node.get("/api/v1/metrics").json();
    assert_eq!(summary["runs"]["total"], 8);
    assert_eq!(summary["runs"]["by_status"]["completed"], 4);
    assert_eq!(summary["runs"]["by_status"]["pending"], 0);
    assert_eq!(summary["runs"]["success_rate"], 0.5);
    assert_eq!(summary["execution"]["total_steps_executed"], 7);
    assert!(
        summary["execution"]["avg_duration_seconds"]
            .as_f64()
            .unwrap()
            > 0.0
    );
    assert_eq!(summary["tools"]["by_tool"]["echo"], 3);
    assert_eq!(summary["tools"]["by_tool"]["todo_store"], 0);
    assert_eq!(summary["planner"]["kind"], "rules");
    assert_eq!(summary["planner"]["prompts_planned"], 1);
    assert_eq!(summary["planner"]["prompts_not_understood"], 1);
    let (status, log) = node.stop();
    assert!(status.success(), "{status}: {log}");

    let node = Node::start(&home);
    let again = node.get("/api/v1/metrics").json();
    assert_eq!(again["runs"], summary["runs"]);
    assert_eq!(again["tools"]["total_executions"], 0);
}

/// The metrics that a node shows.
pub(crate) fn shown(text: &str) -> BTreeSet<&str> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.filter_map(|line| line.split(' ').next()).collect()
}

/// The metrics in the document for operators: of every node, and those that only a node of a cluster
/// has.
pub(crate) fn documented() -> (BTreeSet<String>, BTreeSet<String>) {
    let document = std::fs::read_to_string(repository("docs/operating.md")).unwrap();
    let named = |text: &str| -> BTreeSet<String> {
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
        rows.filter_map(|row| row.split('`').next())
            .filter(|name| name.starts_with("crane_") || name.starts_with("process_"))
            .map(str::to_owned)
            .collect()
    };
    let (before, rest) = document.split_once("**Cluster**").unwrap();
    let (cluster, after) = rest.split_once("\n**").unwrap();
    (named(&format!("{before}{after}")), named(cluster))
}

/// The document is a table of exactly what is there.
#[test]
fn the_document_for_operators_names_every_metric_and_no_other() {
    let home = Home::new();
    let node = Node::start(&home);
    let text = node.scrape();
    let there: BTreeSet<String> = shown(&text).into_iter().map(str::to_owned).collect();
    let (named, _) = documented();
    let differing: Vec<_> = named.symmetric_difference(&there).collect();
    assert!(differing.is_empty(), "{differing:?}");
}

/// What operators are given to watch a node with.
const WATCHERS: &[&str] = &[
    "docker/prometheus/alerts.yml",
    "docker/prometheus/alerts_test.yml",
    "docker/grafana/crane.json",
];

#[test]
fn alerts_and_dashboard_use_metrics_that_exist() {
    let known = known_metrics();
    for file in WATCHERS {
        let text = std::fs::read_to_string(repository(file)).unwrap();
        let used = metrics_in(&text);
        let unknown: Vec<_> = used.iter().filter(|name| !known.contains(*name)).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
        assert!(used.len() > 3, "{file}: {used:?}");
    }
    assert!(!known.contains("crane_runs_submited_total"));
}

#[test]
fn every_alert_is_in_the_document_and_no_other() {
    let read = |path: &str| std::fs::read_to_string(repository(path)).unwrap();
    let (rules, document) = (read(WATCHERS[0]), read("docs/operating.md"));
    let rules: BTreeSet<_> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `"));
    let named: BTreeSet<_> = rows
        .flat_map(|row| row.split('|').next().unwrap().split('`'))
        .filter(|word| word.starts_with("Crane"))
        .collect();
    assert_eq!(named, rules);
}

#[test]
fn promtool_finds_the_alerts_to_do_what_they_say() {
    for (verb, file) in [("check", WATCHERS[0]), ("test", WATCHERS[1])] {
        let Some(mut promtool) = program("promtool") else {
            return;
        };
        let output = promtool
            .args([verb, "rules"])
            .arg(repository(file))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

/// Names of metrics in a text, histograms without what is appended to them.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let names = words.filter(|word| word.starts_with("crane_") || word.starts_with("process_"));
    // What ends in an underscore is the beginning of a pattern.
    let whole = names.filter(|name| !name.ends_with('_'));
    whole
        .map(|name| name.strip_suffix("_bucket").unwrap_or(name).to_owned())
        .collect()
}

/// Every metric there is: those of the document, which another test holds against a node, and those
/// that only a cluster has.
fn known_metrics() -> BTreeSet<String> {
    let read = |path: &str| std::fs::read_to_string(repository(path)).unwrap();
    let document = read("docs/operating.md");
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `"));
    let mut names = metrics_in(&read("cluster/src/metrics.rs"));
    names.extend(rows.filter_map(|row| Some(row.split_once('`')?.0.to_owned())));
    names
}
