//! The configuration of a node: what may be set, where it was set, and whether it makes sense.
//!
//! ```text
//!   defaults ──> crane.toml ──> CRANE__SECTION__KEY ──> flags         a later one wins
//!       └────────────┴───────┬──────────┴─────────────────┘
//!                          Reader      asks for each setting once, by name, default and range
//!                            ├──> Config     typed: what the node works with
//!                            ├──> Setting    value and origin: `crane config show`
//!                            └──> Finding    everything that is wrong, at once
//! ```
//!
//! A setting that is unknown, of the wrong type, out of its range or without effect is refused at
//! the start with its name and place: it would be found much later otherwise. The same
//! configuration holds for every command that opens a node, so that a plan that `crane plan check`
//! accepts is accepted by `crane serve`. docs/crane.toml lists the settings with their defaults.
//!
//! Relative paths are relative to the directory that the program was started in, wherever they
//! are set.

mod certificates;
mod cluster;
mod file;
mod hidden;
mod nearest;
mod origin;
mod reader;
mod relations;
mod sections;
mod show;
mod value;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crane_core::Limits;
use crane_store::Retention;
use crane_tools::ToolsConfig;

use crate::telemetry::Format;
use crate::token::Tokens;
use file::File;
use reader::{Layers, PREFIX, Reader};
use value::Value;

pub use hidden::Hidden;
pub use origin::{Finding, Origin, Refused};
pub use reader::Setting;
pub(crate) use sections::DEFAULT_DATA;

