//! Following runs to their ends, and telling how they ended: runs of this process, and runs of a
//! server, which are folded here from their events.

use std::sync::{Mutex, PoisonError};

use axum::http::StatusCode;
use crane_core::event::FailureReason;
use crane_core::run::view::run_view;
use crane_core::{Record, Run, RunId, RunStatus, Seq};

use super::Shape;
use super::failure::{FAILED, Failure};
use crate::client::{self, Client};
use crate::live::Live;
use crate::node::Node;
use crate::output;

/// Follows a run from the event after `seen` until it ends, showing what happens.
pub(super) async fn to_the_end(
    node: &Node,
    id: RunId,
    seen: Seq,
    live: &Mutex<Live>,
) -> Result<Run, Failure> {
    let mut follower = node
        .runtime()
        .follow(id, seen)
        .await?
        .ok_or_else(|| not_found(id))?;
    while let Some(record) = follower.next().await? {
        show(live, follower.run(), &record);
    }
    let run = follower.run().clone();
    if run.status().is_ended() {
        Ok(run)
    } else {
        Err(Failure::failed(format!(
            "the node has stopped before run {id} ended"
        )))
    }
}

/// The same for a run of a server; also over restarts of the node.
pub(super) async fn remote_to_the_end(
    client: &Client,
    id: RunId,
    seen: Seq,
    live: Option<&Mutex<Live>>,
) -> Result<Run, Failure> {
    let mut follower = client.follow(id);
    while let Some(record) = follower.next().await.map_err(about(id))? {
        if record.seq <= seen {
            continue;
        }
        if let Some(live) = live {
            show(live, follower.run(), &record);
        }
        // The server may go away now: what was waited for is known.
        if record.event.is_terminal() {
            break;
        }
    }
    let run = follower.run().clone();
    if run.status().is_ended() {
        Ok(run)
    } else {
        let target = client.target();
        Err(Failure::failed(format!(
            "{target} says no more of run {id}, which has not ended"
        )))
    }
}

fn show(live: &Mutex<Live>, run: &Run, record: &Record) {
    let mut live = live.lock().unwrap_or_else(PoisonError::into_inner);
    live.event(run, record);
}

/// Prints how a run ended, and gives the exit code that says so. `node` is whose run it was, and
/// `option` leads a later command to the same place.
pub(super) fn report(run: &Run, node: &str, shape: Shape, option: &str) -> Result<u8, Failure> {
    match (shape, &run.result) {
        (Shape::Json, _) => output::print_json(&run_view(run, node))?,
        (Shape::Text, Some(result)) => output::print_json(&result.to_value())?,
        (Shape::Text, None) => {}
    }
    // A prompt that was not understood will not be understood the next time either.
    let is_hopeless = run.failure == Some(FailureReason::Planning);
    if run.status() != RunStatus::Completed && !is_hopeless {
        output::note(&format!(
            "what is done is kept; to try the rest again: crane runs retry {}{option}",
            run.id
        ));
    }
    Ok(code_of(run))
}

/// The exit code for the way a run ended.
pub(super) fn code_of(run: &Run) -> u8 {
    if run.status() == RunStatus::Completed {
        0
    } else {
        FAILED
    }
}

/// There is no such run.
pub(super) fn not_found(id: RunId) -> Failure {
    Failure::failed(format!(
        "run not found: {id}; `crane runs list` shows those there are"
    ))
}

/// What a server's refusal means that is about one run.
pub(super) fn about(id: RunId) -> impl Fn(client::Error) -> Failure {
    move |error| match error.refused(StatusCode::NOT_FOUND) {
        Some(refusal) if refusal.error_type == "run_not_found" => not_found(id),
        _ => error.into(),
    }
}
