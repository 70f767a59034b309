//! TLS from certificate files.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustix::process::Signal;
use rustls::pki_types::CertificateDer;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use super::{Answer, Serving, eventually};
use crate::program::Home;

/// Writes a new certificate and its key to where the configuration of the test looks for them.
fn new_certificate(home: &Home) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    home.file("cert.pem", cert.pem());
    home.file("key.pem", signing_key.serialize_pem());
    cert.der().clone()
}

fn start(home: &Home) -> Serving {
    home.file(
        "crane.toml",
        "[api]\ntls_cert = \"cert.pem\"\ntls_key = \"key.pem\"\nheader_timeout = \"500ms\"\n",
    );
    Serving::start(home, "")
}

/// Asks for life through TLS; an error is that of the handshake.
fn ask(
    node: &Serving,
    trusted: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
) -> std::io::Result<Answer> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream: StreamOwned<ClientConnection, TcpStream> =
        StreamOwned::new(connection, node.connect());
    let request = "GET /api/v1/health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes())?;
    Ok(Answer::read(stream))
}

#[test]
fn a_node_with_certificates_speaks_tls_from_1_2_on_and_nothing_else() {
    let home = Home::new();
    let certificate = new_certificate(&home);
    let node = start(&home);
    assert!(
        node.greeting[0].contains("serves https://"),
        "{:?}",
        node.greeting
    );
    for version in [&TLS12, &TLS13] {
        let answer = ask(&node, &certificate, &[version]).unwrap();
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, "{\"alive\":true}")
        );
    }
    let other = Home::new();
    let stranger = new_certificate(&other);
    assert!(
        ask(&node, &stranger, &[&TLS13]).is_err(),
        "the client can tell them apart"
    );

    // TLS 1.1: a hello with that version alone. A refusal is an alert (21) or the end.
    let hello = b"\x16\x03\x01\x00\x31\x01\x00\x00\x2d\x03\x02aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
                  \x00\x00\x06\x00\x2f\x00\x35\x00\x0a";
    let mut old = node.connect();
    old.write_all(hello).unwrap();
    let mut answer = Vec::new();
    let _ = std::io::Read::read_to_end(&mut old, &mut answer);
    assert!(answer.is_empty() || answer[0] == 21, "{answer:?}");

    // Plain HTTP, and a client that says nothing, are cut.
    let mut plain = node.connect();
    plain
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    assert!(super::closes_within(&plain, super::PATIENCE));
    assert!(super::closes_within(&node.connect(), super::PATIENCE));
}

#[test]
fn after_sighup_new_connections_get_the_new_certificate() {
    let home = Home::new();
    let first = new_certificate(&home);
    let node = start(&home);
    assert!(ask(&node, &first, &[&TLS13]).is_ok());
    home.file("key.pem", "nothing");
    node.signal(Signal::HUP);
    node.wait_for("holds no private key");
    assert!(
        ask(&node, &first, &[&TLS13]).is_ok(),
        "what was there stays"
    );
    let second = new_certificate(&home);
    node.signal(Signal::HUP);
    eventually("the new certificate", || {
        ask(&node, &second, &[&TLS13]).is_ok()
    });
    assert!(ask(&node, &first, &[&TLS13]).is_err());
}

#[test]
fn certificates_that_cannot_be_used_are_refused_at_the_start() {
    let home = Home::new();
    new_certificate(&home);
    let key = std::fs::read_to_string(home.path("key.pem")).unwrap();
    new_certificate(&home);
    home.file("key.pem", key);
    home.file(
        "crane.toml",
        "[api]\ntls_cert = \"cert.pem\"\ntls_key = \"key.pem\"\n",
    );
    for line in ["serve", "config check"] {
        let ended = home.crane(line);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(
            ended
                .stderr
                .contains("crane.toml:3: api.tls_key is \"key.pem\", which does not fit"),
            "{ended:?}"
        );
    }
}
