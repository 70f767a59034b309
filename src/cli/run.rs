//! `crane run`: a plan or a prompt from the first step to the result, or what was left of it.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use clap::Args;
use crane_actors::submit::Request;
use crane_core::run::view::run_view;
use crane_core::{Run, RunId, RunStatus, Seq};
use crane_store::{Filter, Page};
use serde_json::Value;
use tokio::task::JoinSet;

use super::failure::Failure;
use super::{Data, Shape, request, session, watch};
use crate::live::Live;
use crate::node::{LOCAL_NAME, Node};
use crate::output::{self, Table, one_line};

/// Runs that are followed at a time on resume; the others go on unseen until it is their turn.
const FOLLOWED: usize = 64;
/// Longest result in a table, in characters.
const RESULT_CHARS: usize = 80;
/// Runs read from the store's list at a time.
const PAGE: usize = 1_000;

/// Execute a plan or a prompt, with a live view, and print its result
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  crane run examples/order.yaml --input price=3\n  \
    crane run --prompt \"calculate (10 + 5) * 2\"\n  crane run --resume\n\n\
    Exit codes: 0 completed, 1 failed or cancelled, 2 usage or invalid plan, \
    70 the store failed, 130 interrupted (resumable)"
)]
pub(super) struct Arguments {
    /// Plan file, YAML or JSON (`-` for standard input)
    #[arg(value_name = "PLAN")]
    plan: Option<PathBuf>,

    /// The goal in words, instead of a plan: the planner makes one
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["plan", "resume"])]
    prompt: Option<String>,

    /// A value of the run's input, over the plan's own; JSON if it parses, else text
    #[arg(long = "input", value_name = "NAME=VALUE", value_parser = request::named_value)]
    inputs: Vec<(String, Value)>,

    /// File with values of the run's input, a YAML or JSON object
    #[arg(long, value_name = "FILE")]
    input_file: Option<PathBuf>,

    /// A label to find the run by
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = request::label)]
    labels: Vec<(String, String)>,

    /// Go on with the unfinished runs of the data directory, or with one of them
    #[arg(long, value_name = "ID", num_args = 0..=1, value_parser = request::run_id,
        conflicts_with_all = ["plan", "inputs", "input_file", "labels"])]
    resume: Option<Option<RunId>>,

    /// Print the run's id and leave it to the server (needs a server)
    #[arg(long)]
    detach: bool,

    /// `json` prints the whole run (an array with --resume) instead of its result
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    output: Shape,

    #[command(flatten)]
    data: Data,
}

/// See the module.
pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    if arguments.detach {
        return Err(Failure::usage(
            "--detach needs a server; without one the run lives in this process, leave --detach out",
        ));
    }
    match (arguments.resume, &arguments.plan, &arguments.prompt) {
        (Some(id), _, _) => resume(id, &arguments).await,
        (None, None, None) => Err(Failure::usage(
            "nothing to run; name a PLAN file, or give --prompt TEXT or --resume",
        )),
        (None, _, _) => start(arguments).await,
    }
}

/// A new run.
async fn start(arguments: Arguments) -> Result<u8, Failure> {
    let data = &arguments.data;
    let config = data.find()?;
    let (file, values) = (arguments.input_file.as_deref(), &arguments.inputs);
    let input = request::input(file, values, &config.limits)?;
    let labels = request::labels(&arguments.labels)?;
    let plan = match &arguments.plan {
        Some(path) => {
            let (document, _) = request::read_plan(path, &config)?;
            Some(document.value)
        }
        None => None,
    };
    let request = Request {
        prompt: arguments.prompt,
        plan,
        input,
        labels,
        ..Request::default()
    };
    let accepted = Cell::new(None);
    let outcome = session::with_node(data, async |node: &Node| {
        mention_others(node, data);
        let live = Mutex::new(Live::of_one());
        let submitted = node.runtime().submit(request, false).await;
        let id = submitted.map_err(request::refused)?.run.id;
        accepted.set(Some(id));
        watch::to_the_end(node, id, Seq(0), &live).await
    })
    .await;
    match outcome {
        Ok(run) => watch::report(&run, arguments.output, &data.option()),
        Err(failure) => {
            if let (Failure::Interrupted, Some(id)) = (&failure, accepted.get()) {
                say_resumable(&format!("run {id} is"), &format!(" {id}"), data);
            }
            Err(failure)
        }
    }
}

fn mention_others(node: &Node, data: &Data) {
    let runs = match node.runtime().unfinished_at_start() {
        0 => return,
        1 => "1 other unfinished run".to_owned(),
        count => format!("{count} other unfinished runs"),
    };
    output::note(&format!(
        "{} holds {runs}, left alone; to go on with them: crane run --resume{}",
        path_of(node),
        data.option(),
    ));
}

fn path_of(node: &Node) -> String {
    let path = node.data().unwrap_or(std::path::Path::new(""));
    path.display().to_string()
}

fn say_resumable(what: &str, id: &str, data: &Data) {
    output::note(&format!(
        "{what} kept; to go on: crane run --resume{id}{}",
        data.option()
    ));
}

