//! The process that is killed: a node with one more tool, which leaves a line in a file for each
//! effect.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crane_actors::clock::Clock;
use crane_actors::submit::Request;
use crane_actors::tool::{CallContext, Tool};
use crane_actors::{Options, Owning, Restore, Runtime};
use crane_core::tool::{ToolError, ToolSpec};
use crane_core::{Limits, RunId};
use crane_store::embedded::{self, EmbeddedStore};
use crane_store::faults::{Faults, Order};
use crane_tools::ToolsConfig;
use crane_tools::planner::RulesPlanner;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

pub(crate) const DATA: &str = "CRANE_CHILD_DATA";
pub(crate) const NOTES: &str = "CRANE_CHILD_NOTES";
pub(crate) const GENERATION: &str = "CRANE_CHILD_GENERATION";
pub(crate) const TASK: &str = "CRANE_CHILD_TASK";
pub(crate) const SABOTAGE: &str = "CRANE_CHILD_SABOTAGE";

/// Exit code of a child whose store has failed.
pub(crate) const STORE_FAILED: i32 = 70;
/// Unfinished runs a child keeps under way.
const UNDER_WAY: usize = 48;

/// Not a test by itself: does nothing unless a test has started this process as its child.
#[test]
fn child_process() {
    let Ok(data) = std::env::var(DATA) else {
        return;
    };
    let notes = PathBuf::from(std::env::var(NOTES).expect("the notes' directory"));
    let generation = std::env::var(GENERATION)
        .ok()
        .and_then(|text| text.parse().ok())
        .expect("a generation");
    let finish = std::env::var(TASK).is_ok_and(|task| task == "Finish");
    let code = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(run(Path::new(&data), &notes, generation, finish));
    std::process::exit(code);
}

/// How the tests open a store: small files, so that everything rolls, seals and recycles.
pub(crate) fn store_options(data: &Path) -> embedded::Options {
    let clock = Clock::system();
    let mut options = embedded::Options::new(data, Arc::new(move || clock.now()));
    options.segment_bytes = 256 << 10;
    options.spare_segments = 1;
    options.checkpoint_segments = 2;
    options.export_bytes = 2 << 20;
    options.history_segment_bytes = 256 << 10;
    options.disk_reserve = 2 << 20;
    options
}

/// A node on `store` with the standard tools and the `effect` tool.
pub(crate) async fn start(store: Arc<EmbeddedStore>, notes: &Path, generation: u32) -> Runtime {
    let mut tools = crane_tools::standard(ToolsConfig::default());
    tools.push(Arc::new(Effect {
        file: Arc::new(append_to(&notes.join("effects"))),
        generation,
    }));
    let limits = Limits {
        lost_attempts: 1_000,
        ..Limits::default()
    };
    Runtime::start(Options {
        store,
        tools,
        planner: Arc::new(RulesPlanner),
        limits,
        clock: Clock::system(),
        owning: Owning::All,
        restore: Restore::All,
        shards: 4,
    })
    .await
    .expect("the node starts")
}

async fn run(data: &Path, notes: &Path, generation: u32, finish: bool) -> i32 {
    let mut options = store_options(data);
    if let Ok(sabotage) = std::env::var(SABOTAGE) {
        options.faults = sabotaged(&sabotage);
    }
    let store = match EmbeddedStore::open(options) {
        Ok(store) => Arc::new(store),
        Err(error) => {
            eprintln!("{error}");
            return STORE_FAILED;
        }
    };
    let runtime = start(store, notes, generation).await;
    let work = async {
        if finish {
            wait_for_all(&runtime, notes).await;
        } else {
            submit_for_ever(&runtime, notes).await;
        }
    };
    tokio::select! {
        () = work => {}
        reason = runtime.failed() => {
            eprintln!("the store has failed: {reason}");
            return STORE_FAILED;
        }
    }
    runtime
        .shutdown(Duration::from_secs(10))
        .await
        .expect("the store closes");
    0
}

/// `POINT=skip`, or `POINT=error` for an error at the twentieth time.
fn sabotaged(sabotage: &str) -> Faults {
    let (point, order) = sabotage.split_once('=').expect("POINT=ORDER");
    let (point, skip) = (point.to_owned(), order == "skip");
    let hits = std::sync::atomic::AtomicU32::new(0);
    Faults::new(move |hit| {
        if hit != point {
            return Order::Continue;
        }
        if skip {
            return Order::Skip;
        }
        match hits.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0..20 => Order::Continue,
            _ => Order::Error,
        }
    })
}

pub(crate) fn append_to(path: &Path) -> File {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .expect("a notes file")
}

