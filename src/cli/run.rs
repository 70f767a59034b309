//! `crane run`: a plan or a prompt from the first step to the result, or what was left of it.
//!
//! ```text
//!   arguments ──> Asked ──┬── no server: a node in this process executes it       (here)
//!                         └── a server: it is submitted there and followed        (remote)
//!   --resume ──> the unfinished runs of a data directory                          (resume)
//! ```

mod inputs;
mod remote;
mod resume;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use clap::Args;
use crane_actors::submit::Request;
use crane_core::event::Labels;
use crane_core::{Limits, RunId, Seq};
use serde_json::Value;

use super::failure::Failure;
use super::remote::{Found, Place};
use super::{Data, Shape, request, session, watch};
use crate::live::Live;
use crate::node::{LOCAL_NAME, Node};
use crate::output;
use crate::plan_file::Document;

pub(super) use remote::goes_on;

/// Longest file that is read for a server, whose own limit is not known here.
const SERVER_BYTES: usize = 64 << 20;

/// Execute a plan or a prompt, with a live view, and print its result
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  crane run examples/order.yaml --input price=3\n  \
    crane run --prompt \"calculate (10 + 5) * 2\"\n  crane run --resume\n  \
    crane run examples/order.yaml --server http://127.0.0.1:8080 --detach\n\n\
    Exit codes: 0 completed, 1 failed or cancelled, 2 usage or invalid plan, \
    70 the store failed, 130 interrupted (resumable; at a server the run goes on)"
)]
pub(super) struct Arguments {
    /// Plan file, YAML or JSON (`-` for standard input)
    #[arg(value_name = "PLAN")]
    plan: Option<PathBuf>,

    /// The goal in words, instead of a plan: rules make one, for calculations and to-dos
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
    place: Place,
}

/// What is to be run.
#[derive(Debug)]
struct Asked {
    prompt: Option<String>,
    plan: Option<Document>,
    input: Option<Value>,
    labels: Labels,
}

impl Asked {
    fn read(
        arguments: &Arguments,
        read: impl FnOnce(&Path) -> Result<Document, Failure>,
        limits: &Limits,
    ) -> Result<Self, Failure> {
        let (file, values) = (arguments.input_file.as_deref(), &arguments.inputs);
        let input = request::input(file, values, limits)?;
        let labels = request::labels(&arguments.labels)?;
        let plan = arguments.plan.as_deref().map(read).transpose()?;
        if let (Some(plan), Some(input)) = (&plan, &input) {
            for name in inputs::unknown(&plan.value, input) {
                let file = &plan.file;
                output::note(&format!(
                    "warning: {file} declares no input called {name}, and nothing in it uses one"
                ));
            }
        }
        Ok(Self {
            plan,
            prompt: arguments.prompt.clone(),
            input,
            labels,
        })
    }
}

/// See the module.
pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    let shape = arguments.output;
    if let Some(id) = arguments.resume {
        let data = arguments.place.only_data(
            "--resume is for a data directory; a server goes on with its runs by itself",
        )?;
        if arguments.detach {
            return Err(detach_needs_a_server());
        }
        return resume::resume(id, shape, &data).await;
    }
    if arguments.plan.is_none() && arguments.prompt.is_none() {
        return Err(Failure::usage(
            "nothing to run; name a PLAN file, or give --prompt TEXT or --resume",
        ));
    }
    let found = arguments.place.clone().find()?;
    if arguments.detach && matches!(found, Found::Data(_)) {
        return Err(detach_needs_a_server());
    }
    let asked = match &found {
        Found::Data(data) => {
            let config = data.find()?;
            let read = |path: &Path| Ok(request::read_plan(path, &config)?.0);
            Asked::read(&arguments, read, &config.limits)?
        }
        // The server checks it: its tools and limits may be others.
        Found::Server(_) => {
            let limits = Limits {
                request_bytes: SERVER_BYTES,
                ..Limits::default()
            };
            let read = |path: &Path| request::read_document(path, &limits);
            Asked::read(&arguments, read, &limits)?
        }
    };
    match &found {
        Found::Data(data) => here(asked, data, shape).await,
        Found::Server(server) => remote::start(asked, server, arguments.detach, shape).await,
    }
}

fn detach_needs_a_server() -> Failure {
    Failure::usage(
        "--detach needs a server; without one the run lives in this process, leave --detach out",
    )
}

/// A new run, executed by a node in this process.
async fn here(asked: Asked, data: &Data, shape: Shape) -> Result<u8, Failure> {
    let request = Request {
        prompt: asked.prompt,
        plan: asked.plan.map(|document| document.value),
        input: asked.input,
        labels: asked.labels,
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
        Ok(run) => watch::report(&run, LOCAL_NAME, shape, &data.option()),
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
    let path = node.data().unwrap_or(Path::new(""));
    path.display().to_string()
}

fn say_resumable(what: &str, id: &str, data: &Data) {
    output::note(&format!(
        "{what} kept; to go on: crane run --resume{id}{}",
        data.option()
    ));
}
