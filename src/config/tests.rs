//! Layers and their order, what is refused and where, what is shown.

mod bad;
mod clusters;

use serde_json::json;

use super::*;

fn file(text: &str) -> File {
    File::parse("crane.toml".into(), text).unwrap()
}

/// Reads a file, variables and flags as `crane config show` would.
fn read(
    text: &str,
    variables: &[(&str, &str)],
    flags: &[(&'static str, Origin, &str)],
) -> Result<Loaded, Refused> {
    let file = match File::parse("crane.toml".into(), text) {
        Ok(file) => file,
        Err(findings) => return Err(Refused(findings)),
    };
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let flags = flags
        .iter()
        .map(|(name, origin, value)| (*name, origin.clone(), (*value).to_owned()))
        .collect();
    Config::read(file, flags, Purpose::Show, variables)
}

fn origin_of(loaded: &Loaded, name: &str) -> String {
    let setting = loaded.settings.iter().find(|s| s.name == name).unwrap();
    setting.origin.to_string()
}

#[test]
fn a_later_layer_wins_and_every_value_knows_where_it_is_from() {
    let text = "[api]\nlisten = \"127.0.0.1:1\"\nmax_connections = 10\n[limits]\nsteps = 5\n";
    let variables = [
        ("CRANE__API__LISTEN", "127.0.0.1:2"),
        ("CRANE__API__MAX_CONNECTIONS", "20"),
        ("PATH", "/bin"),
        ("CRANE_LOG", "info"),
    ];
    let flag = ("api.listen", Origin::Flag("--listen"), "127.0.0.1:3");
    let loaded = read(text, &variables, &[flag]).unwrap();
    let config = &loaded.config;
    assert_eq!(config.api.listen.port(), 3);
    assert_eq!(config.api.max_connections, 20);
    assert_eq!(config.limits.steps, 5);
    assert_eq!(origin_of(&loaded, "api.listen"), "flag --listen");
    let variable = "environment variable CRANE__API__MAX_CONNECTIONS";
    assert_eq!(origin_of(&loaded, "api.max_connections"), variable);
    assert_eq!(origin_of(&loaded, "limits.steps"), "crane.toml:5");
    assert_eq!(origin_of(&loaded, "limits.attempts"), "default");
}

#[test]
fn the_defaults_are_those_of_the_parts() {
    let config = Config::default();
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.tools, ToolsConfig::default());
    assert_eq!(config.store.retention, Retention::default());
    assert_eq!(config.api.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.node.data, Path::new("./crane-data"));
}

#[test]
fn every_field_is_read_from_the_file() {
    let text = r#"
        [node]
        name = "n1"
        data = "/var/lib/crane"
        drain_timeout = "5s"
        [api]
        listen = "[::1]:9000"
        tokens = ["secret"]
        tls_cert = "c.pem"
        tls_key = "k.pem"
        body_rate = "1KiB"
        max_header_bytes = 8192
        cors_origins = ["https://console.example.com"]
        [limits]
        payload_bytes = "64KiB"
        active_runs = 7
        [store]
        disk_reserve = "1GiB"
        retention_age = "36h"
        accept_corruption = true
        [tools.http]
        allow = ["10.0.0.0/8", "*.corp"]
        [log]
        filter = "info"
        format = "json"
    "#;
    let Config {
        node,
        api,
        limits,
        store,
        cluster,
        tools,
        log,
    } = read(text, &[], &[]).unwrap().config;
    assert_eq!(
        (node.name.as_str(), node.drain_timeout.as_secs()),
        ("n1", 5)
    );
    assert!(api.tokens.admit(b"secret"));
    assert_eq!(api.tls.unwrap().key, Path::new("k.pem"));
    assert_eq!((api.body_rate, api.max_header_bytes), (1_024, 8_192));
    assert_eq!(api.cors_origins, ["https://console.example.com"]);
    assert_eq!((limits.payload_bytes, limits.active_runs), (65_536, 7));
    assert_eq!(store.disk_reserve, 1 << 30);
    assert_eq!(store.retention.age.as_secs(), 36 * 3_600);
    assert!(store.accept_corruption);
    assert_eq!(store.postgres, None);
    assert_eq!(cluster, Config::default().cluster);
    assert_eq!(tools.http.allow.len(), 2);
    assert_eq!(
        tools.http.response_bytes, 65_536,
        "it follows the payload's limit"
    );
    assert_eq!((log.filter.as_str(), log.format), ("info", Format::Json));
}

#[test]
fn the_variables_of_earlier_releases_work() {
    let variables = [
        ("CRANE__TOOLS__HTTP__ALLOW_PRIVATE", "true"),
        ("CRANE__STORE__ACCEPT_CORRUPTION", "true"),
    ];
    let config = read("", &variables, &[]).unwrap().config;
    assert!(config.tools.http.allow_private && config.store.accept_corruption);
}

#[test]
fn the_example_in_the_documentation_is_accepted_says_all_and_changes_nothing() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/crane.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let loaded = read(&text, &[], &[]).unwrap();
    assert_eq!(loaded.config, Config::default());
    let named = |setting: &&Setting| {
        let key = setting.name.rsplit('.').next().unwrap();
        let written = |line: &str| {
            line.trim_start_matches("# ")
                .starts_with(&format!("{key} = "))
        };
        setting.origin != Origin::Default || text.lines().any(written)
    };
    let missing: Vec<_> = loaded.settings.iter().filter(|s| !named(s)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn what_is_shown_reads_back_as_the_same_and_hides_secrets() {
    let text =
        "[api]\ntokens = [\"s3cret\"]\nmax_connections = 3\n[limits]\nrun_bytes = \"2MiB\"\n";
    let loaded = read(text, &[], &[]).unwrap();
    let shown = loaded.text();
    assert!(!shown.contains("s3cret"), "{shown}");
    assert!(shown.contains("max_connections = 3 "), "{shown}");
    assert!(shown.contains("# crane.toml:3"), "{shown}");
    let mut again = read(&shown, &[], &[]).unwrap().config;
    again.api.tokens = loaded.config.api.tokens.clone();
    assert_eq!(again, loaded.config);
    let json = loaded.json();
    assert_eq!(json["limits"]["run_bytes"]["value"], json!("2MiB"));
    assert_eq!(
        json["api"]["max_connections"]["origin"],
        json!("crane.toml:3")
    );
    assert_eq!(
        json["tools"]["http"]["allow_private"]["origin"],
        json!("default")
    );
    assert_eq!(json["api"]["tokens"]["value"], json!(["***"]));
    assert!(!format!("{loaded:?}").contains("s3cret"));
}

#[test]
fn a_plain_token_in_the_file_is_taken_with_advice_and_its_hash_without() {
    let loaded = read("[api]\ntokens = [\"secret\"]", &[], &[]).unwrap();
    let [warning] = loaded.warnings.as_slice() else {
        panic!("{:?}", loaded.warnings)
    };
    assert!(warning.contains("crane.toml:2") && warning.contains("crane config token"));
    assert!(!warning.contains("secret"));
    let line = crate::token::TokenHash::of(b"secret").line();
    let hashed = read(&format!("[api]\ntokens = [\"{line}\"]"), &[], &[]).unwrap();
    assert!(hashed.warnings.is_empty());
    assert_eq!(hashed.config.api.tokens, loaded.config.api.tokens);
    let variable = read("", &[("CRANE__API__TOKENS", "secret,other")], &[]).unwrap();
    assert!(variable.warnings.is_empty());
    assert_eq!(variable.config.api.tokens.len(), 2);
}

#[test]
fn beyond_loopback_tokens_are_required_unless_somebody_insists() {
    for listen in [
        "0.0.0.0:80",
        "[::]:80",
        "192.168.1.5:80",
        "[::ffff:10.0.0.1]:80",
    ] {
        let text = format!("[api]\nlisten = \"{listen}\"\n");
        let refused = read(&text, &[], &[]).unwrap_err().to_string();
        assert!(refused.contains("crane.toml:2: api.listen"), "{refused}");
        assert!(refused.contains("--insecure-no-auth"), "{refused}");
        let insisted = read(&format!("{text}insecure_no_auth = true"), &[], &[]).unwrap();
        assert_eq!(insisted.warnings.len(), 1);
        assert!(read(&text, &[("CRANE__API__TOKENS", "t")], &[]).is_ok());
        // Who only works with the data opens no socket.
        let work = Config::read(file(&text), Vec::new(), Purpose::Work, []);
        assert!(work.is_ok());
    }
    for listen in [
        "127.0.0.1:80",
        "[::1]:80",
        "localhost:80",
        "[::ffff:127.0.0.1]:80",
    ] {
        let loaded = read(&format!("[api]\nlisten = \"{listen}\""), &[], &[]).unwrap();
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    }
}

#[test]
fn a_file_that_is_named_must_be_there_and_the_default_one_need_not() {
    let named = |path: &str| Sources {
        file: Some(PathBuf::from(path)),
        ..Sources::default()
    };
    let refused = Config::load_from(named("/nonexistent/crane.toml"), []).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("/nonexistent/crane.toml: cannot be read")
    );
    let refused = Config::load_from(named("/"), []).unwrap_err();
    assert!(refused.to_string().contains("cannot be read"), "{refused}");
    assert!(Config::load_from(Sources::default(), []).is_ok());
}
