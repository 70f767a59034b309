//! What the runtime and ownership tell each other: cheap, from any thread, and whether or not
//! ownership is being started again at the moment.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::Duration;

use crane_cluster::clock::boot_time;
use crane_cluster::ownership::driver::{Ownership, Standing};
use crane_cluster::ownership::words::{Elapsed, Event, Phase};
use crane_store::Fence;
use tokio::sync::watch;
use tokio::time::Instant;

/// See the module.
#[derive(Debug, Default)]
pub struct Link {
    /// Steps may start until then, in nanoseconds since the machine was started.
    until: AtomicU64,
    ownership: RwLock<Option<Ownership>>,
    /// Changes with each ownership that is started.
    started: watch::Sender<u64>,
    drain_by: OnceLock<Instant>,
}

impl Link {
    /// For how long from now steps may start.
    pub fn left(&self) -> Duration {
        let until = Duration::from_nanos(self.until.load(Ordering::Acquire));
        until.saturating_sub(boot_time().0)
    }

    /// Steps may start until `until`, and not later.
    pub fn lease_until(&self, until: Elapsed) {
        let nanos = u64::try_from(until.0.as_nanos()).unwrap_or(u64::MAX);
        self.until.store(nanos, Ordering::Release);
    }

    /// A write was refused: somebody else owns the shard.
    pub fn fenced(&self, fence: Fence) {
        let Fence { shard, epoch } = fence;
        self.tell(Event::Fenced { shard, epoch });
    }

    /// The journal wrote something, or failed to; the runtime bounds how often it says so.
    pub fn wrote(&self, ok: bool) {
        self.tell(Event::JournalWrite { ok });
    }

    /// Tells ownership, if there is any.
    pub(super) fn tell(&self, event: Event) {
        if let Some(ownership) = self.ownership() {
            ownership.tell(event);
        }
    }

    pub(super) fn ownership(&self) -> Option<Ownership> {
        let ownership = self.ownership.read();
        ownership.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn connect(&self, ownership: Ownership) {
        let mut slot = self
            .ownership
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *slot = Some(ownership);
        drop(slot);
        self.started.send_modify(|started| *started += 1);
    }

    pub(super) fn standing(&self) -> Option<Standing> {
        let standing = self.ownership()?.standing();
        Some(standing.borrow().clone())
    }

    /// Waits until the node is in `phase`, over restarts of ownership; at once when there is none.
    pub(super) async fn reached(&self, phase: Phase) {
        let mut started = self.started.subscribe();
        loop {
            // Before it looks, so that one that is started in between is not missed.
            started.mark_unchanged();
            let Some(ownership) = self.ownership() else {
                return;
            };
            let mut standing = ownership.standing();
            tokio::select! {
                reached = standing.wait_for(|standing| standing.phase == phase) => {
                    if reached.is_ok() {
                        return;
                    }
                    // That one has ended without it; the next one is told to drain as well.
                    let _ = started.changed().await;
                }
                _ = started.changed() => {}
            }
        }
    }

    /// Whatever is closed from now on is closed by `deadline`.
    pub(super) fn drain_by(&self, deadline: Instant) {
        let _ = self.drain_by.set(deadline);
    }

    /// Whether the node is on its way out.
    pub(super) fn is_draining(&self) -> bool {
        self.drain_by.get().is_some()
    }

    /// How long running steps may go on in a shard that is closed now, of `usual`.
    pub fn grace(&self, usual: Duration) -> Duration {
        match self.drain_by.get() {
            Some(deadline) => deadline
                .saturating_duration_since(Instant::now())
                .min(usual),
            None => usual,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_may_start_until_the_lease_ends() {
        let link = Link::default();
        assert_eq!(link.left(), Duration::ZERO);
        link.lease_until(boot_time().after(Duration::from_secs(60)));
        assert!(link.left() > Duration::from_secs(50));
        link.lease_until(Elapsed(Duration::from_nanos(1)));
        assert_eq!(link.left(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn closing_ends_with_the_drain() {
        let link = Link::default();
        let usual = Duration::from_secs(20);
        assert_eq!(link.grace(usual), usual);
        link.drain_by(Instant::now() + Duration::from_secs(5));
        assert!(link.is_draining());
        assert_eq!(link.grace(usual), Duration::from_secs(5));
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(link.grace(usual), Duration::ZERO);
        link.drain_by(Instant::now() + Duration::from_secs(5));
        assert_eq!(link.grace(usual), Duration::ZERO, "the first one counts");
    }
}
