//! The queue in front of a writer.
//!
//! The writer takes everything at once, so that whatever queued up during one commit makes up the
//! next (natural group commit, no timer). The queue is bounded by its callers: a run has at most one
//! batch in flight, and the runs and tool calls of a node are limited at admission.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::lock;
use crate::Write;
pub(crate) use crate::waiter::Waiter;

/// What is asked of a writer.
pub(crate) enum Task {
    /// What a caller submitted.
    Write(Write),
    /// A commit that leaves nothing behind, to see whether it becomes durable.
    Probe,
}

/// A task and who waits for it.
pub(crate) struct Job {
    /// What to do.
    pub(crate) task: Task,
    /// Who waits.
    pub(crate) waiter: Waiter,
}

impl Job {
    fn is_eager(&self) -> bool {
        match &self.task {
            Task::Write(Write::Append(append)) => append.eager,
            Task::Write(Write::Tool(_)) | Task::Probe => true,
        }
    }
}

#[derive(Default)]
struct Inner {
    jobs: Vec<Job>,
    eager: bool,
    closed: bool,
}

/// Writes on their way to a writer.
#[derive(Default)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    wake: Notify,
}

impl Queue {
    /// Adds a write; gives it back when the queue is closed.
    pub(crate) fn push(&self, job: Job) -> Option<Job> {
        let eager = job.is_eager();
        let mut inner = lock(&self.inner);
        if inner.closed {
            return Some(job);
        }
        let wakes = inner.jobs.is_empty() || (eager && !inner.eager);
        inner.jobs.push(job);
        inner.eager |= eager;
        drop(inner);
        if wakes {
            self.wake.notify_one();
        }
        None
    }

    /// Waits for writes and swaps all of them into `jobs`, which is empty. Lazy writes alone are
    /// held back for `lazy_delay`. Returns false when the queue is closed and empty.
    pub(crate) async fn take(&self, jobs: &mut Vec<Job>, lazy_delay: Duration) -> bool {
        let mut deadline = None;
        loop {
            {
                let mut inner = lock(&self.inner);
                let due = deadline.is_some_and(|deadline| Instant::now() >= deadline);
                if !inner.jobs.is_empty() && (inner.eager || inner.closed || due) {
                    inner.eager = false;
                    std::mem::swap(&mut inner.jobs, jobs);
                    return true;
                }
                if inner.jobs.is_empty() && inner.closed {
                    return false;
                }
                if !inner.jobs.is_empty() && deadline.is_none() {
                    deadline = Some(Instant::now() + lazy_delay);
                }
            }
            let woken = self.wake.notified();
            match deadline {
                // Too late means that they are due.
                Some(deadline) => _ = tokio::time::timeout_at(deadline, woken).await,
                None => woken.await,
            }
        }
    }

    /// Takes no more writes; what is queued is still taken.
    pub(crate) fn close(&self) {
        lock(&self.inner).closed = true;
        self.wake.notify_one();
    }
}
