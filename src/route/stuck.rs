//! What is said when there is no answer about a run: always 503, for it may be otherwise in a moment.

use crane_core::RunId;
use serde_json::json;

use super::trip::Stuck;
use super::words::Ask;
use crate::api::{ApiError, ErrorType};

/// The error of a request about `run` that did not get to its owner, or not back.
pub(super) fn refusal(run: RunId, ask: &Ask, stuck: Stuck) -> ApiError {
    let detail = match stuck {
        Stuck::Unowned => {
            "no node within reach has the run's shard at the moment; nothing was done, try again"
        }
        Stuck::Busy => "the node that has the run's shard is busy; nothing was done, try again",
        Stuck::Crowded => "too many requests wait for a shard to move; nothing was done, try again",
        Stuck::Unknown => return unknown(run, ask),
        Stuck::NotUnderstood(cause) => {
            return ApiError::new(
                ErrorType::Unavailable,
                "the node that has the run's shard is of another version; try again when all nodes \
                 are of one",
            )
            .because(cause);
        }
    };
    ApiError::new(ErrorType::Unavailable, detail)
}

/// It may have been done or not.
pub(super) fn unknown(run: RunId, ask: &Ask) -> ApiError {
    match ask {
        Ask::Submit(_) => crane_actors::submit::SubmitError::Lost.into(),
        Ask::Cancel | Ask::Retry => crane_actors::runtime::ChangeError::Lost(run).into(),
        Ask::Load | Ask::End { .. } | Ask::Events(_) => ApiError::new(
            ErrorType::Unavailable,
            "the node that has the run did not answer in time; try again",
        )
        .with(json!({ "run_id": run })),
    }
}
