//! `crane runs`: what has run in a data directory, and changes to it.

mod show;

use std::sync::Mutex;

use clap::{Args, Subcommand};
use crane_actors::runtime::ChangeError;
use crane_core::run::view::{event_views, run_view};
use crane_core::{Record, Run, RunId, RunStatus};
use crane_store::{Filter, Page, codec};

use super::failure::{FAILED, Failure};
use super::{Data, Format, Shape, request, session, watch};
use crate::live::Live;
use crate::node::{LOCAL_NAME, Node};
use crate::output;

/// List, show and change runs
#[derive(Debug, Subcommand)]
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
    data: Data,
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
    data: Data,
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
    data: Data,
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
    data: Data,
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

/// See the module.
pub(super) async fn run(command: Command) -> Result<u8, Failure> {
    match command {
        Command::List(arguments) => list(arguments).await,
        Command::Show(arguments) => show(arguments).await,
        Command::Events(arguments) => events(arguments).await,
        Command::Cancel(arguments) => cancel(arguments).await,
        Command::Retry(arguments) => retry(arguments).await,
        Command::Result(arguments) => result(arguments).await,
    }
}

async fn list(arguments: List) -> Result<u8, Failure> {
    let filter = Filter {
        statuses: arguments.status.clone(),
        labels: arguments.labels.clone(),
    };
    let page = Page {
        offset: arguments.offset,
        limit: usize::from(arguments.limit),
    };
    let (total, runs) = session::with_existing(&arguments.data, async |node: &Node| {
        let listing = node.runtime().list(filter, page).await?;
        let mut runs = Vec::with_capacity(listing.runs.len());
        for (id, _) in &listing.runs {
            // A run whose retention ended in between is no longer one.
            runs.extend(node.runtime().load(*id).await?);
        }
        Ok((listing.total, runs))
    })
    .await?;
    match arguments.output {
        Format::Table if total == 0 => output::note("no such runs"),
        Format::Table => {
            output::print(&show::list(&runs))?;
            let shown = arguments.offset + runs.len();
            if shown < total {
                output::note(&format!(
                    "{total} runs in all; --offset {shown} shows the next"
                ));
            }
        }
        Format::Json => {
            let views: Vec<_> = runs.iter().map(|run| run_view(run, LOCAL_NAME)).collect();
            output::print_json(&views)?;
        }
        Format::Ids => print_lines(runs.iter().map(|run| run.id.to_string()))?,
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

async fn load(data: &Data, id: RunId) -> Result<Run, Failure> {
    session::with_existing(data, async |node: &Node| loaded(node, id).await).await
}

async fn loaded(node: &Node, id: RunId) -> Result<Run, Failure> {
    let run = node.runtime().load(id).await?;
    run.ok_or_else(|| watch::not_found(id))
}

async fn show(arguments: One) -> Result<u8, Failure> {
    let run = load(&arguments.data, arguments.id).await?;
    print_run(&run, arguments.output)
}

fn print_run(run: &Run, format: Format) -> Result<u8, Failure> {
    match format {
        Format::Table => output::print(&show::run(run))?,
        Format::Json => output::print_json(&run_view(run, LOCAL_NAME))?,
        Format::Ids => output::print(&run.id.to_string())?,
    }
    Ok(0)
}

async fn events(arguments: Events) -> Result<u8, Failure> {
    let Events { one, follow } = arguments;
    let (run, records) = session::with_existing(&one.data, async |node: &Node| {
        stored_events(node, one.id).await
    })
    .await?;
    let views: Vec<_> = event_views(&run, &records).collect();
    match one.output {
        Format::Table => output::print(&show::events(&run, &records)?)?,
        Format::Json => output::print_json(&views)?,
        Format::Ids => print_lines(records.iter().map(|record| record.seq.to_string()))?,
    }
    if follow && !run.status().is_ended() {
        let (id, option) = (one.id, one.data.option());
        output::note(&format!(
            "the run is {} and nothing executes it, so no events will come; to go on with it: \
             crane run --resume {id}{option}",
            run.status().as_str()
        ));
    }
    Ok(0)
}

async fn stored_events(node: &Node, id: RunId) -> Result<(Run, Vec<Record>), Failure> {
    let image = node.store().load(id).await?;
    let run = node.runtime().load(id).await?;
    match (image, run) {
        (Some(image), Some(run)) => Ok((run, codec::decode(&image.events)?)),
        _ => Err(watch::not_found(id)),
    }
}

fn refused(error: ChangeError) -> Failure {
    match error {
        ChangeError::NotFound(id) => watch::not_found(id),
        ChangeError::Read(error) => error.into(),
        other @ (ChangeError::Rejected(_) | ChangeError::Lost(_)) => {
            Failure::failed(other.to_string())
        }
    }
}

async fn cancel(arguments: One) -> Result<u8, Failure> {
    let id = arguments.id;
    let run = session::with_existing(&arguments.data, async |node: &Node| {
        let before = loaded(node, id).await?;
        if before.status().is_ended() {
            let status = before.status().as_str();
            return Err(Failure::failed(format!(
                "run {id} is {status}; there is nothing to cancel"
            )));
        }
        node.runtime().cancel(id).await.map_err(refused)?;
        let ended = node.runtime().ended(id).await?;
        ended.ok_or_else(|| watch::not_found(id))
    })
    .await?;
    match arguments.output {
        Format::Table => {
            output::print(&format!("run {id} is {}", run.status().as_str()))?;
            Ok(0)
        }
        Format::Json | Format::Ids => print_run(&run, arguments.output),
    }
}

fn require_retryable(run: &Run, data: &Data) -> Result<(), Failure> {
    let (id, status) = (run.id, run.status());
    match status {
        RunStatus::Failed | RunStatus::Cancelled => Ok(()),
        RunStatus::Completed => Err(Failure::failed(format!(
            "run {id} is completed; there is nothing to retry"
        ))),
        RunStatus::Pending | RunStatus::Running | RunStatus::Waiting => {
            let (status, option) = (status.as_str(), data.option());
            Err(Failure::failed(format!(
                "run {id} is {status}; to go on with it: crane run --resume {id}{option}"
            )))
        }
    }
}

async fn retry(arguments: Retry) -> Result<u8, Failure> {
    let id = arguments.id;
    let run = session::with_existing(&arguments.data, async |node: &Node| {
        let before = loaded(node, id).await?;
        // Asked first, not left to the answer: a command wakes the run, and an unfinished one
        // would start its steps.
        require_retryable(&before, &arguments.data)?;
        let live = Mutex::new(Live::of_one());
        node.runtime().retry(id).await.map_err(refused)?;
        watch::to_the_end(node, id, before.seq, &live).await
    })
    .await;
    match run {
        Ok(run) => watch::report(&run, arguments.output, &arguments.data.option()),
        Err(failure) => {
            if let Failure::Interrupted = failure {
                let option = arguments.data.option();
                output::note(&format!("to go on: crane run --resume {id}{option}"));
            }
            Err(failure)
        }
    }
}

async fn result(arguments: Outcome) -> Result<u8, Failure> {
    let run = load(&arguments.data, arguments.id).await?;
    match &run.result {
        Some(result) => {
            output::print_json(&result.to_value())?;
            Ok(0)
        }
        None => {
            let status = run.status().as_str();
            let why = run.error.as_deref().map(|error| format!(": {error}"));
            output::note(&format!(
                "error: run {} is {status} and has no result{}",
                run.id,
                why.unwrap_or_default()
            ));
            Ok(FAILED)
        }
    }
}
