//! What this node knows of its own lease.
//!
//! The database's clock decides when a lease ends. The node goes by the time that has passed since
//! it sent its last renewal: the answer came later, so the database's view ends later. Steps start
//! until nine tenths of the lease have passed, which leaves a tenth for clocks of different rates.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::clock::boot_time;
use super::lock;
use crate::Error;
use crate::leases::{Incarnation, Owner};

#[derive(Clone, Debug)]
struct Held {
    owner: Owner,
    /// When the last renewal that was answered was sent.
    sent: Duration,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Lease {
    node: Arc<str>,
    ttl: Duration,
    held: Mutex<Option<Held>>,
    /// Why the last one was lost.
    lost: Mutex<Option<Arc<str>>>,
}

impl Lease {
    /// No lease yet.
    pub(crate) fn new(node: &str, ttl: Duration) -> Self {
        Self {
            node: node.into(),
            ttl,
            held: Mutex::new(None),
            lost: Mutex::new(None),
        }
    }

    /// The node's name.
    pub(crate) fn node(&self) -> &Arc<str> {
        &self.node
    }

    /// How long a lease lives.
    pub(crate) fn ttl(&self) -> Duration {
        self.ttl
    }

    /// As whom a lease is held.
    pub(crate) fn owner(&self) -> Option<Owner> {
        lock(&self.held).as_ref().map(|held| held.owner.clone())
    }

    /// As whom a lease is held, as the database writes it.
    pub(crate) fn incarnation(&self) -> Option<i64> {
        let held = lock(&self.held);
        held.as_ref()
            .map(|held| super::types::big(held.owner.incarnation.0))
    }

    /// A lease was granted to a request sent at `sent`.
    pub(crate) fn granted(&self, incarnation: Incarnation, sent: Duration) -> Owner {
        let owner = Owner {
            node: Arc::clone(&self.node),
            incarnation,
        };
        *lock(&self.held) = Some(Held {
            owner: owner.clone(),
            sent,
        });
        owner
    }

    /// It was renewed by a request sent at `sent`.
    pub(crate) fn renewed(&self, incarnation: Incarnation, sent: Duration) {
        if let Some(held) = &mut *lock(&self.held)
            && held.owner.incarnation == incarnation
        {
            held.sent = held.sent.max(sent);
        }
    }

    /// For how long from now steps may start.
    pub(crate) fn left(&self) -> Duration {
        let safe = self.ttl - self.ttl / 10;
        let held = lock(&self.held);
        held.as_ref().map_or(Duration::ZERO, |held| {
            (held.sent + safe).saturating_sub(boot_time())
        })
    }

    /// Whether a lease is held that may have run out by the database's clock, or none is held.
    pub(crate) fn is_over(&self) -> bool {
        let held = lock(&self.held);
        held.as_ref()
            .is_none_or(|held| boot_time() >= held.sent + self.ttl)
    }

    /// The lease is lost, if it is still that one; what a caller gets who needs it.
    pub(crate) fn lose(&self, incarnation: Incarnation, reason: &str) -> Error {
        let reason: Arc<str> = reason.into();
        let mut held = lock(&self.held);
        let is_it = held
            .as_ref()
            .is_some_and(|held| held.owner.incarnation == incarnation);
        if is_it {
            *held = None;
            drop(held);
            tracing::warn!(node = %self.node, %incarnation, %reason, "lost the lease");
            *lock(&self.lost) = Some(Arc::clone(&reason));
        }
        Error::LeaseLost {
            node: Arc::clone(&self.node),
            reason,
        }
    }

    /// The lease that has run out without an answer is lost.
    pub(crate) fn lose_if_over(&self, detail: &str) -> bool {
        let over = self.is_over();
        if let (true, Some(owner)) = (over, self.owner()) {
            let ttl = self.ttl;
            self.lose(
                owner.incarnation,
                &format!("it was not renewed within {ttl:?}: {detail}"),
            );
        }
        over
    }

    /// It is given back: nobody is told of a loss.
    pub(crate) fn give_back(&self) -> Option<Owner> {
        lock(&self.held).take().map(|held| held.owner)
    }

    /// What a renewal without a lease gets.
    pub(crate) fn none(&self) -> Error {
        let lost = lock(&self.lost).clone();
        Error::LeaseLost {
            node: Arc::clone(&self.node),
            reason: lost.unwrap_or_else(|| "it holds none".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_may_start_for_nine_tenths_of_what_was_granted() {
        let lease = Lease::new("a", Duration::from_secs(10));
        assert_eq!(lease.left(), Duration::ZERO);
        assert!(lease.is_over());
        lease.granted(Incarnation(1), boot_time());
        let left = lease.left();
        assert!(left <= Duration::from_secs(9) && left > Duration::from_secs(8));
        lease.granted(
            Incarnation(2),
            boot_time().saturating_sub(Duration::from_secs(9)),
        );
        assert_eq!(lease.left(), Duration::ZERO);
        assert!(!lease.is_over(), "the database may still think so");
        // A renewal that was answered late counts from when it was sent.
        lease.renewed(Incarnation(1), boot_time());
        assert_eq!(lease.left(), Duration::ZERO, "it was another lease");
        lease.renewed(Incarnation(2), boot_time());
        assert!(lease.left() > Duration::from_secs(8));
    }

    #[test]
    fn a_loss_is_of_the_lease_that_is_held_and_its_reason_is_remembered() {
        let lease = Lease::new("a", Duration::from_secs(10));
        let reason = || lease.none().to_string();
        assert!(reason().ends_with("it holds none"), "{}", reason());
        lease.granted(Incarnation(7), boot_time());
        lease.lose(Incarnation(6), "an older one");
        assert!(lease.owner().is_some());
        lease.lose(Incarnation(7), "gone");
        assert!(lease.owner().is_none());
        assert!(reason().ends_with("gone"), "{}", reason());
        lease.granted(Incarnation(8), boot_time());
        lease.lose(Incarnation(8), "again");
        assert!(reason().ends_with("again"), "{}", reason());
    }
}
