//! `crane runs`: what has run in a data directory or at a server, and changes to it.
//!
//! Both places give the same things to print: rows and JSON for lists, JSON for events, a run for
//! the rest. How they come by them is in `here` and in `remote`.

mod here;
mod remote;
mod show;

use clap::{Args, Subcommand};
use crane_core::{RunId, RunStatus};
use serde_json::Value;
use serde_json::value::RawValue;

use super::failure::{FAILED, Failure};
use super::remote::{Found, Place};
use super::{Format, Shape, request};
use crate::output;
use show::Row;

/// List, show and change runs
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  crane runs list --status failed --label team=red\n  \
    crane runs show ID --server http://127.0.0.1:8080\n  \
    crane runs events ID --follow --server http://127.0.0.1:8080\n  \
    CRANE_SERVER=http://127.0.0.1:8080 crane runs list -o ids\n\n\
    Without a server: on --data; there `retry` executes the run, and `cancel` records it."
)]
pub(super) enum Command {
    /// List runs, newest first
    List(List),
    /// Show a run and its steps
    Show(One),
    /// Show the events of a run
    Events(Events),
    /// Cancel an unfinished run
    Cancel(One),
    /// Go on with a failed or cancelled run, keeping what is done
    Retry(Retry),
    /// Print the result of a completed run
    Result(Outcome),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only runs with this status (may be repeated, or separated by commas)
    #[arg(long, value_name = "STATUS", value_delimiter = ',', value_parser = status)]
    status: Vec<RunStatus>,

