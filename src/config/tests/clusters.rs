//! The database and the cluster: what is read, what is hidden, whose name it is.

use super::*;

const SECRET: &str = "correct horse battery";

#[test]
fn every_field_of_a_cluster_is_read_and_nothing_secret_is_shown() {
    let text = format!(
        r#"
        [node]
        name = "n1"
        [store]
        url = "postgres://crane:s3cret@db/crane"
        schema = "other"
        allow_unsafe = true
        retention_age = "1d"
        [cluster]
        id = "blue"
        listen = "0.0.0.0:7946"
        advertise = "n1.example:7946"
        seeds = ["n2.example:7946", "[::1]:7946"]
        secrets = ["{SECRET}", "{SECRET} of before"]
        lease = "1s"
        api_advertise = "https://n1.example"
        tls_cert = "c.pem"
        tls_key = "k.pem"
        tls_ca = "a.pem"
        zone = "rack-1"
    "#
    );
    let loaded = read(&text, &[], &[]).unwrap();
    let postgres = loaded.config.store.postgres.clone().unwrap();
    assert_eq!(postgres.url.reveal(), "postgres://crane:s3cret@db/crane");
    assert_eq!(
        (postgres.schema.as_str(), postgres.allow_unsafe),
        ("other", true)
    );
    let cluster = &loaded.config.cluster;
    assert_eq!(
        (cluster.id.as_str(), cluster.zone.as_str()),
        ("blue", "rack-1")
    );
    assert_eq!(cluster.advertise.as_deref(), Some("n1.example:7946"));
    assert_eq!(cluster.seeds.len(), 2);
    assert_eq!(cluster.secrets[1].reveal(), format!("{SECRET} of before"));
    assert_eq!(cluster.lease.as_secs(), 1);
    assert!(cluster.tls.is_some());
    let shown = [
        loaded.text(),
        loaded.json().to_string(),
        format!("{loaded:?}"),
    ];
    for shown in shown {
        assert!(
            !shown.contains("s3cret") && !shown.contains("horse"),
            "{shown}"
        );
    }
    assert!(
        loaded
            .text()
            .contains("url = \"postgres://crane:***@db/crane\"")
    );
}

#[test]
fn secrets_come_from_a_file_or_the_variable_of_the_cluster() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str, content: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let secrets = path("secrets", &format!("{SECRET}\n\n  {SECRET} of before\n"));
    let url = path("url", "postgres://crane:s3cret@db/crane\n");
    let listen = "[cluster]\nlisten = \"127.0.0.1:7946\"\n";
    let files = format!("[store]\nurl_file = {url:?}\n{listen}secrets_file = {secrets:?}\n");
    let config = read(&files, &[], &[]).unwrap().config;
    assert_eq!(config.cluster.secrets.len(), 2);
    let url = config.store.postgres.unwrap().url;
    assert_eq!(url.reveal(), "postgres://crane:s3cret@db/crane");

    let variable = [("CRANE_CLUSTER_SECRET", SECRET)];
    let open = "[cluster]\nlisten = \"10.0.0.1:7946\"\n";
    let loaded = read(open, &variable, &[]).unwrap();
    assert_eq!(loaded.config.cluster.secrets, [Hidden::new(SECRET)]);
    let origin = "environment variable CRANE_CLUSTER_SECRET";
    assert_eq!(origin_of(&loaded, "cluster.secrets"), origin);
    // It may be there for others.
    assert!(read("", &variable, &[]).is_ok());
    let both = format!("{listen}secrets_file = {secrets:?}\n");
    let refused = read(&both, &variable, &[]).unwrap_err().to_string();
    assert!(
        refused.contains("cluster.secrets_file has no effect"),
        "{refused}"
    );

    let empty = path("empty", "\n");
    let refused = read(&format!("{listen}secrets_file = {empty:?}"), &[], &[]);
    assert!(refused.unwrap_err().to_string().contains("holds no secret"));
}

#[test]
fn in_a_cluster_a_node_is_called_as_its_host_unless_it_is_named() {
    let reader = |host: Option<&str>, text: &str| {
        let mut reader = Reader::new(Layers {
            file: file(text),
            ..Layers::default()
        });
        let (mut config, _) = sections::read(&mut reader);
        cluster::check(&mut reader, &mut config, host.map(str::to_owned));
        reader.finish().map(|settings| (config.node.name, settings))
    };
    let text = "[cluster]\nlisten = \"127.0.0.1:7946\"\n";
    let (name, settings) = reader(Some("host-7"), text).unwrap();
    assert_eq!(name, "host-7");
    assert_eq!(settings[0].value, json!("host-7"));
    for host in [None, Some("localhost"), Some("a b")] {
        let findings = reader(host, text).unwrap_err();
        assert!(findings[0].to_string().starts_with("node.name must be set"));
    }
    let named = format!("[node]\nname = \"n1\"\n{text}");
    assert_eq!(reader(None, &named).unwrap().0, "n1");
    assert_eq!(reader(Some("host-7"), "").unwrap().0, "local");
}
