//! Names of nodes that have no database in common: each is the one of a single living node.

use super::*;

/// Runs a node that must not start, because its name is taken; gives what it says.
#[track_caller]
fn refused(name: &str, port: u16, seed: u16) -> String {
    let home = Home::new();
    let file = Node::config(&home, name, [port, seed], "", "");
    let ended = home.crane(&format!("serve --config {file}"));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(ended.stdout, "", "it must not greet");
    ended.stderr
}

#[test]
fn a_name_that_a_living_node_has_is_refused_and_one_of_a_killed_node_is_not() {
    let ports = [free_port(), free_port()];
    let a = Node::start("a", ports[0], ports[0], "");
    let b = Node::start("b", ports[1], ports[0], "");
    eventually("they are connected", || {
        a.company() == 1 && b.company() == 1
    });
    let run = b.serving.submit(&json!({ "prompt": "calculate 1" }));
    // By way of another node, and at the very node whose name it is.
    for seed in ports {
        let said = refused("b", free_port(), seed);
        assert!(said.contains("a node called b is alive"), "{said}");
        assert!(said.contains(&format!("127.0.0.1:{}", ports[1])), "{said}");
        assert!(said.contains("CRANE__NODE__NAME"), "{said}");
        // Nobody has taken it for the true one.
        assert_eq!((a.company(), b.company()), (1, 1));
        for node in [&a, &b] {
            let found = node.serving.get(&format!("/runs/{run}"));
            assert_eq!(found.status, 200, "{}", found.text());
        }
    }
    b.serving.kill();
    let serving = Node::serve(&b.home, "b", ports[1], ports[0], "");
    let b = Node { serving, ..b };
    eventually("it is back", || a.company() == 1 && b.company() == 1);
}

#[test]
fn of_two_nodes_with_one_name_that_know_only_each_other_the_second_is_refused() {
    let ports = [free_port(), free_port()];
    let first = Node::start("host", ports[0], ports[1], "");
    let said = refused("host", ports[1], ports[0]);
    assert!(said.contains("a node called host is alive"), "{said}");
    let answer = first.serving.get("/health/ready");
    assert_eq!(answer.status, 200, "{}", answer.text());
}