/// The file that is read when none is named, if there is one.
pub const DEFAULT_FILE: &str = "crane.toml";

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[node]`
    pub node: NodeConfig,
    /// `[api]`
    pub api: ApiConfig,
    /// `[limits]`
    pub limits: Limits,
    /// `[store]`
    pub store: StoreConfig,
    /// `[cluster]`
    pub cluster: ClusterConfig,
    /// `[tools]`
    pub tools: ToolsConfig,
    /// `[log]`
    pub log: LogConfig,
}

/// The node as such.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// What it calls itself, as in a run's `node`.
    pub name: String,
    /// The data directory; made if it is missing.
    pub data: PathBuf,
    /// How long running steps may go on when the node is told to stop.
    pub drain_timeout: Duration,
}

/// The HTTP API and its listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The tokens that let in; without any everybody is let in.
    pub tokens: Tokens,
    /// Whether it may listen beyond loopback without tokens.
    pub insecure_no_auth: bool,
    /// The files for TLS; without them the connections are plain.
    pub tls: Option<TlsFiles>,
    /// Connections at once.
    pub max_connections: usize,
    /// How long a request may take; one that waits for a run, or streams, has its own time.
    pub request_timeout: Duration,
    /// How long a client may take for a TLS handshake and the head of a request.
    pub header_timeout: Duration,
    /// How long a client may take for a body, beside the time that its bytes take at `body_rate`.
    pub body_timeout: Duration,
    /// Slowest transfer of a body that is put up with, in bytes a second.
    pub body_rate: u64,
    /// How long a client may take none of an answer that is ready for it.
    pub write_timeout: Duration,
    /// How long a connection may be kept without a request.
    pub idle_timeout: Duration,
    /// Largest head of a request, in bytes.
    pub max_header_bytes: usize,
    /// Origins whose pages may call the API from a browser, or `*` alone.
    pub cors_origins: Vec<String>,
}

/// A certificate chain and its key, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, the node's own certificate first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Where runs are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// The database that nodes share; without it the store is embedded.
    pub postgres: Option<PostgresConfig>,
    /// Free bytes of the disk below which new runs are refused.
    pub disk_reserve: u64,
    /// How long ended runs are kept.
    pub retention: Retention,
    /// Bytes of journal after which the snapshots are exported again.
    pub export_bytes: u64,
    /// Whether it goes on past a damaged place of its journal; an operator's decision.
    pub accept_corruption: bool,
}

/// The database of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresConfig {
    /// Where it is, and who may use it.
    pub url: Hidden,
    /// The schema that holds everything.
    pub schema: String,
    /// Certificates to trust in place of the system's.
    pub ca: Option<PathBuf>,
    /// Whether a server is taken that may lose what it has committed.
    pub allow_unsafe: bool,
}

impl PostgresConfig {
    /// The database at `url`, with the defaults.
    pub fn at(url: Hidden) -> Self {
        Self {
            url,
            schema: DEFAULT_SCHEMA.to_owned(),
            ca: None,
            allow_unsafe: false,
        }
    }
}

/// The schema of a database unless another is named.
const DEFAULT_SCHEMA: &str = "crane";

/// The other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterConfig {
    /// Nodes with another id are not heard.
    pub id: String,
    /// Where gossip (UDP) and the gateway (TCP) listen.
    pub listen: Option<SocketAddr>,
    /// Host and port at which others reach both; otherwise `listen`.
    pub advertise: Option<String>,
    /// Some nodes to begin with, host and port.
    pub seeds: Vec<String>,
    /// What nodes of the cluster know, the one to use first.
    pub secrets: Vec<Hidden>,
    /// How long a lease lives without renewal.
    pub lease: Duration,
    /// Where others reach the API of this node.
    pub api_advertise: Option<String>,
    /// Certificates by which nodes know each other.
    pub tls: Option<ClusterTls>,
    /// Where the node stands, such as a rack or a data center.
    pub zone: String,
}

/// Certificates of a node for its cluster, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterTls {
    /// The chain, the node's own certificate first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// The authority that has signed the certificates of all nodes.
    pub ca: PathBuf,
}

/// What `crane serve` says about itself on standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// What is logged.
    pub filter: String,
    /// How.
    pub format: Format,
}

/// What the configuration is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// To listen: who may come in has to be settled, and certificates have to be there.
    Serve,
    /// To show what a node that serves would work with; its keys are not for everybody who asks.
    Show,
    /// To work with a node that nobody else reaches.
    #[default]
    Work,
}

/// Where a configuration is read from, beside the environment.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file; without one, [`DEFAULT_FILE`] if it is there.
    pub file: Option<PathBuf>,
    /// Flags of the command line: the setting, where it was given, its value.
    pub flags: Vec<(&'static str, Origin, String)>,
    /// What it is for.
    pub purpose: Purpose,
}

/// A configuration with where it comes from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What is set.
    pub config: Config,
    /// The same as names, values and origins.
    pub settings: Vec<Setting>,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// What is allowed and not advisable, a sentence each.
    pub warnings: Vec<String>,
}

impl Loaded {
    /// The settings as a file would hold them, each with its origin.
    pub fn text(&self) -> String {
        show::text(&self.settings)
    }

    /// The settings as JSON: by section and key, an object of `value` and `origin`.
    pub fn json(&self) -> serde_json::Value {
        show::json(&self.settings)
    }
}

impl ApiConfig {
    /// The URL of the API at `place`, host and port.
    pub fn url(&self, place: impl std::fmt::Display) -> String {
        let scheme = match self.tls {
            Some(_) => "https",
            None => "http",
        };
        format!("{scheme}://{place}")
    }
}

impl Config {
    /// Reads the configuration of this process.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(sources: Sources) -> Result<Loaded, Refused> {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            // A name that is no UTF-8 is none of ours.
            let name = name.into_string().ok()?;
            Some((name, value.to_string_lossy().into_owned()))
        });
        Self::load_from(sources, variables)
    }

    fn load_from(
        sources: Sources,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Loaded, Refused> {
        let path = sources.file.or_else(|| {
            let default = Path::new(DEFAULT_FILE);
            default.exists().then(|| default.to_owned())
        });
        let file = match &path {
            Some(path) => File::read(path).map_err(Refused)?,
            None => File::default(),
        };
        Self::read(file, sources.flags, sources.purpose, variables).map(|mut loaded| {
            loaded.file = path;
            loaded
        })
    }

    fn read(
        file: File,
        flags: Vec<(&'static str, Origin, String)>,
        purpose: Purpose,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Loaded, Refused> {
        let flags: BTreeMap<_, _> = flags
            .into_iter()
            .map(|(name, origin, value)| (name, (origin, value)))
            .collect();
        let variables: Vec<(String, String)> = variables.into_iter().collect();
        let secret = variables
            .iter()
            .find(|(name, value)| name == cluster::SECRET_VARIABLE && !value.is_empty());
        let secret = secret.map(|(name, value)| {
            let secret = Value::List(vec![Value::Text(value.clone())]);
            (name.clone(), secret)
        });
        let environment = variables
            .into_iter()
            .filter(|(name, _)| name.starts_with(PREFIX))
            .collect();
        let mut reader = Reader::new(Layers {
            file,
            environment,
            other: secret
                .map(|secret| ("cluster.secrets", secret))
                .into_iter()
                .collect(),
            flags,
        });
        let (mut config, mut warnings) = sections::read(&mut reader);
        relations::check(&mut reader, &config);
        cluster::check(&mut reader, &mut config, host_name());
        if purpose != Purpose::Work {
            relations::check_exposure(&mut reader, &config, &mut warnings);
            cluster::check_exposure(&mut reader, &config);
        }
        if purpose == Purpose::Serve {
            certificates::check(&mut reader, &config);
        }
        let settings = reader.finish().map_err(Refused)?;
        Ok(Loaded {
            config,
            settings,
            file: None,
            warnings,
        })
    }
}

/// What the machine calls itself.
fn host_name() -> Option<String> {
    let system = rustix::system::uname();
    let name = system.nodename().to_str().ok()?;
    Some(name.to_owned())
}

impl Default for Config {
    /// What is in effect when nothing is set.
    fn default() -> Self {
        sections::read(&mut Reader::new(Layers::default())).0
    }
}

#[cfg(test)]
mod tests;
