//! Servers that ask who somebody is, and say who they are.

use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::json;

use super::Node;
use crate::program::{Ended, Home};

const TOKEN: &str = "open-sesame-4711";

/// A node with a token and a certificate; the token is in the file `token`, the certificate in
/// `cert.pem`.
fn secure(home: &Home) -> Node {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    home.file("cert.pem", cert.pem());
    home.file("key.pem", signing_key.serialize_pem());
    home.file("token", format!("{TOKEN}\n"));
    let config =
        format!("[api]\ntokens = [\"{TOKEN}\"]\ntls_cert = \"cert.pem\"\ntls_key = \"key.pem\"\n");
    home.file("server.toml", config);
    Node::spawn(
        home,
        &["--config", "server.toml", "--listen", "127.0.0.1:0"],
    )
}

#[test]
fn a_secured_server_is_used_like_any_other() {
    let home = Home::new();
    let node = secure(&home);
    // The certificate is for the name and not for the address.
    let url = node.url.replace("127.0.0.1", "localhost");
    let options = format!("--server {url} --ca-cert cert.pem --token-file token");
    let plan = home.file("p.yaml", "steps: [{id: a, tool: echo, input: {v: 1}}]");
    let ran = home.crane(&format!("run {plan} {options}"));
    assert_eq!((ran.code, ran.stdout.contains("\"v\": 1")), (Some(0), true));
    assert!(ran.stderr.contains("a: completed"), "{ran:?}");
    let bench = home.json(&format!(
        "bench --shape diamond --runs 20 --concurrency 2 -o json {options}"
    ));
    assert_eq!((&bench["runs"], &bench["errors"]), (&json!(20), &json!(0)));
    assert!(
        bench["rss_bytes"].as_u64().unwrap() > 1 << 20,
        "the node tells how much memory it uses: {bench}"
    );

    let mut command = home.command(["runs", "list", "-o", "ids", "--ca-cert", "cert.pem"]);
    command.env("CRANE_SERVER", &url).env("CRANE_TOKEN", TOKEN);
    let listed = crate::program::end(assert_cmd::Command::from_std(command));
    assert_eq!(listed.code, Some(0), "{listed:?}");
    assert_eq!(listed.stdout.lines().count(), 20, "a page of them");
}

#[test]
fn who_is_not_trusted_hears_why_and_the_token_is_never_said() {
    let home = Home::new();
    let node = secure(&home);
    let url = node.url.replace("127.0.0.1", "localhost");
    home.file("wrong", "close-sesame");
    let said = |options: &str| -> Ended {
        let ended = home.crane(&format!("runs list --log trace {options}"));
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(!ended.stderr.contains("sesame"), "{}", ended.stderr);
        ended
    };
    let ended = said(&format!("--server {url} --ca-cert cert.pem"));
    assert!(ended.stderr.contains("CRANE_TOKEN"), "{ended:?}");
    let ended = said(&format!(
        "--server {url} --ca-cert cert.pem --token-file wrong"
    ));
    assert!(ended.stderr.contains("401"), "{ended:?}");
    let by_address = &node.url;
    let ended = said(&format!(
        "--server {by_address} --ca-cert cert.pem --token-file token"
    ));
    assert!(ended.stderr.contains("is not trusted"), "{ended:?}");
    let plain = url.replace("https://", "http://");
    let ended = said(&format!("--server {plain} --token-file token"));
    assert!(ended.stderr.contains("https"), "{ended:?}");
}
