//! The node as clients find it: they come in numbers, it is killed, and nothing may be missing.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "helpers of a test may panic like the test, its time is real, and it says what it did"
)]

mod checker;
mod clients;
mod history;
mod node;
mod soak;
mod subscribers;
mod wire;

use std::time::Duration;

/// What has not happened by then never will.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at something that is waited for.
const PAUSE: Duration = Duration::from_millis(5);
