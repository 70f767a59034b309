//! Three nodes with a data directory each.

use super::*;

const NAMES: [&str; 3] = ["a", "b", "c"];

fn start(name: &'static str, ports: &[u16]) -> Node {
    let position = NAMES.iter().position(|known| *known == name).unwrap();
    Node::start(name, ports[position], ports[0], "")
}

fn three() -> (Vec<Node>, Vec<u16>) {
    let ports: Vec<u16> = NAMES.iter().map(|_| free_port()).collect();
    let nodes: Vec<Node> = NAMES.iter().map(|name| start(name, &ports)).collect();
    for node in &nodes {
        eventually("all are connected", || node.company() == 2);
    }
    (nodes, ports)
}

fn keyed(node: &Node, key: &str) -> (u16, Value) {
    let header = format!("idempotency-key: {key}\r\n");
    let body = json!({ "prompt": "calculate 1" });
    let answer = node.serving.post_with("/runs?wait=30s", &header, &body);
    (answer.status, answer.json())
}

#[test]
fn runs_have_a_home_and_every_node_answers_for_all_of_them() {
    let (nodes, ports) = three();
    let mut homes = std::collections::BTreeMap::new();
    for number in 0..18 {
        let body = json!({ "prompt": "calculate 6 * 7" });
        let answer = nodes[number % 3].serving.post("/runs?wait=30s", &body);
        assert_eq!(answer.status, 201, "{}", answer.text());
        let run = answer.json();
        assert_eq!(run["result"], 42.0, "{run}");
        let node = run["node"].as_str().unwrap().to_owned();
        let id = run["run_id"].as_str().unwrap().to_owned();
        homes.entry(node).or_insert(id);
    }
    assert!(homes.len() > 1, "{homes:?}");
    for id in homes.values() {
        alike(&nodes, "GET", &format!("/runs/{id}"), "", "", 200);
        let stream = alike(&nodes, "GET", &format!("/runs/{id}/events"), "", "", 200);
        assert!(stream.contains("event: run_completed"), "{stream}");
        alike(&nodes, "DELETE", &format!("/runs/{id}"), "", "", 409);
    }
    let list = alike(&nodes, "GET", "/runs?limit=100", "", "", 200);
    assert_eq!(list.matches("\"run_id\"").count(), 18);
    alike(&nodes, "GET", "/runs?limit=5&offset=7", "", "", 200);
    alike(
        &nodes,
        "GET",
        "/runs/00000000-0000-7000-8000-000000000000",
        "",
        "",
        404,
    );
    assert_eq!(keyed(&nodes[0], "k").0, 201);
    let again: Vec<_> = nodes.iter().map(|node| keyed(node, "k")).collect();
    // Meanwhile the run goes on.
    let same =
        |(status, run): &(u16, Value)| *status == 200 && run["run_id"] == again[0].1["run_id"];
    assert!(again.iter().all(same), "{again:?}");
    a_member_goes_and_comes_back(nodes, &ports, homes.get("c"));
}

