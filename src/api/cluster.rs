//! The cluster as this node sees it.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use crane_cluster::ownership::words::{Phase as Standing, Sight};
use crane_core::ids::SHARD_COUNT;
use crane_core::{NodeName, ShardId};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::shorten;
use super::{Api, ApiError, ErrorType};
use crate::cluster::{MemberStatus, Mode, ShardStatus, Status};
use crate::life::Phase;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(cluster))
        .routes(routes!(remove))
}

/// What it means for a run, by mode.
const ALONE: &str = "This node is alone: its runs are in its own data directory.";
const SHARED: &str = "The nodes share a database: a run goes on at another node when its own ends.";
const HOME: &str = "Each node keeps the runs that it has accepted in its own data directory: when a \
    node is down, its runs wait until it is back with its disk. Nobody else can take them over. What \
    the tool todo_store keeps is each node's own as well.";

/// Who is there, and who owns what.
#[derive(Debug, Serialize, ToSchema)]
struct Cluster {
    /// Nodes with another id are not heard; null where the node is alone.
    id: Option<String>,
    /// `single`, `shared` (the nodes share a database) or `home` (each keeps its own runs).
    mode: String,
    /// What that means for a run.
    about: String,
    /// The node that says all this.
    node: String,
    /// All nodes that are known, by name.
    members: Vec<Member>,
    /// All shards with their owners; none in the mode `home`, where every node has its own.
    shards: Vec<ShardOwner>,
    /// Shards that nobody owns.
    unowned: usize,
}

/// A node.
#[derive(Debug, Serialize, ToSchema)]
struct Member {
    node: String,
    /// Whether it is the node that says so.
    this: bool,
    /// `alive`, `suspect` (it was down a moment ago) or `down`.
    state: String,
    /// `joining`, `up`, `draining` or `left`, as it says.
    phase: String,
    /// Which life of the node; null before it has begun.
    generation: Option<u64>,
    /// Shards that it owns.
    shards: usize,
    /// Whether this node has a connection with it.
    connected: bool,
    /// Whether it reaches its store.
    store_ok: bool,
    /// Where others reach its gateway, host and port; empty where it has none.
    gateway: String,
    /// Where it gossips; empty where it does not.
    gossip: String,
    /// Where its API is; empty when that is not known.
    api: String,
    /// Where it stands; may be empty.
    zone: String,
    version: String,
    load: MemberLoad,
    /// Tools whose breaker is open there.
    open_breakers: Vec<String>,
}

/// How busy a node is.
#[derive(Debug, Default, Serialize, ToSchema)]
struct MemberLoad {
    /// Runs under way.
    runs: u32,
    /// Runs that wait for a slot.
    queued: u32,
    /// Percent of all processors.
    cpu: u32,
}

/// A shard.
#[derive(Debug, Serialize, ToSchema)]
struct ShardOwner {
    shard: u16,
    /// Null when nobody owns it.
    owner: Option<String>,
    /// Which life of the owner.
    generation: Option<u64>,
    /// How often the owner has changed.
    epoch: u64,
}

/// All nodes with their state, addresses and load, and the shards with their owners, as this node
/// knows them.
#[utoipa::path(
    get, path = "/cluster", tag = "operating",
    responses((status = OK, description = "The cluster", body = Cluster)),
)]
async fn cluster(State(api): State<Api>) -> Json<Cluster> {
    Json(match api.node.cluster() {
        Some(cluster) => {
            let mut status = cluster.status();
            let router = api.node.router();
            // Gossip lists a node for an hour after its end, an operator has removed it for good.
            let is_of_use =
                |one: &MemberStatus| one.sight != Sight::Down || router.remembers(&one.node);
            status.members.retain(is_of_use);
            Cluster::from(status)
        }
        None => alone(&api),
    })
}

/// A member that is remembered no more.
#[derive(Debug, Serialize, ToSchema)]
struct RemovedMember {
    node: String,
}

