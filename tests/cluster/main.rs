//! Several nodes, each a process in a network of its own, on one PostgreSQL: what users see while
//! nodes are killed, paused, cut off and restarted.
//!
//! ```text
//!   here ──── bridge ──┬── namespace: crane-1         clients (submit, retry, follow) ──> API
//!     │                ├── ...                         http tool of each step ──> effects
//!     │                └── namespace: crane-5         each effect: its key, its node, when
//!     └── PostgreSQL, the effects, the clients
//!
//!   Fleet (network, database, nodes) <── Nemesis: kill, pause, partition, loss, outage, strangers
//!                                   └── Load ── Observed ──> checker ──> what is wrong
//! ```
//!
//! The program is used as its users do: its command line, its configuration, its API. Nodes are
//! deployed as those of docker/compose.yaml, with docker/crane.toml as it is. As anybody but root, or
//! where `ip`, `iptables`, `setpriv` or PostgreSQL are missing, these tests say "skipped", and fail
//! when CRANE_REQUIRE_ALL=1 is set.
//!
//! * `CRANE_SOAK_ROUNDS=N`: N rounds of every nemesis.
//! * `CRANE_SEED=N`: the same choices again.
//! * `CRANE_BIN=FILE`: another program, such as one that was built for release.
//! * `CRANE_KEEP=1`: keeps the logs of the nodes, and says where.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests may panic, read the clock and their own switches, and say what they saw"
)]

mod checker;
mod clients;
mod database;
mod deployment;
mod effects;
mod figures;
mod fleet;
#[path = "../it/service/history.rs"]
mod history;
mod load;
mod nemesis;
mod network;
mod node;
#[path = "../../store/src/postgres/tests/programs.rs"]
mod programs;
mod restarts;
mod seeds;
mod soak;
mod strangers;
mod system;
mod wire;
