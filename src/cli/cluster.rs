//! `crane cluster` and `crane node`: who is there, who owns what, and sending a node away.

use axum::http::StatusCode;
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Shape;
use super::failure::Failure;
use super::remote::{Remote, ServerOptions, attend};
use crate::output::{self, Table};

/// Look at a cluster of nodes
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the nodes with their state, and what they own
    Status(Status),
}

/// Change single nodes of a cluster
#[derive(Debug, Subcommand)]
pub(super) enum NodeCommand {
    /// Make a node go down: running steps may end, other nodes take over
    Drain(Drain),
    /// Forget a node that will never come back, where nodes keep their own runs
    Remove(Remove),
}

#[derive(Debug, Args)]
#[command(after_help = "Any node of the cluster can be asked.\n\nExamples:\n  \
    crane cluster status --server http://127.0.0.1:8080\n  \
    crane cluster status -o json | jq '.shards[] | select(.owner == null)'")]
pub(super) struct Status {
    /// How to print it; `json` has the shards one by one
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    output: Shape,

    #[command(flatten)]
    server: ServerOptions,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Any node of the cluster can be asked. The command does not wait for the node \
    to end; `crane cluster status` shows how far it is."
)]
pub(super) struct Drain {
    /// The node [default: the one that is asked]
    #[arg(value_name = "NAME")]
    name: Option<String>,

    #[command(flatten)]
    server: ServerOptions,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Where nodes have no database in common, the runs of a node are in its own data \
    directory, and a submission with an Idempotency-Key waits for every node that was ever seen, \
    since that may hold the key. This says that a node and its runs are gone for good. All other \
    nodes must be up, or it is to be repeated when they are."
)]
pub(super) struct Remove {
    /// The node
    #[arg(value_name = "NAME")]
    name: String,

    #[command(flatten)]
    server: ServerOptions,
}

/// The cluster, as far as people look at it. Servers of later versions may say more.
#[derive(Debug, Deserialize)]
struct Cluster {
    id: Option<String>,
    mode: String,
    about: String,
    node: String,
    members: Vec<Member>,
    #[serde(default)]
    unowned: usize,
}

#[derive(Debug, Deserialize)]
struct Member {
    node: String,
    state: String,
    phase: String,
    generation: Option<u64>,
    shards: usize,
    #[serde(default)]
    connected: bool,
    #[serde(default)]
    store_ok: bool,
    #[serde(default)]
    gateway: String,
    #[serde(default)]
    api: String,
    #[serde(default)]
    zone: String,
    version: String,
    load: Load,
}

#[derive(Debug, Deserialize)]
struct Load {
    runs: u64,
    #[serde(default)]
    queued: u64,
}

/// See the module.
pub(super) async fn run(command: Command) -> Result<u8, Failure> {
    let Command::Status(Status {
        output: shape,
        server,
    }) = command;
    let server = find(server)?;
    let cluster = attend(async { Ok(server.client.cluster().await?) }).await?;
    match shape {
        Shape::Json => output::print_json(&cluster)?,
        Shape::Text => output::print(&describe(&cluster)?)?,
    }
    Ok(0)
}

/// See the module.
pub(super) async fn run_node(command: NodeCommand) -> Result<u8, Failure> {
    match command {
        NodeCommand::Drain(drain) => run_drain(drain).await,
        NodeCommand::Remove(remove) => run_remove(remove).await,
    }
}

async fn run_drain(Drain { name, server }: Drain) -> Result<u8, Failure> {
    let server = find(server)?;
    let drained = attend(async { Ok(server.client.drain(name.as_deref()).await) }).await?;
    match (drained, &name) {
        (Ok(()), Some(name)) => output::print(&format!("node {name} goes down"))?,
        (Ok(()), None) => output::print("the node goes down")?,
        (Err(error), Some(name)) if error.refused(StatusCode::NOT_FOUND).is_some() => {
            return Err(unknown(name, &server));
        }
        (Err(error), _) => return Err(error.into()),
    }
    Ok(0)
}

