//! Durable runs that wait for a slot: by rank, then in the order in which they came.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crane_core::RunId;

use crate::kernel::Kernel;

/// A place among the accepted runs that may wait for a slot ([`crane_core::Limits::pending_runs`]);
/// given back when dropped.
pub(crate) struct Place(Arc<Kernel>);

impl Place {
    /// Takes a place however many are taken: for a run that is there anyway.
    pub(crate) fn take(kernel: &Arc<Kernel>) -> Self {
        kernel.pending.fetch_add(1, Ordering::AcqRel);
        Self(kernel.clone())
    }

    /// Takes a place if there is one.
    pub(crate) fn try_take(kernel: &Arc<Kernel>) -> Option<Self> {
        let taken = kernel.pending.fetch_add(1, Ordering::AcqRel);
        let place = Self(kernel.clone());
        (taken < kernel.limits.pending_runs).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Ordering::AcqRel);
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Place")
    }
}

/// Who comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// It was under way on the node that has just handed it over.
    Hot,
    /// It had begun before a crash or a takeover.
    UnderWay,
    /// Any other.
    Usual,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Queue {
    order: BTreeMap<(Rank, u64), RunId>,
    members: HashMap<RunId, Member>,
    /// How many ever came.
    count: u64,
}

#[derive(Debug)]
struct Member {
    key: (Rank, u64),
    /// Woken runs wait without having one.
    _place: Option<Place>,
}

impl Queue {
    /// Adds a run; one that waits already keeps its turn.
    pub(super) fn push(&mut self, run: RunId, rank: Rank, place: Option<Place>) {
        if self.members.contains_key(&run) {
            return;
        }
        let key = (rank, self.count);
        self.count += 1;
        self.order.insert(key, run);
        let member = Member { key, _place: place };
        self.members.insert(run, member);
    }

    /// Takes out the run whose turn it is.
    pub(super) fn pop(&mut self) -> Option<RunId> {
        let (_, run) = self.order.pop_first()?;
        self.members.remove(&run);
        Some(run)
    }

    /// Takes a run out, wherever it is.
    pub(super) fn remove(&mut self, run: RunId) {
        if let Some(member) = self.members.remove(&run) {
            self.order.remove(&member.key);
        }
    }

    /// Takes out every run of which `leaves` says so, and gives those of them that had begun.
    pub(super) fn remove_all(&mut self, leaves: impl Fn(RunId) -> bool) -> Vec<RunId> {
        let mut hot = Vec::new();
        let members = &mut self.members;
        self.order.retain(|(rank, _), run| {
            let leaves = leaves(*run);
            if leaves {
                members.remove(run);
                if *rank < Rank::Usual {
                    hot.push(*run);
                }
            }
            !leaves
        });
        hot
    }

    pub(super) fn contains(&self, run: RunId) -> bool {
        self.members.contains_key(&run)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: u8) -> RunId {
        RunId::from_time(u64::from(number), [number; 10])
    }

    #[test]
    fn hot_runs_come_first_and_each_run_once() {
        let mut queue = Queue::default();
        queue.push(run(1), Rank::Usual, None);
        queue.push(run(2), Rank::Usual, None);
        queue.push(run(3), Rank::Hot, None);
        queue.push(run(4), Rank::UnderWay, None);
        queue.push(run(3), Rank::Usual, None);
        queue.push(run(1), Rank::Usual, None);
        queue.remove(run(2));
        assert!(!queue.contains(run(2)));
        assert_eq!(queue.len(), 3);
        assert_eq!(queue.pop(), Some(run(3)));
        assert_eq!(queue.pop(), Some(run(4)));
        assert_eq!(queue.pop(), Some(run(1)));
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn all_that_leave_are_gone_and_those_that_had_begun_are_named() {
        let mut queue = Queue::default();
        queue.push(run(1), Rank::Usual, None);
        queue.push(run(2), Rank::Hot, None);
        queue.push(run(3), Rank::Hot, None);
        queue.push(run(4), Rank::UnderWay, None);
        assert_eq!(queue.remove_all(|id| id != run(3)), [run(2), run(4)]);
        assert_eq!(queue.pop(), Some(run(3)));
        assert!(queue.is_empty() && queue.members.is_empty());
    }
}
