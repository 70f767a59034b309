//! Following runs to their ends, and telling how they ended.

use std::sync::{Mutex, PoisonError};

use crane_core::run::view::run_view;
use crane_core::{Run, RunId, RunStatus, Seq};

use super::Shape;
use super::failure::{FAILED, Failure};
use crate::live::Live;
use crate::node::{LOCAL_NAME, Node};
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
        live.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .event(follower.run(), &record);
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

/// Prints how a run ended, and gives the exit code that says so.
pub(super) fn report(run: &Run, shape: Shape, data_option: &str) -> Result<u8, Failure> {
    match (shape, &run.result) {
        (Shape::Json, _) => output::print_json(&run_view(run, LOCAL_NAME))?,
        (Shape::Text, Some(result)) => output::print_json(&result.to_value())?,
        (Shape::Text, None) => {}
    }
    if run.status() != RunStatus::Completed {
        output::note(&format!(
            "what is done is kept; to try the rest again: crane runs retry {}{data_option}",
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

/// There is no such run in the data.
pub(super) fn not_found(id: RunId) -> Failure {
    Failure::failed(format!(
        "run not found: {id}; `crane runs list` shows those there are"
    ))
}