    /// Only runs with this label (may be repeated: all of them)
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = request::label)]
    labels: Vec<(String, String)>,

    /// Runs to show at most
    #[arg(long, value_name = "N", default_value_t = 20,
        value_parser = clap::value_parser!(u16).range(1..=100))]
    limit: u16,

    /// Runs to leave out at the top
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: usize,

    /// How to print it
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    output: Format,

    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct One {
    /// The run
    #[arg(value_name = "ID", value_parser = request::run_id)]
    id: RunId,

    /// How to print it
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    output: Format,

    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Events {
    #[command(flatten)]
    one: One,

    /// Go on with new events until the run ends; without a server there are none
    #[arg(long)]
    follow: bool,
}

#[derive(Debug, Args)]
pub(super) struct Retry {
    /// The run
    #[arg(value_name = "ID", value_parser = request::run_id)]
    id: RunId,

    /// `json` prints the whole run instead of its result
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    output: Shape,

    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Outcome {
    /// The run
    #[arg(value_name = "ID", value_parser = request::run_id)]
    id: RunId,

    /// The result is JSON in either case
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    output: Shape,

    #[command(flatten)]
    place: Place,
}

fn status(text: &str) -> Result<RunStatus, String> {
    let known = RunStatus::ALL.into_iter();
    known
        .clone()
        .find(|status| status.as_str() == text)
        .ok_or_else(|| {
            let names: Vec<&str> = known.map(RunStatus::as_str).collect();
            format!("it must be one of {}", names.join(", "))
        })
}

/// A page of runs, for people and for programs.
#[derive(Debug)]
struct Listed {
    /// How many there are on all pages.
    total: usize,
    rows: Vec<Row>,
    json: Vec<Box<RawValue>>,
    /// Nodes whose runs are not in it.
    missing: Vec<String>,
}

/// See the module.
pub(super) async fn run(command: Command) -> Result<u8, Failure> {
    match command {
        Command::List(arguments) => list(arguments).await,
        Command::Show(One { id, output, place }) => match place.find()? {
            Found::Data(data) => here::show(id, output, &data).await,
            Found::Server(server) => remote::show(id, output, &server.client).await,
        },
        Command::Events(arguments) => match arguments.one.place.clone().find()? {
            Found::Data(data) => here::events(&arguments, &data).await,
            Found::Server(server) => remote::events(&arguments, &server.client).await,
        },
        Command::Cancel(One { id, output, place }) => match place.find()? {
            Found::Data(data) => here::cancel(id, output, &data).await,
            Found::Server(server) => remote::cancel(id, output, &server.client).await,
        },
        Command::Retry(Retry { id, output, place }) => match place.find()? {
            Found::Data(data) => here::retry(id, output, &data).await,
            Found::Server(server) => remote::retry(id, output, &server).await,
        },
        Command::Result(Outcome { id, place, .. }) => match place.find()? {
            Found::Data(data) => here::result(id, &data).await,
            Found::Server(server) => remote::result(id, &server.client).await,
        },
    }
}

async fn list(arguments: List) -> Result<u8, Failure> {
    let listed = match arguments.place.clone().find()? {
        Found::Data(data) => here::list(&arguments, &data).await?,
        Found::Server(server) => remote::list(&arguments, &server.client).await?,
    };
    if !listed.missing.is_empty() {
        output::note(&format!(
            "warning: runs of nodes that cannot be reached are missing: {}",
            listed.missing.join(", ")
        ));
    }
    match arguments.output {
        Format::Table if listed.total == 0 => output::note("no such runs"),
        Format::Table => {
            output::print(&show::list(&listed.rows))?;
            let shown = arguments.offset + listed.rows.len();
            if shown < listed.total {
                let total = listed.total;
                output::note(&format!(
                    "{total} runs in all; --offset {shown} shows the next"
                ));
            }
        }
        Format::Json => output::print_json(&listed.json)?,
        Format::Ids => print_lines(listed.rows.iter().map(|row| row.id.to_string()))?,
    }
    Ok(0)
}

fn print_lines(lines: impl Iterator<Item = String>) -> Result<(), Failure> {
    let lines: Vec<String> = lines.collect();
    if !lines.is_empty() {
        output::print(&lines.join("\n"))?;
    }
    Ok(())
}

fn print_events(events: &[Box<RawValue>], format: Format) -> Result<(), Failure> {
    match format {
        Format::Table => output::print(&show::events(events)?)?,
        Format::Json => output::print_json(events)?,
        Format::Ids => {
            let ids: Result<Vec<String>, Failure> =
                events.iter().map(|event| show::seq(event.get())).collect();
            print_lines(ids?.into_iter())?;
        }
    }
    Ok(())
}

fn print_result(
    id: RunId,
    status: RunStatus,
    result: Option<Value>,
    error: Option<&str>,
) -> Result<u8, Failure> {
    if let Some(result) = result {
        output::print_json(&result)?;
        return Ok(0);
    }
    let status = status.as_str();
    let why = error.map(|error| format!(": {error}")).unwrap_or_default();
    output::note(&format!(
        "error: run {id} is {status} and has no result{why}"
    ));
    Ok(FAILED)
}

fn require_cancellable(id: RunId, status: RunStatus) -> Result<(), Failure> {
    if status.is_ended() {
        let status = status.as_str();
        return Err(Failure::failed(format!(
            "run {id} is {status}; there is nothing to cancel"
        )));
    }
    Ok(())
}

/// `resume` leads to the data directory of an unfinished run that nobody executes; at a server
/// somebody does.
fn require_retryable(id: RunId, status: RunStatus, resume: Option<&str>) -> Result<(), Failure> {
    let name = status.as_str();
    match (status, resume) {
        (RunStatus::Failed | RunStatus::Cancelled, _) => Ok(()),
        (RunStatus::Completed, _) => Err(Failure::failed(format!(
            "run {id} is completed; there is nothing to retry"
        ))),
        (RunStatus::Pending | RunStatus::Running | RunStatus::Waiting, Some(option)) => {
            Err(Failure::failed(format!(
                "run {id} is {name}; to go on with it: crane run --resume {id}{option}"
            )))
        }
        (RunStatus::Pending | RunStatus::Running | RunStatus::Waiting, None) => Err(
            Failure::failed(format!("run {id} is {name}; it goes on by itself")),
        ),
    }
}
