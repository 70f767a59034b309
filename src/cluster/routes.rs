//! The shard table as requests use it: what ownership has read, and what other nodes have said since.

use std::sync::{PoisonError, RwLock};

use crane_cluster::Owner;
use crane_cluster::ownership::words::Row;
use crane_core::{Epoch, ShardId};

/// See the module. What is known of a shard never goes back to an earlier epoch.
#[derive(Debug, Default)]
pub(super) struct Routes(RwLock<Vec<Row>>);

impl Routes {
    /// The row of a shard; `None` before the table was read.
    pub(super) fn row(&self, shard: ShardId) -> Option<Row> {
        let rows = self.0.read().unwrap_or_else(PoisonError::into_inner);
        rows.get(usize::from(shard.0)).cloned()
    }

    /// All rows, by shard.
    pub(super) fn rows(&self) -> Vec<Row> {
        let rows = self.0.read().unwrap_or_else(PoisonError::into_inner);
        rows.clone()
    }

    /// Takes in a reading of the table; whether anything changed.
    pub(super) fn merge(&self, read: &[Row]) -> bool {
        let mut rows = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if rows.len() != read.len() {
            *rows = read.to_vec();
            return true;
        }
        let mut changed = false;
        for (row, read) in rows.iter_mut().zip(read) {
            // In the same epoch the table knows best.
            if row.epoch <= read.epoch && row != read {
                row.clone_from(read);
                changed = true;
            }
        }
        changed
    }

    /// Takes in what another node has said; whether it is news.
    pub(super) fn learn(&self, shard: ShardId, owner: Option<Owner>, epoch: Epoch) -> bool {
        let mut rows = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match rows.get_mut(usize::from(shard.0)) {
            Some(row) if row.epoch < epoch => {
                *row = Row { owner, epoch };
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use crane_core::{Generation, NodeName};

    use super::*;

    fn owner(name: &str) -> Option<Owner> {
        Some(Owner {
            node: NodeName::new(name),
            generation: Generation(1),
        })
    }

    fn row(name: &str, epoch: u64) -> Row {
        Row {
            owner: owner(name),
            epoch: Epoch(epoch),
        }
    }

    #[test]
    fn what_is_known_of_a_shard_never_goes_back() {
        let routes = Routes::default();
        assert_eq!(routes.row(ShardId(0)), None);
        assert!(!routes.learn(ShardId(0), owner("a"), Epoch(9)));
        assert!(routes.merge(&[row("a", 2), row("b", 2)]));
        assert!(!routes.merge(&[row("a", 2), row("b", 2)]));
        assert!(!routes.learn(ShardId(0), owner("c"), Epoch(2)));
        assert!(routes.learn(ShardId(0), owner("c"), Epoch(3)));
        // A reading from before that.
        assert!(routes.merge(&[row("a", 2), row("c", 4)]));
        assert_eq!(routes.rows(), [row("c", 3), row("c", 4)]);
        assert!(routes.merge(&[row("d", 3), row("c", 4)]));
        assert_eq!(routes.row(ShardId(0)), Some(row("d", 3)));
    }
}
