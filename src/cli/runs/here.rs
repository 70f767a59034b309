//! `crane runs` on a data directory, with a node of this process that takes up no run by itself.

use std::sync::Mutex;

use crane_actors::runtime::ChangeError;
use crane_core::run::view::{event_views, run_view, run_view_as};
use crane_core::{Record, Run, RunId};
use crane_store::{Filter, Page, codec};

use super::super::failure::Failure;
use super::super::{Data, Format, Shape, raw, session, watch};
use super::show::{self, Row};
use super::{Events, List, Listed, require_cancellable, require_retryable};
use crate::live::Live;
use crate::node::{LOCAL_NAME, Node};
use crate::render::Unread;
use crate::{output, render};

pub(super) async fn list(arguments: &List, data: &Data) -> Result<Listed, Failure> {
    let filter = Filter {
        statuses: arguments.status.clone(),
        labels: arguments.labels.clone(),
    };
    let page = Page {
        offset: arguments.offset,
        limit: usize::from(arguments.limit),
    };
    let (total, runs) = session::with_existing(data, async |node: &Node| {
        let listing = node.runtime().list(filter, page).await?;
        let mut runs = Vec::with_capacity(listing.runs.len());
        for (id, summary) in &listing.runs {
            match node.runtime().load(*id).await {
                Ok(Some(run)) => runs.push((run.status(), run)),
                // A run whose retention ended in between is no longer one.
                Ok(None) => {}
                // One that is damaged takes no other one along.
                Err(error) if error.is_damage() => {
                    tracing::error!(run_id = %id, %error, "a listed run cannot be read");
                    let run = render::unread(*id, &summary.into(), Unread::Damaged);
                    runs.push((summary.status, run));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok((listing.total, runs))
    })
    .await?;
    let rows = runs.iter().map(|(status, run)| Row::of(run, *status));
    let json = runs
        .iter()
        .map(|(status, run)| raw(&run_view_as(run, *status, LOCAL_NAME)));
    Ok(Listed {
        total,
        rows: rows.collect(),
        json: json.collect::<Result<_, _>>()?,
        missing: Vec::new(),
    })
}

async fn load(data: &Data, id: RunId) -> Result<Run, Failure> {
    session::with_existing(data, async |node: &Node| loaded(node, id).await).await
}

async fn loaded(node: &Node, id: RunId) -> Result<Run, Failure> {
    let run = node.runtime().load(id).await?;
    run.ok_or_else(|| watch::not_found(id))
}

pub(super) async fn show(id: RunId, format: Format, data: &Data) -> Result<u8, Failure> {
    let run = load(data, id).await?;
    print_run(&run, format)
}

fn print_run(run: &Run, format: Format) -> Result<u8, Failure> {
    match format {
        Format::Table => output::print(&show::run(run))?,
        Format::Json => output::print_json(&run_view(run, LOCAL_NAME))?,
        Format::Ids => output::print(&run.id.to_string())?,
    }
    Ok(0)
}

pub(super) async fn events(arguments: &Events, data: &Data) -> Result<u8, Failure> {
    let id = arguments.one.id;
    let (run, records) =
        session::with_existing(data, async |node: &Node| stored_events(node, id).await).await?;
    let views: Result<Vec<_>, _> = event_views(&run, &records).map(|view| raw(&view)).collect();
    super::print_events(&views?, arguments.one.output)?;
    if arguments.follow && !run.status().is_ended() {
        let option = data.option();
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
        other @ (ChangeError::Rejected(_)
        | ChangeError::TooMany { .. }
        | ChangeError::Lost(_)
        | ChangeError::Elsewhere(_)
        | ChangeError::NotOwner(_)) => Failure::failed(other.to_string()),
    }
}

pub(super) async fn cancel(id: RunId, format: Format, data: &Data) -> Result<u8, Failure> {
    let run = session::with_existing(data, async |node: &Node| {
        let before = loaded(node, id).await?;
        require_cancellable(id, before.status())?;
        node.runtime().cancel(id).await.map_err(refused)?;
        let ended = node.runtime().ended(id).await?;
        ended.ok_or_else(|| watch::not_found(id))
    })
    .await?;
    match format {
        Format::Table => {
            output::print(&format!("run {id} is {}", run.status().as_str()))?;
            Ok(0)
        }
        Format::Json | Format::Ids => print_run(&run, format),
    }
}

pub(super) async fn retry(id: RunId, shape: Shape, data: &Data) -> Result<u8, Failure> {
    let option = data.option();
    let run = session::with_existing(data, async |node: &Node| {
        let before = loaded(node, id).await?;
        // Asked first, not left to the answer: a command wakes the run, and an unfinished one
        // would start its steps.
        require_retryable(id, before.status(), Some(&option))?;
        let live = Mutex::new(Live::of_one());
        node.runtime().retry(id).await.map_err(refused)?;
        watch::to_the_end(node, id, before.seq, &live).await
    })
    .await;
    match run {
        Ok(run) => watch::report(&run, LOCAL_NAME, shape, &option),
        Err(failure) => {
            if let Failure::Interrupted = failure {
                output::note(&format!("to go on: crane run --resume {id}{option}"));
            }
            Err(failure)
        }
    }
}

pub(super) async fn result(id: RunId, data: &Data) -> Result<u8, Failure> {
    let run = load(data, id).await?;
    let result = run.result.as_ref().map(crane_core::Json::to_value);
    super::print_result(id, run.status(), result, run.error.as_deref())
}
