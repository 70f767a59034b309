//! The `todo_store` tool: a list of todos that all runs share, as durable as a run.
//!
//! ```text
//!   call ──> is the write of this key recorded? ──yes──> the recorded result
//!                 │ no
//!                 v
//!   lock of the todo ──> read its row ──> new row + result ──> one store write ──> durable
//!        └──────────────── held until here, by the write itself ──────────────────────┘
//! ```
//!
//! * A write carries the idempotency key of its step and the result, so a call that is repeated
//!   after a crash or a lost answer changes nothing and returns what the first one returned.
//! * The lock of a todo travels with the write and not with the call: a call that is dropped in
//!   the middle (timeout, cancellation) cannot let another one read a row that is about to change.
//! * Rows are keyed by the todo's id. Order of creation is a number in the row (`order.rs`).

mod order;
mod row;

use std::collections::BTreeMap;
use std::sync::Arc;

use crane_actors::tool::{CallContext, Tool};
use crane_core::Json;
use crane_core::limits::TODO_TEXT_CHARS;
use crane_core::tool::{ErrorKind, ToolError, ToolSpec};
use crane_store::{RunStore, ToolWrite, Write};
use futures_util::future::{BoxFuture, FutureExt};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};
use uuid::Uuid;

use order::Order;
use row::Todo;

/// The name plans use, and under which the store keeps the rows.
pub const NAME: &str = "todo_store";

/// Namespace of the UUIDv5 ids that are derived from idempotency keys.
const ID_NAMESPACE: Uuid = Uuid::from_u128(0x6372_616e_652d_746f_646f_2d69_642d_7635);

/// Locks, each shared by the todos whose ids hash to it. More locks mean more writes that share
/// one disk sync.
const LOCKS: usize = 256;

/// The `todo_store` tool.
#[derive(Clone, Debug)]
pub struct TodoStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    locks: Vec<Arc<Mutex<()>>>,
    order: Order,
}

impl Default for TodoStore {
    fn default() -> Self {
        Self {
            shared: Arc::new(Shared {
                locks: (0..LOCKS).map(|_| Arc::default()).collect(),
                order: Order::default(),
            }),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    Add,
    List,
    Get,
    Complete,
    Update,
    Delete,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    action: Action,
    text: Option<String>,
    todo_id: Option<String>,
    completed: Option<bool>,
}

impl Tool for TodoStore {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            stateful: true,
            ..ToolSpec::pure(
                NAME,
                "Keeps a list of todos that all runs share: add, list, get, complete, update, \
                 delete.",
                schema(),
            )
        }
    }

    fn call(
        &self,
        input: Value,
        context: CallContext,
    ) -> BoxFuture<'static, Result<Value, ToolError>> {
        let shared = self.shared.clone();
        async move { shared.call(input, &context).await }.boxed()
    }
}

/// The conditions are `if`/`then` and not `oneOf`, so that a miss reads "todo_id is required" and
/// not "fits none of six".
fn schema() -> Value {
    let needs = |actions: &[&str], field: &str| {
        json!({
            "if": {
                "properties": { "action": { "enum": actions } },
                "required": ["action"]
            },
            "then": { "required": [field] }
        })
    };
    json!({
        "type": "object",
        "properties": {
            "action": {
                "enum": ["add", "list", "get", "complete", "update", "delete"],
                "description": "What to do. add needs text; get, complete, update and delete \
                                need todo_id; update needs text or completed as well."
            },
            "text": {
                "type": "string",
                "minLength": 1,
                "maxLength": TODO_TEXT_CHARS,
                "description": "The todo's text (add, update)."
            },
            "todo_id": {
                "type": "string",
                "description": "The todo's id, a UUID (get, complete, update, delete)."
            },
            "completed": {
                "type": "boolean",
                "description": "Whether it is done (update)."
            }
        },
        "required": ["action"],
        "additionalProperties": false,
        "allOf": [
            needs(&["add"], "text"),
            needs(&["get", "complete", "update", "delete"], "todo_id")
        ]
    })
}

/// A change of one todo that was checked, but not made.
enum Change {
    Add {
        text: String,
    },
    Complete {
        id: String,
    },
    Update {
        id: String,
        text: Option<String>,
        completed: Option<bool>,
    },
    Delete {
        id: String,
    },
}

impl Input {
    fn id(&mut self) -> Result<String, ToolError> {
        self.todo_id
            .take()
            .ok_or_else(|| ToolError::invalid_input("todo_id is missing; give the id of a todo"))
    }

    /// The text, if there is one; a blank one is the caller's mistake.
    fn text(&mut self) -> Result<Option<String>, ToolError> {
        let Some(text) = self.text.take() else {
            return Ok(None);
        };
        if text.trim().is_empty() {
            return Err(ToolError::invalid_input("the text of a todo is empty"));
        }
        if text.chars().nth(TODO_TEXT_CHARS).is_some() {
            return Err(ToolError::invalid_input(format!(
                "the text of a todo is longer than {TODO_TEXT_CHARS} characters"
            )));
        }
        Ok(Some(text))
    }
}

impl Shared {
    async fn call(&self, input: Value, context: &CallContext) -> Result<Value, ToolError> {
        let mut input: Input = crate::input::read(input)?;
        let change = match input.action {
            Action::List => return list(&*context.store).await,
            Action::Get => return Ok(load(&*context.store, &input.id()?).await?.output()),
            Action::Add => Change::Add {
                text: input.text()?.ok_or_else(|| {
                    ToolError::invalid_input("text is missing; give the text of the todo")
                })?,
            },
            Action::Complete => Change::Complete { id: input.id()? },
            Action::Update => {
                let id = input.id()?;
                let text = input.text()?;
                let completed = input.completed;
                if text.is_none() && completed.is_none() {
                    return Err(ToolError::invalid_input(
                        "an update changes nothing; give text, completed or both",
                    ));
                }
                Change::Update {
                    id,
                    text,
                    completed,
                }
            }
            Action::Delete => Change::Delete { id: input.id()? },
        };
        self.write(change, context).await
    }

