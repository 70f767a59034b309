//! What a store meets when it opens: servers that may not be used, schemas of every age, TLS.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use tokio::runtime::Handle;

use super::kit::{self, Database, Told, all_shards, expect, tell};
use super::server::Server;
use crate::RunStore;
use crate::postgres::connect::Connector;
use crate::postgres::migrate::{MIGRATIONS, migrate};
use crate::postgres::{Options, verify};

/// Why a store did not open.
async fn refusal(options: Options) -> String {
    match kit::open(options).await {
        Ok(_) => panic!("it opened"),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

#[tokio::test]
async fn a_server_that_may_lose_what_it_has_committed_is_refused_unless_told() {
    let Some(server) = Server::start("-c fsync=off -c full_page_writes=off") else {
        return;
    };
    let database = Database::on(&server);
    let text = refusal(database.options("a")).await;
    assert_says(
        &text,
        &["fsync = off, full_page_writes = off", "may lose runs"],
    );
    let mut options = database.options("a");
    options.allow_unsafe = true;
    let store = kit::open(options).await.unwrap();
    let fences = store.acquire(all_shards()).await.unwrap();
    tell(&store, &mut Told::new(1, &fences)).await;
}

#[tokio::test]
async fn a_database_without_synchronous_commit_is_refused() {
    let Some(database) = Database::shared() else {
        return;
    };
    let name = &database.name;
    database.sql(&format!(
        "ALTER DATABASE {name} SET synchronous_commit = off"
    ));
    let text = refusal(database.options("a")).await;
    assert_says(&text, &["synchronous_commit = off"]);
}

#[tokio::test]
async fn a_database_of_another_encoding_is_refused() {
    let Some(database) = Database::shared() else {
        return;
    };
    let name = format!("{}_latin", database.name);
    let make = format!("CREATE DATABASE {name} ENCODING 'LATIN1' TEMPLATE template0");
    database.sql(&make);
    let mut options = database.options("a");
    options.url = database.server.url(&name);
    assert_says(&refusal(options).await, &["LATIN1", "UTF8"]);
}

#[tokio::test]
async fn a_missing_database_or_permission_is_told_with_its_remedy() {
    let Some(database) = Database::shared() else {
        return;
    };
    let mut options = database.options("a");
    options.url = database.server.url("nowhere");
    assert_says(&refusal(options).await, &["nowhere", "CREATE DATABASE"]);

    let user = format!("{}_guest", database.name);
    database.sql(&format!("CREATE ROLE {user} LOGIN"));
    let mut options = database.options("a");
    options.url = options.url.replace("user=crane", &format!("user={user}"));
    let guest = options.clone();
    assert_says(
        &refusal(options).await,
        &["permission denied", "AUTHORIZATION"],
    );
    // A schema of its own is all it needs.
    database.sql(&format!("CREATE SCHEMA crane AUTHORIZATION {user}"));
    let store = kit::open(guest).await.unwrap();
    let fences = store.acquire(all_shards()).await.unwrap();
    tell(&store, &mut Told::new(1, &fences)).await;
    store.probe().await.unwrap();
    store.checkpoint().await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_with_its_place() {
    let mut options = Options::new(
        "postgres://u:secret@127.0.0.1:1/x",
        "a",
        super::kit::TestClock::default().as_clock(),
    );
    options.ttl = Duration::from_millis(300);
    let text = refusal(options).await;
    assert_says(&text, &["not available", "refused"]);
    assert!(!text.contains("secret"), "{text}");
}

#[tokio::test]
async fn settings_that_cannot_be_are_refused_before_connecting() {
    let options = || {
        Options::new(
            "host=/nowhere",
            "a",
            super::kit::TestClock::default().as_clock(),
        )
    };
    let mut schema = options();
    schema.schema = "public; DROP".to_owned();
    assert_says(&refusal(schema).await, &["cannot be the schema"]);
    let mut ttl = options();
    ttl.ttl = Duration::from_millis(1);
    assert_says(&refusal(ttl).await, &["too short"]);
    let mut ca = options();
    ca.ca = Some("/nowhere/ca.pem".into());
    assert_says(&refusal(ca).await, &["/nowhere/ca.pem"]);
}

#[tokio::test]
async fn nodes_that_start_together_migrate_once() {
    let Some(database) = Database::shared() else {
        return;
    };
    let opening = (0..4).map(|number| {
        let options = database.options(&format!("n{number}"));
        kit::open(options)
    });
    for opened in futures_util::future::join_all(opening).await {
        opened.unwrap();
    }
    let applied = database.sql("SELECT string_agg(name, ' ' ORDER BY version) FROM migrations");
    assert_eq!(applied, "001_tables 002_views");
}

#[tokio::test]
async fn an_older_schema_is_brought_forward_with_its_runs() {
    let Some(database) = Database::shared() else {
        return;
    };
    let connector = Connector::new(&database.options("a"), Handle::current()).unwrap();
    migrate(&connector, 1).await.unwrap();
    assert!(MIGRATIONS.len() > 1);
    let run = Told::new(1, &[]);
    let id = run.run.to_string();
    let shard = run.run.shard();
    database.sql(&format!(
        "INSERT INTO runs (run_id, shard, status, round, seq, created_at, labels) \
         VALUES ('{id}', {shard}, 0, 1, 2, now(), '{{}}')"
    ));
    let store = database.open("a").await;
    let fences = store.acquire(all_shards()).await.unwrap();
    assert_eq!(database.sql("SELECT status FROM crane_runs"), "pending");
    let mut told = Told::new(2, &fences);
    tell(&store, &mut told).await;
    expect(&store, &told).await;
}

#[tokio::test]
async fn a_newer_or_foreign_schema_is_refused() {
    let Some(database) = Database::shared() else {
        return;
    };
    database.open("a").await.close().await.unwrap();
    database.sql("INSERT INTO migrations VALUES (99, 'from_the_future', 1)");
    let text = refusal(database.options("a")).await;
    assert_says(&text, &["schema version 3", "newer version of crane"]);
    let text = verify(database.options("a")).await;
    text.expect("reading does no harm");
    database.sql("DELETE FROM migrations WHERE version = 99; UPDATE migrations SET checksum = 1");
    let text = refusal(database.options("a")).await;
    assert_says(&text, &["made by something else", "001_tables"]);
}

#[tokio::test]
async fn a_connection_in_tls_is_verified() {
    let names = vec!["localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let pem = made.cert.pem();
    // An address of this process alone, so that the usual port is free.
    let id = std::process::id();
    let address = format!("127.77.{}.{}", (id >> 8) & 0xff, (id & 0xff) | 1);
    let server = Server::start_with(|dir| {
        fs::write(dir.join("cert.pem"), &pem).unwrap();
        fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        fs::set_permissions(dir.join("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
        let dir = dir.display();
        format!(
            "-c listen_addresses={address} -c ssl=on -c ssl_cert_file={dir}/cert.pem \
             -c ssl_key_file={dir}/key.pem"
        )
    });
    let Some(server) = server else { return };
    let database = Database::on(&server);
    let trusted = tempfile::tempdir().unwrap();
    let ca = trusted.path().join("ca.pem");
    fs::write(&ca, &pem).unwrap();
    let url = |host: &str| {
        let name = &database.name;
        format!("host={host} hostaddr={address} user=crane dbname={name} sslmode=require")
    };
    let with = |host: &str, ca: Option<&std::path::Path>| {
        let mut options = database.options("a");
        options.url = url(host);
        options.ca = ca.map(std::path::Path::to_owned);
        options.ttl = Duration::from_millis(300);
        options
    };
    let store = kit::open(with("localhost", Some(&ca))).await.unwrap();
    store.counts().await.unwrap();
    let in_tls = database.sql(
        "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                               WHERE application_name LIKE 'crane a%'",
    );
    assert_eq!(in_tls, "t");
    let text = refusal(with("localhost", None)).await;
    assert_says(&text, &["certificate"]);
    let text = refusal(with("other.example", Some(&ca))).await;
    assert_says(&text, &["certificate"]);
}
