//! The timers of a shard's runs: absolute times in UTC, one alarm for the earliest.

use std::collections::{BTreeSet, HashMap};

use super::ShardMsg;
use crate::clock::Clock;
use crate::mailbox::{Mail, Mailbox};
use crane_core::{RunId, Timestamp};

/// At most one timer a run.
#[derive(Debug, Default)]
pub(super) struct Timers {
    by_time: BTreeSet<(Timestamp, RunId)>,
    by_run: HashMap<RunId, Timestamp>,
    alarm: Option<(Timestamp, tokio::task::AbortHandle)>,
}

impl Timers {
    pub(super) fn set(&mut self, run: RunId, at: Timestamp) {
        self.clear(run);
        self.by_time.insert((at, run));
        self.by_run.insert(run, at);
    }

    pub(super) fn clear(&mut self, run: RunId) {
        if let Some(at) = self.by_run.remove(&run) {
            self.by_time.remove(&(at, run));
        }
    }

    /// Forgets the timers of all runs of which `leaves` says so. The alarm may ring for nothing.
    pub(super) fn clear_all(&mut self, leaves: impl Fn(RunId) -> bool) {
        let by_time = &mut self.by_time;
        self.by_run.retain(|run, at| {
            let leaves = leaves(*run);
            if leaves {
                by_time.remove(&(*at, *run));
            }
            !leaves
        });
    }

    pub(super) fn contains(&self, run: RunId) -> bool {
        self.by_run.contains_key(&run)
    }

    /// Takes out the runs whose time has come.
    pub(super) fn due(&mut self, now: Timestamp) -> Vec<RunId> {
        let mut due = Vec::new();
        while let Some((at, run)) = self.by_time.first().copied() {
            if at > now {
                break;
            }
            self.clear(run);
            due.push(run);
        }
        self.alarm = None;
        due
    }

    /// Sets the alarm to the earliest timer. The time of day may jump, so that whoever is alarmed
    /// looks at the clock again.
    pub(super) fn arm(&mut self, me: &Mailbox<ShardMsg>, clock: &Clock) {
        let Some((at, _)) = self.by_time.first().copied() else {
            return;
        };
        if let Some((armed, alarm)) = &self.alarm {
            if *armed <= at {
                return;
            }
            alarm.abort();
        }
        // A millisecond more than needed, so that the timer is due when the alarm rings.
        let delay = at.since(clock.now()) + std::time::Duration::from_millis(1);
        let timer = me
            .actor()
            .send_after(delay, || Mail::uncounted(ShardMsg::TimersDue));
        self.alarm = Some((at, timer.abort_handle()));
    }
}
