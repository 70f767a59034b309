//! Every setting there is: name, default, range. A limit's default is the contract's.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crane_core::{Limits, Timestamp, limits};
use crane_store::embedded;
use crane_store::{Retention, codec};
use crane_tools::ToolsConfig;
use crane_tools::http::{Allowed, HttpConfig};

use super::origin::Origin;
use super::reader::{Reader, Section};
use super::{ApiConfig, Config, LogConfig, NodeConfig, StoreConfig, TlsFiles, cluster};
use crate::node::LOCAL_NAME;
use crate::telemetry;
use crate::token::{self, Tokens};

/// Where runs are kept unless told otherwise.
pub(crate) const DEFAULT_DATA: &str = "./crane-data";
/// Where a node listens unless told otherwise.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// Longest name of a node or a zone, or id of a cluster, in characters.
pub(super) const NAME_CHARS: usize = 64;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

/// Asks for everything; gives what is advised against as well.
pub(super) fn read(reader: &mut Reader) -> (Config, Vec<String>) {
    let mut warnings = Vec::new();
    let node = node(reader.section("node"));
    let api = api(reader, &mut warnings);
    let limits = limits(reader.section("limits"));
    let (store, wrong_store) = store(reader.section("store"));
    let (cluster, wrong_cluster) = cluster::cluster(reader.section("cluster"));
    for (name, problem) in wrong_store.into_iter().chain(wrong_cluster) {
        reader.complain(name, problem);
    }
    let http = http(reader.section("tools.http"), &limits);
    let log = log(reader.section("log"));
    let config = Config {
        node,
        api,
        limits,
        store,
        cluster,
        tools: ToolsConfig { http },
        log,
    };
    (config, warnings)
}

fn node(mut node: Section<'_>) -> NodeConfig {
    NodeConfig {
        name: node.text("name", LOCAL_NAME.to_owned(), |text| {
            if !is_name(text) {
                return Err(format!(
                    "is {text:?}, it must be 1 to {NAME_CHARS} letters, digits, dots, dashes and \
                     underscores"
                ));
            }
            Ok(text.to_owned())
        }),
        data: node.path("data", PathBuf::from(DEFAULT_DATA)),
        drain_timeout: node.duration("drain_timeout", 20 * SECOND, Duration::ZERO..=HOUR),
    }
}

/// Whether `text` may name a node.
pub(super) fn is_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !text.is_empty() && text.len() <= NAME_CHARS && text.chars().all(is_plain)
}

fn api(reader: &mut Reader, warnings: &mut Vec<String>) -> ApiConfig {
    let mut api = reader.section("api");
    let listen = api.text("listen", DEFAULT_LISTEN, address);
    let entries = api.list(
        "tokens",
        |text| text.parse::<token::Entry>(),
        |_| "***".to_owned(),
    );
    let insecure_no_auth = api.boolean("insecure_no_auth", false);
    let tls_cert = api.optional_path("tls_cert");
    let tls_key = api.optional_path("tls_key");
    let config = ApiConfig {
        listen,
        tokens: entries.iter().map(|entry| entry.hash).collect::<Tokens>(),
        insecure_no_auth,
        tls: tls_cert
            .zip(tls_key)
            .map(|(cert, key)| TlsFiles { cert, key }),
        max_connections: api.count("max_connections", 10_000, 1..=1_000_000),
        request_timeout: api.duration("request_timeout", 60 * SECOND, 100 * MS..=HOUR),
        header_timeout: api.duration("header_timeout", 10 * SECOND, 100 * MS..=HOUR),
        body_timeout: api.duration("body_timeout", 10 * SECOND, 100 * MS..=HOUR),
        body_rate: api.size("body_rate", 16 * KIB, 1..=1 << 30),
        write_timeout: api.duration("write_timeout", 30 * SECOND, 100 * MS..=HOUR),
        idle_timeout: api.duration("idle_timeout", 120 * SECOND, 100 * MS..=DAY),
        max_header_bytes: api.size("max_header_bytes", 32 << 10, KIB..=MIB),
        cors_origins: api.list("cors_origins", origin, String::clone),
    };
    let origin = reader.origin("api.tokens");
    if let Origin::File { .. } = origin
        && entries.iter().any(|entry| entry.is_plain)
    {
        warnings.push(format!(
            "{origin}: api.tokens holds a token in plain text; `crane config token` makes one \
             whose hash is stored instead, `crane config token --stdin` hashes this one"
        ));
    }
    config
}

