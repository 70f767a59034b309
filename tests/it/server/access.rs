//! Tokens, and where they are required.

use super::{Serving, eventually};
use crate::program::Home;

const TOKEN: &str = "open-sesame-4711";

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

#[test]
fn with_tokens_nothing_but_health_is_answered_to_others() {
    let home = Home::new();
    home.file("crane.toml", format!("[api]\ntokens = [\"{TOKEN}\"]\n"));
    let node = Serving::start(&home, "");
    for path in [
        "/api/v1/runs",
        "/metrics",
        "/docs",
        "/api/v1/openapi.json",
        "/x",
    ] {
        for headers in ["", &bearer("wrong"), "authorization: Basic b3Blbg==\r\n"] {
            let answer = node.get(path, headers);
            assert_eq!(answer.status, 401, "{path}: {answer:?}");
            assert!(
                answer.head.contains("www-authenticate: bearer"),
                "{answer:?}"
            );
            assert!(
                answer.body.contains("\"error_type\":\"unauthorized\""),
                "{answer:?}"
            );
        }
    }
    assert!(node.is_live());
    assert_eq!(node.get("/api/v1/runs", &bearer(TOKEN)).status, 200);
    assert_eq!(node.get("/x", &bearer(TOKEN)).status, 404);
    assert!(node.greeting.iter().any(|line| line == "access: 1 token"));
    node.wait_for("holds a token in plain text");
}

#[test]
fn a_token_is_made_and_only_its_hash_is_kept() {
    let home = Home::new();
    let made = home.json("config token -o json");
    let (token, hash) = (
        made["token"].as_str().unwrap(),
        made["hash"].as_str().unwrap(),
    );
    home.file("c.toml", format!("[api]\ntokens = [\"{hash}\"]\n"));
    let node = Serving::start(&home, "--config c.toml");
    assert_eq!(node.get("/api/v1/runs", &bearer(token)).status, 200);
    assert_eq!(node.get("/api/v1/runs", &bearer(hash)).status, 401);
    assert!(!node.said().contains("warning"), "{}", node.said());
}

#[test]
fn no_token_is_ever_logged() {
    let home = Home::new();
    home.file("crane.toml", format!("[api]\ntokens = [\"{TOKEN}\"]\n"));
    let node = Serving::start(&home, "--log trace");
    let body = r#"{"prompt":"calculate 1 + 1"}"#;
    let run = node.send(&format!(
        "POST /api/v1/runs HTTP/1.1\r\nconnection: close\r\ncontent-type: application/json\r\n\
         {}content-length: {}\r\n\r\n{body}",
        bearer(TOKEN),
        body.len()
    ));
    assert_eq!(run.status, 201, "{run:?}");
    assert_eq!(node.get("/api/v1/runs", &bearer("wrong-8472")).status, 401);
    node.send("GET / HTTP/1.1\r\nauthorization: Bearer wrong-8472\r\nbroken\r\n\r\n");
    // The log is that of a talkative node, or the absence would say nothing.
    eventually("lines at trace", || {
        node.said().contains("\"level\":\"TRACE\"")
    });
    for secret in [TOKEN, "wrong-8472"] {
        assert!(!node.said().contains(secret));
    }
    let shown = home.crane("config show");
    assert!(shown.stdout.contains("***") && !shown.stdout.contains(TOKEN));
}

#[test]
fn beyond_loopback_a_node_without_tokens_does_not_start() {
    let home = Home::new();
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let ended = home.crane(&format!("serve --listen {listen}"));
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(
            ended.stderr.contains("flag --listen: api.listen"),
            "{ended:?}"
        );
        assert!(ended.stderr.contains("--insecure-no-auth"), "{ended:?}");
        assert!(ended.stdout.is_empty(), "{ended:?}");
    }
    assert!(
        !home.path("crane-data").exists(),
        "it was refused before anything was made"
    );

    let mut command = home.command(["serve", "--listen", "0.0.0.0:0"]);
    command.env("CRANE__API__TOKENS", TOKEN);
    let mut node = Serving::spawn(&home, command);
    node.address.set_ip([127, 0, 0, 1].into());
    assert_eq!(node.get("/api/v1/runs", &bearer(TOKEN)).status, 200);
    assert_eq!(node.get("/api/v1/runs", "").status, 401);
    drop(node);

    let line = ["serve", "--listen", "0.0.0.0:0", "--insecure-no-auth"];
    let mut node = Serving::spawn(&home, home.command(line));
    node.address.set_ip([127, 0, 0, 1].into());
    assert_eq!(node.get("/api/v1/runs", "").status, 200);
    node.wait_for("everybody who reaches");
}

#[test]
fn pages_of_other_origins_are_let_in_only_where_they_are_configured() {
    let home = Home::new();
    let ask = "OPTIONS /api/v1/runs HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
               origin: https://a.example\r\naccess-control-request-method: POST\r\n\r\n";
    let node = Serving::start(&home, "");
    assert!(!node.send(ask).head.contains("access-control"));
    drop(node);
    home.file(
        "crane.toml",
        format!("[api]\ntokens = [\"{TOKEN}\"]\ncors_origins = [\"https://a.example\"]\n"),
    );
    let node = Serving::start(&home, "");
    let answer = node.send(ask);
    let allowed = "access-control-allow-origin: https://a.example";
    assert!(
        answer.status == 200 && answer.head.contains(allowed),
        "{answer:?}"
    );
    let refused = node.get("/api/v1/runs", "origin: https://a.example\r\n");
    assert!(
        refused.status == 401 && refused.head.contains(allowed),
        "{refused:?}"
    );
}
