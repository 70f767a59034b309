//! Plan files and input files: from a path to a JSON value, or to one clear message.
//!
//! A file is YAML or JSON, at most as large as a request may be. What YAML allows and JSON does not
//! (keys that are not text, several documents, aliases that expand without end) is refused with
//! line and column, and so is a key that occurs twice, which both grammars let pass.
//!
//! ```text
//!   path ──> bytes (bounded) ──> text ──> value ──> the checks of a plan ──> findings
//!                                  └──────────── positions <───────────────────┘
//! ```
//!
//! What a plan means is none of this module's business.

mod position;
mod strict;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crane_core::plan::Finding;
use serde::Serialize;
use serde_json::Value;

pub use position::Position;
pub use strict::Refused;

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grammar {
    /// JSON and nothing else.
    Json,
    /// YAML, which most JSON is as well.
    Yaml,
}

/// The one document that `bytes`, such as the body of a request, hold; its texts may be `limit`
/// bytes in all, aliases expanded.
///
/// # Errors
/// Everything that keeps it from being one document, as for a file.
pub fn from_bytes(bytes: &[u8], grammar: Grammar, limit: usize) -> Result<Value, Refused> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        Refused::new(format!(
            "byte {} (line {}) is not UTF-8 text",
            before.len(),
            line_after(before)
        ))
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Err(Refused::new("it is empty"));
    }
    match grammar {
        Grammar::Json => strict::json(text, limit),
        Grammar::Yaml if text.contains('\0') => Err(Refused::new("it is binary")),
        Grammar::Yaml => match strict::yaml(text, limit)? {
            Value::Null => Err(Refused::new("it is empty")),
            value => Ok(value),
        },
    }
}

/// Why a file is no document. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such file.
    #[error("{file}: no such file; check the path")]
    Missing {
        /// The path as given.
        file: String,
    },
    /// The path names a directory.
    #[error("{file}: is a directory; name a file in it")]
    Directory {
        /// The path as given.
        file: String,
    },
    /// The system refused to read it.
    #[error("{file}: cannot be read: {source}")]
    Unreadable {
        /// The path as given.
        file: String,
        /// The system's word.
        source: io::Error,
    },
    /// The file is longer than a request may be.
    #[error("{file}: longer than {limit} bytes, the limit of a request; make it smaller")]
    TooLarge {
        /// The path as given.
        file: String,
        /// The bound, in bytes.
        limit: usize,
    },
    /// The file is empty, or holds only blanks and comments.
    #[error("{file}: is empty; write a YAML or JSON document into it")]
    Empty {
        /// The path as given.
        file: String,
    },
    /// The file holds bytes that no text file holds.
    #[error("{file}: is a binary file; a YAML or JSON document is expected")]
    Binary {
        /// The path as given.
        file: String,
    },
    /// The file is text in some other encoding.
    #[error("{file}:{line}: is not UTF-8 text; save it as UTF-8")]
    NotUtf8 {
        /// The path as given.
        file: String,
        /// The first line that is not UTF-8, from 1.
        line: usize,
    },
    /// The text is neither YAML nor JSON.
    #[error("{file}{}: {detail}", position.map(|p| p.to_string()).unwrap_or_default())]
    Syntax {
        /// The path as given.
        file: String,
        /// Where, if known.
        position: Option<Position>,
        /// What is wrong.
        detail: String,
    },
}

/// A document that was read.
#[derive(Clone, Debug)]
pub struct Document {
    /// The path as given, for messages.
    pub file: String,
    /// What it says.
    pub value: Value,
    text: String,
}

/// A finding and the line it is about, as `crane plan check -o json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Located {
    /// Where in the plan.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
    /// Line in the file, from 1, where it could be found.
    pub line: Option<u64>,
    /// Column in that line, from 1.
    pub column: Option<u64>,
}

/// Reads a document of at most `limit` bytes; the path `-` is the standard input.
///
/// # Errors
/// Everything that keeps it from being one YAML or JSON document.
pub fn read(path: &Path, limit: usize) -> Result<Document, Error> {
    let file = if is_stdin(path) {
        "(stdin)".to_owned()
    } else {
        path.display().to_string()
    };
    let bytes = bytes_of(path, &file, limit)?;
    let text = text_of(bytes, &file)?;
    let is_json = path
        .extension()
        .is_some_and(|extension| extension == "json");
    parse(file, text, is_json, limit)
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn bytes_of(path: &Path, file: &str, limit: usize) -> Result<Vec<u8>, Error> {
    let unreadable = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => Error::Missing {
            file: file.to_owned(),
        },
        io::ErrorKind::IsADirectory => Error::Directory {
            file: file.to_owned(),
        },
        _ => Error::Unreadable {
            file: file.to_owned(),
            source,
        },
    };
    let source: Box<dyn Read> = if is_stdin(path) {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path).map_err(unreadable)?)
    };
    let mut bytes = Vec::new();
    // One byte more than allowed tells "too large" from "just fits", for pipes and devices too.
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    source
        .take(most)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() > limit {
        return Err(Error::TooLarge {
            file: file.to_owned(),
            limit,
        });
    }
    Ok(bytes)
}

fn text_of(bytes: Vec<u8>, file: &str) -> Result<String, Error> {
    let file = file.to_owned();
    if bytes.contains(&0) {
        return Err(Error::Binary { file });
    }
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let line = line_after(&error.as_bytes()[..valid]);
            return Err(Error::NotUtf8 { file, line });
        }
    };
    let text = match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    };
    if text.trim().is_empty() {
        return Err(Error::Empty { file });
    }
    Ok(text)
}

/// The line, from 1, of what follows on these bytes.
fn line_after(before: &[u8]) -> usize {
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

fn parse(file: String, text: String, is_json: bool, limit: usize) -> Result<Document, Error> {
    let parsed = if is_json {
        strict::json(&text, limit)
    } else if text.trim_start().starts_with(['{', '[']) {
        // JSON with tabs is no YAML, and a YAML flow collection is no JSON: try both.
        strict::json(&text, limit).or_else(|_| strict::yaml(&text, limit))
    } else {
        strict::yaml(&text, limit)
    };
    match parsed {
        Ok(Value::Null) if !is_json => Err(Error::Empty { file }),
        Ok(value) => Ok(Document { file, value, text }),
        Err(strict::Refused { position, detail }) => Err(Error::Syntax {
            file,
            position,
            detail,
        }),
    }
}

impl Document {
    /// The findings with the lines they are about.
    pub fn locate(&self, findings: &[Finding]) -> Vec<Located> {
        let positions = position::Positions::of(&self.text);
        findings
            .iter()
            .map(|finding| {
                let position = positions.find(&finding.path);
                Located {
                    path: finding.path.clone(),
                    message: finding.message.clone(),
                    line: position.map(|position| position.line),
                    column: position.map(|position| position.column),
                }
            })
            .collect()
    }
}

impl Located {
    /// The finding as a line that editors can jump to: `FILE:LINE:COLUMN: PATH: MESSAGE`.
    pub fn line_of(&self, file: &str) -> String {
        let position = match (self.line, self.column) {
            (Some(line), Some(column)) => Position { line, column }.to_string(),
            _ => String::new(),
        };
        match self.path.as_str() {
            "" => format!("{file}{position}: {}", self.message),
            path => format!("{file}{position}: {path}: {}", self.message),
        }
    }
}
