//! Settings that are refused: each by its name and its place, and all at once.

use super::{Origin, read};

/// A file, what its finding starts with, and what it says.
const IN_FILE: &[(&str, &str, &str)] = &[
    // unknown
    (
        "[api]\nlsten = \"127.0.0.1:1\"",
        "crane.toml:2: api.lsten",
        "did you mean api.listen?",
    ),
    (
        "[apis]\nlisten = \"127.0.0.1:1\"",
        "crane.toml:1: apis",
        "is no section; did you mean [api]?",
    ),
    ("[apis]", "crane.toml:1: apis", "is no section"),
    (
        "[console]\nseeds = []",
        "crane.toml:1: console",
        "there are node, api, limits",
    ),
    (
        "listen = \"127.0.0.1:1\"",
        "crane.toml:1: listen",
        "is no setting",
    ),
    (
        "[tools]\nallow_private = true",
        "crane.toml:2: tools.allow_private",
        "is no setting",
    ),
    (
        "[tools.htpp]\nallow_private = true",
        "crane.toml:1: tools.htpp",
        "did you mean [tools.http]?",
    ),
    ("[tools.echo]", "crane.toml:1: tools.echo", "is no section"),
    (
        "api.listn = \"x\"",
        "crane.toml:1: api.listn",
        "is no setting",
    ),
    // of another type
    (
        "api = 3",
        "crane.toml:1: api",
        "is a section, write it as [api]",
    ),
    (
        "[api]\nlisten = 8080",
        "crane.toml:2: api.listen",
        "is 8080, it must be a text",
    ),
    (
        "[api.listen]\nport = 1",
        "crane.toml:1: api.listen",
        "is a table, it must be a text",
    ),
    (
        "[api]\nmax_connections = \"100\"",
        "crane.toml:2: api.max_connections",
        "is \"100\", it must be a whole number",
    ),
    (
        "[api]\nmax_connections = 1.5",
        "crane.toml:2: api.max_connections",
        "a number with a fraction",
    ),
    (
        "[api]\ntokens = \"s3cret\"",
        "crane.toml:2: api.tokens",
        "is a text, it must be a list",
    ),
    ("[api]\ntokens = [1]", "crane.toml:2: api.tokens", "holds 1"),
    (
        "[api]\nrequest_timeout = 30",
        "crane.toml:2: api.request_timeout",
        "a duration with its unit",
    ),
    (
        "[api]\ninsecure_no_auth = \"true\"",
        "crane.toml:2: api.insecure_no_auth",
        "it must be true or false",
    ),
    (
        "[limits]\nsteps = 99999999999999999999",
        "crane.toml:2: limits.steps",
        "more than 64 bits",
    ),
    (
        "[store]\nretention_age = 2024-01-01",
        "crane.toml:2: store.retention_age",
        "is a date",
    ),
    (
        "[store]\naccept_corruption = 1",
        "crane.toml:2: store.accept_corruption",
        "it must be true or false",
    ),
    ("[node]\ndata = []", "crane.toml:2: node.data", "is a list"),
    // out of range, or malformed
    (
        "[api]\nlisten = \"everywhere\"",
        "crane.toml:2: api.listen",
        "an address with a port",
    ),
    (
        "[api]\nlisten = \"example.com:80\"",
        "crane.toml:2: api.listen",
        "an address with a port",
    ),
    (
        "[api]\nmax_connections = 0",
        "crane.toml:2: api.max_connections",
        "from 1 to 1000000",
    ),
    (
        "[api]\nmax_connections = -1",
        "crane.toml:2: api.max_connections",
        "is -1",
    ),
    (
        "[api]\nheader_timeout = \"0s\"",
        "crane.toml:2: api.header_timeout",
        "from 100ms to 1h",
    ),
    (
        "[api]\nheader_timeout = \"10\"",
        "crane.toml:2: api.header_timeout",
        "a duration with its unit",
    ),
    (
        "[api]\nidle_timeout = \"2d\"",
        "crane.toml:2: api.idle_timeout",
        "from 100ms to 1d",
    ),
    (
        "[api]\nmax_header_bytes = \"1GiB\"",
        "crane.toml:2: api.max_header_bytes",
        "from 1KiB to 1MiB",
    ),
    (
        "[api]\ntokens = [\"two words\"]",
        "crane.toml:2: api.tokens",
        "without blanks",
    ),
    (
        "[api]\ntokens = [\"blake3:123\"]",
        "crane.toml:2: api.tokens",
        "64 hexadecimal digits",
    ),
    (
        "[api]\ncors_origins = [\"example.com\"]",
        "crane.toml:2: api.cors_origins",
        "https://example.com",
    ),
    (
        "[api]\ncors_origins = [\"https://a/b\"]",
        "crane.toml:2: api.cors_origins",
        "without a path",
    ),
    (
        "[api]\ntls_cert = \"\"\ntls_key = \"k\"",
        "crane.toml:2: api.tls_cert",
        "is empty",
    ),
    ("[limits]\nsteps = 0", "crane.toml:2: limits.steps", "is 0"),
    (
        "[limits]\nparallel_steps = 0",
        "crane.toml:2: limits.parallel_steps",
        "is 0",
    ),
    (
        "[limits]\nrequest_bytes = \"4 megs\"",
        "crane.toml:2: limits.request_bytes",
        "\"64MiB\"",
    ),
    (
        "[limits]\nrun_bytes = \"1GiB\"",
        "crane.toml:2: limits.run_bytes",
        "from 1KiB to",
    ),
    (
        "[store]\ndisk_reserve = \"1MiB\"",
        "crane.toml:2: store.disk_reserve",
        "from 32MiB",
    ),
    (
        "[node]\nname = \"a b\"",
        "crane.toml:2: node.name",
        "letters, digits",
    ),
    ("[node]\nname = \"\"", "crane.toml:2: node.name", "1 to 64"),
    (
        "[log]\nfilter = \"info,=debug=\"",
        "crane.toml:2: log.filter",
        "is not a filter",
    ),
    (
        "[log]\nfilter = \"inof\"",
        "crane.toml:2: log.filter",
        "is not a level",
    ),
    (
        "[log]\nformat = \"xml\"",
        "crane.toml:2: log.format",
        "\"auto\", \"json\" or \"pretty\"",
    ),
    (
        "[tools.http]\nallow = [\"10.0.0.0/99\"]",
        "crane.toml:2: tools.http.allow",
        "10.0.0.0/99",
    ),
    // without effect, or against each other
    (
        "[api]\ntls_cert = \"c\"",
        "crane.toml:2: api.tls_cert",
        "has no effect without api.tls_key",
    ),
    (
        "[api]\ntls_key = \"k\"",
        "crane.toml:2: api.tls_key",
        "has no effect without api.tls_cert",
    ),
    (
        "[api]\ntokens = [\"t\"]\ninsecure_no_auth = true",
        "crane.toml:3: api.insecure_no_auth",
        "no effect beside api.tokens",
    ),
    (
        "[api]\ncors_origins = [\"*\", \"https://a\"]",
        "crane.toml:2: api.cors_origins",
        "no effect beside it",
    ),
    (
        "[tools.http]\nallow_private = true\nallow = [\"::1\"]",
        "crane.toml:3: tools.http.allow",
        "has no effect beside",
    ),
    (
        "[tools.http]\nresponse_bytes = \"2MiB\"",
        "crane.toml:2: tools.http.response_bytes",
        "from 1KiB to 1MiB",
    ),
    (
        "[limits]\npayload_bytes = \"8MiB\"\nrun_bytes = \"4MiB\"",
        "crane.toml:2: limits.payload_bytes",
        "at most limits.run_bytes, which is 4MiB",
    ),
    (
        "[limits]\nrun_bytes = \"512KiB\"",
        "crane.toml:2: limits.run_bytes",
        "at least limits.payload_bytes, which is 1MiB",
    ),
    (
        "[limits]\nsteps = 10\nparallel_steps = 20",
        "crane.toml:3: limits.parallel_steps",
        "has no effect",
    ),
    (
        "[api]\nlisten = \"0.0.0.0:1\"",
        "crane.toml:2: api.listen",
        "there are no api.tokens",
    ),
    // the database and the cluster
    (
        "[store]\nurl = \"mysql://db/x\"",
        "crane.toml:2: store.url",
        "it looks like postgres://",
    ),
    (
        "[store]\nurl = \"postgres://u:s3cret@db/x?color=red\"",
        "crane.toml:2: store.url",
        "color",
    ),
    (
        "[store]\nurl_file = \"/nonexistent/url\"",
        "crane.toml:2: store.url_file",
        "which cannot be read",
    ),
    (
        "[store]\nschema = \"Crane\"",
        "crane.toml:2: store.schema",
        "small letters",
    ),
    (
        "[store]\nschema = \"c2\"",
        "crane.toml:2: store.schema",
        "has no effect without store.url",
    ),
    (
        "[store]\nurl = \"postgres://db/x\"\nexport_bytes = \"2GiB\"",
        "crane.toml:3: store.export_bytes",
        "has no effect with the runs in PostgreSQL",
    ),
    (
        "[node]\ndata = \"elsewhere\"\n[store]\nurl = \"postgres://db/x\"",
        "crane.toml:2: node.data",
        "has no effect with the runs in PostgreSQL",
    ),
    (
        "[store]\nurl = \"postgres://db/x\"\n[cluster]\nseeds = [\"a:1\"]",
        "crane.toml:4: cluster.seeds",
        "has no effect without cluster.listen",
    ),
    (
        "[cluster]\nlease = \"5s\"",
        "crane.toml:2: cluster.lease",
        "has no effect without cluster.listen or store.url",
    ),
    (
        "[cluster]\nlisten = \"127.0.0.1:7946\"\nlease = \"5s\"",
        "crane.toml:3: cluster.lease",
        "has no effect without store.url",
    ),
    (
        "[cluster]\nlisten = \"127.0.0.1:0\"",
        "crane.toml:2: cluster.listen",
        "a port that others know",
    ),
    (
        "[cluster]\nlisten = \"0.0.0.0:7946\"\nsecrets = [\"0123456789abcdef\"]",
        "crane.toml:2: cluster.listen",
        "set cluster.advertise",
    ),
    (
        "[cluster]\nlisten = \"10.0.0.1:7946\"",
        "crane.toml:2: cluster.listen",
        "anybody could join",
    ),
    (
        "[cluster]\nlisten = \"127.0.0.1:7946\"\nsecrets = [\"s3cret\"]",
        "crane.toml:3: cluster.secrets",
        "a secret of 6 bytes",
    ),
    (
        "[cluster]\nlisten = \"127.0.0.1:7946\"\nseeds = [\"node1\"]",
        "crane.toml:3: cluster.seeds",
        "host:port",
    ),
    (
        "[cluster]\nlisten = \"127.0.0.1:7946\"\ntls_key = \"k\"",
        "crane.toml:3: cluster.tls_key",
        "has no effect without cluster.tls_cert",
    ),
    (
        "[cluster]\nlisten = \"127.0.0.1:7946\"\napi_advertise = \"node1:8080\"",
        "crane.toml:3: cluster.api_advertise",
        "http://node1.example:8080",
    ),
    (
        "[store]\nurl = \"postgres://db/x\"\n[cluster]\nlease = \"2m\"",
        "crane.toml:4: cluster.lease",
        "from 500ms to 1m",
    ),
    // no configuration at all
    ("[api\nlisten = 1", "crane.toml:1: ", ""),
    (
        "[api]\nlisten = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"",
        "crane.toml:3: ",
        "duplicate",
    ),
    ("[api]\n[api]", "crane.toml:2: ", "duplicate"),
];

