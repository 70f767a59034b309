//! TLS: whom the client trusts, and what it says of the others.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedKey, IsCa, KeyPair, date_time_ymd,
    generate_simple_self_signed,
};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::client_of;
use super::server::answer;
use crate::client::{Client, Error, Options};

/// A TLS server that answers everything with an empty list.
struct Secure {
    port: u16,
    ca_cert: PathBuf,
    _directory: TempDir,
    _tasks: JoinSet<()>,
}

async fn secure() -> Secure {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    serving(&cert, &signing_key).await
}

/// As `openssl req -x509` makes it: a certificate that says it is an authority.
async fn secure_by_an_authority(until: i32) -> Secure {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(["localhost".to_owned()]).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.not_after = date_time_ymd(until, 1, 1);
    let cert = parameters.self_signed(&key).unwrap();
    serving(&cert, &key).await
}

async fn serving(cert: &Certificate, key: &KeyPair) -> Secure {
    let directory = tempfile::tempdir().unwrap();
    let ca_cert = directory.path().join("ca.pem");
    std::fs::write(&ca_cert, cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let _ = stream.read(&mut [0; 4_096]).await;
                let _ = stream.write_all(answer(200, "[]").as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        }
    });
    Secure {
        port,
        ca_cert,
        _directory: directory,
        _tasks: tasks,
    }
}

fn trusting(address: &str, secure: &Secure) -> Client {
    Client::new(Options {
        target: address.parse().unwrap(),
        token: None,
        ca_cert: Some(secure.ca_cert.clone()),
        say: |_| (),
    })
    .unwrap()
}

#[tokio::test]
async fn a_server_is_trusted_by_its_certificate_authority_and_its_name() {
    let secure = secure().await;
    let port = secure.port;
    let good = trusting(&format!("https://localhost:{port}"), &secure);
    assert!(good.tools().await.unwrap().is_empty());
    let other_name = trusting(&format!("https://127.0.0.1:{port}"), &secure);
    let error = other_name.tools().await.unwrap_err();
    assert!(matches!(error, Error::Untrusted { .. }), "{error:?}");
    assert!(error.to_string().contains("--ca-cert"), "{error}");
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_trusted() {
    let (one, other) = (secure().await, secure().await);
    let client = trusting(&format!("https://localhost:{}", one.port), &other);
    let error = client.tools().await.unwrap_err();
    assert!(matches!(error, Error::Untrusted { .. }), "{error:?}");
}

#[tokio::test]
async fn a_certificate_that_is_named_itself_is_trusted_for_its_time_and_its_names_alone() {
    let secure = secure_by_an_authority(4000).await;
    let port = secure.port;
    let good = trusting(&format!("https://localhost:{port}"), &secure);
    assert!(good.tools().await.unwrap().is_empty());
    let other = secure_by_an_authority(4000).await;
    let expired = secure_by_an_authority(2001).await;
    for (address, file) in [
        (format!("https://127.0.0.1:{port}"), &secure),
        (format!("https://localhost:{port}"), &other),
        (format!("https://localhost:{}", expired.port), &expired),
    ] {
        let error = trusting(&address, file).tools().await.unwrap_err();
        assert!(matches!(error, Error::Untrusted { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn http_and_https_that_meet_are_told() {
    let secure = secure().await;
    let plain = client_of(&format!("http://localhost:{}", secure.port));
    let error = plain.tools().await.unwrap_err();
    assert!(error.to_string().contains("https"), "{error}");

    // What a web server says to a hello that it does not understand.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4_096]).await;
        let _ = stream.write_all(answer(400, "").as_bytes()).await;
    });
    let client = trusting(&format!("https://localhost:{port}"), &secure);
    let error = client.tools().await.unwrap_err();
    assert!(error.to_string().contains("is it http://"), "{error}");
}
