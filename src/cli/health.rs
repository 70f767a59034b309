//! `crane health`: whether a node should be given work, for health checks that have no shell.
//!
//! ```text
//!   --server, CRANE_SERVER ──> that node      otherwise: the node that this configuration starts
//! ```
//!
//! In a container it is the program itself that can ask, with the configuration that the node
//! has. It is asked once, and no token is needed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use clap::Args;

use super::failure::Failure;
use super::place::ConfigFile;
use super::remote::{ServerOptions, attend};
use crate::client::{Client, Options};
use crate::config::ApiConfig;
use crate::output;

/// Ask whether a node should be given work
#[derive(Debug, Args)]
#[command(
    after_help = "Without a server it asks the node that the configuration starts on this machine. \
    Exit codes: 0 ready, 1 not ready or no answer, 2 wrong usage"
)]
pub(super) struct Arguments {
    /// Ask only whether it answers at all
    #[arg(long)]
    live: bool,

    #[command(flatten)]
    server: ServerOptions,

    #[command(flatten)]
    config: ConfigFile,
}

/// See the module.
pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    let client = match arguments.server.find(false)? {
        Some(server) => server.client,
        None => own_node(&arguments.config.load()?.api)?,
    };
    let word = attend(async {
        if arguments.live {
            client.alive().await?;
            return Ok("alive");
        }
        let said = client.readiness().await?;
        if said.ready {
            return Ok("ready");
        }
        let failing = said.checks.iter().filter(|(_, fine)| !**fine);
        let failing: Vec<&str> = failing.map(|(name, _)| name.as_str()).collect();
        Err(Failure::failed(format!(
            "not ready: {}",
            failing.join(", ")
        )))
    })
    .await?;
    output::print(word)?;
    Ok(0)
}

/// The node that this configuration starts, as its own machine reaches it.
fn own_node(api: &ApiConfig) -> Result<Client, Failure> {
    Ok(Client::new(Options {
        target: api.url(reached_at(api.listen)).parse()?,
        token: None,
        ca_cert: None,
        say: output::note,
    })?)
}

/// Where to connect to what listens there: who listens everywhere is reached on loopback.
fn reached_at(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_everywhere_is_reached_on_loopback() {
        for (listen, reached) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:8080", "[::1]:8080"),
            ("10.0.0.7:80", "10.0.0.7:80"),
        ] {
            assert_eq!(reached_at(listen.parse().unwrap()).to_string(), reached);
        }
    }
}
