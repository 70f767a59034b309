//! Whether the node is alive, whether it should be given work, and how it is.
//!
//! ```text
//!   life        is it serving, or going down?            ─┐
//!   probe       do shards and journal do their work?     ─┼──> ready (503 when not)
//!   storage     are new runs refused, for want of space? ─┤
//!   breakers    is a tool cut off?                       ─┴──> health (503 when unhealthy)
//! ```
//!
//! A probe goes the real way, through every shard and through the journal's fdatasync, and its
//! answer serves everybody for half a second ([`crane_actors::probe`]): health checks cannot load
//! the disk, and nothing happens while nobody asks. None of this needs a token, so that nothing
//! here names a run, a path or an address.

use std::collections::BTreeMap;
use std::thread;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use crane_actors::probe::{Answer, Probed};
use crane_core::breaker;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::guard::Meant;
use crate::cluster::Cluster;
use crate::life::Phase;
use crate::tool_view::milliseconds;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(health))
        .routes(routes!(live))
        .routes(routes!(ready))
}

/// The process answers.
#[derive(Debug, Serialize, ToSchema)]
struct Live {
    alive: bool,
}

/// Whether the process answers at all; needs no token.
#[utoipa::path(get, path = "/health/live", tag = "health", responses((status = OK, body = Live)))]
async fn live() -> Json<Live> {
    Json(Live { alive: true })
}

/// Whether the node should be given work.
#[derive(Debug, Serialize, ToSchema)]
struct Ready {
    ready: bool,
    /// `application`: it is not going down; `shards` and `journal`: they do their work; `cluster`,
    /// in one: the node has joined, and others reach it.
    checks: BTreeMap<String, bool>,
}

/// Whether the node should be given work; needs no token.
///
/// A question goes through every shard and through the journal's sync; a node on which one of them
/// is stuck is not ready. Nor is one that goes down, has not joined its cluster (yet), or is cut off
/// from it. One whose disk is nearly full is: it refuses new runs by itself, and goes on with what it
/// has.
#[utoipa::path(
    get, path = "/health/ready", tag = "health",
    responses(
        (status = OK, description = "It is", body = Ready),
        (status = SERVICE_UNAVAILABLE, description = "It is not", body = Ready),
    ),
)]
async fn ready(State(api): State<Api>) -> Response {
    let serving = api.life.phase() == Phase::Serving;
    let Probed { shards, journal } = api.node.runtime().probe().await;
    let mut checks = vec![
        ("application", serving),
        ("shards", shards.is_fine()),
        ("journal", journal.is_fine()),
    ];
    if let Some(cluster) = api.node.cluster() {
        checks.push(("cluster", apart(cluster).is_none()));
    }
    let ready = checks.iter().all(|(_, fine)| *fine);
    answer(
        ready,
        Ready {
            ready,
            checks: checks
                .into_iter()
                .map(|(name, fine)| (name.to_owned(), fine))
                .collect(),
        },
    )
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Condition {
    /// All is well.
    Healthy,
    /// It does its work, but not all of it.
    Degraded,
    /// It does not do its work.
    Unhealthy,
}

/// How one part of the node is.
#[derive(Debug, Serialize, ToSchema)]
struct Check {
    status: Condition,
    /// What is wrong, if anything is.
    detail: Option<String>,
    /// How long it took to find out, where that says something.
    duration_ms: Option<f64>,
}

impl Check {
    fn new(status: Condition, detail: Option<String>) -> Self {
        Self {
            status,
            detail,
            duration_ms: None,
        }
    }

    /// Well, or else as bad as `status` says.
    fn unless(trouble: Option<String>, status: Condition) -> Self {
        match trouble {
            None => Self::new(Condition::Healthy, None),
            Some(detail) => Self::new(status, Some(detail)),
        }
    }

    fn probed(answer: Answer) -> Self {
        Self {
            duration_ms: Some(milliseconds(answer.took)),
            ..Self::unless(answer.trouble, Condition::Unhealthy)
        }
    }
}

/// The process and the machine under it.
#[derive(Debug, Serialize, ToSchema)]
struct System {
    os: String,
    arch: String,
    /// Processors that the process may use.
    cpus: usize,
    pid: u32,
    uptime_seconds: f64,
    /// Memory that the process has in use; null where the system does not tell.
    memory_bytes: Option<u64>,
}

/// How the node is.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// The worst of the checks.
    status: Condition,
    version: String,
    commit: String,
    /// What the node calls itself.
    node: String,
    system: System,
    /// `application`, `shards`, `journal`, `storage`, `tools`, and `cluster` in one.
    checks: BTreeMap<String, Check>,
}