/// What an earlier process left unfinished.
async fn resume(id: Option<RunId>, arguments: &Arguments) -> Result<u8, Failure> {
    let data = &arguments.data;
    let outcome = session::with_existing(data, async |node: &Node| {
        let unfinished = match id {
            Some(id) => vec![one_unfinished(node, id).await?],
            None => all_unfinished(node).await?,
        };
        if unfinished.is_empty() {
            output::note(&format!("{} holds no unfinished runs", path_of(node)));
        }
        follow_all(node, unfinished).await
    })
    .await;
    let runs = match outcome {
        Ok(runs) => runs,
        Err(failure) => {
            if let Failure::Interrupted = failure {
                let id = id.map(|id| format!(" {id}")).unwrap_or_default();
                say_resumable("what is unfinished is", &id, data);
            }
            return Err(failure);
        }
    };
    match arguments.output {
        Shape::Json => {
            let views: Vec<_> = runs.iter().map(|run| run_view(run, LOCAL_NAME)).collect();
            output::print_json(&views)?;
        }
        Shape::Text => match runs.as_slice() {
            [] => {}
            [run] => {
                watch::report(run, Shape::Text, &data.option())?;
            }
            several => output::print(&results(several))?,
        },
    }
    Ok(runs.iter().map(watch::code_of).max().unwrap_or(0))
}

async fn one_unfinished(node: &Node, id: RunId) -> Result<(RunId, Seq), Failure> {
    let run = node
        .runtime()
        .load(id)
        .await?
        .ok_or_else(|| watch::not_found(id))?;
    if run.status().is_ended() {
        let status = run.status().as_str();
        return Err(Failure::failed(format!(
            "run {id} is {status}; there is nothing to resume"
        )));
    }
    Ok((id, run.seq))
}

/// How several runs ended.
fn results(runs: &[Run]) -> String {
    let mut table = Table::new(["RUN", "STATUS", "RESULT"]);
    for run in runs {
        let result = match (&run.result, &run.error) {
            (Some(result), _) => result.as_str(),
            (None, Some(error)) => error,
            (None, None) => "",
        };
        table.row([
            run.id.to_string(),
            run.status().as_str().to_owned(),
            one_line(result, RESULT_CHARS),
        ]);
    }
    table.render()
}

/// The unfinished runs and their last events, oldest first.
async fn all_unfinished(node: &Node) -> Result<Vec<(RunId, Seq)>, Failure> {
    let statuses = RunStatus::ALL
        .into_iter()
        .filter(|status| !status.is_ended())
        .collect();
    let filter = Filter {
        statuses,
        ..Filter::default()
    };
    let mut unfinished = Vec::new();
    loop {
        let page = Page {
            offset: unfinished.len(),
            limit: PAGE,
        };
        // Nothing runs yet, so the list stands still while it is read.
        let listing = node.runtime().list(filter.clone(), page).await?;
        let read = listing.runs.len();
        unfinished.extend(listing.runs.into_iter().map(|(id, run)| (id, run.seq)));
        if read < PAGE {
            break;
        }
    }
    unfinished.reverse();
    Ok(unfinished)
}

/// Sets all going and follows each to its end; gives them in the order in which they were given.
async fn follow_all(node: &Node, unfinished: Vec<(RunId, Seq)>) -> Result<Vec<Run>, Failure> {
    let live = Arc::new(Mutex::new(match unfinished.len() {
        1 => Live::of_one(),
        count => Live::of_several(count),
    }));
    for (id, _) in unfinished.iter().skip(FOLLOWED) {
        node.runtime().resume(*id);
    }
    let mut ended: Vec<Option<Run>> = Vec::new();
    ended.resize_with(unfinished.len(), || None);
    let mut followers = JoinSet::new();
    for (position, (id, seen)) in unfinished.into_iter().enumerate() {
        if followers.len() >= FOLLOWED {
            collect(followers.join_next().await, &mut ended)?;
        }
        let (node, live) = (node.clone(), live.clone());
        followers.spawn(async move {
            let run = follow_one(&node, id, seen, &live).await?;
            Ok((position, run))
        });
    }
    while let Some(joined) = followers.join_next().await {
        collect(Some(joined), &mut ended)?;
    }
    Ok(ended.into_iter().flatten().collect())
}

type Joined = Result<Result<(usize, Run), Failure>, tokio::task::JoinError>;

fn collect(joined: Option<Joined>, ended: &mut [Option<Run>]) -> Result<(), Failure> {
    let Some(joined) = joined else {
        return Ok(());
    };
    let (position, run) =
        joined.map_err(|error| Failure::failed(format!("a run was not followed: {error}")))??;
    ended[position] = Some(run);
    Ok(())
}

async fn follow_one(node: &Node, id: RunId, seen: Seq, live: &Mutex<Live>) -> Result<Run, Failure> {
    if let Some(run) = node.runtime().load(id).await? {
        live.lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .goes_on(&run);
    }
    node.runtime().resume(id);
    watch::to_the_end(node, id, seen, live).await
}