    async fn write(&self, change: Change, context: &CallContext) -> Result<Value, ToolError> {
        let store = &*context.store;
        let (key, id) = match &context.origin {
            Some(origin) => {
                let key = origin.idempotency_key();
                let id = Uuid::new_v5(&ID_NAMESPACE, key.as_bytes());
                (key, id)
            }
            None => {
                let id = random_id()?;
                (format!("dry-run/{id}"), id)
            }
        };
        let id = match &change {
            Change::Add { .. } => id.to_string(),
            Change::Complete { id } | Change::Update { id, .. } | Change::Delete { id } => {
                id.clone()
            }
        };
        let guard = self.lock(&id).await;
        if context.origin.is_some()
            && let Some(result) = store.tool_result(NAME, &key).await.map_err(failed)?
        {
            return Ok(result.to_value());
        }
        let (row, result) = self.decide(change, &id, context).await?;
        let write = ToolWrite {
            tool: NAME.to_owned(),
            run: context.origin.as_ref().map(|origin| origin.run),
            key,
            rows: BTreeMap::from([(id, row)]),
            result: Json::from_value(&result),
        };
        commit(store, write, guard).await?;
        Ok(result)
    }

    /// The new row (`None` deletes it) and the result of the call.
    async fn decide(
        &self,
        change: Change,
        id: &str,
        context: &CallContext,
    ) -> Result<(Option<Json>, Value), ToolError> {
        let store = &*context.store;
        let todo = match change {
            Change::Add { text } => {
                let (order, created_at) = self.order.next(store, context.now).await?;
                Todo::new(id.to_owned(), text, order, created_at)
            }
            Change::Complete { .. } => {
                let mut todo = load(store, id).await?;
                todo.set_completed(true, context.now);
                todo
            }
            Change::Update {
                text, completed, ..
            } => {
                let mut todo = load(store, id).await?;
                if let Some(text) = text {
                    todo.text = text;
                }
                if let Some(completed) = completed {
                    todo.set_completed(completed, context.now);
                }
                todo
            }
            Change::Delete { .. } => {
                load(store, id).await?;
                return Ok((None, json!({ "deleted": true, "todo_id": id })));
            }
        };
        Ok((Some(todo.to_row()), todo.output()))
    }

    async fn lock(&self, id: &str) -> OwnedMutexGuard<()> {
        let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        // The upper bits of this hash (FNV-1a) are the better mixed ones.
        let index = usize::try_from(hash >> 32).unwrap_or_default() % LOCKS;
        self.locks[index].clone().lock_owned().await
    }
}

async fn list(store: &dyn RunStore) -> Result<Value, ToolError> {
    let mut todos = all(store).await?;
    todos.sort_unstable_by(|a, b| (a.order, &a.id).cmp(&(b.order, &b.id)));
    let completed = todos.iter().filter(|todo| todo.is_completed()).count();
    let total = todos.len();
    Ok(json!({
        "todos": todos.iter().map(Todo::to_value).collect::<Vec<_>>(),
        "total_count": total,
        "completed_count": completed,
        "pending_count": total - completed,
    }))
}

/// All todos, in no particular order.
async fn all(store: &dyn RunStore) -> Result<Vec<Todo>, ToolError> {
    let rows = store.tool_rows(NAME).await.map_err(failed)?;
    rows.into_iter()
        .map(|(id, row)| Todo::from_row(id, &row))
        .collect()
}

async fn load(store: &dyn RunStore, id: &str) -> Result<Todo, ToolError> {
    match store.tool_row(NAME, id).await.map_err(failed)? {
        Some(row) => Todo::from_row(id.to_owned(), &row),
        None => Err(ToolError::invalid_input(format!("todo not found: {id}"))),
    }
}

/// Makes the write durable. `guard` is let go when the store is done with it, even when nobody
/// waits for this any more.
async fn commit(
    store: &dyn RunStore,
    write: ToolWrite,
    guard: OwnedMutexGuard<()>,
) -> Result<(), ToolError> {
    let (sender, receiver) = oneshot::channel();
    store.submit(
        Write::Tool(write),
        Box::new(move |result| {
            drop(guard);
            // The call may be gone; the write counts all the same.
            let _ = sender.send(result);
        }),
    );
    match receiver.await {
        Ok(result) => result.map_err(failed),
        Err(_) => Err(ToolError::transient("the store dropped the write")),
    }
}

/// A repeat after a store's failure is safe, since the write carries its key.
// By value: that is what map_err hands over.
#[allow(clippy::needless_pass_by_value)]
fn failed(error: crane_store::Error) -> ToolError {
    let kind = match error {
        crane_store::Error::Corrupt { .. } => ErrorKind::Permanent,
        crane_store::Error::Limit { .. } => ErrorKind::Limit,
        _ => ErrorKind::Transient,
    };
    ToolError::new(kind, error.to_string())
}

/// A random UUID (version 4, RFC 9562), for calls on nobody's behalf.
fn random_id() -> Result<Uuid, ToolError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| ToolError::transient(format!("no random numbers: {error}")))?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

#[cfg(test)]
mod tests;
