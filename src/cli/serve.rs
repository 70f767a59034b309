//! `crane serve`: a node that others send runs to, from the first line to the exit code.
//!
//! ```text
//!   configuration ──> address bound ──> store opened, runs restored ──> listens, READY
//!        │ 2               │ 1                  │ 1
//!   SIGTERM, SIGINT, POST /admin/drain ──> draining: admits nothing, running steps may end
//!        │ again: at once, 130       │         └──> flushed ──> closing: connections end ──> 0
//!   the store fails ──> 70           └ in a cluster: leaving first, others take over
//! ```
//!
//! It does not fork, writes no pid file and changes no user: a service manager or a container
//! runtime does that. As process 1 it behaves the same, since it handles its signals itself; it
//! starts no other processes, so that there is nothing to reap.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use crane_store::postgres;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;

use super::config::warn;
use super::failure::Failure;
use super::interrupt::Interrupt;
use super::place::Service;
use crate::api::{self, Api, Parts};
use crate::cluster::Mode;
use crate::config::{Config, Loaded, Purpose};
use crate::life::{Life, Phase};
use crate::node::Node;
use crate::server::tls::Tls;
use crate::server::{self, Server, systemd};
use crate::{metrics, output, telemetry};

/// Start a node: HTTP API and metrics
#[derive(Debug, Args)]
#[command(
    after_help = "Stop it with Ctrl-C or SIGTERM: running steps may end first (again: at once). \
    Exit codes: 0 stopped, 1 it could not start or its cluster cannot reach it, 2 its configuration \
    is refused, 70 the store failed, 130 stopped at once"
)]
pub(super) struct Arguments {
    #[command(flatten)]
    service: Service,
}

/// See the module.
pub(super) async fn run(arguments: Arguments, log: Option<String>) -> Result<u8, Failure> {
    let loaded = arguments.service.load(log.as_deref(), Purpose::Serve)?;
    let config = &loaded.config;
    telemetry::start(&config.log.filter, config.log.format)
        .map_err(|error| Failure::usage(error.to_string()))?;
    let tls = config.api.tls.clone().map(Tls::new).transpose();
    let tls = tls.map_err(|error| Failure::usage(error.to_string()))?;
    let mut interrupt = Interrupt::listen()?;
    let hangups = hangups(tls.is_some());
    let bound = server::bind(config.api.listen)
        .map_err(|error| cannot_listen(config.api.listen, &error))?;
    let address = bound.address()?;
    warn(&loaded);
    // Before the node, which looks up its handles when it is opened.
    metrics::install().map_err(|error| Failure::failed(error.to_string()))?;
    let node = tokio::select! {
        node = Node::serve(config, url(config, address)) => node?,
        // Nothing was accepted yet, and recovery may be cut off anywhere.
        () = interrupt.next() => return Ok(0),
    };
    let life = Life::default();
    let node = node.join(life.clone()).await?;
    let listener = bound
        .listen()
        .map_err(|error| cannot_listen(address, &error))?;
    greet(&loaded, &node, address)?;
    let api = Api::new(Parts {
        node: node.clone(),
        name: config.node.name.clone(),
        limits: config.limits.clone(),
        config: config.api.clone(),
        life: life.clone(),
    });
    let server = Server::new(api::router(api), &config.api, tls.clone(), life.clone());
    let mut serving = JoinSet::new();
    serving.spawn(server.run(listener));
    tokio::select! {
        stopped = attend(&node, config, &life, &mut interrupt, &mut serving) => stopped,
        // These two do not end.
        () = reload(tls, hangups) => Ok(0),
        () = watch(&node) => Ok(0),
    }
}

fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> Failure {
    Failure::failed(format!(
        "cannot listen on {address}: {error}; choose another address with --listen"
    ))
}

/// Says where everything is; tells the service manager.
fn greet(loaded: &Loaded, node: &Node, address: SocketAddr) -> Result<(), Failure> {
    let config = &loaded.config;
    let url = config.api.url(address);
    let access = match config.api.tokens.len() {
        0 => "everybody who reaches the address, no tokens are set".to_owned(),
        1 => "1 token".to_owned(),
        count => format!("{count} tokens"),
    };
    let file = match &loaded.file {
        Some(path) => path.display().to_string(),
        None => "defaults".to_owned(),
    };
    output::print(&format!(
        "crane {} serves {url}\n{}\nconfig: {file}\naccess: {access}\n\
         try it: {url}/docs, metrics: {url}/metrics",
        env!("CARGO_PKG_VERSION"),
        places(config, node),
    ))?;
    systemd::ready(&format!("serves {url}"));
    Ok(())
}

/// Where runs are kept, and with whom.
fn places(config: &Config, node: &Node) -> String {
    let data = match &config.store.postgres {
        Some(postgres) => match postgres::place(postgres.url.reveal()) {
            Ok(place) => format!("store: {place}"),
            Err(error) => format!("store: {error}"),
        },
        None => {
            let restored = match node.runtime().unfinished_at_start() {
                1 => "1 unfinished run restored".to_owned(),
                count => format!("{count} unfinished runs restored"),
            };
            format!("data: {} ({restored})", config.node.data.display())
        }
    };
    match node.cluster() {
        Some(_) if config.cluster.listen.is_none() => {
            format!(
                "{data}\ncluster: none (cluster.listen); a standby while another node is on the database"
            )
        }
        Some(cluster) => format!(
            "{data}\ncluster: {}, node {} at {}",
            config.cluster.id,
            cluster.me(),
            cluster.address()
        ),
        None => data,
    }
}

