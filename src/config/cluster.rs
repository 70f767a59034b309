//! What a node has in common with others: the database (`[store] url`) and the cluster.
//!
//! ```text
//!   store.url   cluster.listen
//!      no            no         one node, its own store; nothing of [cluster] has an effect
//!      yes           any        shards come and go; without an address nobody can join but through
//!                               the database, as a standby on this machine
//!      no            yes        home-node mode: each node keeps its own runs
//! ```

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crane_cluster::secret::SECRET_BYTES;
use crane_store::postgres;

use super::hidden::{self, Hidden};
use super::reader::{Reader, Section};
use super::sections::{NAME_CHARS, address, is_name};
use super::{ClusterConfig, ClusterTls, Config, DEFAULT_SCHEMA, PostgresConfig};

/// The variable that holds the secret of the cluster, where secrets are variables.
pub(super) const SECRET_VARIABLE: &str = "CRANE_CLUSTER_SECRET";

const SHORTEST_LEASE: Duration = Duration::from_millis(500);
const LONGEST_LEASE: Duration = Duration::from_secs(60);
/// Longest name of a schema (NAMEDATALEN of PostgreSQL, without its zero).
const SCHEMA_BYTES: usize = 63;

/// What only the embedded store has.
const EMBEDDED: [&str; 5] = [
    "node.data",
    "store.disk_reserve",
    "store.retention_bytes",
    "store.export_bytes",
    "store.accept_corruption",
];
/// What only PostgreSQL has, beside its URL.
const POSTGRES: [&str; 3] = ["store.schema", "store.ca", "store.allow_unsafe"];
/// What has no effect while nobody can reach the node.
const REACHED: [&str; 10] = [
    "cluster.id",
    "cluster.advertise",
    "cluster.seeds",
    "cluster.secrets",
    "cluster.secrets_file",
    "cluster.api_advertise",
    "cluster.tls_cert",
    "cluster.tls_key",
    "cluster.tls_ca",
    "cluster.zone",
];
const TLS: [&str; 3] = ["cluster.tls_cert", "cluster.tls_key", "cluster.tls_ca"];

/// The database, and what was complained about on the way.
pub(super) fn postgres(store: &mut Section<'_>) -> (Option<PostgresConfig>, Vec<Complaint>) {
    let mut complaints = Vec::new();
    let url = store.optional("url", database, |url| hidden::url(url.reveal()));
    let url_file = store.optional_path("url_file");
    let from_file = url_file.as_deref().and_then(|path| {
        let text = read(path).and_then(|text| database(text.trim()));
        text.map_err(|problem| complaints.push(("store.url_file", problem)))
            .ok()
    });
    if url.is_some() && url_file.is_some() {
        complaints.push((
            "store.url_file",
            "has no effect beside store.url".to_owned(),
        ));
    }
    let schema = store.text("schema", DEFAULT_SCHEMA.to_owned(), schema);
    let ca = store.optional_path("ca");
    let allow_unsafe = store.boolean("allow_unsafe", false);
    let config = url.or(from_file).map(|url| PostgresConfig {
        url,
        schema,
        ca,
        allow_unsafe,
    });
    (config, complaints)
}

