//! What a service manager is told, if there is one: ready, stopping, still alive.
//!
//! Without `NOTIFY_SOCKET` in the environment nothing is said and nothing ticks.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};

/// The node listens and has restored its runs.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The node has begun to stop.
pub fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// How often the manager wants to hear of the node, if it does: half of what it waits.
pub fn watchdog_interval() -> Option<Duration> {
    let longest = sd_notify::watchdog_enabled()?;
    (!longest.is_zero()).then(|| longest / 2)
}

/// Tells the manager again and again that all is well, as long as `is_well` says so. Does not
/// return; without a watchdog it waits for ever.
pub async fn watch(is_well: impl AsyncFn() -> bool) {
    let Some(every) = watchdog_interval() else {
        return std::future::pending().await;
    };
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if is_well().await {
            tell(&[NotifyState::Watchdog]);
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}