/// A variable, its value, and what is said.
const IN_ENVIRONMENT: &[(&str, &str, &str)] = &[
    (
        "CRANE__TOOLS__HTTPS__ALLOW_PRIVATE",
        "true",
        "tools.https.allow_private is no setting",
    ),
    (
        "CRANE__TOOLS__HTTP__ALLOW_PRIVATE",
        "yes",
        "tools.http.allow_private is \"yes\", it must be true or false",
    ),
    (
        "CRANE__API__LISTN",
        "127.0.0.1:1",
        "did you mean api.listen?",
    ),
    ("CRANE__API", "x", "api is no setting"),
    ("CRANE__api__listen", "127.0.0.1:1", "is no setting"),
    (
        "CRANE__LIMITS__STEPS",
        "many",
        "limits.steps is \"many\", it must be a whole number",
    ),
    ("CRANE__LIMITS__STEPS", "", "limits.steps is \"\""),
    ("CRANE__API__TOKENS", "a b,c", "without blanks"),
    (
        "CRANE__API__TLS_KEY",
        "k",
        "has no effect without api.tls_cert",
    ),
];

#[test]
fn a_bad_setting_of_the_file_is_refused_with_its_line() {
    for (text, place, problem) in IN_FILE {
        let refused = match read(text, &[], &[]) {
            Ok(loaded) => panic!("{text}: accepted as {:?}", loaded.config),
            Err(refused) => refused,
        };
        let first = refused.0[0].to_string();
        assert!(first.starts_with(place), "{text}: {refused}");
        assert!(first.contains(problem), "{text}: {refused}");
        assert!(!first.contains("s3cret"), "{text}: {refused}");
    }
}

