//! From what the runtime says to what the API answers.
//!
//! A failing store is told as such and in our own words: its errors name files, and no path of the
//! server leaves it. The cause goes to the log.

use crane_actors::runtime::{ChangeError, ReadError};
use crane_actors::submit::SubmitError;
use crane_core::plan::Finding;
use crane_core::{ShardId, limits};
use serde_json::{Value, json};

use super::{ApiError, ErrorType};

/// Seconds until a shard that moves may have arrived.
const MOVE_SECONDS: u64 = 1;
/// Seconds until disk space may have returned.
const SPACE_SECONDS: u64 = 10;

impl ApiError {
    /// The request is well-formed and not valid; all that is wrong with it, up to
    /// [`limits::FINDINGS`].
    pub fn invalid(findings: &[Finding]) -> Self {
        let detail = match findings {
            [] => "the request is not valid".to_owned(),
            [only] => format!("the request is not valid: {}", line(only)),
            [first, rest @ ..] => {
                let (first, more) = (line(first), rest.len());
                format!("the request is not valid: {first} (and {more} more in details.errors)")
            }
        };
        let (listed, unlisted) = findings.split_at(findings.len().min(limits::FINDINGS));
        let mut errors: Vec<Value> = listed.iter().map(|finding| json!(finding)).collect();
        if !unlisted.is_empty() {
            let message = format!("{} more findings are not listed", unlisted.len());
            errors.push(json!({ "path": "", "message": message }));
        }
        Self::new(ErrorType::ValidationError, detail).with(json!({ "errors": errors }))
    }

    /// The node is on its way down.
    pub fn stopping() -> Self {
        Self::new(
            ErrorType::Unavailable,
            "the node is shutting down; try another one, or this one again later",
        )
    }

    /// The run's shard is not this node's, or not any more.
    pub fn elsewhere(shard: ShardId) -> Self {
        let detail = format!("no node has shard {shard} at the moment; try again later");
        let mut refusal = Self::new(ErrorType::Unavailable, detail);
        refusal.retry_after = Some(MOVE_SECONDS);
        refusal
    }

    /// A failure inside, which is nobody's business but the operator's.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        Self::new(
            ErrorType::Internal,
            "the node failed; its log says why under this x-request-id",
        )
        .because(cause)
    }

    /// What is stored cannot be read, by nobody and at no time.
    fn damaged(cause: impl std::fmt::Display) -> Self {
        Self::new(
            ErrorType::Internal,
            "what is stored is damaged and cannot be read; `crane check` says where",
        )
        .because(cause)
    }
}

fn line(finding: &Finding) -> String {
    match finding.path.as_str() {
        "" => finding.message.clone(),
        path => format!("{path}: {}", finding.message),
    }
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Invalid(findings) => Self::invalid(&findings),
            SubmitError::KeyReused(run) => Self::new(
                ErrorType::Conflict,
                "the Idempotency-Key was used before with another request; use a new key",
            )
            .with(json!({ "run_id": run })),
            SubmitError::Exists(run) => {
                Self::new(ErrorType::Conflict, format!("run {run} exists already"))
                    .with(json!({ "run_id": run }))
            }
            SubmitError::TooMany { limit } => {
                Self::new(ErrorType::TooManyRequests, error.to_string())
                    .with(json!({ "limit": limit }))
            }
            SubmitError::Stopping => Self::stopping(),
            SubmitError::NotOwner(shard) => Self::elsewhere(shard),
            SubmitError::Store(error) => error.into(),
            SubmitError::Lost => Self::new(
                ErrorType::Unavailable,
                "no answer; the run may or may not have been accepted. With an Idempotency-Key the \
                 request can be repeated safely",
            ),
        }
    }
}

