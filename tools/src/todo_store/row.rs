//! A todo as the store keeps it and as users see it.
//!
//! The row is JSON with a version. Change of the form: add a version, keep reading the old ones.

use crane_core::tool::{ErrorKind, ToolError};
use crane_core::{Json, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The version of rows that this code writes.
const VERSION: u32 = 1;

/// One todo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Todo {
    pub(super) id: String,
    pub(super) text: String,
    /// Its place in the order of creation.
    pub(super) order: i64,
    created_at: Timestamp,
    /// `None` while it is pending.
    completed_at: Option<Timestamp>,
}

/// Version 1 of the stored form; times in microseconds since the Unix epoch.
#[derive(Serialize, Deserialize)]
struct Row<'a> {
    v: u32,
    #[serde(borrow)]
    text: std::borrow::Cow<'a, str>,
    order: i64,
    created_us: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_us: Option<i64>,
}

impl Todo {
    /// A pending todo.
    pub(super) fn new(id: String, text: String, order: i64, created_at: Timestamp) -> Self {
        Self {
            id,
            text,
            order,
            created_at,
            completed_at: None,
        }
    }

    /// The todo of a stored row.
    pub(super) fn from_row(id: String, row: &Json) -> Result<Self, ToolError> {
        let broken = |detail: String| {
            ToolError::new(
                ErrorKind::Permanent,
                format!("the stored todo {id} cannot be read: {detail}"),
            )
        };
        let row: Row = serde_json::from_str(row.as_str()).map_err(|e| broken(e.to_string()))?;
        if row.v != VERSION {
            return Err(broken(format!(
                "it has version {}, this release reads {VERSION}",
                row.v
            )));
        }
        Ok(Self {
            text: row.text.into_owned(),
            order: row.order,
            created_at: Timestamp(row.created_us),
            completed_at: row.completed_us.map(Timestamp),
            id,
        })
    }

    /// The stored form.
    pub(super) fn to_row(&self) -> Json {
        let row = Row {
            v: VERSION,
            text: self.text.as_str().into(),
            order: self.order,
            created_us: self.created_at.0,
            completed_us: self.completed_at.map(|at| at.0),
        };
        Json::from_value(&json!(row))
    }

    pub(super) fn is_completed(&self) -> bool {
        self.completed_at.is_some()
    }

    /// Completes or reopens it; to complete a completed todo keeps the time of the first.
    pub(super) fn set_completed(&mut self, completed: bool, now: Timestamp) {
        self.completed_at = completed.then(|| self.completed_at.unwrap_or(now));
    }

    /// The todo as users see it.
    pub(super) fn to_value(&self) -> Value {
        json!({
            "id": self.id,
            "text": self.text,
            "completed": self.is_completed(),
            "created_at": self.created_at,
            "completed_at": self.completed_at,
        })
    }

    /// What a call that ends in this todo returns.
    pub(super) fn output(&self) -> Value {
        json!({ "todo": self.to_value() })
    }
}
