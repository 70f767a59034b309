//! `crane serve`: a node that others send runs to.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use crane_actors::Restore;
use crane_core::Limits;

use super::Data;
use super::failure::Failure;
use super::interrupt::Interrupt;
use crate::api::{Api, Parts};
use crate::life::{Life, Phase};
use crate::node::{LOCAL_NAME, Node, NodeOptions};
use crate::settings::Settings;
use crate::{output, server};

/// How long running steps may go on when the node is told to stop.
const GRACE: Duration = Duration::from_secs(20);

/// Start a node: HTTP API and metrics
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Address to listen on; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,

    #[command(flatten)]
    data: Data,
}

/// See the module.
pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    let settings = Settings::from_environment()?;
    let mut interrupt = Interrupt::listen()?;
    let listener = server::bind(arguments.listen).await.map_err(|error| {
        Failure::failed(format!("cannot listen on {}: {error}", arguments.listen))
    })?;
    let address = listener.local_addr()?;
    let limits = Limits::default();
    let node = Node::open(NodeOptions {
        data: arguments.data.path().to_owned(),
        restore: Restore::All,
        limits: limits.clone(),
        settings,
    })
    .await?;
    output::print(&format!(
        "crane {} serves http://{address}\ndata: {} ({} unfinished runs restored)",
        env!("CARGO_PKG_VERSION"),
        arguments.data.path().display(),
        node.runtime().unfinished_at_start(),
    ))?;
    let life = Life::default();
    let api = Api::new(Parts {
        node: node.clone(),
        name: LOCAL_NAME.to_owned(),
        limits,
        life: life.clone(),
    });
    let stop = async {
        tokio::select! {
            () = interrupt.next() => {}
            () = life.reached(Phase::Draining) => {}
        }
        life.advance(Phase::Draining);
        let closed = node.close(GRACE).await;
        life.advance(Phase::Closing);
        closed
    };
    tokio::select! {
        (served, closed) = async { tokio::join!(server::serve(listener, api), stop) } => {
            served?;
            closed?;
            Ok(0)
        }
        reason = node.runtime().failed() => Err(Failure::Broken(reason.to_string())),
    }
}
