//! `crane tools`: what steps can call, a try outside any run, and the breakers.
//!
//! A data directory and a server give the same JSON of a tool; what is printed for people is made of
//! that in `show`.

mod here;
mod remote;
mod show;

use clap::{Args, Subcommand};
use crane_core::breaker::Mode;
use serde_json::Value;
use serde_json::value::RawValue;

use super::failure::{FAILED, Failure};
use super::remote::{Found, Place};
use super::{Format, Shape};
use crate::output;

/// List, show and try tools, and force their breakers
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  crane tools list --server http://127.0.0.1:8080\n  \
    crane tools call calculator --input '{\"expression\": \"6 * 7\"}'\n  \
    crane tools open http --server http://127.0.0.1:8080"
)]
pub(super) enum Command {
    /// List the tools and where their breakers stand
    List(List),
    /// Show a tool: what it takes, its bounds, its breaker
    Show(Show),
    /// Call a tool once, outside any run
    Call(Call),
    /// Force a tool's breaker open: calls fail at once
    Open(Force),
    /// Force a tool's breaker closed: calls always go through
    Close(Force),
    /// Give a tool's breaker back to its own rules
    Reset(Force),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// How to print it
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    output: Format,

    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// The tool
    #[arg(value_name = "NAME")]
    name: String,

    /// How to print it
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    output: Shape,

    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Call {
    /// The tool
    #[arg(value_name = "NAME")]
    name: String,

    /// What it is given
    #[arg(long, value_name = "JSON", value_parser = json)]
    input: Value,

    /// `json` prints success, output, error and time; otherwise the output alone
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    output: Shape,

    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Force {
    /// The tool
    #[arg(value_name = "NAME")]
    name: String,

    /// How to print the tool's state
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    output: Shape,

    #[command(flatten)]
    place: Place,
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))
}

/// See the module.
pub(super) async fn run(command: Command) -> Result<u8, Failure> {
    match command {
        Command::List(arguments) => list(arguments).await,
        Command::Show(arguments) => show(arguments).await,
        Command::Call(arguments) => call(arguments).await,
        Command::Open(arguments) => force(arguments, Mode::ForcedOpen).await,
        Command::Close(arguments) => force(arguments, Mode::ForcedClosed).await,
        Command::Reset(arguments) => force(arguments, Mode::Auto).await,
    }
}

async fn list(arguments: List) -> Result<u8, Failure> {
    let tools = match arguments.place.find()? {
        Found::Data(data) => here::views(&data).await?,
        Found::Server(server) => remote::views(&server.client).await?,
    };
    match arguments.output {
        Format::Table => output::print(&show::list(&tools)?)?,
        Format::Json => output::print_json(&tools)?,
        Format::Ids => output::print(&show::names(&tools)?.join("\n"))?,
    }
    Ok(0)
}

async fn show(arguments: Show) -> Result<u8, Failure> {
    let name = &arguments.name;
    let tool = match arguments.place.find()? {
        Found::Data(data) => here::view(name, &data).await?,
        Found::Server(server) => remote::view(name, &server.client).await?,
    };
    print_tool(&tool, arguments.output)
}

fn print_tool(tool: &RawValue, shape: Shape) -> Result<u8, Failure> {
    match shape {
        Shape::Json => output::print_json(tool)?,
        Shape::Text => output::print(&show::describe(tool)?)?,
    }
    Ok(0)
}

fn not_found(name: &str, tools: &[Box<RawValue>]) -> Failure {
    match show::names(tools) {
        Ok(names) => {
            let names = names.join(", ");
            Failure::failed(format!("tool not found: {name}; there are {names}"))
        }
        Err(failure) => failure,
    }
}

async fn call(arguments: Call) -> Result<u8, Failure> {
    let Call {
        name,
        input,
        place,
        output: shape,
    } = arguments;
    let tried = match place.find()? {
        Found::Data(data) => here::call(&name, input, &data).await?,
        Found::Server(server) => remote::call(&name, &input, &server.client).await?,
    };
    match (shape, tried.success) {
        (Shape::Json, _) => output::print_json(&tried.json)?,
        (Shape::Text, true) => output::print_json(&tried.output)?,
        (Shape::Text, false) => {
            let error = tried.error.unwrap_or_default();
            output::note(&format!("error: {error}"));
        }
    }
    Ok(if tried.success { 0 } else { FAILED })
}

async fn force(arguments: Force, mode: Mode) -> Result<u8, Failure> {
    let Force {
        name,
        place,
        output: shape,
    } = arguments;
    let tool = match place.find()? {
        Found::Data(data) => here::force(&name, mode, &data).await?,
        Found::Server(server) => remote::force(&name, mode, &server.client).await?,
    };
    match shape {
        Shape::Json => print_tool(&tool, shape),
        Shape::Text => {
            let state = show::breaker(&tool)?;
            output::print(&format!("breaker of {name} is {state}"))?;
            Ok(0)
        }
    }
}