fn limits(mut section: Section<'_>) -> Limits {
    let default = Limits::default();
    let value = codec::VALUE_BYTES as u64;
    let resolved = limits::RESOLVED_BYTES as u64;
    Limits {
        steps: section.count("steps", default.steps, 1..=100_000),
        payload_bytes: section.size("payload_bytes", default.payload_bytes, KIB..=resolved),
        run_bytes: section.size("run_bytes", default.run_bytes, KIB..=value),
        request_bytes: section.size("request_bytes", default.request_bytes, KIB..=64 * MIB),
        attempts: section.count("attempts", default.attempts, 1..=1_000_000),
        lost_attempts: section.count("lost_attempts", default.lost_attempts, 1..=1_000),
        parallel_steps: section.count("parallel_steps", default.parallel_steps, 1..=100_000),
        active_runs: section.count("active_runs", default.active_runs, 1..=1_000_000),
        pending_runs: section.count("pending_runs", default.pending_runs, 0..=100_000_000),
    }
}

fn store(mut store: Section<'_>) -> (StoreConfig, Vec<cluster::Complaint>) {
    let default = embedded::Options::new("", Arc::new(|| Timestamp(0)));
    // Two segments: what accepted runs need to be finished.
    let reserve = 2 * default.segment_bytes;
    let history = u64::from(default.history_segment_bytes);
    let (postgres, wrong) = cluster::postgres(&mut store);
    let config = StoreConfig {
        postgres,
        disk_reserve: store.size("disk_reserve", default.disk_reserve, reserve..=16 * TIB),
        retention: Retention {
            age: store.duration(
                "retention_age",
                default.retention.age,
                SECOND..=limits::LONGEST_DURATION,
            ),
            bytes: store.size(
                "retention_bytes",
                default.retention.bytes,
                history..=1024 * TIB,
            ),
        },
        export_bytes: store.size("export_bytes", default.export_bytes, reserve..=TIB),
        accept_corruption: store.boolean("accept_corruption", false),
    };
    (config, wrong)
}

fn http(mut http: Section<'_>, limits: &Limits) -> HttpConfig {
    // A longer body would be refused as an output.
    let payload = limits.payload_bytes as u64;
    HttpConfig {
        allow_private: http.boolean("allow_private", false),
        allow: http.list(
            "allow",
            |text| {
                let allowed = text.parse::<Allowed>();
                allowed.map_err(|error| format!("holds an entry that is none: {error}"))
            },
            |allowed| String::from(allowed.clone()),
        ),
        response_bytes: http.size("response_bytes", limits.payload_bytes, KIB..=payload),
    }
}

fn log(mut log: Section<'_>) -> LogConfig {
    LogConfig {
        filter: log.text("filter", telemetry::DEFAULT_FILTER.to_owned(), |text| {
            telemetry::check(text)
                .map(|()| text.to_owned())
                .map_err(|error| format!("is refused: {error}"))
        }),
        format: log.text("format", telemetry::Format::default(), |text| {
            text.parse()
                .map_err(|error| format!("is {text:?}, {error}"))
        }),
    }
}

/// An address with its port; of names only `localhost` is known, since a name may mean several
/// addresses.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("{}:{port}", Ipv4Addr::LOCALHOST),
        None => text.to_owned(),
    };
    numeric.parse().map_err(|_| {
        format!(
            "is {text:?}, it must be an address with a port, such as \"127.0.0.1:8080\", \
             \"0.0.0.0:8080\" or \"[::1]:8080\""
        )
    })
}

/// The origin of a page as browsers send it, or `*`.
fn origin(text: &str) -> Result<String, String> {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let is_host = |host: &str| {
        !host.is_empty()
            && host
                .bytes()
                .all(|b| b.is_ascii_graphic() && !b"/?#*@".contains(&b))
    };
    if text == "*" || host.is_some_and(is_host) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "holds {text:?}, an origin is written as \"https://example.com\", without a path, or it is \
         \"*\" alone"
    ))
}