/// How the node is, part by part; needs no token.
#[utoipa::path(
    get, path = "/health", tag = "health",
    responses(
        (status = OK, description = "It does its work, or most of it", body = Health),
        (status = SERVICE_UNAVAILABLE, description = "It does not do its work", body = Health),
    ),
)]
async fn health(State(api): State<Api>) -> Response {
    let runtime = api.node.runtime();
    let Probed { shards, journal } = runtime.probe().await;
    let mut checks = vec![
        ("application", application(api.life.phase())),
        ("shards", Check::probed(shards)),
        ("journal", Check::probed(journal)),
        ("storage", storage(&api)),
        ("tools", tools(&api)),
    ];
    if let Some(cluster) = api.node.cluster() {
        let trouble = apart(cluster).or_else(|| lonely(&api));
        checks.push(("cluster", Check::unless(trouble, Condition::Degraded)));
    }
    let worst = checks.iter().map(|(_, check)| check.status).max();
    let status = worst.unwrap_or(Condition::Healthy);
    answer(
        status != Condition::Unhealthy,
        Health {
            status,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: env!("CRANE_COMMIT").to_owned(),
            node: api.name.clone(),
            system: System {
                os: std::env::consts::OS.to_owned(),
                arch: std::env::consts::ARCH.to_owned(),
                cpus: thread::available_parallelism().map_or(1, usize::from),
                pid: std::process::id(),
                uptime_seconds: runtime.uptime().as_secs_f64(),
                memory_bytes: memory(),
            },
            checks: checks
                .into_iter()
                .map(|(name, check)| (name.to_owned(), check))
                .collect(),
        },
    )
}

fn application(phase: Phase) -> Check {
    let trouble = match phase {
        Phase::Serving => None,
        Phase::Leaving => Some("it is going down: its shards are handed over".to_owned()),
        Phase::Draining => Some("it is going down: running steps may end".to_owned()),
        Phase::Closing => Some("it is going down".to_owned()),
    };
    Check::unless(trouble, Condition::Degraded)
}

/// Why the node is no part of its cluster at the moment, if it is none; readiness and health go by it.
fn apart(cluster: &Cluster) -> Option<String> {
    let apart = why_apart(cluster.has_joined(), cluster.is_working());
    let stands_by = || {
        cluster
            .is_standby()
            .then_some("it stands by: another node owns what is in the database (cluster.listen)")
    };
    apart.or_else(stands_by).map(str::to_owned)
}

fn why_apart(has_joined: bool, is_working: bool) -> Option<&'static str> {
    match (has_joined, is_working) {
        (true, true) => None,
        (false, _) => Some("it has not joined its cluster, or has lost its lease"),
        (true, false) => Some(
            "it is cut off from its cluster: gossip, gateway or ownership stand still; the log says why",
        ),
    }
}

/// What is wrong when nobody was met whom the node should know. It is ready nevertheless: the first of
/// all nodes could not begin otherwise.
fn lonely(api: &Api) -> Option<String> {
    let detail = "it has met no other member of its cluster (cluster.seeds), and refuses submissions \
                  with an Idempotency-Key";
    api.node.router().is_stranger().then(|| detail.to_owned())
}

fn storage(api: &Api) -> Check {
    let refusing = api.node.runtime().refusing();
    let trouble = refusing.map(|error| match error {
        crane_store::Error::DiskReserve { .. } => format!("new runs are refused: {error}"),
        // The text may name a host.
        _ => "new runs are refused: the store is not available; the log says why".to_owned(),
    });
    Check::unless(trouble, Condition::Degraded)
}

fn tools(api: &Api) -> Check {
    let open: Vec<String> = api
        .node
        .runtime()
        .tools()
        .into_iter()
        .filter(|tool| tool.breaker.state == breaker::State::Open)
        .map(|tool| tool.spec.name.to_string())
        .collect();
    let trouble = match open.as_slice() {
        [] => None,
        open => Some(format!("the breaker is open of: {}", open.join(", "))),
    };
    Check::unless(trouble, Condition::Degraded)
}

/// Resident memory, from `/proc/self/status`: `VmRSS:   12345 kB`.
fn memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1_024)
}

fn answer(fine: bool, body: impl Serialize) -> Response {
    if fine {
        return Json(body).into_response();
    }
    let again = [(header::RETRY_AFTER, HeaderValue::from_static("1"))];
    let body = (Extension(Meant), again, Json(body));
    (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_part_of_its_cluster_once_it_has_joined_and_while_others_reach_it() {
        let says = |has_joined, is_working, text: &str| {
            why_apart(has_joined, is_working).is_some_and(|why| why.contains(text))
        };
        assert_eq!(why_apart(true, true), None);
        assert!(says(false, true, "has not joined"));
        assert!(says(false, false, "has not joined"));
        assert!(says(true, false, "is cut off"));
    }
}
