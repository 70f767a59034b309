//! `crane run --resume`: what an earlier process left unfinished in a data directory.

use std::sync::{Arc, Mutex};

use crane_core::run::view::run_view;
use crane_core::{Run, RunId, RunStatus, Seq, limits};
use crane_store::{Filter, Page};
use tokio::task::JoinSet;

use super::super::failure::Failure;
use super::super::{Data, Shape, session, watch};
use super::{path_of, say_resumable};
use crate::live::Live;
use crate::node::{LOCAL_NAME, Node};
use crate::output::{self, Table, one_line};

/// Longest result in a table, in characters.
const RESULT_CHARS: usize = 80;
/// Runs read from the store's list at a time.
const PAGE: usize = 1_000;

/// Goes on with one run, or with all that are unfinished.
pub(super) async fn resume(id: Option<RunId>, shape: Shape, data: &Data) -> Result<u8, Failure> {
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
    match shape {
        Shape::Json => {
            let views: Vec<_> = runs.iter().map(|run| run_view(run, LOCAL_NAME)).collect();
            output::print_json(&views)?;
        }
        Shape::Text => match runs.as_slice() {
            [] => {}
            [run] => {
                watch::report(run, LOCAL_NAME, Shape::Text, &data.option())?;
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
    for (id, _) in unfinished.iter().skip(limits::FOLLOWED_RUNS) {
        node.runtime().resume(*id);
    }
    let mut ended: Vec<Option<Run>> = Vec::new();
    ended.resize_with(unfinished.len(), || None);
    let mut followers = JoinSet::new();
    for (position, (id, seen)) in unfinished.into_iter().enumerate() {
        if followers.len() >= limits::FOLLOWED_RUNS {
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
