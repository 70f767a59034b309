//! What operators of a cluster see and do: status, metrics, sending a node away, names, a standby.

use super::shared::{run_of, store, three, without};
use super::*;
use crate::operate::metrics::{documented, shown};

/// The value of a metric, with its labels as they are written.
fn metric(node: &Node, name: &str) -> f64 {
    let text = node.serving.ask("GET", "/metrics", "", b"").text();
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
    let value = text.lines().find_map(value);
    value.unwrap_or_else(|| panic!("{name} is missing: {text}"))
}

fn url(node: &Node) -> String {
    format!("http://{}", node.serving.address)
}

/// Waits until a run has completed, and gives it.
fn completed(node: &Node, id: &str) -> Value {
    let mut run = Value::Null;
    eventually("the run has ended", || {
        let answer = node.serving.get(&format!("/runs/{id}"));
        if answer.status == 200 {
            run = answer.json();
        }
        run["completed_at"] != Value::Null
    });
    assert_eq!(run["status"], "completed", "{run}");
    run
}

#[test]
fn operators_see_the_cluster_and_send_a_node_away_and_its_runs_go_on() {
    let Some(nodes) = three() else {
        return;
    };
    status_and_metrics_say_who_is_there(&nodes);
    a_name_belongs_to_one_node(&nodes);
    // A node that is sent away by its name, at another one.
    let id = run_of(&nodes, "b", &chain(10, 300));
    let (nodes, b) = without(nodes, "b");
    let home = &nodes[0].home;
    let drained = home.crane(&format!("node drain b --server {}", url(&nodes[0])));
    assert_eq!(drained.code, Some(0), "{drained:?}");
    assert_eq!(drained.stdout.trim(), "node b goes down");
    let unknown = home.crane(&format!("node drain x --server {}", url(&nodes[0])));
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    assert!(unknown.stderr.contains("there is no node x"), "{unknown:?}");
    assert_eq!(b.serving.end().code(), Some(0));
    let run = completed(&nodes[1], &id);
    let attempts = run["execution_log"].as_array().unwrap().iter();
    // It was handed over between two steps, not cut off.
    assert!(attempts.clone().all(|step| step["attempts"] == 1), "{run}");
    assert_ne!(run["node"], "b");
    let left = nodes[0].cluster();
    let b = left["members"].as_array().unwrap().iter();
    let b = b.clone().find(|member| member["node"] == "b").unwrap();
    assert_eq!((&b["state"], &b["phase"]), (&json!("down"), &json!("left")));
    assert_eq!(b["shards"], 0);
    // One that is killed.
    let id = run_of(&nodes, "c", &chain(10, 300));
    let (nodes, c) = without(nodes, "c");
    let taken = "crane_placements_total{reason=\"takeover\"}";
    let before = metric(&nodes[0], taken);
    c.serving.kill();
    assert_eq!(completed(&nodes[0], &id)["node"], "a");
    assert_eq!(metric(&nodes[0], "crane_shards_owned"), 512.0);
    let shards = metric(&nodes[0], taken) - before;
    assert!(shards > 0.0);
    assert_eq!(metric(&nodes[0], "crane_takeover_seconds_count"), shards);
    assert_eq!(
        metric(&nodes[0], "crane_failure_detection_seconds_count"),
        1.0
    );
    let alive = "crane_cluster_members{state=\"alive\"}";
    assert_eq!(metric(&nodes[0], alive), 1.0);
}

fn status_and_metrics_say_who_is_there(nodes: &[Node]) {
    let status = format!("cluster status --server {}", url(&nodes[1]));
    let printed = nodes[0].home.crane(&status);
    assert_eq!(printed.code, Some(0), "{printed:?}");
    let lines: Vec<&str> = printed.stdout.lines().collect();
    assert_eq!(lines[0], "cluster: crane, as node b sees it");
    assert!(lines[1].contains("share a database"), "{printed:?}");
    for (line, name) in lines[4..7].iter().zip(["a", "b", "c"]) {
        assert!(line.starts_with(&format!("{name} ")), "{printed:?}");
        assert!(line.contains(" alive ") && line.contains(" up "), "{line}");
    }
    let json = nodes[0].home.crane(&format!("{status} -o json"));
    let cluster: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(cluster["mode"], "shared");
    assert_eq!(cluster["shards"].as_array().unwrap().len(), 512);
    let members = cluster["members"].as_array().unwrap().iter();
    assert_eq!(members.filter(|m| m["this"] == true).count(), 1);
    let (of_all, of_cluster) = documented();
    for node in nodes {
        let text = node.serving.ask("GET", "/metrics", "", b"").text();
        let there = shown(&text);
        for name in &of_cluster {
            assert!(there.contains(name.as_str()), "{name} is missing");
        }
        let unnamed = |name: &&&str| !of_all.contains(**name) && !of_cluster.contains(**name);
        assert_eq!(there.iter().find(unnamed), None);
        assert_eq!(metric(node, "crane_cluster_members{state=\"alive\"}"), 3.0);
        assert!(metric(node, "crane_gossip_bytes_total{direction=\"sent\"}") > 0.0);
        assert_eq!(metric(node, "crane_fenced_writes_total"), 0.0);
        assert!(metric(node, "crane_shards_owned") > 0.0);
        let ready = node.serving.get("/health/ready").json();
        assert_eq!(ready["checks"]["cluster"], true, "{ready}");
        let health = node.serving.get("/health").json();
        assert_eq!(health["checks"]["cluster"]["status"], "healthy", "{health}");
    }
}

fn a_name_belongs_to_one_node(nodes: &[Node]) {
    let settings = std::fs::read_to_string(nodes[0].home.path("crane.toml")).unwrap();
    let twin = Home::new();
    let file = twin.file("crane.toml", settings);
    let refused = twin.crane(&format!("serve --listen 127.0.0.1:0 --config {file}"));
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let why = "a node called a is alive in this cluster already";
    assert!(refused.stderr.contains(why), "{refused:?}");
}

#[test]
fn a_second_node_on_the_database_takes_over_when_the_first_one_is_gone() {
    let Some(store) = store() else {
        return;
    };
    let start = |name: &'static str| {
        let home = Home::new();
        let config = format!("[node]\nname = \"{name}\"\n{store}\n[cluster]\nlease = \"1s\"\n");
        let file = home.file("crane.toml", config);
        let line = ["serve", "--listen", "127.0.0.1:0", "--config", &file];
        let serving = Serving::spawn(&home, home.command(line));
        Node {
            name,
            home,
            serving,
        }
    };
    let owned = |node: &Node| metric(node, "crane_shards_owned");
    let first = start("first");
    eventually("the first one owns all", || owned(&first) == 512.0);
    let standby = start("standby");
    eventually("the standby has joined", || {
        let cluster = standby.cluster();
        let mut members = cluster["members"].as_array().unwrap().iter();
        members.any(|member| member["this"] == true && member["phase"] == "up")
    });
    let id = first.serving.submit(&chain(8, 300));
    assert_eq!(owned(&standby), 0.0);
    // Whoever sent it work would wait for nothing.
    assert_eq!(standby.serving.get("/health/ready").status, 503);
    first.serving.kill();
    assert_eq!(completed(&standby, &id)["node"], "standby");
    assert_eq!(owned(&standby), 512.0);
    assert_eq!(standby.serving.get("/health/ready").status, 200);
    // Commands that open a store by themselves leave this one alone.
    let here = standby.home.crane("runs list --config crane.toml");
    assert_eq!(here.code, Some(1), "{here:?}");
    assert!(here.stderr.contains("--server"), "{here:?}");
}
