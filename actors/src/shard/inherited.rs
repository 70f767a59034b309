//! What the shards of a node find at its start, and who gets the slots.
//!
//! There may be more unfinished runs than slots. Each shard has a queue of its own, and the first
//! to start must not take all slots for runs that had only been accepted while runs that were under
//! way wait in another. So the slots are divided before any shard starts.

use std::cmp::Reverse;
use std::sync::Arc;

use crane_core::RunStatus;
use crane_store::Unfinished;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a shard takes up at its start.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    /// Unfinished runs, oldest first.
    pub(super) runs: Vec<Unfinished>,
    /// Slots that are set aside for the first of them.
    pub(super) slots: Option<OwnedSemaphorePermit>,
}

impl Inherited {
    /// Divides the free slots among the shards: runs that were under way come first, then the
    /// oldest, wherever they are.
    pub(crate) fn divide(shards: Vec<Vec<Unfinished>>, slots: &Arc<Semaphore>) -> Vec<Self> {
        let mut queue: Vec<_> = shards
            .iter()
            .enumerate()
            .flat_map(|(shard, runs)| runs.iter().map(move |run| (shard, run)))
            .filter(|(_, run)| !sleeps(run))
            .map(|(shard, run)| (Reverse(is_under_way(run)), run.summary.created_at, shard))
            .collect();
        queue.sort_unstable();
        let mut counts = vec![0_u32; shards.len()];
        for (_, _, shard) in queue.iter().take(slots.available_permits()) {
            counts[*shard] += 1;
        }
        let give = |(runs, count)| Self {
            runs,
            slots: slots.clone().try_acquire_many_owned(count).ok(),
        };
        shards.into_iter().zip(counts).map(give).collect()
    }
}

/// Whether nothing is to be done for the run but to wait for its timer.
pub(super) fn sleeps(run: &Unfinished) -> bool {
    run.summary.status == RunStatus::Waiting && run.summary.wake_at.is_some()
}

/// Whether the run had begun.
pub(super) fn is_under_way(run: &Unfinished) -> bool {
    run.summary.status != RunStatus::Pending
}

#[cfg(test)]
mod tests {
    use crane_core::{Round, RunId, Seq, Timestamp};
    use crane_store::Summary;

    use super::*;

    fn run(status: RunStatus, created_at: i64) -> Unfinished {
        Unfinished {
            run: RunId::from_bytes([7; 16]),
            summary: Summary {
                seq: Seq(1),
                status,
                round: Round(1),
                created_at: Timestamp(created_at),
                completed_at: None,
                wake_at: None,
            },
        }
    }

    fn granted(inherited: &[Inherited]) -> Vec<usize> {
        let count = |one: &Inherited| {
            one.slots
                .as_ref()
                .map_or(0, OwnedSemaphorePermit::num_permits)
        };
        inherited.iter().map(count).collect()
    }

    #[test]
    fn slots_go_to_runs_that_were_under_way_and_then_by_age() {
        use RunStatus::{Pending, Running};
        let slots = Arc::new(Semaphore::new(4));
        let first = (0..10).map(|at| run(Pending, at)).collect();
        let second = vec![run(Running, 50), run(Running, 60), run(Pending, 70)];
        let inherited = Inherited::divide(vec![first, second, Vec::new()], &slots);
        assert_eq!(granted(&inherited), [2, 2, 0]);
        assert_eq!(slots.available_permits(), 0);
    }

    #[test]
    fn more_slots_than_runs_leave_the_rest_free() {
        let slots = Arc::new(Semaphore::new(9));
        let mut sleeper = run(RunStatus::Waiting, 1);
        sleeper.summary.wake_at = Some(Timestamp(9_000));
        let runs = vec![run(RunStatus::Running, 2), sleeper];
        let inherited = Inherited::divide(vec![runs], &slots);
        assert_eq!(granted(&inherited), [1]);
        assert_eq!(slots.available_permits(), 8);
    }
}
