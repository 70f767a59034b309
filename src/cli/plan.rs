//! `crane plan`: the checks of a plan as data, and its drawing. Neither needs a data directory.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use crane_core::plan::graph;
use serde_json::json;

use super::failure::{Failure, USAGE};
use super::{ConfigFile, Shape, request};
use crate::output::{self, counted};

/// Check and draw plans
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Say everything that is wrong with a plan
    Check(Check),
    /// Draw a plan
    Graph(Graph),
}

#[derive(Debug, Args)]
pub(super) struct Check {
    /// Plan file, YAML or JSON (`-` for standard input)
    #[arg(value_name = "PLAN")]
    plan: PathBuf,

    /// How to print the findings
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    output: Shape,

    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Debug, Args)]
pub(super) struct Graph {
    /// Plan file, YAML or JSON (`-` for standard input)
    #[arg(value_name = "PLAN")]
    plan: PathBuf,

    /// In which language to draw
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    format: Drawing,

    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Drawing {
    /// For terminals: layers, and what each step waits for
    #[default]
    Text,
    /// For Markdown
    Mermaid,
    /// For Graphviz
    Dot,
}

/// See the module.
pub(super) fn run(command: &Command) -> Result<u8, Failure> {
    match command {
        Command::Check(arguments) => check(arguments),
        Command::Graph(arguments) => draw(arguments),
    }
}

fn check(arguments: &Check) -> Result<u8, Failure> {
    let config = arguments.config.load()?;
    match arguments.output {
        Shape::Text => {
            let (document, plan) = request::read_plan(&arguments.plan, &config)?;
            let (file, steps) = (document.file, counted(plan.steps.len(), "step"));
            output::print(&format!("{file} is valid, {steps}"))?;
            Ok(0)
        }
        Shape::Json => {
            let document = request::read_document(&arguments.plan, &config.limits)?;
            let (steps, findings) = match request::check_plan(&document, &config)? {
                Ok(plan) => (Some(plan.steps.len()), Vec::new()),
                Err(findings) => (None, findings),
            };
            output::print_json(&json!({
                "valid": findings.is_empty(),
                "steps": steps,
                "errors": findings,
            }))?;
            Ok(if findings.is_empty() { 0 } else { USAGE })
        }
    }
}

fn draw(arguments: &Graph) -> Result<u8, Failure> {
    let config = arguments.config.load()?;
    let (_, plan) = request::read_plan(&arguments.plan, &config)?;
    output::print(&match arguments.format {
        Drawing::Text => graph::text(&plan),
        Drawing::Mermaid => graph::mermaid(&plan),
        Drawing::Dot => graph::dot(&plan),
    })?;
    Ok(0)
}