/// Forgets a node that will never come back, where nodes keep their own runs: what it holds is lost,
/// and submissions with a key need not ask it any more. All nodes that are alive forget it.
#[utoipa::path(
    delete, path = "/cluster/members/{name}", tag = "operating", operation_id = "remove_member",
    params(("name" = String, Path, description = "The node")),
    responses(
        (status = OK, description = "It is forgotten", body = RemovedMember),
        (status = NOT_FOUND, description = "No such node was ever seen", body = ApiError),
        (status = CONFLICT, description = "It is alive, or nodes of this cluster are not remembered", body = ApiError),
    ),
)]
async fn remove(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<RemovedMember>, ApiError> {
    if !api
        .node
        .router()
        .remove_member(NodeName::new(name.clone()))
        .await?
    {
        let shown = shorten(&name);
        let error = ApiError::new(
            ErrorType::NotFound,
            format!("a node {shown} was never seen in this cluster"),
        );
        return Err(error.with(json!({ "node": shown })));
    }
    tracing::warn!(node = name, "a member was removed for good");
    Ok(Json(RemovedMember { node: name }))
}

fn alone(api: &Api) -> Cluster {
    let runtime = api.node.runtime();
    let epochs: BTreeMap<ShardId, u64> = runtime
        .owned()
        .into_iter()
        .map(|fence| (fence.shard, fence.epoch.0))
        .collect();
    let tree = runtime.supervision();
    let count = |runs: usize| u32::try_from(runs).unwrap_or(u32::MAX);
    let phase = match api.life.phase() {
        Phase::Serving => Standing::Up,
        Phase::Leaving | Phase::Draining | Phase::Closing => Standing::Draining,
    };
    let open = runtime.breakers_open().into_iter();
    let member = Member {
        node: api.name.clone(),
        this: true,
        state: "alive".to_owned(),
        phase: phase.as_str().to_owned(),
        generation: None,
        shards: epochs.len(),
        connected: true,
        store_ok: runtime.refusing().is_none(),
        gateway: String::new(),
        gossip: String::new(),
        api: String::new(),
        zone: String::new(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        load: MemberLoad {
            runs: count(tree.shards.iter().map(|shard| shard.runs).sum()),
            queued: count(tree.shards.iter().map(|shard| shard.waiting).sum()),
            cpu: 0,
        },
        open_breakers: open.map(|(tool, _)| tool).collect(),
    };
    let shards = (0..SHARD_COUNT).map(ShardId).map(|shard| ShardOwner {
        shard: shard.0,
        owner: epochs.get(&shard).map(|_| api.name.clone()),
        generation: None,
        epoch: epochs.get(&shard).copied().unwrap_or(0),
    });
    Cluster {
        id: None,
        mode: "single".to_owned(),
        about: ALONE.to_owned(),
        node: api.name.clone(),
        members: vec![member],
        unowned: usize::from(SHARD_COUNT) - epochs.len(),
        shards: shards.collect(),
    }
}

impl From<Status> for Cluster {
    fn from(status: Status) -> Self {
        let about = match status.mode {
            Mode::Shared => SHARED,
            Mode::Home => HOME,
        };
        let me = status.me;
        let unowned = status.shards.iter().filter(|shard| shard.owner.is_none());
        Self {
            id: Some(status.id),
            mode: status.mode.as_str().to_owned(),
            about: about.to_owned(),
            node: me.to_string(),
            unowned: unowned.count(),
            members: status
                .members
                .into_iter()
                .map(|member| Member {
                    this: member.node == me,
                    ..Member::from(member)
                })
                .collect(),
            shards: status.shards.into_iter().map(ShardOwner::from).collect(),
        }
    }
}

impl From<MemberStatus> for Member {
    fn from(member: MemberStatus) -> Self {
        let told = member.told;
        Self {
            node: member.node.to_string(),
            this: false,
            state: member.sight.as_str().to_owned(),
            phase: member.phase.as_str().to_owned(),
            generation: member.generation.map(|generation| generation.0),
            shards: member.shards,
            connected: member.connected,
            store_ok: told.store_ok,
            gateway: told.rpc.clone(),
            gossip: member.gossip,
            api: told.http.clone(),
            zone: told.zone.clone(),
            version: told.version.clone(),
            load: MemberLoad {
                runs: told.load.runs,
                queued: told.load.queued,
                cpu: told.load.cpu,
            },
            open_breakers: told.breakers.keys().cloned().collect(),
        }
    }
}

impl From<ShardStatus> for ShardOwner {
    fn from(shard: ShardStatus) -> Self {
        let owner = shard.owner;
        Self {
            shard: shard.shard.0,
            generation: owner.as_ref().map(|owner| owner.generation.0),
            owner: owner.map(|owner| owner.node.to_string()),
            epoch: shard.epoch.0,
        }
    }
}
