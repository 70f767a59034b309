//! A run whose events are not all there any more takes no other one along.

use super::postgres::Server;
use super::*;

#[test]
fn a_damaged_run_is_named_and_all_others_are_told_as_before() {
    let Some(server) = Server::shared() else {
        return;
    };
    let database = server.database();
    let port = free_port();
    let node = Node::start("a", port, port, &super::shared::store_in(server, &database));
    eventually("the node owns all", || node.cluster()["unowned"] == 0);
    let ids: Vec<String> = (1..=3)
        .map(|number| {
            let body = json!({ "prompt": format!("{number} plus 1") });
            let answer = node.serving.post("/runs?wait=30s", &body);
            assert_eq!(answer.json()["status"], "completed", "{}", answer.text());
            answer.json()["run_id"].as_str().unwrap().to_owned()
        })
        .collect();
    let damaged = &ids[1];
    let first = format!("DELETE FROM crane.journal WHERE run_id = '{damaged}' AND after = 0");
    server.psql(&database, &first);
    let listed = node.serving.get("/runs");
    assert_eq!(listed.status, 200, "{}", listed.text());
    let listed = listed.json();
    let listed: Vec<&Value> = listed.as_array().unwrap().iter().collect();
    let told: Vec<&str> = listed
        .iter()
        .map(|run| run["run_id"].as_str().unwrap())
        .collect();
    assert_eq!(told, [&*ids[2], &*ids[1], &*ids[0]]);
    assert_eq!(listed[0]["result"], 4.0);
    assert_eq!(listed[1]["status"], "completed");
    let error = listed[1]["error"].as_str().unwrap();
    assert!(error.contains("damaged"), "{error}");
    for path in ["", "/events"] {
        let answer = node.serving.get(&format!("/runs/{damaged}{path}"));
        assert_eq!(answer.status, 500, "{}", answer.text());
        assert!(answer.text().contains("damaged"), "{}", answer.text());
    }
    let (home, server) = (
        &node.home,
        format!("--server http://{}", node.serving.address),
    );
    let list = home.crane(&format!("runs list {server}"));
    assert!(list.stdout.contains("damaged"), "{list:?}");
    let checked = home.crane(&format!("check -o json {server}"));
    let checked: Value = serde_json::from_str(&checked.stdout).unwrap();
    let findings = checked["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1, "{checked}");
    assert_eq!(findings[0]["run_id"], **damaged, "{checked}");
    assert_eq!(checked["runs"], 3, "{checked}");
}