/// While one is gone, nobody knows whether it holds a key.
fn a_member_goes_and_comes_back(mut nodes: Vec<Node>, ports: &[u16], held: Option<&String>) {
    let c = nodes.pop().unwrap();
    c.serving.kill();
    for node in &nodes {
        eventually("the loss is noticed", || node.company() == 1);
        let (status, error) = keyed(node, "new");
        assert_eq!(status, 503, "{error}");
        assert_eq!(error["details"]["unreachable"], json!(["c"]));
        let without = node
            .serving
            .post("/runs", &json!({ "prompt": "calculate 1" }));
        assert_eq!(without.status, 201, "{}", without.text());
    }
    if let Some(id) = held {
        let answer = nodes[0].serving.get(&format!("/runs/{id}"));
        answer.refused(503, "unavailable");
    }
    let list = nodes[0].serving.get("/runs");
    assert_eq!(list.header("x-crane-unreachable"), "c");
    let server = format!("http://{}", nodes[0].serving.address);
    let listed = nodes[0].home.crane(&format!("runs list --server {server}"));
    assert_eq!(listed.code, Some(0), "{listed:?}");
    assert!(listed.stderr.contains("are missing: c\n"), "{listed:?}");
    // The program has given the run a key of its own, and does without it.
    let home = &nodes[0].home;
    let ran = home.run(["run", "--prompt", "calculate 6 * 7", "--server", &server]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    // It is back, with its disk.
    let serving = Node::serve(&c.home, "c", ports[2], ports[0], "");
    let c = Node { serving, ..c };
    eventually("it is back", || nodes[0].company() == 2 && c.company() == 2);
    eventually("it is asked again", || keyed(&nodes[0], "new").0 == 201);
    assert_eq!(keyed(&nodes[1], "new").0, 200);
    a_member_is_removed(&nodes, c);
}

fn a_member_is_removed(nodes: &[Node], c: Node) {
    c.serving.kill();
    let server = format!("http://{}", nodes[0].serving.address);
    eventually("the loss is noticed", || {
        nodes.iter().all(|node| node.finds_down("c"))
    });
    let home = &nodes[0].home;
    let removed = home.crane(&format!("node remove c --server {server}"));
    assert_eq!(removed.code, Some(0), "{removed:?}");
    let again = home.crane(&format!("node remove c --server {server}"));
    assert_eq!(again.code, Some(1), "{again:?}");
    for node in nodes {
        let cluster = node.cluster();
        let mut members = cluster["members"].as_array().unwrap().iter();
        assert!(members.all(|member| member["node"] != "c"), "{cluster}");
    }
    for (number, node) in nodes.iter().enumerate() {
        let (status, answer) = keyed(node, &format!("newer-{number}"));
        assert_eq!(status, 201, "{answer}");
    }
}

#[test]
fn a_member_that_nobody_was_asked_of_is_remembered_and_one_that_goes_in_order_breaks_no_list() {
    let ports = [free_port(), free_port()];
    let a = Node::start("a", ports[0], ports[0], "");
    let mut b = Node::start("b", ports[1], ports[0], "");
    eventually("they are connected", || {
        a.company() == 1 && b.company() == 1
    });
    eventually("the member is written down", || {
        let members = std::fs::read_to_string(a.home.path("crane-data/members.json"));
        members.is_ok_and(|members| members.contains("\"b\""))
    });
    let unfinished: Vec<String> = (0..20)
        .map(|_| b.serving.submit(&chain(1, 600_000)))
        .collect();
    b.serving.terminate();
    let list = || a.serving.get("/runs?limit=100");
    while b.serving.is_running() {
        let list = list();
        assert_eq!(list.status, 200, "{}", list.text());
        if list.text().contains("cannot be reached") {
            assert_eq!(list.header("x-crane-unreachable"), "b");
        }
    }
    eventually("it is missed", || {
        list().header("x-crane-unreachable") == "b"
    });
    let at_a = list().json();
    let at_a = at_a.as_array().unwrap();
    assert!(at_a.len() < unfinished.len(), "some are at b");
    for run in &unfinished {
        let is_here = at_a.iter().any(|listed| listed["run_id"] == **run);
        let found = a.serving.get(&format!("/runs/{run}"));
        assert_eq!(found.status, if is_here { 200 } else { 503 });
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "time is real here")]
fn a_node_that_has_met_none_of_its_seeds_says_so_and_refuses_keys_at_once() {
    let a = Node::start("a", free_port(), free_port(), "");
    assert_eq!(a.serving.get("/health/ready").status, 200);
    let health = a.serving.get("/health").json();
    let check = &health["checks"]["cluster"];
    assert_eq!(check["status"], "degraded", "{health}");
    let detail = check["detail"].as_str().unwrap();
    assert!(detail.contains("cluster.seeds"), "{detail}");
    let begun = Instant::now();
    let (status, error) = keyed(&a, "k");
    assert_eq!(status, 503, "{error}");
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "it was waited for"
    );
    let without = a.serving.post("/runs", &json!({ "prompt": "calculate 1" }));
    assert_eq!(without.status, 201, "{}", without.text());
    eventually("it is said", || {
        a.serving.said().contains("has met no other member")
    });
}
