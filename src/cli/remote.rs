//! Where a command's runs are: in a data directory of this machine, or at a server.
//!
//! ```text
//!   --server ──> server        --data, --config ──> data directory
//!        otherwise: CRANE_SERVER ──> server, else ./crane-data
//! ```
//!
//! What is typed goes before what is in the environment, so that one command on a data directory
//! needs no variable unset.

use std::path::PathBuf;

use axum::http::StatusCode;
use clap::Args;

use super::failure::Failure;
use super::interrupt::Interrupt;
use super::place::{Data, quoted};
use super::request::errors;
use crate::client::{self, Client, Options, Target, Token};
use crate::config::{Hidden, PostgresConfig};
use crate::output;

/// Names the server when no option does.
const SERVER_VARIABLE: &str = "CRANE_SERVER";
/// Holds the token that the server asks for.
const TOKEN_VARIABLE: &str = "CRANE_TOKEN";

/// A server, if one is named.
#[derive(Clone, Debug, Args)]
pub(super) struct ServerOptions {
    /// Server that has the runs, such as http://127.0.0.1:8080 [env: CRANE_SERVER]; its token is
    /// taken from CRANE_TOKEN
    #[arg(long, value_name = "URL")]
    server: Option<String>,

    /// File with the server's token, in place of CRANE_TOKEN
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// File with the certificate authority of an https server, in place of the system's
    #[arg(long, value_name = "FILE")]
    ca_cert: Option<PathBuf>,
}

/// Where the runs are.
#[derive(Clone, Debug, Args)]
pub(super) struct Place {
    #[command(flatten)]
    server: ServerOptions,

    #[command(flatten)]
    data: Data,
}

/// A place that was found.
#[derive(Debug)]
pub(super) enum Found {
    /// On this machine; nobody but this process executes anything there.
    Data(Data),
    /// At a server.
    Server(Remote),
}

/// A server to talk to.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) client: Client,
    /// The options as they have to be repeated in a command that goes on with the same server.
    pub(super) option: String,
}

impl Place {
    /// The place, and for a server a client of it.
    pub(super) fn find(self) -> Result<Found, Failure> {
        match self.server.find(self.data.is_given())? {
            Some(server) => Ok(Found::Server(server)),
            None => Ok(Found::Data(self.data)),
        }
    }

    /// The database at `url`, with what the configuration says of databases.
    pub(super) fn database(self, url: String) -> Result<PostgresConfig, Failure> {
        let configured = self.data.find()?.store.postgres;
        let url = Hidden::new(url);
        Ok(match configured {
            Some(configured) => PostgresConfig { url, ..configured },
            None => PostgresConfig::at(url),
        })
    }

    /// The data directory, for what only works there: `what` is said when a server was asked for.
    pub(super) fn only_data(self, what: &str) -> Result<Data, Failure> {
        match self.find()? {
            Found::Data(data) => Ok(data),
            Found::Server(_) => Err(Failure::usage(what)),
        }
    }
}

impl ServerOptions {
    /// The server, if there is one; `data_is_given` tells whether a data directory was typed.
    pub(super) fn find(self, data_is_given: bool) -> Result<Option<Remote>, Failure> {
        if self.server.is_some() && data_is_given {
            return Err(Failure::usage(
                "--server excludes --data and --config; the runs are in one place",
            ));
        }
        let (server, was_typed) = match &self.server {
            Some(server) => (Some(server.clone()), true),
            None if data_is_given => (None, false),
            None => (variable(SERVER_VARIABLE)?, false),
        };
        match server {
            Some(server) => Ok(Some(self.remote(&server, was_typed)?)),
            None if self.token_file.is_some() || self.ca_cert.is_some() => Err(Failure::usage(
                "--token-file and --ca-cert are of no use without --server",
            )),
            None => Ok(None),
        }
    }

    fn remote(self, server: &str, was_typed: bool) -> Result<Remote, Failure> {
        let target: Target = server.parse()?;
        let token = match &self.token_file {
            Some(path) => {
                let unreadable = |error| Failure::usage(format!("{}: {error}", path.display()));
                Some(std::fs::read_to_string(path).map_err(unreadable)?)
            }
            None => variable(TOKEN_VARIABLE)?,
        };
        let mut option = String::new();
        if was_typed {
            option.push_str(&format!(" --server {target}"));
        }
        for (name, path) in [
            ("--token-file", &self.token_file),
            ("--ca-cert", &self.ca_cert),
        ] {
            if let Some(path) = path {
                option.push_str(&format!(" {name} {}", quoted(path)));
            }
        }
        let client = Client::new(Options {
            target,
            token: token.as_deref().map(Token::new).transpose()?,
            ca_cert: self.ca_cert,
            say: output::note,
        })?;
        Ok(Remote { client, option })
    }
}

/// A variable that is set to something.
fn variable(name: &str) -> Result<Option<String>, Failure> {
    let Some(value) = std::env::var_os(name).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let text = value.into_string();
    text.map(Some)
        .map_err(|_| Failure::usage(format!("the variable {name} is not UTF-8")))
}

/// Works with a server until the work is done, or somebody wants the process to stop.
pub(super) async fn attend<T>(
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let mut interrupt = Interrupt::listen()?;
    tokio::select! {
        outcome = work => outcome,
        () = interrupt.next() => Err(Failure::Interrupted),
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        match &error {
            client::Error::Address { .. } | client::Error::Token(_) | client::Error::Roots(_) => {
                Self::Usage(error.to_string())
            }
            client::Error::Refused(refusal) => match refusal.status {
                StatusCode::UNPROCESSABLE_ENTITY if !refusal.findings.is_empty() => {
                    let lines = refusal.findings.iter().map(super::request::finding);
                    Self::Usage(errors(lines))
                }
                StatusCode::BAD_REQUEST
                | StatusCode::PAYLOAD_TOO_LARGE
                | StatusCode::UNSUPPORTED_MEDIA_TYPE
                | StatusCode::UNPROCESSABLE_ENTITY => Self::Usage(error.to_string()),
                _ => Self::Failed(error.to_string()),
            },
            client::Error::Unreachable { .. }
            | client::Error::Untrusted { .. }
            | client::Error::Broken { .. }
            | client::Error::TimedOut { .. }
            | client::Error::Strange { .. } => Self::Failed(error.to_string()),
        }
    }
}
