//! Why a request got no good answer, in words that say what to do.

use std::io;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use crane_core::plan::Finding;
use serde::Deserialize;

use super::target::Target;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is no address of a server.
    #[error("the server {text:?} is no address such as http://127.0.0.1:8080: {reason}")]
    Address {
        /// The text, without what may be a password.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The token cannot be sent. It is not repeated here.
    #[error("the token is not usable: {0}")]
    Token(&'static str),
    /// No certificate authorities to trust.
    #[error("no certificate authorities: {0}")]
    Roots(String),
    /// No connection.
    #[error("cannot reach {server}: {reason}")]
    Unreachable {
        /// The server.
        server: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The server's certificate is not trusted.
    #[error(
        "{server} is not trusted: {reason} (--ca-cert names a file with the authority to trust)"
    )]
    Untrusted {
        /// The server.
        server: String,
        /// What is wrong with the certificate.
        reason: String,
    },
    /// The connection ended while an answer was due.
    #[error("the connection to {server} was lost: {reason}")]
    Broken {
        /// The server.
        server: String,
        /// What happened.
        reason: String,
    },
    /// The answer did not come in time.
    #[error("{server} did not answer within {after:?}")]
    TimedOut {
        /// The server.
        server: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The server refused, or failed.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// An answer that no node gives.
    #[error(
        "the answer of {server} is not understood: {reason}; is it a crane node of this version?"
    )]
    Strange {
        /// The server.
        server: String,
        /// What is wrong with the answer.
        reason: String,
    },
}

/// A refusal in the server's one form of error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.in_words())]
pub struct Refusal {
    /// The status code.
    pub status: StatusCode,
    /// What kind, such as `run_not_found`; empty when the answer had another form.
    pub error_type: String,
    /// What was wrong and what to do.
    pub detail: String,
    /// Everything that is wrong with what was sent.
    pub findings: Vec<Finding>,
    /// When it may be tried again.
    pub retry_after: Option<Duration>,
    /// Members of a cluster that had to be asked and cannot be, so that nothing was done; empty where
    /// the server does not even know them.
    pub unreachable: Option<Vec<String>>,
}

/// The one form of error, as far as a client reads it.
#[derive(Deserialize)]
struct Form {
    error_type: String,
    detail: String,
    #[serde(default)]
    details: Details,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Details {
    errors: Vec<Wrong>,
    unreachable: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Wrong {
    #[serde(default)]
    path: String,
    message: String,
}

impl Refusal {
    /// The refusal in an answer, whatever form it has: a proxy on the way has its own.
    pub(super) fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let seconds = headers
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        let retry_after = seconds.map(Duration::from_secs);
        let form: Form = serde_json::from_slice(body).unwrap_or_else(|_| Form {
            error_type: String::new(),
            detail: String::new(),
            details: Details::default(),
        });
        let finding = |wrong: Wrong| Finding {
            path: harmless(&wrong.path),
            message: harmless(&wrong.message),
        };
        Self {
            status,
            error_type: form.error_type,
            detail: harmless(&form.detail),
            findings: form.details.errors.into_iter().map(finding).collect(),
            retry_after,
            unreachable: form.details.unreachable.map(|names| {
                let names = names.iter();
                names.map(|name| harmless(name)).collect()
            }),
        }
    }

    /// Whether nothing was done for the sake of the key alone.
    pub(super) fn needs_no_key(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE && self.unreachable.is_some()
    }

    fn in_words(&self) -> String {
        let code = self.status.as_u16();
        let mut words = match self.detail.as_str() {
            "" => format!("the server answered {}", self.status),
            detail => format!("the server answered {code}: {detail}"),
        };
        if self.status == StatusCode::UNAUTHORIZED {
            words.push_str("; give the token in CRANE_TOKEN, or in a file with --token-file");
        }
        if let Some(after) = self.retry_after {
            words.push_str(&format!("; try again in {} s", after.as_secs()));
        }
        words
    }
}

impl Error {
    /// Why there is no connection, in the words of somebody who knows what a node is.
    pub(super) fn unreachable(target: &Target, error: &io::Error) -> Self {
        let reason = match error.kind() {
            io::ErrorKind::ConnectionRefused => {
                "connection refused; is `crane serve` running there?".to_owned()
            }
            _ => lower(&error.to_string()),
        };
        Self::Unreachable {
            server: target.to_string(),
            reason,
        }
    }

