//! `crane check --server`: what users are told of runs, through the API of a node.
//!
//! ```text
//!   GET /runs, page by page, newest first ──> each run once ──> GET /runs/ID, GET /runs/ID/events
//! ```
//!
//! Nodes go on meanwhile. New runs shift the pages, so that some are listed again, which the order of
//! the list tells; a run that goes on between its two answers is asked for again. In memory are one
//! page and the events of one run.

use std::borrow::Cow;

use axum::http::StatusCode;
use crane_core::run::order::{Mark, Order};
use crane_core::{Round, RunId, RunStatus, Seq, Timestamp, limits};
use crane_store::embedded::{Finding, Report};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::failure::Failure;
use crate::client::{Client, Error, Head, status};
use crate::output;

/// Runs of a page.
const PAGE: usize = 50;

/// What a list says of a run.
#[derive(Clone, Copy, Deserialize)]
struct Listed {
    run_id: RunId,
    created_at: Timestamp,
    seq: Seq,
    #[serde(deserialize_with = "status")]
    status: RunStatus,
}

/// What matters of an event.
#[derive(Deserialize)]
struct Told<'a> {
    seq: Seq,
    run_id: RunId,
    round: Round,
    #[serde(borrow)]
    r#type: Cow<'a, str>,
}

/// Verifies whatever a server tells.
///
/// # Errors
/// When the server cannot be reached, or lets nobody in. What it says wrongly is a finding.
pub(super) async fn verify(client: &Client) -> Result<Report, Failure> {
    let mut check = Check {
        client,
        report: Report::default(),
        left_out: 0,
    };
    check.walk().await?;
    Ok(check.finish())
}

struct Check<'a> {
    client: &'a Client,
    report: Report,
    left_out: usize,
}

/// Of how many events a run consists, and what is wrong with it.
#[derive(Default)]
struct Look {
    events: u64,
    findings: Vec<String>,
}

