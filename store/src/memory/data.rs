//! What a store in memory holds, and the rules by which an append is taken or refused.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crane_core::{Epoch, RunId, Seq};

use crate::catalog::Catalog;
use crate::tool_data::ToolData;
use crate::{Append, Encoded, Error, codec};

/// See the module.
pub(super) struct Data {
    pub(super) runs: HashMap<RunId, Encoded>,
    pub(super) catalog: Catalog,
    pub(super) tools: ToolData,
    /// By shard; 0 means that it was never acquired.
    pub(super) epochs: Vec<Epoch>,
    pub(super) fail_next: Option<Arc<str>>,
    /// Bytes free and bytes to keep free, while new runs are refused.
    pub(super) reserve: Option<(u64, u64)>,
}

/// The data, whoever panicked with them.
pub(super) fn lock(data: &Mutex<Data>) -> MutexGuard<'_, Data> {
    data.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Data {
    /// Adds events to a run, or begins it.
    pub(super) fn append(&mut self, append: &Append) -> Result<(), Error> {
        self.check_fence(append)?;
        let stored = self
            .catalog
            .get(append.run)
            .map_or(Seq(0), |entry| entry.summary.seq);
        let conflict = Err(Error::Conflict {
            run: append.run,
            stored,
            expected: append.expected,
        });
        let count = u64::from(append.events.count);
        let upto = append.expected.0.saturating_add(count);
        if count == 0 || upto != append.summary.seq.0 {
            return conflict;
        }
        if append.expected != stored {
            let is_repeat = upto <= stored.0 && self.holds(append)?;
            return if is_repeat { Ok(()) } else { conflict };
        }
        if let (Some((free, reserve)), Seq(0)) = (self.reserve, stored) {
            return Err(Error::DiskReserve { free, reserve });
        }
        let events = self.runs.entry(append.run).or_default();
        events.count += append.events.count;
        events.bytes.extend_from_slice(&append.events.bytes);
        self.catalog
            .live(append.run, &append.summary, append.labels.as_deref());
        Ok(())
    }

    fn check_fence(&self, append: &Append) -> Result<(), Error> {
        let shard = append.run.shard();
        let current = self.epochs[usize::from(shard.0)];
        let is_owner = append.fence.epoch == current && append.fence.shard == shard;
        if is_owner && current > Epoch(0) {
            return Ok(());
        }
        Err(Error::Fenced {
            shard,
            current: Some(current),
        })
    }

    /// Whether the events of `append` are stored already, byte by byte.
    fn holds(&self, append: &Append) -> Result<bool, Error> {
        let Some(events) = self.runs.get(&append.run) else {
            return Ok(false);
        };
        let stored = codec::slice(&events.bytes, append.expected, append.events.count)?;
        Ok(stored.is_some_and(|stored| stored == append.events.bytes))
    }
}
