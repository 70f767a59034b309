//! Why a command did not do what it was asked, and the exit code that says so.

use std::io;

use crate::config::Refused;
use crate::node::OpenError;

/// Could not be done.
pub(super) const FAILED: u8 = 1;
/// Wrong usage, or something given that is not valid.
pub(super) const USAGE: u8 = 2;
/// The store failed under way (EX_SOFTWARE of sysexits.h).
pub(super) const BROKEN: u8 = 70;
/// Interrupted (128 + SIGINT, as shells have it).
pub(super) const INTERRUPTED: u8 = 130;

/// See the module.
#[derive(Debug)]
pub(super) enum Failure {
    /// What was given is not valid; the lines that say so are complete.
    Usage(String),
    /// What was asked could not be done.
    Failed(String),
    /// The store failed and the process must end.
    Broken(String),
    /// Somebody wants the process to stop.
    Interrupted,
}

impl Failure {
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    /// What to tell the user; nothing if that was done already.
    pub(super) fn message(&self) -> Option<String> {
        match self {
            Self::Usage(message) | Self::Failed(message) => Some(format!("error: {message}")),
            Self::Broken(reason) => Some(format!(
                "error: the store has failed and nothing more can be recorded: {reason}\n\
                 everything that was acknowledged is durable; mend the cause, then start again"
            )),
            Self::Interrupted => None,
        }
    }

    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => USAGE,
            Self::Failed(_) => FAILED,
            Self::Broken(_) => BROKEN,
            Self::Interrupted => INTERRUPTED,
        }
    }
}

impl From<io::Error> for Failure {
    /// The only streams that commands write themselves are the standard ones.
    fn from(error: io::Error) -> Self {
        Self::failed(format!("standard output cannot be written: {error}"))
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        // Each finding is an error of its own.
        Self::usage(refused.to_string().replace('\n', "\nerror: "))
    }
}

impl From<crane_store::Error> for Failure {
    fn from(error: crane_store::Error) -> Self {
        match error {
            crane_store::Error::Fatal(reason) => Self::Broken(reason.to_string()),
            other => Self::failed(other.to_string()),
        }
    }
}

impl From<crane_actors::runtime::ReadError> for Failure {
    fn from(error: crane_actors::runtime::ReadError) -> Self {
        match error {
            crane_actors::runtime::ReadError::Store(error) => error.into(),
            crane_actors::runtime::ReadError::Damaged(detail) => Self::failed(detail),
            elsewhere @ crane_actors::runtime::ReadError::NotOwner(_) => {
                Self::failed(elsewhere.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_has_stopped_is_told_apart_from_one_that_refuses() {
        let stopped: Failure = crane_store::Error::Fatal("fdatasync failed".into()).into();
        assert_eq!(stopped.code(), BROKEN);
        let message = stopped.message().unwrap();
        assert!(message.contains("fdatasync failed"), "{message}");
        assert!(message.contains("everything that was acknowledged is durable"));
        let refused: Failure = crane_store::Error::DiskReserve {
            free: 1,
            reserve: 2,
        }
        .into();
        assert_eq!(refused.code(), FAILED);
    }
}