/// The URL by which others reach the API: as they are told, or on the host where they reach the
/// node, or where it listens.
fn url(config: &Config, address: SocketAddr) -> String {
    let cluster = &config.cluster;
    if let Some(url) = &cluster.api_advertise {
        return url.clone();
    }
    let host = cluster
        .advertise
        .as_deref()
        .and_then(|a| a.rsplit_once(':'));
    match host {
        Some((host, _)) if address.ip().is_unspecified() => {
            config.api.url(format_args!("{host}:{}", address.port()))
        }
        _ => config.api.url(address),
    }
}

/// Waits until somebody wants the node to stop, and closes everything in order.
async fn attend(
    node: &Node,
    config: &Config,
    life: &Life,
    interrupt: &mut Interrupt,
    serving: &mut JoinSet<()>,
) -> Result<u8, Failure> {
    let cut_off = tokio::select! {
        () = interrupt.next() => None,
        () = life.reached(Phase::Leaving) => None,
        reason = cut_off(node) => Some(reason),
        reason = node.runtime().failed() => return Err(Failure::Broken(reason.to_string())),
        _ = serving.join_next() => return Err(Failure::failed("the listener has ended")),
    };
    if let Some(reason) = &cut_off {
        output::note(&format!("cut off from the cluster: {reason}"));
    }
    let stopped = tokio::select! {
        stopped = stop(node, config, life, serving) => stopped?,
        // What was acknowledged is durable without being closed.
        () = interrupt.next() => return Err(Failure::Interrupted),
    };
    match cut_off {
        Some(reason) => Err(Failure::failed(reason)),
        None => Ok(stopped),
    }
}

/// Waits until other nodes do not reach this one any more, for good; why.
async fn cut_off(node: &Node) -> String {
    match node.cluster() {
        Some(cluster) => cluster.failed().await,
        None => std::future::pending().await,
    }
}

/// Closes everything in order. What came in time is answered: a node of a cluster can ask others until
/// its own connections have ended.
async fn stop(
    node: &Node,
    config: &Config,
    life: &Life,
    serving: &mut JoinSet<()>,
) -> Result<u8, Failure> {
    let grace = config.node.drain_timeout;
    let told = output::duration(grace);
    if let Some(cluster) = node.cluster() {
        life.advance(Phase::Leaving);
        systemd::stopping("other nodes take over");
        output::note(&format!(
            "leaving the cluster; running steps may go on for {told} (again: at once)"
        ));
        cluster.hand_over().await;
    }
    let is_empty = node.cluster().is_some_and(|c| c.mode() == Mode::Shared);
    if is_empty {
        node.let_go().await;
    } else {
        life.advance(Phase::Draining);
        systemd::stopping("running steps may end");
        output::note(&format!(
            "stopping; running steps may go on for {told} (again: at once)"
        ));
        node.close(grace).await?;
    }
    life.advance(Phase::Closing);
    serving.join_next().await;
    if let Some(cluster) = node.cluster() {
        cluster.leave().await;
    }
    if is_empty {
        // What was not handed over in time has had its time.
        match node.close(Duration::ZERO).await {
            Err(error @ crane_store::Error::Fatal(_)) => return Err(error.into()),
            // What it owned is owned by others, or will be when its lease is over.
            Err(error) => tracing::warn!(%error, "left without the database"),
            Ok(()) => {}
        }
    }
    Ok(0)
}

/// Hears SIGHUP, which a service manager sends to have things read again. Where there is nothing to
/// read again and the node is in a terminal, the signal keeps its usual meaning: the terminal has
/// been closed, and the node ends with it.
fn hangups(has_tls: bool) -> Option<Signal> {
    if !has_tls && std::io::stdin().is_terminal() {
        return None;
    }
    match signal(SignalKind::hangup()) {
        Ok(hangups) => Some(hangups),
        Err(error) => {
            tracing::warn!(%error, "SIGHUP cannot be heard, certificates are not read again");
            None
        }
    }
}

/// Reads the certificates again at each SIGHUP.
async fn reload(tls: Option<Tls>, hangups: Option<Signal>) {
    if let Some(mut hangups) = hangups {
        while hangups.recv().await.is_some() {
            match tls.as_ref().map(Tls::reload) {
                Some(Ok(())) => output::note("the certificates were read again"),
                Some(Err(error)) => tracing::error!(%error, "the certificates in use stay"),
                None => output::note("SIGHUP: without api.tls_cert there is nothing to read again"),
            }
        }
    }
    std::future::pending().await
}

/// Tells the service manager that the node is well, as long as it is.
async fn watch(node: &Node) {
    systemd::watch(async || {
        let probed = node.runtime().probe().await;
        probed.shards.is_fine() && probed.journal.is_fine()
    })
    .await;
}
