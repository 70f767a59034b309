//! The order of creation, also when the clock steps back or two todos share a microsecond.
//!
//! A place is the time in microseconds, or the last place plus one where that is greater (a
//! hybrid logical clock: Kulkarni et al., "Logical Physical Clocks", 2014). So places only grow on
//! one node, over restarts too, and stay comparable between nodes.

use crane_core::Timestamp;
use crane_core::tool::ToolError;
use crane_store::RunStore;
use tokio::sync::Mutex;

/// As far as a place may run ahead of the clock and still be taken for the time of creation, so
/// that times follow the order; beyond it the clock was set back, and the clock is believed.
const DRIFT_US: i64 = 1_000_000;

/// Hands out places.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// The last place, once the stored ones were looked at.
    last: Mutex<Option<i64>>,
}

impl Order {
    /// The next place, and the time of creation that goes with it.
    pub(super) async fn next(
        &self,
        store: &dyn RunStore,
        now: Timestamp,
    ) -> Result<(i64, Timestamp), ToolError> {
        let mut last = self.last.lock().await;
        let before = match *last {
            Some(place) => place,
            None => {
                let todos = super::all(store).await?;
                todos.iter().map(|todo| todo.order).max().unwrap_or(0)
            }
        };
        let place = now.0.max(before.saturating_add(1));
        *last = Some(place);
        let drift = place.saturating_sub(now.0);
        let created_at = if drift <= DRIFT_US {
            Timestamp(place)
        } else {
            now
        };
        Ok((place, created_at))
    }
}
