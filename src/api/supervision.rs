//! The live supervision tree.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use crane_actors::metrics::Failure;
use crane_actors::supervision::{KindView, ShardView};
use crane_core::restart::RestartPolicy;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(supervision))
}

/// Who supervises whom, and how they fare.
#[derive(Debug, Serialize, ToSchema)]
struct Supervision {
    /// What the node calls itself.
    node: String,
    uptime_seconds: f64,
    /// By kind of actor, parents first.
    kinds: Vec<Kind>,
    /// The shards one by one.
    shards: Vec<Shard>,
}

/// All actors of one kind. Everything counts from the start of the node.
#[derive(Debug, Serialize, ToSchema)]
struct Kind {
    /// `node`, `journal`, `tool_supervisor`, `tool`, `shard`, `run` or `step`.
    kind: String,
    /// The kind of the supervisor; null for the root.
    parent: Option<String>,
    /// Actors alive.
    alive: u64,
    /// Actors spawned.
    spawned: u64,
    /// Actors restarted.
    restarts: u64,
    /// The same by reason: `failed` (a panic or an error), `store` (it refused a write).
    restarts_by_reason: BTreeMap<String, u64>,
    /// Actors that panicked or failed.
    failures: u64,
    /// How often one was given up because it had used up its budget.
    given_up: u64,
    /// Messages sent and not yet handled.
    mailbox_depth: u64,
    /// Null when none has failed.
    last_failure: Option<LastFailure>,
    /// How often one of them may fail before it is given up; null where none is restarted: the
    /// root, the journal (its failure ends the process), steps (the retry policy of the plan
    /// repeats them).
    restart_budget: Option<Budget>,
}

/// A failure.
#[derive(Debug, Serialize, ToSchema)]
struct LastFailure {
    #[schema(format = DateTime)]
    at: String,
    /// Which actor, in words.
    actor: String,
    /// The run it worked for; null when it works for many.
    run_id: Option<String>,
    /// With what.
    reason: String,
}

/// Restart intensity, in the terms of OTP.
#[derive(Debug, Serialize, ToSchema)]
struct Budget {
    /// Restarts within the period that are still in order.
    restarts: u32,
    period_seconds: f64,
    /// Wait before the first restart; it grows with the failures in the period.
    initial_backoff_seconds: f64,
    longest_backoff_seconds: f64,
}

/// One shard.
#[derive(Debug, Serialize, ToSchema)]
struct Shard {
    shard: usize,
    /// False while it is being restarted.
    alive: bool,
    /// Runs that have an actor, are being loaded or wait for a restart.
    runs: usize,
    /// Durable runs that wait for a slot.
    waiting: usize,
    mailbox_depth: u64,
    restarts: u64,
    last_failure: Option<LastFailure>,
}

/// The supervision tree as it is: how many actors of each kind are alive, what failed, how often
/// they were restarted, what waits in their mailboxes.
#[utoipa::path(
    get, path = "/supervision", tag = "operating",
    responses((status = OK, description = "The tree", body = Supervision)),
)]
async fn supervision(State(api): State<Api>) -> Json<Supervision> {
    let runtime = api.node.runtime();
    let tree = runtime.supervision();
    Json(Supervision {
        node: api.name.clone(),
        uptime_seconds: runtime.uptime().as_secs_f64(),
        kinds: tree.kinds.into_iter().map(Kind::from).collect(),
        shards: tree.shards.into_iter().map(Shard::from).collect(),
    })
}

impl From<KindView> for Kind {
    fn from(view: KindView) -> Self {
        let reasons = [
            ("failed", view.restarts_failed),
            ("store", view.restarts_store),
        ];
        Self {
            kind: view.kind.as_str().to_owned(),
            parent: view.kind.parent().map(|kind| kind.as_str().to_owned()),
            alive: view.alive,
            spawned: view.spawned,
            restarts: view.restarts_failed + view.restarts_store,
            restarts_by_reason: reasons.map(|(name, count)| (name.to_owned(), count)).into(),
            failures: view.failures,
            given_up: view.given_up,
            mailbox_depth: view.mailbox_depth,
            last_failure: view.last_failure.map(LastFailure::from),
            restart_budget: view.restart_policy.map(Budget::from),
        }
    }
}

impl From<ShardView> for Shard {
    fn from(view: ShardView) -> Self {
        Self {
            shard: view.shard,
            alive: view.alive,
            runs: view.runs,
            waiting: view.waiting,
            mailbox_depth: view.mailbox_depth,
            restarts: view.restarts,
            last_failure: view.last_failure.map(LastFailure::from),
        }
    }
}

impl From<Failure> for LastFailure {
    fn from(failure: Failure) -> Self {
        Self {
            at: failure.at.to_string(),
            actor: failure.actor,
            run_id: failure.run.map(|run| run.to_string()),
            reason: failure.reason,
        }
    }
}

impl From<RestartPolicy> for Budget {
    fn from(policy: RestartPolicy) -> Self {
        Self {
            restarts: policy.intensity,
            period_seconds: policy.period.as_secs_f64(),
            initial_backoff_seconds: policy.backoff.initial.as_secs_f64(),
            longest_backoff_seconds: policy.backoff.max.as_secs_f64(),
        }
    }
}
