//! `crane tools`: what steps can call, a try outside any run, and the breakers.

use clap::{Args, Subcommand};
use crane_actors::runtime::ToolView;
use crane_core::breaker::Mode;
use serde_json::Value;

use super::failure::{FAILED, Failure};
use super::{Data, Format, Shape, session};
use crate::config::Config;
use crate::node::{self, Node};
use crate::output::{self, Table};
use crate::tool_view;

/// List, show and try tools, and force their breakers
#[derive(Debug, Subcommand)]
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
    data: Data,
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
    data: Data,
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
    data: Data,
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
    data: Data,
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

/// The tools as they stand in the data; without data, as they are on a new node.
async fn views(data: &Data) -> Result<Vec<ToolView>, Failure> {
    let look = async |node: &Node| Ok(node.runtime().tools());
    if data.find()?.node.data.exists() {
        session::with_node(data, look).await
    } else {
        session::without_data(data, look).await
    }
}

async fn list(arguments: List) -> Result<u8, Failure> {
    let tools = views(&arguments.data).await?;
    match arguments.output {
        Format::Table => {
            let mut table = Table::new(["TOOL", "BREAKER", "KIND", "TIMEOUT", "DESCRIPTION"]);
            for tool in &tools {
                table.row([
                    tool.spec.name.to_string(),
                    breaker(tool),
                    kind(tool),
                    output::duration(tool.spec.timeout),
                    tool.spec.description.clone(),
                ]);
            }
            output::print(&table.render())?;
        }
        Format::Json => {
            let views: Vec<_> = tools.iter().map(tool_view::tool).collect();
            output::print_json(&views)?;
        }
        Format::Ids => {
            let names: Vec<&str> = tools.iter().map(|tool| tool.spec.name.as_str()).collect();
            output::print(&names.join("\n"))?;
        }
    }
    Ok(0)
}

fn breaker(tool: &ToolView) -> String {
    let state = tool.breaker.state.as_str();
    match tool.breaker.mode {
        Mode::Auto => state.to_owned(),
        Mode::ForcedOpen | Mode::ForcedClosed => format!("{state} (forced)"),
    }
}

fn kind(tool: &ToolView) -> String {
    let state = if tool.spec.stateful {
        "stateful"
    } else {
        "pure"
    };
    if tool.spec.idempotent {
        state.to_owned()
    } else {
        format!("{state}, not idempotent")
    }
}

fn not_found(name: &str, tools: &[ToolView]) -> Failure {
    let names: Vec<&str> = tools.iter().map(|tool| tool.spec.name.as_str()).collect();
    let names = names.join(", ");
    Failure::failed(format!("tool not found: {name}; there are {names}"))
}

async fn show(arguments: Show) -> Result<u8, Failure> {
    let tools = views(&arguments.data).await?;
    let tool = tools
        .iter()
        .find(|tool| tool.spec.name.as_str() == arguments.name)
        .ok_or_else(|| not_found(&arguments.name, &tools))?;
    print_tool(tool, arguments.output)
}

fn print_tool(tool: &ToolView, shape: Shape) -> Result<u8, Failure> {
    match shape {
        Shape::Json => output::print_json(&tool_view::tool(tool))?,
        Shape::Text => output::print(&describe(tool))?,
    }
    Ok(0)
}

fn describe(tool: &ToolView) -> String {
    let spec = &tool.spec;
    let mut lines = vec![
        format!("tool         {}", spec.name),
        format!("description  {}", spec.description),
        format!("kind         {}", kind(tool)),
        format!("timeout      {}", output::duration(spec.timeout)),
        format!("concurrency  {}", spec.concurrency),
    ];
    if let Some(rate) = spec.rate_limit {
        lines.push(format!("rate limit   {rate}/s"));
    }
    lines.push(format!("breaker      {}", breaker(tool)));
    for transition in tool.breaker.transitions.iter().rev() {
        lines.push(format!(
            "             {} {} -> {}: {}",
            transition.at,
            transition.from.as_str(),
            transition.to.as_str(),
            transition.reason
        ));
    }
    lines.push("input".to_owned());
    let schema = serde_json::to_string_pretty(&spec.input_schema).unwrap_or_default();
    lines.extend(schema.lines().map(|line| format!("  {line}")));
    lines.join("\n")
}

async fn call(arguments: Call) -> Result<u8, Failure> {
    let Call {
        name, input, data, ..
    } = arguments;
    let config = data.find()?;
    let try_it = async |node: &Node| {
        let tried = node.runtime().try_tool(&name, input).await;
        tried.ok_or_else(|| not_found(&name, &node.runtime().tools()))
    };
    // Trying a calculator leaves no data directory behind.
    let needs_data = config.node.data.exists() || is_stateful(&name, &config)?;
    let tried = if needs_data {
        session::with_node(&data, try_it).await?
    } else {
        session::without_data(&data, try_it).await?
    };
    let code = if tried.result.is_ok() { 0 } else { FAILED };
    match (arguments.output, &tried.result) {
        (Shape::Json, _) => output::print_json(&tool_view::tried(tried))?,
        (Shape::Text, Ok(value)) => output::print_json(value)?,
        (Shape::Text, Err(error)) => {
            output::note(&format!("error: {}", error.message));
        }
    }
    Ok(code)
}

fn is_stateful(name: &str, config: &Config) -> Result<bool, Failure> {
    let catalog = node::catalog(config.tools.clone())?;
    let spec = catalog.specs().find(|spec| spec.name.as_str() == name);
    Ok(spec.is_some_and(|spec| spec.stateful))
}

async fn force(arguments: Force, mode: Mode) -> Result<u8, Failure> {
    let Force { name, data, output } = arguments;
    let tool = session::with_node(&data, async |node: &Node| {
        node.runtime().force_breaker(&name, mode);
        let tools = node.runtime().tools();
        let found = tools.iter().find(|tool| tool.spec.name.as_str() == name);
        found.cloned().ok_or_else(|| not_found(&name, &tools))
    })
    .await?;
    match output {
        Shape::Json => print_tool(&tool, output),
        Shape::Text => {
            output::print(&format!("breaker of {name} is {}", breaker(&tool)))?;
            Ok(0)
        }
    }
}