impl From<crane_store::Error> for ApiError {
    fn from(error: crane_store::Error) -> Self {
        match error {
            crane_store::Error::DiskReserve { free, reserve } => {
                let mut refusal = Self::new(
                    ErrorType::Unavailable,
                    "the disk is nearly full, so that no new run is accepted; accepted ones go on",
                )
                .with(json!({ "free_bytes": free, "reserve_bytes": reserve }));
                refusal.retry_after = Some(SPACE_SECONDS);
                refusal
            }
            crane_store::Error::Unavailable(_) => Self::new(
                ErrorType::Unavailable,
                "the database is not available; accepted runs go on when it is back, and new ones are \
                 accepted then",
            )
            .because(error),
            other => Self::new(
                ErrorType::Unavailable,
                "the store failed; its node's log says why. Try again later",
            )
            .because(other),
        }
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match error {
            damage if damage.is_damage() => Self::damaged(damage),
            ReadError::Store(error) => error.into(),
            ReadError::Damaged(detail) => Self::damaged(detail),
            ReadError::NotOwner(shard) => Self::elsewhere(shard),
        }
    }
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::NotFound(run) => Self::run_not_found(run),
            ChangeError::Rejected(rejected) => Self::new(ErrorType::Conflict, rejected.to_string()),
            ChangeError::Lost(run) => Self::new(
                ErrorType::Unavailable,
                format!("no answer from run {run}; look at it before you try again"),
            )
            .with(json!({ "run_id": run })),
            ChangeError::TooMany { .. } => Self::new(ErrorType::TooManyRequests, error.to_string()),
            ChangeError::Elsewhere(shard) | ChangeError::NotOwner(shard) => Self::elsewhere(shard),
            ChangeError::Read(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::http::header;
    use axum::response::IntoResponse;

    use super::*;

    /// What users see of an error whose cause names a path: not that.
    #[track_caller]
    fn seen(error: &ApiError) -> String {
        let cause = error.cause.as_deref();
        assert!(cause.is_some_and(|cause| cause.contains("/var")));
        let seen = serde_json::to_string(&error).unwrap();
        assert!(!seen.contains("/var"), "{seen}");
        seen
    }

    #[test]
    fn a_failing_store_is_unavailable_and_no_path_of_the_server_leaves_it() {
        let source = Arc::new(std::io::Error::other("bad sector"));
        for error in [
            crane_store::Error::Io {
                context: "writing /var/lib/crane/journal/1".to_owned(),
                source,
            },
            crane_store::Error::Corrupt {
                file: "/var/lib/crane/history/7".to_owned(),
                offset: 1,
                detail: "a bad frame".to_owned(),
            },
            crane_store::Error::Fatal("fdatasync of /var/lib/crane failed".into()),
        ] {
            let error = ApiError::from(SubmitError::Store(error));
            seen(&error);
            let response = error.into_response();
            assert_eq!(response.status(), 503);
            assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        }
    }

    #[test]
    fn a_damaged_run_is_no_reason_to_try_again() {
        let damage = crane_store::Error::Corrupt {
            file: "/var/lib/crane/history/7".to_owned(),
            offset: 1,
            detail: "a bad frame".to_owned(),
        };
        for error in [
            ReadError::Store(damage),
            ReadError::Damaged("/var".to_owned()),
        ] {
            let error = ApiError::from(error);
            let seen = seen(&error);
            assert!(seen.contains("crane check"), "{seen}");
            assert_eq!(error.into_response().status(), 500);
        }
    }

    #[test]
    fn what_is_wrong_beyond_a_bound_is_counted() {
        let findings: Vec<Finding> = (0..limits::FINDINGS + 7)
            .map(|n| Finding {
                path: n.to_string(),
                message: "wrong".to_owned(),
            })
            .collect();
        let error = ApiError::invalid(&findings);
        let errors = error.details["errors"].as_array().unwrap();
        assert_eq!(errors.len(), limits::FINDINGS + 1);
        assert_eq!(
            errors[limits::FINDINGS]["message"],
            "7 more findings are not listed"
        );
    }

    #[test]
    fn a_full_disk_says_when_to_come_back() {
        let error = crane_store::Error::DiskReserve {
            free: 1,
            reserve: 2,
        };
        let error = ApiError::from(error);
        assert_eq!(error.error_type, ErrorType::Unavailable);
        assert_eq!(error.retry_after, Some(SPACE_SECONDS));
        assert_eq!(
            error.details,
            json!({ "free_bytes": 1, "reserve_bytes": 2 })
        );
    }
}
