//! Readers of runs that wait for the next question of another node: it goes on where the last one
//! ended, without reading the store, and hears what happened in between.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crane_actors::follow::Tail;
use crane_core::{RunId, Seq, limits};
use tokio::time::Instant;

/// A run, the last event that was handed out, and whether the reader hears what happens.
type Key = (RunId, Seq, bool);

/// See the module. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Parked(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    readers: HashMap<Key, (Instant, Tail)>,
    /// Whether a task lets those go that wait too long.
    swept: bool,
}

impl Parked {
    /// The reader of `run` that stands behind `seq`, if one waits.
    pub(super) fn take(&self, run: RunId, seq: Seq, live: bool) -> Option<Tail> {
        let (_, tail) = self.lock().readers.remove(&(run, seq, live))?;
        Some(tail)
    }

    /// Keeps a reader for a while. When there are too many, the one that waits longest goes.
    pub(super) fn put(&self, run: RunId, live: bool, tail: Tail) {
        let now = Instant::now();
        let mut state = self.lock();
        state.readers.insert((run, tail.seen(), live), (now, tail));
        while state.readers.len() > limits::PARKED_READERS {
            let oldest = state.readers.iter().min_by_key(|(_, (since, _))| *since);
            let Some(oldest) = oldest.map(|(key, _)| *key) else {
                break;
            };
            state.readers.remove(&oldest);
        }
        if !std::mem::replace(&mut state.swept, true) {
            drop(state);
            self.sweep();
        }
    }

    /// Lets those go that nobody comes for, until there are none: each holds what has happened to its
    /// run since.
    fn sweep(&self) {
        let parked = self.clone();
        #[allow(
            clippy::disallowed_methods,
            reason = "one short task, however many readers wait, which ends when none does"
        )]
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(limits::PARKED_FOR).await;
                let now = Instant::now();
                let mut state = parked.lock();
                let waits = |since: Instant| now.duration_since(since) < limits::PARKED_FOR;
                state.readers.retain(|_, (since, _)| waits(*since));
                if state.readers.is_empty() {
                    state.swept = false;
                    return;
                }
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use crane_actors::submit::Request;

    use super::*;
    use crate::config::Config;
    use crate::node::Node;

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_nobody_comes_for_is_let_go() {
        let node = Node::in_memory(&Config::default()).await.unwrap();
        let request = Request {
            prompt: Some("calculate 1".to_owned()),
            ..Request::default()
        };
        let runtime = node.runtime();
        let run = runtime.submit(request, false).await.unwrap().run.id;
        let parked = Parked::default();
        // Again after the first time: whoever looked after them has gone meanwhile.
        for _ in 0..2 {
            let tail = runtime.tail(run, Seq(1)).await.unwrap().unwrap();
            let seen = tail.seen();
            parked.put(run, true, tail);
            let taken = parked.take(run, seen, true).unwrap();
            assert!(parked.take(run, seen, true).is_none());
            parked.put(run, true, taken);
            tokio::time::sleep(2 * limits::PARKED_FOR).await;
            assert!(parked.lock().readers.is_empty());
            assert!(!parked.lock().swept);
        }
    }
}
