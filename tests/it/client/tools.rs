//! Tools at a server: listed, shown, tried, forced.

use serde_json::{Value, json};

use super::Node;
use crate::program::Home;

#[test]
fn tools_of_a_server_are_those_of_a_data_directory() {
    let home = Home::new();
    let node = Node::start(&home);
    let places = [format!("--server {}", node.url), "--data here".to_owned()];
    let [there, here] = places.map(|place| {
        let list = home.json(&format!("tools list -o json {place}"));
        let show = home.json(&format!("tools show calculator -o json {place}"));
        let mut tried = home.json(&format!(
            r#"tools call calculator --input {{"expression":"6*7"}} -o json {place}"#
        ));
        assert!(tried["duration_ms"].take().is_number());
        let texts: Vec<String> = ["list", "list -o ids", "show todo_store"]
            .iter()
            .map(|verb| home.crane(&format!("tools {verb} {place}")).stdout)
            .collect();
        (list, show, tried, texts)
    });
    assert_eq!(there, here);
    assert_eq!(there.2["output"], json!(42.0));
}

#[test]
fn tools_of_a_server_are_tried_and_forced() {
    let home = Home::new();
    let node = Node::start(&home);
    let server = format!("--server {}", node.url);
    let failed = home.crane(&format!(
        r#"tools call calculator --input {{"expression":"6/0"}} {server}"#
    ));
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.stderr.contains("division by zero"), "{failed:?}");

    let state = |verb: &str| -> Value {
        let tool = home.json(&format!("tools {verb} echo -o json {server}"));
        tool["breaker"]["state"].clone()
    };
    assert_eq!(state("open"), json!("open"));
    assert_eq!(state("show"), json!("open"));
    let refused = home.crane(&format!("tools call echo --input {{}} {server}"));
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("tool_unavailable"), "{refused:?}");
    assert_eq!(state("close"), json!("closed"));
    let reset = home.crane(&format!("tools reset echo {server}"));
    assert_eq!(reset.stdout, "breaker of echo is closed\n");

    for verb in ["show no/such", "open no/such", "call no/such --input {}"] {
        let ended = home.crane(&format!("tools {verb} {server}"));
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let expected = "tool not found: no/such; there are calculator, echo";
        assert!(ended.stderr.contains(expected), "{ended:?}");
    }
}
