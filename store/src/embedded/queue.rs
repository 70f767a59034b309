//! The queue in front of the journal.
//!
//! Writers push; the journal's thread takes everything at once, so that whatever queued up during
//! one fdatasync makes up the next frame (natural group commit, no timer). Nobody is woken who
//! does not sleep. The queue is bounded by its callers: a run has at most one batch in flight and
//! the runs and tool calls of a node are limited at admission.

use std::sync::{Condvar, PoisonError};
use std::time::Duration;

use super::{Mutex, lock};
use crane_core::RunId;

use crate::Write;
pub(crate) use crate::waiter::Waiter;

/// What is to be written.
pub(crate) enum Task {
    /// What a caller submitted.
    Write(Write),
    /// Retention has removed these runs.
    Retired(Vec<RunId>),
    /// Nothing: somebody asks whether a write would become durable.
    Probe,
}

/// A write and who waits for it.
pub(crate) struct Job {
    /// The write.
    pub(crate) task: Task,
    /// Who waits.
    pub(crate) waiter: Waiter,
}

impl Job {
    fn is_eager(&self) -> bool {
        match &self.task {
            Task::Write(Write::Append(append)) => append.eager,
            Task::Write(Write::Tool(_)) | Task::Retired(_) | Task::Probe => true,
        }
    }
}

/// What wakes the journal's thread.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sleep {
    Awake,
    /// Until there is any write.
    Idle,
    /// Until there is an eager write: lazy ones are waiting already.
    Lazy,
}

struct Inner {
    jobs: Vec<Job>,
    eager: bool,
    sleep: Sleep,
    /// No more waiting for lazy writes or for space.
    closing: bool,
    /// The store is gone.
    ended: bool,
}

/// Writes on their way to the journal.
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    wake: Condvar,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            inner: Mutex::new(Inner {
                jobs: Vec::new(),
                eager: false,
                sleep: Sleep::Awake,
                closing: false,
                ended: false,
            }),
            wake: Condvar::new(),
        }
    }
}

impl Queue {
    /// Adds a write.
    pub(crate) fn push(&self, job: Job) {
        let eager = job.is_eager();
        let mut inner = lock(&self.inner);
        inner.jobs.push(job);
        inner.eager |= eager;
        let wake = match inner.sleep {
            Sleep::Awake => false,
            Sleep::Idle => true,
            Sleep::Lazy => eager,
        };
        if wake {
            inner.sleep = Sleep::Awake;
        }
        drop(inner);
        if wake {
            self.wake.notify_one();
        }
    }

    /// Waits for writes and swaps all of them into `jobs`, which is empty. Lazy writes alone are
    /// held back for `lazy_delay`. Returns false when the queue is closing and empty.
    pub(crate) fn take(&self, jobs: &mut Vec<Job>, lazy_delay: Duration) -> bool {
        let mut inner = lock(&self.inner);
        while inner.jobs.is_empty() {
            if inner.closing {
                return false;
            }
            inner.sleep = Sleep::Idle;
            inner = self
                .wake
                .wait(inner)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if !inner.eager && !inner.closing {
            inner.sleep = Sleep::Lazy;
            (inner, _) = self
                .wake
                .wait_timeout_while(inner, lazy_delay, |inner| !inner.eager && !inner.closing)
                .unwrap_or_else(PoisonError::into_inner);
        }
        inner.sleep = Sleep::Awake;
        inner.eager = false;
        std::mem::swap(&mut inner.jobs, jobs);
        true
    }

    /// No more waiting: what is queued is taken, and after that [`Queue::take`] returns false.
    pub(crate) fn close(&self) {
        lock(&self.inner).closing = true;
        self.wake.notify_all();
    }

    /// As [`Queue::take`], also after closing, until the store is gone: for refusing what comes.
    pub(crate) fn take_late(&self, jobs: &mut Vec<Job>) -> bool {
        let mut inner = lock(&self.inner);
        while inner.jobs.is_empty() && !inner.ended {
            inner.sleep = Sleep::Idle;
            inner = self
                .wake
                .wait(inner)
                .unwrap_or_else(PoisonError::into_inner);
        }
        inner.sleep = Sleep::Awake;
        std::mem::swap(&mut inner.jobs, jobs);
        !jobs.is_empty()
    }

    /// The store is gone: nothing comes any more.
    pub(crate) fn end(&self) {
        let mut inner = lock(&self.inner);
        inner.closing = true;
        inner.ended = true;
        drop(inner);
        self.wake.notify_all();
    }

    /// Waits for `time`, or until the queue is closing; returns whether it is.
    pub(crate) fn pause(&self, time: Duration) -> bool {
        let inner = lock(&self.inner);
        let (inner, _) = self
            .wake
            .wait_timeout_while(inner, time, |inner| !inner.closing)
            .unwrap_or_else(PoisonError::into_inner);
        inner.closing
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue")
            .field("waiting", &lock(&self.inner).jobs.len())
            .finish_non_exhaustive()
    }
}
