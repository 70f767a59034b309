//! The binary: command line, wiring, telemetry, bench.
//!
//! ```text
//!   cli ──> session ──> Node (store + tools + planner + supervision tree) ──> Runtime
//!    ├───> client ──> the API of another process
//!    │         └── live view: follows the events of a run, of either
//!    ├── plan_file: files to JSON, findings to lines
//!    └── output: the only writer of standard output and standard error
//! ```
//!
//! No rule of the domain lives here: what a plan may say, when a step is retried, what is durable
//! is decided in the crates below.

pub mod api;
pub mod bench;
pub mod cli;
pub mod client;
pub mod cluster;
pub mod config;
pub mod life;
pub mod live;
pub mod metrics;
pub mod node;
pub mod output;
pub mod plan_file;
mod render;
pub mod route;
pub mod server;
pub mod telemetry;
pub mod token;
pub mod tool_view;