/// A setting, and what is wrong with it beside its own form.
pub(super) type Complaint = (&'static str, String);

/// `[cluster]`.
pub(super) fn cluster(mut cluster: Section<'_>) -> (ClusterConfig, Vec<Complaint>) {
    let mut complaints = Vec::new();
    let id = cluster.text("id", "crane".to_owned(), |text| name("an id", text));
    let listen = cluster.optional("listen", gossip_address, ToString::to_string);
    let advertise = cluster.optional("advertise", host_and_port, String::clone);
    let seeds = cluster.list("seeds", host_and_port, String::clone);
    let mut secrets = cluster.list("secrets", secret, |_| "***".to_owned());
    let secrets_file = cluster.optional_path("secrets_file");
    if let Some(path) = &secrets_file {
        if secrets.is_empty() {
            match secrets_of(path) {
                Ok(read) => secrets = read,
                Err(problem) => complaints.push(("cluster.secrets_file", problem)),
            }
        } else {
            let problem = "has no effect beside cluster.secrets".to_owned();
            complaints.push(("cluster.secrets_file", problem));
        }
    }
    let lease = cluster.duration("lease", postgres::LEASE_TTL, SHORTEST_LEASE..=LONGEST_LEASE);
    let api_advertise = cluster.optional("api_advertise", api_url, String::clone);
    let [cert, key, ca] = ["tls_cert", "tls_key", "tls_ca"].map(|key| cluster.optional_path(key));
    let tls = cert.zip(key).zip(ca);
    let tls = tls.map(|((cert, key), ca)| ClusterTls { cert, key, ca });
    let zone = cluster.text("zone", String::new(), |text| match text {
        "" => Ok(String::new()),
        text => name("a zone", text),
    });
    let config = ClusterConfig {
        id,
        listen,
        advertise,
        seeds,
        secrets,
        lease,
        api_advertise,
        tls,
        zone,
    };
    (config, complaints)
}

/// The relations of the store and the cluster; gives the node its name in a cluster.
pub(super) fn check(reader: &mut Reader, config: &mut Config, host: Option<String>) {
    // A URL that is refused is one all the same.
    let shared = reader.is_set("store.url") || reader.is_set("store.url_file");
    let listens = reader.is_set("cluster.listen");
    if shared {
        refuse(reader, &EMBEDDED, "with the runs in PostgreSQL (store.url)");
    } else {
        refuse(reader, &POSTGRES, "without store.url");
    }
    match (shared, listens) {
        (false, false) => {
            let why = "without cluster.listen or store.url";
            refuse(reader, &REACHED, why);
            refuse(reader, &["cluster.lease"], why);
        }
        (true, false) => refuse(reader, &REACHED, "without cluster.listen"),
        (false, true) => refuse(reader, &["cluster.lease"], "without store.url"),
        (true, true) => {}
    }
    for name in TLS {
        for partner in TLS {
            if reader.is_set(partner) {
                continue;
            }
            refuse(reader, &[name], &format!("without {partner}"));
        }
    }
    if let Some(listen) = config.cluster.listen
        && listen.ip().is_unspecified()
        && !reader.is_set("cluster.advertise")
    {
        let problem = format!(
            "is {listen}, which nobody can dial: set cluster.advertise to the address at which \
             other nodes reach this one"
        );
        reader.complain("cluster.listen", problem);
    }
    if (shared || listens) && !reader.is_set("node.name") {
        match host.filter(|host| is_name(host) && host != "localhost") {
            Some(host) => {
                reader.by_default("node.name", &host);
                config.node.name = host;
            }
            None => reader.complain(
                "node.name",
                "must be set in a cluster: the host's name does not tell this node from others",
            ),
        }
    }
}

/// Complains about those of `names` that are set. A default that is written down does no harm: what
/// is shown reads back.
fn refuse(reader: &mut Reader, names: &[&str], why: &str) {
    for name in names {
        // The variable may be there for other processes.
        if reader.is_changed(name) && !reader.is_from(name, SECRET_VARIABLE) {
            reader.complain(name, format!("has no effect {why}"));
        }
    }
}

/// Beyond loopback only who knows the secret may join.
pub(super) fn check_exposure(reader: &mut Reader, config: &Config) {
    let cluster = &config.cluster;
    if let Some(listen) = cluster.listen
        && !listen.ip().to_canonical().is_loopback()
        && cluster.secrets.is_empty()
    {
        let problem = format!(
            "is {listen}, which other machines reach, and there is no secret: anybody could join. \
             Set cluster.secrets, cluster.secrets_file or {SECRET_VARIABLE}"
        );
        reader.complain("cluster.listen", problem);
    }
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path)
        .map_err(|error| format!("is {:?}, which cannot be read: {error}", path.display()))
}

/// A URL as the store reads it; what is wrong with it is said without repeating it.
fn database(text: &str) -> Result<Hidden, String> {
    match postgres::place(text) {
        Ok(_) => Ok(Hidden::new(text)),
        Err(error) => Err(format!("is refused: {error}")),
    }
}

fn schema(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let begins = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    if begins && text.len() <= SCHEMA_BYTES && text.chars().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "is {text:?}, it must be 1 to {SCHEMA_BYTES} small letters, digits and underscores, and not \
         begin with a digit"
    ))
}

fn name(what: &str, text: &str) -> Result<String, String> {
    if is_name(text) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "is {text:?}, {what} is 1 to {NAME_CHARS} letters, digits, dots, dashes and underscores"
    ))
}

/// Gossip and the gateway are at a port that others know.
fn gossip_address(text: &str) -> Result<SocketAddr, String> {
    let address = address(text)?;
    match address.port() {
        0 => Err(format!(
            "is {address}, it must have a port that others know"
        )),
        _ => Ok(address),
    }
}

fn host_and_port(text: &str) -> Result<String, String> {
    let parts = text.rsplit_once(':');
    let is_host = |host: &str| {
        let bracketed = host.starts_with('[') && host.ends_with(']');
        let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
        bracketed || (!host.is_empty() && host.bytes().all(plain))
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    match parts {
        Some((host, port)) if is_host(host) && is_port(port) => Ok(text.to_owned()),
        _ => Err(format!(
            "holds {text:?}, a node is written as host:port, such as \"node1.example:7946\" or \
             \"10.0.0.1:7946\""
        )),
    }
}

fn api_url(text: &str) -> Result<String, String> {
    let place = ["http://", "https://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let is_place = |place: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b);
        !place.is_empty() && place.bytes().all(plain)
    };
    if place.is_some_and(is_place) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "is {text:?}, it must be where others reach the API of this node, such as \
         \"http://node1.example:8080\""
    ))
}

fn secret(text: &str) -> Result<Hidden, String> {
    if text.len() < SECRET_BYTES {
        let length = text.len();
        return Err(format!(
            "holds a secret of {length} bytes, which could be guessed; the least is {SECRET_BYTES}"
        ));
    }
    Ok(Hidden::new(text))
}

/// One secret a line, the one to use first.
fn secrets_of(path: &Path) -> Result<Vec<Hidden>, String> {
    let text = read(path)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let secrets: Vec<Hidden> = lines.map(secret).collect::<Result<_, _>>()?;
    match secrets.is_empty() {
        true => Err(format!("is {:?}, which holds no secret", path.display())),
        false => Ok(secrets),
    }
}
