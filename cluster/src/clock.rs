//! Elapsed time as leases need it.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::ownership::words::Elapsed;

/// Time since the machine was started, in which it was suspended included: a lease runs on while
/// its holder sleeps. (`std::time::Instant` stands still then.)
pub fn boot_time() -> Elapsed {
    let now = clock_gettime(ClockId::Boottime);
    let nanos = u32::try_from(now.tv_nsec).unwrap_or(0);
    Elapsed(Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), nanos))
}
