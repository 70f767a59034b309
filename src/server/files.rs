//! How many files, and so connections, the system lets this process have open.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Files that are not connections of clients: the store's, those of the `http` tool, the streams.
const OTHERS: u64 = 512;

/// Raises the limit as far as the system allows and `connections` need, and gives how many
/// connections there can be.
pub(super) fn room_for(connections: usize) -> usize {
    let wanted = connections as u64 + OTHERS;
    let mut limit = getrlimit(Resource::Nofile);
    let present = limit.current.unwrap_or(u64::MAX);
    if present < wanted {
        let raised = wanted.min(limit.maximum.unwrap_or(u64::MAX));
        limit.current = Some(raised.max(present));
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::debug!(%error, "the limit of open files cannot be raised");
        }
    }
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    // Where there is not even room for the others, half is better than none.
    let room = allowed.saturating_sub(OTHERS).max(allowed / 2).max(1);
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if room < connections {
        tracing::warn!(
            connections,
            room,
            "the limit of open files allows fewer connections than api.max_connections"
        );
    }
    room.min(connections)
}