async fn run_remove(Remove { name, server }: Remove) -> Result<u8, Failure> {
    let server = find(server)?;
    let removed = attend(async { Ok(server.client.remove_member(&name).await) }).await?;
    match removed {
        Ok(()) => output::print(&format!("node {name} is forgotten"))?,
        Err(error) if error.refused(StatusCode::NOT_FOUND).is_some() => {
            return Err(unknown(&name, &server));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(0)
}

fn unknown(name: &str, server: &Remote) -> Failure {
    Failure::failed(format!(
        "there is no node {name}; `crane cluster status{}` lists them",
        server.option
    ))
}

fn find(server: ServerOptions) -> Result<Remote, Failure> {
    server.find(false)?.ok_or_else(|| {
        Failure::usage("name a node of the cluster with --server URL, or in CRANE_SERVER")
    })
}

fn describe(cluster: &RawValue) -> Result<String, Failure> {
    let cluster: Cluster = serde_json::from_str(cluster.get())
        .map_err(|error| Failure::failed(format!("the answer is not understood: {error}")))?;
    let mut table = Table::new([
        "NODE", "STATE", "PHASE", "LIFE", "SHARDS", "ACTIVE", "QUEUED", "API", "GATEWAY", "ZONE",
        "VERSION", "REMARKS",
    ]);
    for member in &cluster.members {
        table.row([
            member.node.clone(),
            member.state.clone(),
            member.phase.clone(),
            member.generation.map_or("-".to_owned(), |g| g.to_string()),
            member.shards.to_string(),
            member.load.runs.to_string(),
            member.load.queued.to_string(),
            or_dash(&member.api),
            or_dash(&member.gateway),
            or_dash(&member.zone),
            member.version.clone(),
            remarks(&cluster, member),
        ]);
    }
    let id = cluster.id.as_deref().unwrap_or("-");
    let mut text = format!("cluster: {id}, as node {} sees it\n", cluster.node);
    text.push_str(&format!("{}\n\n{}", cluster.about, table.render()));
    if cluster.mode == "shared" && cluster.unowned > 0 {
        text.push_str(&format!("\n\n{} shards have no owner", cluster.unowned));
    }
    Ok(text)
}

fn remarks(cluster: &Cluster, member: &Member) -> String {
    let mut remarks = Vec::new();
    if member.node == cluster.node {
        remarks.push("asked");
    }
    let is_there = member.state != "down";
    if is_there && !member.connected {
        remarks.push("not connected");
    }
    if is_there && !member.store_ok {
        remarks.push("without its store");
    }
    or_dash(&remarks.join(", "))
}

fn or_dash(text: &str) -> String {
    match text {
        "" => "-".to_owned(),
        text => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use serde_json::value::to_raw_value;

    use super::*;

    #[test]
    fn a_cluster_is_described_with_its_mode_its_nodes_and_what_is_missing() {
        let member = |node: &str, state: &str, connected: bool| {
            json!({
                "node": node, "this": false, "state": state, "phase": "up", "generation": 7,
                "shards": 170, "connected": connected, "store_ok": true, "gateway": "h:1",
                "api": "http://h:2", "zone": "", "version": "1.0", "load": { "runs": 3 },
            })
        };
        let cluster = json!({
            "id": "blue", "mode": "shared", "about": "They share a database.", "node": "a",
            "members": [member("a", "alive", true), member("b", "alive", false),
                member("c", "down", false)],
            "shards": [], "unowned": 2, "later": 1,
        });
        let text = describe(&to_raw_value(&cluster).unwrap()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "cluster: blue, as node a sees it");
        assert_eq!(lines[1], "They share a database.");
        assert!(
            lines[4].starts_with("a ") && lines[4].ends_with("asked"),
            "{text}"
        );
        assert!(lines[5].ends_with("not connected"), "{text}");
        assert!(
            lines[6].contains("down") && lines[6].ends_with('-'),
            "{text}"
        );
        assert!(text.ends_with("2 shards have no owner"), "{text}");
    }
}
