//! Data of stateful tools: rows, and the results that repeated writes must return.
//!
//! ```text
//!   check ──> (journal) ──> apply ──> rows, results ──> take_dirty ──> (sled) ──> load
//! ```
//!
//! Everything is in memory and bounded by `crane_core::limits`. A result is remembered as long as
//! the run that made the write; those that no run made are forgotten oldest first.
//!
//! What never lives here: files, locks. A write is checked before it is made durable and applied
//! after that; applying never fails, so that what was acknowledged is replayed whatever the limits
//! are by then.

mod stored;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use crane_core::limits;
use crane_core::{Json, RunId};

use crate::{Error, ToolWrite};
pub use stored::StoredItem;

/// Rows and remembered results of all stateful tools.
#[derive(Debug, Default)]
pub struct ToolData {
    tools: BTreeMap<Arc<str>, Tool>,
    /// The results each run has left behind.
    by_run: HashMap<RunId, HashSet<ResultId>>,
    /// Number of the next result.
    order: u64,
    /// What has changed since the last [`ToolData::take_dirty`].
    dirty: BTreeSet<Item>,
}

/// Tool and idempotency key.
type ResultId = (Arc<str>, Arc<str>);

#[derive(Debug, Default)]
struct Tool {
    rows: BTreeMap<Arc<str>, Json>,
    /// Bytes of keys and rows.
    bytes: usize,
    results: HashMap<Arc<str>, Remembered>,
    /// Results that no run made, by order.
    loose: BTreeMap<u64, Arc<str>>,
}

#[derive(Debug)]
struct Remembered {
    run: Option<RunId>,
    order: u64,
    value: Json,
}

/// Something that is stored under a key of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Item {
    Row { tool: Arc<str>, row: Arc<str> },
    Result { tool: Arc<str>, key: Arc<str> },
}

impl ToolData {
    /// Whether `write` keeps within the limits. A repeat always does: it changes nothing.
    ///
    /// # Errors
    /// [`Error::Limit`] naming what is too large.
    pub fn check(&self, write: &ToolWrite) -> Result<(), Error> {
        let tool = self.tools.get(&*write.tool);
        if tool.is_some_and(|tool| tool.results.contains_key(&*write.key)) {
            return Ok(());
        }
        let within = |what: &str, size: usize, limit: usize| {
            if size <= limit {
                return Ok(());
            }
            Err(Error::Limit {
                what: format!("{what} of tool {}", write.tool),
                size,
                limit,
            })
        };
        within("the name", write.tool.len(), limits::TOOL_KEY_BYTES)?;
        within(
            "an idempotency key",
            write.key.len(),
            limits::TOOL_KEY_BYTES,
        )?;
        within(
            "the number of rows of a write",
            write.rows.len(),
            limits::TOOL_WRITE_ROWS,
        )?;
        let mut write_bytes = write.result.size();
        let mut rows = tool.map_or(0, |tool| tool.rows.len());
        let mut bytes = tool.map_or(0, |tool| tool.bytes);
        for (row, value) in &write.rows {
            within("a row's key", row.len(), limits::TOOL_KEY_BYTES)?;
            let old = tool.and_then(|tool| tool.rows.get(&**row));
            rows -= usize::from(old.is_some());
            bytes -= old.map_or(0, |old| row.len() + old.size());
            write_bytes += row.len();
            if let Some(value) = value {
                within("a row", value.size(), limits::TOOL_ROW_BYTES)?;
                rows += 1;
                bytes += row.len() + value.size();
                write_bytes += value.size();
            }
        }
        within("a write", write_bytes, limits::TOOL_WRITE_BYTES)?;
        // What shrinks is always welcome, whatever the limits were when the rows were written.
        let grows = write.rows.values().any(Option::is_some);
        if grows {
            within("the number of rows", rows, limits::TOOL_ROWS)?;
            within("all rows", bytes, limits::TOOL_BYTES)?;
        }
        Ok(())
    }

    /// Applies a write; `false` when it is a repeat, which changes nothing.
    pub fn apply(&mut self, write: &ToolWrite) -> bool {
        let name = self.name(&write.tool);
        let tool = self.tools.entry(Arc::clone(&name)).or_default();
        if tool.results.contains_key(&*write.key) {
            return false;
        }
        for (row, value) in &write.rows {
            let row: Arc<str> = row.as_str().into();
            tool.set_row(&row, value.clone());
            self.dirty.insert(Item::Row {
                tool: Arc::clone(&name),
                row,
            });
        }
        let key: Arc<str> = write.key.as_str().into();
        let order = self.order;
        self.order += 1;
        self.dirty.insert(Item::Result {
            tool: Arc::clone(&name),
            key: Arc::clone(&key),
        });
        self.remember(
            &name,
            key,
            Remembered {
                run: write.run,
                order,
                value: write.result.clone(),
            },
        );
        true
    }

    /// The result that the write of `tool` with this key returned.
    pub fn result(&self, tool: &str, key: &str) -> Option<Json> {
        let remembered = self.tools.get(tool)?.results.get(key)?;
        Some(remembered.value.clone())
    }

    /// One row of a tool.
    pub fn row(&self, tool: &str, row: &str) -> Option<Json> {
        self.tools.get(tool)?.rows.get(row).cloned()
    }

    /// All rows of a tool, by key.
    pub fn rows(&self, tool: &str) -> Vec<(String, Json)> {
        let Some(tool) = self.tools.get(tool) else {
            return Vec::new();
        };
        tool.rows
            .iter()
            .map(|(row, value)| (row.to_string(), value.clone()))
            .collect()
    }

    /// Forgets the results of writes that `run` made; it exists no more.
    pub fn forget_run(&mut self, run: RunId) {
        for (tool, key) in self.by_run.remove(&run).unwrap_or_default() {
            if let Some(data) = self.tools.get_mut(&tool) {
                data.results.remove(&key);
            }
            self.dirty.insert(Item::Result { tool, key });
        }
    }

    fn remember(&mut self, name: &Arc<str>, key: Arc<str>, remembered: Remembered) {
        let tool = self.tools.entry(Arc::clone(name)).or_default();
        match remembered.run {
            Some(run) => {
                let results = self.by_run.entry(run).or_default();
                results.insert((Arc::clone(name), Arc::clone(&key)));
            }
            None => {
                tool.loose.insert(remembered.order, Arc::clone(&key));
            }
        }
        tool.results.insert(key, remembered);
        if tool.loose.len() > limits::TOOL_LOOSE_RESULTS
            && let Some((_, key)) = tool.loose.pop_first()
        {
            tool.results.remove(&key);
            self.dirty.insert(Item::Result {
                tool: Arc::clone(name),
                key,
            });
        }
    }

    /// The shared form of a tool's name.
    fn name(&self, tool: &str) -> Arc<str> {
        self.tools
            .range::<str, _>((Bound::Included(tool), Bound::Included(tool)))
            .next()
            .map_or_else(|| tool.into(), |(name, _)| Arc::clone(name))
    }
}

impl Tool {
    fn set_row(&mut self, row: &Arc<str>, value: Option<Json>) {
        let size = |value: &Json| row.len() + value.size();
        self.bytes += value.as_ref().map_or(0, size);
        let old = match value {
            Some(value) => self.rows.insert(Arc::clone(row), value),
            None => self.rows.remove(row),
        };
        self.bytes -= old.as_ref().map_or(0, size);
    }
}

#[cfg(test)]
mod tests;
