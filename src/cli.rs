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
mod completions;
mod failure;
mod interrupt;
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
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::{output, telemetry};
use failure::Failure;

/// Version and commit.
const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (commit ",
    env!("CRANE_COMMIT"),
    ")"
);

/// A durable runtime for AI-agent runs.
///
/// A run is a plan, a DAG of tool calls. It is carried out in parallel, every step of the way is
/// durable, and after a crash it goes on where it was.
#[derive(Debug, Parser)]
#[command(name = "crane", version = VERSION, propagate_version = true)]
#[command(subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    /// What to log to standard error, such as `info,crane_actors=debug` [default: warnings]
    #[arg(long, global = true, env = "CRANE_LOG", value_name = "FILTER")]
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
    /// Check and draw plans
    #[command(subcommand)]
    Plan(plan::Command),
    /// Verify everything that is stored
    Check(check::Arguments),
    /// Measure throughput and latency, in process or of a server
    Bench(bench::Arguments),
    /// Print a completion script for a shell
    Completions(completions::Arguments),
}

/// Where the runs are.
#[derive(Clone, Debug, Args)]
struct Data {
    /// Directory that holds the runs [default: ./crane-data]
    #[arg(long = "data", value_name = "DIR")]
    path: Option<PathBuf>,
}

/// Where runs are kept unless told otherwise.
const DEFAULT_DATA: &str = "./crane-data";

impl Data {
    /// A directory that a command has chosen by itself.
    fn at(path: PathBuf) -> Self {
        Self { path: Some(path) }
    }

    /// The directory.
    fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new(DEFAULT_DATA))
    }

    /// Whether it was named.
    fn is_given(&self) -> bool {
        self.path.is_some()
    }

    /// The option as it has to be repeated in a command that goes on with the same data.
    fn option(&self) -> String {
        match &self.path {
            Some(path) => format!(" --data {}", quoted(path)),
            None => String::new(),
        }
    }
}

/// As a shell reads it.
fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:,@%".contains(c);
    if !path.is_empty() && path.chars().all(is_plain) {
        path
    } else {
        format!("'{}'", path.replace('\'', "'\\''"))
    }
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
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output, and a reader who has gone is no error.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1));
        }
    };
    let filter = cli.log.as_deref().unwrap_or(match cli.command {
        // Who forces a breaker need not be warned that it changed.
        Command::Tools(_) => "error",
        _ => telemetry::DEFAULT_FILTER,
    });
    if let Err(message) = telemetry::start(filter) {
        output::note(&format!("error: {message}"));
        return ExitCode::from(failure::USAGE);
    }
    match carry_out(cli.command) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            if let Some(message) = failure.message() {
                output::note(&message);
            }
            ExitCode::from(failure.code())
        }
    }
}

fn carry_out(command: Command) -> Result<u8, Failure> {
    match command {
        Command::Serve(arguments) => block_on(serve::run(arguments)),
        Command::Run(arguments) => block_on(run::run(arguments)),
        Command::Runs(command) => block_on(runs::run(command)),
        Command::Tools(command) => block_on(tools::run(command)),
        Command::Plan(command) => plan::run(&command),
        Command::Check(arguments) => check::run(&arguments),
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

    #[test]
    fn the_data_option_is_repeated_only_when_needed_and_quoted_when_needed() {
        let option = |path: &str| Data::at(path.into()).option();
        assert_eq!(Data { path: None }.option(), "");
        assert_eq!(option("/var/lib/crane"), " --data /var/lib/crane");
        assert_eq!(option("it's here"), " --data 'it'\\''s here'");
    }
}
