//! `crane runs --server`: the same questions and changes, put to a server.

use std::cell::Cell;
use std::sync::Mutex;

use axum::http::StatusCode;
use crane_core::{RunId, RunStatus, Seq};
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::failure::Failure;
use super::super::remote::{Remote, attend};
use super::super::{Format, Shape, run, watch};
use super::show::{self, Row};
use super::{Events, List, require_cancellable, require_retryable};
use crate::client::{Client, RemoteRun};
use crate::live::Live;
use crate::output;

pub(super) async fn list(arguments: &List, client: &Client) -> Result<super::Listed, Failure> {
    let listing = attend(async {
        let statuses = &arguments.status;
        let (limit, offset) = (usize::from(arguments.limit), arguments.offset);
        let listing = client.list(statuses, &arguments.labels, limit, offset);
        Ok(listing.await?)
    })
    .await?;
    let rows = listing.runs.iter().map(|run| Row::read(run.get()));
    Ok(super::Listed {
        total: listing.total,
        rows: rows
            .collect::<Result<_, _>>()
            .map_err(|error| strange(&error))?,
        json: listing.runs,
        missing: listing.missing,
    })
}

/// What a server sent makes no sense here.
fn strange(error: &serde_json::Error) -> Failure {
    Failure::failed(format!("a run of the server is not understood: {error}"))
}

async fn get(client: &Client, id: RunId) -> Result<RemoteRun, Failure> {
    client.run(id).await.map_err(watch::about(id))
}

pub(super) async fn show(id: RunId, format: Format, client: &Client) -> Result<u8, Failure> {
    attend(async {
        match format {
            Format::Table => {
                let run = client.folded(id).await.map_err(watch::about(id))?;
                output::print(&show::run(&run))?;
            }
            Format::Json => output::print_json(&get(client, id).await?.json)?,
            Format::Ids => output::print(&get(client, id).await?.head.run_id.to_string())?,
        }
        Ok(0)
    })
    .await
}

pub(super) async fn result(id: RunId, client: &Client) -> Result<u8, Failure> {
    let head = attend(async { Ok(get(client, id).await?.head) }).await?;
    let result = head.result.as_deref().map(RawValue::get);
    let completed = head.status == RunStatus::Completed;
    let result = result.or(completed.then_some("null"));
    let result: Option<Value> = result
        .map(serde_json::from_str)
        .transpose()
        .map_err(|error| strange(&error))?;
    super::print_result(id, head.status, result, head.error.as_deref())
}

pub(super) async fn cancel(id: RunId, format: Format, client: &Client) -> Result<u8, Failure> {
    attend(async {
        let before = get(client, id).await?.head;
        require_cancellable(id, before.status)?;
        match client.cancel(id).await {
            Ok(()) => {}
            // It has ended meanwhile: perhaps by an earlier try whose answer was lost.
            Err(error) if error.refused(StatusCode::CONFLICT).is_some() => {
                let now = get(client, id).await?.head;
                if now.status != RunStatus::Cancelled {
                    require_cancellable(id, now.status)?;
                    return Err(error.into());
                }
            }
            Err(error) => return Err(watch::about(id)(error)),
        }
        let run = watch::remote_to_the_end(client, id, before.seq, None).await?;
        match format {
            Format::Table => {
                output::print(&format!("run {id} is {}", run.status().as_str()))?;
                Ok(0)
            }
            Format::Json => {
                output::print_json(&get(client, id).await?.json)?;
                Ok(0)
            }
            Format::Ids => {
                output::print(&id.to_string())?;
                Ok(0)
            }
        }
    })
    .await
}

pub(super) async fn retry(id: RunId, shape: Shape, remote: &Remote) -> Result<u8, Failure> {
    let client = &remote.client;
    let accepted = Cell::new(false);
    let outcome = attend(async {
        let before = get(client, id).await?.head;
        require_retryable(id, before.status, None)?;
        let live = Mutex::new(Live::of_one());
        let retried = client.retry(id, before.seq).await;
        retried.map_err(watch::about(id))?;
        accepted.set(true);
        let run = watch::remote_to_the_end(client, id, before.seq, Some(&live)).await?;
        Ok((run, before.node))
    })
    .await;
    match outcome {
        Ok((run, node)) => watch::report(&run, &node, shape, &remote.option),
        Err(failure) => {
            if matches!(failure, Failure::Interrupted) && accepted.get() {
                run::goes_on(id, remote);
            }
            Err(failure)
        }
    }
}

pub(super) async fn events(arguments: &Events, client: &Client) -> Result<u8, Failure> {
    let id = arguments.one.id;
    if arguments.follow {
        return follow(id, arguments.one.output, client).await;
    }
    let events = attend(async {
        let events = client.events_so_far(id).await;
        events.map_err(watch::about(id))
    })
    .await?;
    super::print_events(&events, arguments.one.output)?;
    Ok(0)
}

/// Prints each event when it comes, until the run has ended.
async fn follow(id: RunId, format: Format, client: &Client) -> Result<u8, Failure> {
    let mut printer = show::EventPrinter::new(format);
    let followed = attend(async {
        let mut events = client.events(id, Seq(0));
        while let Some(event) = events.next().await.map_err(watch::about(id))? {
            printer.print(&event.json)?;
        }
        Ok(())
    })
    .await;
    printer.finish()?;
    followed.map(|()| 0)
}
