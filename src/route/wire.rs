//! Questions and answers as bytes of the gateway's envelope: a kind and a body each, the body with a
//! version of its own.
//!
//! ```text
//!   ask     kind (of the envelope), version(1) JSON
//!   answer  version(1) code(1) ...       numbers are big endian
//! ```
//!
//! The run, the trace and the deadline travel in the envelope. What is not understood is an error
//! with a text, never a guess.

mod answer;
mod ask;
#[cfg(test)]
mod tests;

pub(super) use answer::{decode_answer, decode_found, decode_listed};
pub(super) use answer::{encode_answer, encode_found, encode_listed};
pub(super) use ask::{Asked, decode, encode, encode_find, encode_forget, encode_list};

/// The only version so far.
const VERSION: u8 = 1;

/// Bytes that are no question or answer of this version.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotUnderstood(String);

impl NotUnderstood {
    fn new(text: impl std::fmt::Display) -> Self {
        Self(text.to_string())
    }
}

/// What follows the version.
fn versioned(bytes: &[u8]) -> Result<&[u8], NotUnderstood> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => Ok(rest),
        Some((version, _)) => Err(NotUnderstood::new(format!(
            "version {version} is not known, only {VERSION}"
        ))),
        None => Err(NotUnderstood::new("it is empty")),
    }
}