impl Check<'_> {
    async fn walk(&mut self) -> Result<(), Failure> {
        let mut offset = 0;
        // The oldest so far.
        let mut last: Option<(Timestamp, RunId)> = None;
        loop {
            let listing = self.client.list(&[], &[], PAGE, offset).await?;
            if offset == 0 && !listing.missing.is_empty() {
                output::note(&format!(
                    "warning: runs of nodes that cannot be reached are not checked: {}",
                    listing.missing.join(", ")
                ));
            }
            let page = listing.runs;
            let mut before: Option<(Timestamp, RunId)> = None;
            for run in &page {
                let listed: Listed = match serde_json::from_str(run.get()) {
                    Ok(listed) => listed,
                    Err(error) => {
                        self.find(None, format!("a listed run is not understood: {error}"));
                        continue;
                    }
                };
                let place = (listed.created_at, listed.run_id);
                if before.is_some_and(|before| place >= before) {
                    let detail = "the list has it behind an older one, or twice";
                    self.find(Some(listed.run_id), detail.to_owned());
                }
                before = Some(place);
                if last.is_none_or(|last| place < last) {
                    last = Some(place);
                    self.run(listed, offset).await?;
                }
            }
            if page.len() < PAGE {
                return Ok(());
            }
            offset += page.len();
        }
    }

    /// Checks a run that a page from `offset` on lists.
    async fn run(&mut self, listed: Listed, offset: usize) -> Result<(), Failure> {
        let id = listed.run_id;
        self.report.runs += 1;
        let mut looks = 1;
        let look = loop {
            match self.look(listed, looks == limits::CHECK_LOOKS).await {
                Ok(Some(look)) => break look,
                Ok(None) => looks += 1,
                Err(error) if error.refused(StatusCode::NOT_FOUND).is_some() => {
                    // Ended runs are removed when they are old.
                    if self.is_listed(id, offset).await? {
                        self.find(Some(id), "it is listed, and not found".to_owned());
                    }
                    return Ok(());
                }
                Err(error) if is_of_the_run(&error) => {
                    self.find(Some(id), format!("it cannot be read: {error}"));
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        };
        self.report.events += look.events;
        for detail in look.findings {
            self.find(Some(id), detail);
        }
        Ok(())
    }

    /// `None` when the run went on between two answers and is to be looked at again.
    async fn look(&self, listed: Listed, is_last: bool) -> Result<Option<Look>, Error> {
        let id = listed.run_id;
        let head = self.client.run(id).await?.head;
        let events = self.client.events_so_far(id).await?;
        let mut look = Look::default();
        let mut order = Order::default();
        for event in &events {
            look.event(id, event, &mut order);
        }
        if order.seq() > head.seq && !is_last {
            return Ok(None);
        }
        look.compare(listed, &head, &order);
        Ok(Some(look))
    }

    /// Whether a run is still in a page from `offset` on, or in the next one, to which new runs may
    /// have moved it.
    async fn is_listed(&self, id: RunId, offset: usize) -> Result<bool, Failure> {
        for offset in [offset, offset + PAGE] {
            let page = self.client.list(&[], &[], PAGE, offset).await?.runs;
            let mut listed = page.iter().map(|run| serde_json::from_str(run.get()));
            if listed.any(|listed: Result<Listed, _>| listed.is_ok_and(|run| run.run_id == id)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn find(&mut self, run: Option<RunId>, detail: String) {
        if self.report.findings.len() >= limits::FINDINGS {
            self.left_out += 1;
            return;
        }
        self.report.findings.push(Finding {
            file: "runs".to_owned(),
            offset: None,
            run,
            detail,
        });
    }

    fn finish(mut self) -> Report {
        if self.left_out > 0 {
            self.report.findings.push(Finding {
                file: "runs".to_owned(),
                offset: None,
                run: None,
                detail: format!("{} more findings are left out", self.left_out),
            });
        }
        self.report
    }
}

impl Look {
    fn event(&mut self, run: RunId, event: &RawValue, order: &mut Order) {
        let told: Told<'_> = match serde_json::from_str(event.get()) {
            Ok(told) => told,
            Err(error) => {
                let after = order.seq();
                self.findings
                    .push(format!("what follows event {after} is no event: {error}"));
                return;
            }
        };
        self.events += 1;
        let mark = Mark::named(&told.r#type, told.round);
        order.take(told.seq, mark, |detail| self.findings.push(detail));
        if told.run_id != run {
            let detail = format!("event {} is one of run {}", told.seq, told.run_id);
            self.findings.push(detail);
        }
        if told.round != order.round() {
            let (seq, round) = (told.seq, told.round);
            let detail = format!("event {seq} of round {} says round {round}", order.round());
            self.findings.push(detail);
        }
    }

    fn compare(&mut self, listed: Listed, head: &Head, order: &Order) {
        let seq = order.seq();
        if head.run_id != listed.run_id {
            self.findings
                .push(format!("it is answered as run {}", head.run_id));
        }
        if head.seq < listed.seq {
            let detail = format!(
                "it was listed with event {} and has {}",
                listed.seq, head.seq
            );
            self.findings.push(detail);
        }
        if seq < head.seq {
            let detail = format!("it has event {} and its events end with {seq}", head.seq);
            self.findings.push(detail);
        }
        for (seen, status) in [(head.seq, head.status), (listed.seq, listed.status)] {
            let ended = status.is_ended().then_some(status);
            if seen == seq && ended != order.ended() {
                let detail = format!("its status {} is not that of its events", status.as_str());
                self.findings.push(detail);
                return;
            }
        }
    }
}

/// Whether an error is about the run that was asked for, not about the server.
fn is_of_the_run(error: &Error) -> bool {
    match error {
        Error::Refused(refusal) => {
            refusal.status.is_server_error() && refusal.status != StatusCode::SERVICE_UNAVAILABLE
        }
        Error::Strange { .. } => true,
        Error::Address { .. }
        | Error::Token(_)
        | Error::Roots(_)
        | Error::Unreachable { .. }
        | Error::Untrusted { .. }
        | Error::Broken { .. }
        | Error::TimedOut { .. } => false,
    }
}
