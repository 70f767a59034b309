//! The command line: what a user may type, and the exit codes.
//!
//! ```text
//!   arguments ──> Cli ──> a command's module ──> exit code
//!                              └── session: open the node, work, close it
//! ```
//!
//! | code | means |
//! |---|---|
//! | 0 | done; for a run: completed |
//! | 1 | could not be done; for a run: failed or cancelled |
//! | 2 | wrong usage, or a plan, input or prompt that is not valid |
//! | 70 | the store failed under way; what was acknowledged is durable, start again to go on |
//! | 130 | interrupted; what was accepted can be resumed |

mod bench;
mod check;
mod cluster;
mod completions;
mod config;
mod failure;
mod health;
mod interrupt;
mod place;
mod plan;
mod remote;
mod request;
mod run;
mod runs;
mod serve;
mod session;
mod tools;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::telemetry::DEFAULT_FILTER;
use crate::{output, telemetry};
use failure::Failure;
use place::{ConfigFile, Data};

/// Version and commit.
const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (commit ",
    env!("CRANE_COMMIT"),
    ")"
);

/// The variable that is as good as `--log`.
const LOG_VARIABLE: &str = "CRANE_LOG";

/// A durable runtime for AI-agent runs.
///
/// A run is a plan, a DAG of tool calls. It is carried out in parallel, every step of the way is
/// durable, and after a crash it goes on where it was.
#[derive(Debug, Parser)]
#[command(name = "crane", version = VERSION, propagate_version = true)]
#[command(subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    /// What to log to standard error, such as `info,crane_actors=debug` [default: warnings]
    #[arg(long, global = true, env = LOG_VARIABLE, value_name = "FILTER")]
    log: Option<String>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a node: HTTP API and metrics
    Serve(serve::Arguments),
    /// Execute a plan or a prompt, with a live view, and print its result
    Run(run::Arguments),
    /// List, show and change runs
    #[command(subcommand)]
    Runs(runs::Command),
    /// List, show and try tools, and force their breakers
    #[command(subcommand)]
    Tools(tools::Command),
    /// Look at a cluster of nodes
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// Change single nodes of a cluster
    #[command(subcommand)]
    Node(cluster::NodeCommand),
    /// Check and draw plans
    #[command(subcommand)]
    Plan(plan::Command),
    /// Verify everything that is stored
    Check(check::Arguments),
    /// Check and show the configuration, make tokens
    #[command(subcommand)]
    Config(config::Command),
    /// Ask whether a node should be given work
    Health(health::Arguments),
    /// Measure throughput and latency, in process or of a server
    Bench(bench::Arguments),
    /// Print a completion script for a shell
    Completions(completions::Arguments),
}

/// How a list is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
    /// Identifiers alone, one a line
    Ids,
}

/// How one thing is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Shape {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// What is printed as JSON, as the text that a server sends.
fn raw<T: Serialize>(value: &T) -> Result<Box<RawValue>, Failure> {
    Ok(to_raw_value(value).map_err(std::io::Error::from)?)
}

/// Carries out a command line (the program's name first) and says how it went.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output, and a reader who has gone is no error.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1));
        }
    };
    // A variable that is set to nothing is none.
    cli.log = cli.log.filter(|filter| !filter.is_empty());
    if let Err(error) = start_logging(&cli) {
        let origin = place::log_origin(cli.log.as_deref().unwrap_or_default());
        output::note(&format!("error: {origin}: {error}"));
        return ExitCode::from(failure::USAGE);
    }
    match carry_out(cli) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            if let Some(message) = failure.message() {
                output::note(&message);
            }
            ExitCode::from(failure.code())
        }
    }
}

/// A server logs as its configuration says, which is read later.
fn start_logging(cli: &Cli) -> Result<(), telemetry::Error> {
    let default = match cli.command {
        Command::Serve(_) => return Ok(()),
        // The filter that is asked for is one of its settings.
        Command::Config(_) => return telemetry::start(DEFAULT_FILTER, telemetry::Format::Auto),
        // Who forces a breaker need not be warned that it changed.
        Command::Tools(_) => "error",
        _ => DEFAULT_FILTER,
    };
    let filter = cli.log.as_deref().unwrap_or(default);
    telemetry::start(filter, telemetry::Format::Auto)
}

fn carry_out(cli: Cli) -> Result<u8, Failure> {
    match cli.command {
        Command::Serve(arguments) => block_on(serve::run(arguments, cli.log)),
        Command::Run(arguments) => block_on(run::run(arguments)),
        Command::Runs(command) => block_on(runs::run(command)),
        Command::Tools(command) => block_on(tools::run(command)),
        Command::Cluster(command) => block_on(cluster::run(command)),
        Command::Node(command) => block_on(cluster::run_node(command)),
        Command::Plan(command) => plan::run(&command),
        Command::Config(command) => config::run(&command, cli.log.as_deref()),
        Command::Health(arguments) => block_on_one_thread(health::run(arguments)),
        Command::Check(arguments) => block_on_one_thread(check::run(arguments)),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
    }
}

/// Runs a command that needs a node.
fn block_on(command: impl Future<Output = Result<u8, Failure>>) -> Result<u8, Failure> {
    run_on(&mut tokio::runtime::Builder::new_multi_thread(), command)
}

/// Runs a command on this thread alone.
fn block_on_one_thread(command: impl Future<Output = Result<u8, Failure>>) -> Result<u8, Failure> {
    run_on(&mut tokio::runtime::Builder::new_current_thread(), command)
}

fn run_on(
    threads: &mut tokio::runtime::Builder,
    command: impl Future<Output = Result<u8, Failure>>,
) -> Result<u8, Failure> {
    let runtime = threads
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("no threads from the system: {error}")))?;
    let outcome = runtime.block_on(command);
    // A tool that is stuck in a blocking call must not keep the process from ending.
    runtime.shutdown_background();
    outcome
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
