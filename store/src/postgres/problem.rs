//! What an error of the database means for whoever met it.

use std::error::Error as StdError;
use std::sync::Arc;

use tokio_postgres::error::SqlState;

use crate::Error;

/// Why a statement was not carried out, or is not known to be.
#[derive(Clone, Debug)]
pub(crate) enum Problem {
    /// The connection is gone. Whether the statement was carried out is not known.
    Lost(Arc<str>),
    /// The statement was refused for a reason that passes: a lock, a timeout, a full disk.
    Busy {
        /// SQLSTATE.
        code: Box<str>,
        /// The server's words.
        detail: Arc<str>,
    },
    /// The statement will never be carried out.
    Refused {
        /// SQLSTATE.
        code: Box<str>,
        /// The server's words.
        detail: Arc<str>,
    },
    /// Not the database's doing: damaged bytes, an unknown schema version.
    Other(Error),
}

impl Problem {
    /// Whether the values of a statement are at fault, and not the database as a whole.
    pub(crate) fn is_of_values(&self) -> bool {
        // 22 data exception, 23 constraint violation, 54 program limit exceeded
        matches!(self, Self::Refused { code, .. }
            if ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
    }

    /// Whether the server waited too long for somebody's lock.
    pub(crate) fn is_lock_timeout(&self) -> bool {
        matches!(self, Self::Busy { code, .. } if **code == *SqlState::LOCK_NOT_AVAILABLE.code())
    }

    /// In words.
    pub(crate) fn detail(&self) -> Arc<str> {
        match self {
            Self::Lost(detail) | Self::Busy { detail, .. } | Self::Refused { detail, .. } => {
                Arc::clone(detail)
            }
            Self::Other(error) => error.to_string().into(),
        }
    }

    /// As an error of the store, when it is not tried again.
    pub(crate) fn into_error(self, context: &str) -> Error {
        match self {
            Self::Lost(detail) | Self::Busy { detail, .. } => Error::Unavailable(detail),
            Self::Refused { detail, .. } => Error::Database {
                context: context.to_owned(),
                detail,
            },
            Self::Other(error) => error,
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl From<tokio_postgres::Error> for Problem {
    fn from(error: tokio_postgres::Error) -> Self {
        let detail: Arc<str> = words(&error).into();
        let Some(code) = error.code() else {
            // Said by the client of a statement and its values, not by a connection that broke.
            let of_statement = ["error serializing", "error deserializing", "invalid column"];
            if of_statement.iter().any(|begin| detail.starts_with(begin)) {
                return Self::Refused {
                    code: SqlState::INTERNAL_ERROR.code().into(),
                    detail,
                };
            }
            return Self::Lost(detail);
        };
        // 08 connection, 25006 a standby, 40 rolled back, 53 resources, 55P03 and 57014 timeouts,
        // 57P0x going down or coming up, 58 the server's disk
        let passes = *code == SqlState::READ_ONLY_SQL_TRANSACTION
            || *code == SqlState::LOCK_NOT_AVAILABLE
            || ["08", "40", "53", "57", "58"]
                .iter()
                .any(|class| code.code().starts_with(class));
        let code = code.code().into();
        if passes {
            return Self::Busy { code, detail };
        }
        Self::Refused { code, detail }
    }
}

/// The error in one line: the server's own words when it has said any.
fn words(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        let mut text = format!("{} (SQLSTATE {}", said.message(), said.code().code());
        for (name, part) in [("detail", said.detail()), ("hint", said.hint())] {
            if let Some(part) = part {
                text.push_str(&format!("; {name}: {part}"));
            }
        }
        text.push(')');
        return text;
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