#[test]
fn a_bad_variable_is_refused_by_its_name() {
    for (name, value, problem) in IN_ENVIRONMENT {
        let refused = read("", &[(name, value)], &[]).unwrap_err().to_string();
        assert!(
            refused.contains(&format!("environment variable {name}")),
            "{refused}"
        );
        assert!(refused.contains(problem), "{name}: {refused}");
    }
}

#[test]
fn everything_is_reported_at_once_in_the_order_of_the_layers() {
    let text = "[api]\nmax_connections = 0\nlsten = 1\n[limits]\nsteps = 0\n";
    let variables = [("CRANE__NODE__NAME", "a b"), ("CRANE__X", "1")];
    let flags = [("api.listen", Origin::Flag("--listen"), "nowhere")];
    let refused = read(text, &variables, &flags).unwrap_err().to_string();
    let lines: Vec<&str> = refused.lines().collect();
    let expected = [
        "crane.toml:2: api.max_connections",
        "crane.toml:3: api.lsten",
        "crane.toml:5: limits.steps",
        "environment variable CRANE__NODE__NAME: node.name",
        "environment variable CRANE__X: x",
        "flag --listen: api.listen",
    ];
    assert_eq!(lines.len(), expected.len(), "{refused}");
    for (line, start) in lines.iter().zip(expected) {
        assert!(line.starts_with(start), "{line} / {start}");
    }
}
