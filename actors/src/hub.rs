//! Tells followers of a run that events have become durable.
//!
//! The hub carries batches to whoever listens and forgets them: the store is the truth, and a
//! follower that fell behind reads what it missed from there ([`crate::follow`]). With no
//! follower at all, publishing is one atomic load.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use crane_core::{Record, RunId, limits};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Durable events of one run, one after the other, shared by all who follow it.
#[derive(Debug)]
pub struct EventBatch {
    records: Vec<Record>,
    rendered: OnceLock<Bytes>,
}

impl EventBatch {
    pub(crate) fn new(records: Vec<Record>) -> Self {
        Self {
            records,
            rendered: OnceLock::new(),
        }
    }

    /// The events.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The events as bytes for the wire, made by whoever asks first and shared by the others:
    /// `render` must depend on the events alone.
    pub fn rendered(&self, render: impl FnOnce(&[Record]) -> Bytes) -> Bytes {
        self.rendered.get_or_init(|| render(&self.records)).clone()
    }
}

/// Followers by run.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    followers: AtomicUsize,
    runs: Mutex<HashMap<RunId, broadcast::Sender<Arc<EventBatch>>>>,
}

impl Hub {
    /// Whether anybody follows any run.
    pub(crate) fn is_watched(&self) -> bool {
        self.followers.load(Ordering::Acquire) > 0
    }

    /// Hands a batch to the followers of `run`; an empty one lets them look at the store.
    pub(crate) fn publish(&self, run: RunId, records: Vec<Record>) {
        let sender = {
            let runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
            runs.get(&run).cloned()
        };
        if let Some(sender) = sender {
            // No receiver any more: its subscription is about to be dropped.
            let _ = sender.send(Arc::new(EventBatch::new(records)));
        }
    }

    /// Lets the followers of `run` look at the store: what became durable may not have been handed to
    /// them.
    pub(crate) fn look_again(&self, run: RunId) {
        if self.is_watched() {
            self.publish(run, Vec::new());
        }
    }

    /// Follows a run from now on.
    pub(crate) fn subscribe(self: &Arc<Self>, run: RunId) -> Subscription {
        self.followers.fetch_add(1, Ordering::AcqRel);
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let receiver = runs
            .entry(run)
            .or_insert_with(|| broadcast::channel(limits::STREAM_BACKLOG).0)
            .subscribe();
        Subscription {
            hub: self.clone(),
            run,
            receiver: Some(receiver),
        }
    }
}

/// One follower's end.
#[derive(Debug)]
pub(crate) struct Subscription {
    hub: Arc<Hub>,
    run: RunId,
    /// Gone only while this is being dropped.
    receiver: Option<broadcast::Receiver<Arc<EventBatch>>>,
}

impl Subscription {
    /// What is published next.
    pub(crate) async fn recv(&mut self) -> Result<Arc<EventBatch>, RecvError> {
        match &mut self.receiver {
            Some(receiver) => receiver.recv().await,
            None => Err(RecvError::Closed),
        }
    }

    /// Forgets what was published until now.
    pub(crate) fn skip(&mut self) {
        self.receiver = self.receiver.as_ref().map(broadcast::Receiver::resubscribe);
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut runs = self.hub.runs.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock: of several who go at once, one is the last.
        self.receiver = None;
        if runs
            .get(&self.run)
            .is_some_and(|sender| sender.receiver_count() == 0)
        {
            runs.remove(&self.run);
        }
        self.hub.followers.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_of_followers_who_go_at_the_same_time() {
        let hub = Arc::new(Hub::default());
        let run = RunId::from_bytes([1; 16]);
        for _ in 0..500 {
            let both = [hub.subscribe(run), hub.subscribe(run)];
            let barrier = std::sync::Barrier::new(both.len());
            std::thread::scope(|scope| {
                for subscription in both {
                    let barrier = &barrier;
                    scope.spawn(move || {
                        barrier.wait();
                        drop(subscription);
                    });
                }
            });
            let runs = hub.runs.lock().unwrap_or_else(PoisonError::into_inner);
            assert!(runs.is_empty());
        }
        assert!(!hub.is_watched());
    }
}
