//! Readers of runs that wait for the next question of another node: it goes on where the last one
//! ended, without reading the store, and hears what happened in between.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crane_actors::follow::Tail;
use crane_core::{RunId, Seq, limits};
use tokio::time::Instant;

/// A run, the last event that was handed out, and whether the reader hears what happens.
type Key = (RunId, Seq, bool);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Parked(Mutex<HashMap<Key, (Instant, Tail)>>);

impl Parked {
    /// The reader of `run` that stands behind `seq`, if one waits.
    pub(super) fn take(&self, run: RunId, seq: Seq, live: bool) -> Option<Tail> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, tail) = all.remove(&(run, seq, live))?;
        Some(tail)
    }

    /// Keeps a reader for a while. When there are too many, the one that waits longest goes.
    pub(super) fn put(&self, run: RunId, live: bool, tail: Tail) {
        let now = Instant::now();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert((run, tail.seen(), live), (now, tail));
        while all.len() > limits::PARKED_READERS {
            let oldest = all.iter().min_by_key(|(_, (since, _))| *since);
            let Some(oldest) = oldest.map(|(key, _)| *key) else {
                break;
            };
            all.remove(&oldest);
        }
    }

    /// Lets those go that have waited long enough.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.is_empty() {
            all.retain(|_, (since, _)| now.duration_since(*since) < limits::PARKED_FOR);
        }
    }
}
