//! `crane completions`: a script that teaches a shell the command line.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use super::failure::Failure;
use crate::output;

/// Print a completion script for a shell
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// See the module.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let mut script = Vec::new();
    // Into memory first: the generator panics when its output cannot be written.
    clap_complete::generate(arguments.shell, &mut Cli::command(), "crane", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(0)
}