pub(crate) fn accepted(notes: &Path) -> BTreeSet<RunId> {
    let text = std::fs::read_to_string(notes.join("accepted")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

async fn wait_for_all(runtime: &Runtime, notes: &Path) {
    for id in accepted(notes) {
        let run = runtime.ended(id).await.expect("the store reads");
        assert!(run.is_some(), "accepted run {id} is gone");
    }
}

async fn submit_for_ever(runtime: &Runtime, notes: &Path) {
    let under_way = Arc::new(Semaphore::new(UNDER_WAY));
    let mut file = append_to(&notes.join("accepted"));
    let mut ended = append_to(&notes.join("ended"));
    let (sender, mut endings) = tokio::sync::mpsc::channel::<RunId>(UNDER_WAY);
    let note_endings = tokio::spawn(async move {
        while let Some(id) = endings.recv().await {
            writeln!(ended, "{id}").expect("a note");
        }
    });
    // Keys go on where the last process stopped; the last one may be accepted already.
    for number in accepted(notes).len().. {
        let permit = under_way.clone().acquire_owned().await.expect("open");
        let request = Request {
            plan: Some(plan(number)),
            key: Some(format!("run-{number}")),
            ..Request::default()
        };
        let Ok(submitted) = runtime.submit(request, false).await else {
            // The store is failing; whoever watches it ends this process.
            return std::future::pending().await;
        };
        let id = submitted.run.id;
        // One write each: a kill may cut it, and then it does not count.
        file.write_all(format!("{id}\n").as_bytes())
            .expect("a note");
        let (runtime, sender) = (runtime.clone(), sender.clone());
        tokio::spawn(async move {
            if let Ok(Some(_)) = runtime.ended(id).await {
                let _ = sender.send(id).await;
            }
            drop(permit);
        });
    }
    drop(note_endings);
}

/// A mix of shapes, by number.
fn plan(number: usize) -> Value {
    let effect = |id: &str| json!({ "id": id, "tool": "effect", "input": {} });
    match number % 5 {
        0 => {
            let mut steps = vec![effect("s0")];
            for i in 1..6 {
                let mut step = effect(&format!("s{i}"));
                step["depends_on"] = json!([format!("s{}", i - 1)]);
                steps.push(step);
            }
            json!({ "steps": steps })
        }
        1 => json!({ "steps": [
            effect("top"),
            { "id": "left", "tool": "effect", "input": {}, "depends_on": ["top"] },
            { "id": "right", "tool": "effect", "input": {}, "depends_on": ["top"] },
            { "id": "bottom", "tool": "effect", "input": {}, "depends_on": ["left", "right"] },
        ] }),
        2 => {
            let mut steps: Vec<Value> = (0..12).map(|i| effect(&format!("f{i}"))).collect();
            let all: Vec<String> = (0..12).map(|i| format!("f{i}")).collect();
            steps.push(json!({ "id": "join", "tool": "effect", "input": {}, "depends_on": all }));
            json!({ "steps": steps })
        }
        3 => json!({ "steps": [
            { "id": "flaky", "tool": "fail", "input": { "times": 1 },
              "retry": { "max_attempts": 50, "initial": "1ms", "max": "5ms" } },
            { "id": "once", "tool": "effect", "input": {}, "delivery": "at_most_once",
              "on_error": "continue", "depends_on": ["flaky"] },
            { "id": "after", "tool": "effect", "input": {}, "depends_on": ["once"] },
        ] }),
        _ => json!({ "steps": [
            effect("before"),
            { "id": "todo", "tool": "todo_store", "depends_on": ["before"],
              "input": { "action": "add", "text": format!("todo {number}") } },
            { "id": "after", "tool": "effect", "input": {}, "depends_on": ["todo"] },
        ] }),
    }
}

/// Appends one line to a file: the effect that must not be lost or repeated.
struct Effect {
    file: Arc<File>,
    generation: u32,
}

impl Tool for Effect {
    fn spec(&self) -> ToolSpec {
        let mut spec = ToolSpec::pure(
            "effect",
            "leaves a line in a file",
            json!({ "type": "object" }),
        );
        spec.concurrency = 1_000;
        spec
    }

    fn call(
        &self,
        _input: Value,
        context: CallContext,
    ) -> BoxFuture<'static, Result<Value, ToolError>> {
        let (file, generation) = (self.file.clone(), self.generation);
        Box::pin(async move {
            let origin = context.origin.expect("called by a step");
            // A little work, so that kills find attempts under way.
            tokio::time::sleep(Duration::from_millis(u64::from(
                origin.run.to_bytes()[15] % 4,
            )))
            .await;
            let line = format!("{} {generation}\n", origin.idempotency_key());
            (&*file)
                .write_all(line.as_bytes())
                .map_err(|error| ToolError::transient(error.to_string()))?;
            Ok(json!({ "generation": generation }))
        })
    }
}
