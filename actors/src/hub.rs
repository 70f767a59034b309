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
            receiver,
        }
    }
}

/// Sees to it that the followers of a run hear of something durable: if whoever was to tell them ends
/// before, they look at the store.
#[derive(Debug)]
pub(crate) struct Untold(Option<(Arc<Hub>, RunId)>);

impl Untold {
    pub(crate) fn new(hub: &Arc<Hub>, run: RunId) -> Self {
        Self(Some((hub.clone(), run)))
    }

    /// They were told.
    pub(crate) fn told(mut self) {
        self.0 = None;
    }
}

impl Drop for Untold {
    fn drop(&mut self) {
        if let Some((hub, run)) = self.0.take() {
            hub.look_again(run);
        }
    }
}

/// One follower's end.
#[derive(Debug)]
pub(crate) struct Subscription {
    hub: Arc<Hub>,
    run: RunId,
    pub(crate) receiver: broadcast::Receiver<Arc<EventBatch>>,
}

impl Subscription {
    /// Forgets what was published until now.
    pub(crate) fn skip(&mut self) {
        self.receiver = self.receiver.resubscribe();
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut runs = self.hub.runs.lock().unwrap_or_else(PoisonError::into_inner);
        // This receiver still counts itself.
        if runs
            .get(&self.run)
            .is_some_and(|sender| sender.receiver_count() <= 1)
        {
            runs.remove(&self.run);
        }
        self.hub.followers.fetch_sub(1, Ordering::AcqRel);
    }
}