    pub(super) fn broken(target: &Target, reason: impl Into<String>) -> Self {
        Self::Broken {
            server: target.to_string(),
            reason: reason.into(),
        }
    }

    pub(super) fn strange(target: &Target, reason: impl Into<String>) -> Self {
        Self::Strange {
            server: target.to_string(),
            reason: reason.into(),
        }
    }

    /// What became of a request on the wire. What does not parse came from somebody who is no node.
    pub(super) fn on_the_wire(target: &Target, error: &hyper::Error) -> Self {
        if error.is_parse() {
            let hint = if target.tls { "" } else { ", perhaps https" };
            return Self::strange(target, format!("it is no HTTP/1.1{hint} ({error})"));
        }
        let cause = std::error::Error::source(error);
        let ended = |cause: &(dyn std::error::Error + 'static)| {
            let cause = cause.downcast_ref::<io::Error>();
            cause.is_some_and(|cause| cause.kind() == io::ErrorKind::UnexpectedEof)
        };
        let reason = match cause {
            _ if error.is_incomplete_message() => "the server ended it".to_owned(),
            Some(cause) if ended(cause) => "the server ended it".to_owned(),
            Some(cause) => lower(&cause.to_string()),
            None => lower(&error.to_string()),
        };
        Self::broken(target, reason)
    }

    /// Whether the same request may do better a moment later, if it may be repeated at all.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broken { .. } | Self::TimedOut { .. } => true,
            Self::Refused(refusal) => refusal.status == StatusCode::SERVICE_UNAVAILABLE,
            Self::Address { .. }
            | Self::Token(_)
            | Self::Roots(_)
            | Self::Untrusted { .. }
            | Self::Strange { .. } => false,
        }
    }

    /// The refusal, if it is one of this status.
    pub fn refused(&self, status: StatusCode) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) if refusal.status == status => Some(refusal),
            _ => None,
        }
    }
}

/// What a server says must not move the cursor of whoever looks at it.
fn harmless(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// Messages of the system begin with a capital.
fn lower(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn read(status: u16, body: &str) -> Refusal {
        let status = StatusCode::from_u16(status).unwrap();
        Refusal::read(status, &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn the_one_form_of_error_is_read() {
        let refusal = read(
            422,
            r#"{"error_type":"validation_error","detail":"2 errors","details":{"errors":[
                {"path":"plan.steps[0].tool","message":"unknown"},{"path":"","message":"empty"}]}}"#,
        );
        assert_eq!(refusal.error_type, "validation_error");
        assert_eq!(refusal.findings.len(), 2);
        assert_eq!(refusal.findings[0].path, "plan.steps[0].tool");
        assert_eq!(refusal.to_string(), "the server answered 422: 2 errors");
    }

    #[test]
    fn other_forms_leave_the_status_to_say_what_is_wrong() {
        for body in ["", "<html>", "[]", "{\"detail\":3}"] {
            let refusal = read(502, body);
            assert_eq!(refusal.to_string(), "the server answered 502 Bad Gateway");
        }
        let body = r#"{"error_type":"conflict","detail":"no","details":{"run_id":"x"}}"#;
        assert_eq!(read(409, body).to_string(), "the server answered 409: no");
        assert!(read(401, "").to_string().contains("CRANE_TOKEN"));
    }

    #[test]
    fn a_server_cannot_write_on_the_terminal_with_its_errors() {
        let body = r#"{"error_type":"conflict","detail":"a\u001b[2J\nb","details":{"errors":[
            {"path":"p\u0007","message":"\u001b]0;x"}]}}"#;
        let refusal = read(409, body);
        assert_eq!(refusal.detail, "a [2J b");
        assert_eq!(refusal.findings[0].path, "p ");
        assert_eq!(refusal.findings[0].message, " ]0;x");
    }

    #[test]
    fn when_to_try_again_is_said() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, HeaderValue::from(7));
        let refusal = Refusal::read(StatusCode::SERVICE_UNAVAILABLE, &headers, b"");
        assert!(refusal.to_string().ends_with("try again in 7 s"));
        assert!(Error::Refused(Box::new(refusal)).may_pass());
    }
}
