//! Questions.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use crane_actors::submit::Request;
use crane_cluster::gateway::envelope::{self, Trace};
use crane_core::{NodeName, RunId, RunStatus, Seq};
use crane_store::Filter;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{NotUnderstood, VERSION, versioned};
use crate::route::words::{After, Ask, FindAsk, Form, ListAsk, NewRun};

/// The kinds of request; 1 is ownership's.
mod kind {
    use crane_cluster::gateway::envelope::WAITS;

    pub(super) const SUBMIT: u16 = 16;
    pub(super) const LOAD: u16 = 17;
    pub(super) const CANCEL: u16 = 18;
    pub(super) const RETRY: u16 = 19;
    pub(super) const EVENTS: u16 = 20;
    pub(super) const LIST: u16 = 21;
    pub(super) const FIND: u16 = 22;
    pub(super) const FORGET: u16 = 23;
    pub(super) const END: u16 = WAITS | 24;
    pub(super) const NEWS: u16 = WAITS | EVENTS;
    /// A submission that waits for the run's end.
    pub(super) const SUBMIT_AND_WAIT: u16 = WAITS | SUBMIT;
}

/// What another node wants.
#[derive(Debug)]
pub(in crate::route) enum Asked {
    /// Something about a run.
    Run(RunId, Ask),
    /// A page of the runs of this node.
    List(ListAsk),
    /// Whether the run of a key is here.
    Find(RunId, FindAsk),
    /// To forget that it has ever seen a member.
    Forget(NodeName),
}

#[derive(Serialize, Deserialize)]
struct SubmitBody<'a> {
    prompt: Option<Cow<'a, str>>,
    plan: Option<Cow<'a, Value>>,
    input: Option<Cow<'a, Value>>,
    labels: Cow<'a, BTreeMap<String, String>>,
    key: Option<Cow<'a, str>>,
    tenant: Cow<'a, str>,
    wait_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct EventsBody {
    after: u64,
    wait_ms: u64,
    elements: bool,
}

#[derive(Serialize, Deserialize)]
struct EndBody {
    wait_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct ListBody {
    statuses: Vec<String>,
    labels: Vec<(String, String)>,
    limit: usize,
}

#[derive(Serialize, Deserialize)]
struct FindBody {
    by: NodeName,
    home: NodeName,
}

#[derive(Serialize, Deserialize)]
struct ForgetBody {
    node: NodeName,
}

/// A question about `run`; deadline, epoch and hops are the caller's to add.
pub(in crate::route) fn encode(run: RunId, ask: &Ask) -> envelope::Request {
    let (kind, body) = match ask {
        Ask::Submit(new) => {
            let kind = match new.wait.is_zero() {
                true => kind::SUBMIT,
                false => kind::SUBMIT_AND_WAIT,
            };
            (kind, submit(new))
        }
        Ask::Load => (kind::LOAD, vec![VERSION]),
        Ask::Cancel => (kind::CANCEL, vec![VERSION]),
        Ask::Retry => (kind::RETRY, vec![VERSION]),
        Ask::End { wait } => {
            let wait_ms = millis(*wait);
            (kind::END, json(&EndBody { wait_ms }))
        }
        Ask::Events(after) => {
            let kind = match after.wait.is_zero() {
                true => kind::EVENTS,
                false => kind::NEWS,
            };
            let body = EventsBody {
                after: after.seq.0,
                wait_ms: millis(after.wait),
                elements: after.form == Form::Elements,
            };
            (kind, json(&body))
        }
    };
    let trace = match ask {
        Ask::Submit(new) => new
            .request
            .trace_id
            .as_deref()
            .and_then(|id| trace(id, run)),
        Ask::Load | Ask::Cancel | Ask::Retry | Ask::End { .. } | Ask::Events(_) => None,
    };
    envelope::Request {
        trace,
        ..request(kind, Some(run), body)
    }
}

/// A question for the runs of a node.
pub(in crate::route) fn encode_list(ask: &ListAsk) -> envelope::Request {
    let statuses = ask.filter.statuses.iter();
    let body = ListBody {
        statuses: statuses.map(|status| status.as_str().to_owned()).collect(),
        labels: ask.filter.labels.clone(),
        limit: ask.limit,
    };
    request(kind::LIST, None, json(&body))
}

/// A question for the run of a key.
pub(in crate::route) fn encode_find(run: RunId, ask: &FindAsk) -> envelope::Request {
    let body = FindBody {
        by: ask.by.clone(),
        home: ask.home.clone(),
    };
    request(kind::FIND, Some(run), json(&body))
}

/// An order to forget a member.
pub(in crate::route) fn encode_forget(node: &NodeName) -> envelope::Request {
    let node = node.clone();
    request(kind::FORGET, None, json(&ForgetBody { node }))
}

fn request(kind: u16, run: Option<RunId>, body: Vec<u8>) -> envelope::Request {
    envelope::Request {
        kind,
        run,
        epoch: crane_core::Epoch(0),
        trace: None,
        deadline: Duration::ZERO,
        hops: 0,
        body,
    }
}

fn submit(new: &NewRun) -> Vec<u8> {
    let request = &new.request;
    json(&SubmitBody {
        prompt: request.prompt.as_deref().map(Cow::Borrowed),
        plan: request.plan.as_ref().map(Cow::Borrowed),
        input: request.input.as_ref().map(Cow::Borrowed),
        labels: Cow::Borrowed(&request.labels),
        key: request.key.as_deref().map(Cow::Borrowed),
        tenant: Cow::Borrowed(&request.tenant),
        wait_ms: millis(new.wait),
    })
}

/// What a request of another node asks.
pub(in crate::route) fn decode(request: &envelope::Request) -> Result<Asked, NotUnderstood> {
    match request.kind {
        kind::SUBMIT | kind::SUBMIT_AND_WAIT => about_run(request, Ask::submitted(request)),
        kind::LOAD => about_run(request, empty(request, Ask::Load)),
        kind::CANCEL => about_run(request, empty(request, Ask::Cancel)),
        kind::RETRY => about_run(request, empty(request, Ask::Retry)),
        kind::END => about_run(
            request,
            parse(&request.body).map(|EndBody { wait_ms }| Ask::End {
                wait: Duration::from_millis(wait_ms),
            }),
        ),
        kind::EVENTS | kind::NEWS => about_run(
            request,
            parse(&request.body).map(|body: EventsBody| {
                Ask::Events(After {
                    seq: Seq(body.after),
                    wait: Duration::from_millis(body.wait_ms),
                    form: match body.elements {
                        true => Form::Elements,
                        false => Form::Frames,
                    },
                })
            }),
        ),
        kind::LIST => parse(&request.body).and_then(list).map(Asked::List),
        kind::FIND => run_of(request).and_then(|run| {
            let body: FindBody = parse(&request.body)?;
            let ask = FindAsk {
                by: body.by,
                home: body.home,
            };
            Ok(Asked::Find(run, ask))
        }),
        kind::FORGET => parse(&request.body).map(|ForgetBody { node }| Asked::Forget(node)),
        kind => Err(NotUnderstood::new(format!("unknown request: kind {kind}"))),
    }
}

fn about_run(
    request: &envelope::Request,
    ask: Result<Ask, NotUnderstood>,
) -> Result<Asked, NotUnderstood> {
    Ok(Asked::Run(run_of(request)?, ask?))
}

fn run_of(request: &envelope::Request) -> Result<RunId, NotUnderstood> {
    let run = request.run;
    run.ok_or_else(|| NotUnderstood::new("the request names no run"))
}

fn empty(request: &envelope::Request, ask: Ask) -> Result<Ask, NotUnderstood> {
    versioned(&request.body).map(|_| ask)
}

impl Ask {
    fn submitted(request: &envelope::Request) -> Result<Self, NotUnderstood> {
        let body: SubmitBody<'_> = parse(&request.body)?;
        let new = NewRun {
            request: Request {
                prompt: body.prompt.map(Cow::into_owned),
                plan: body.plan.map(Cow::into_owned),
                input: body.input.map(Cow::into_owned),
                labels: body.labels.into_owned(),
                key: body.key.map(Cow::into_owned),
                tenant: body.tenant.into_owned(),
                trace_id: request
                    .trace
                    .map(|trace| format!("{:032x}", u128::from_be_bytes(trace.trace))),
                id: request.run,
            },
            wait: Duration::from_millis(body.wait_ms),
        };
        Ok(Self::Submit(Box::new(new)))
    }
}

fn list(body: ListBody) -> Result<ListAsk, NotUnderstood> {
    let status = |text: &String| {
        let known = RunStatus::ALL.into_iter();
        let mut known = known.filter(|status| status.as_str() == text);
        let status = known.next();
        status.ok_or_else(|| NotUnderstood::new(format!("status {text:?} is not known")))
    };
    let statuses = body.statuses.iter().map(status).collect::<Result<_, _>>()?;
    Ok(ListAsk {
        filter: Filter {
            statuses,
            labels: body.labels,
        },
        limit: body.limit,
    })
}

fn json(body: &impl Serialize) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    // Memory is the only sink, and every key is a text, so that this cannot fail; were it to, the
    // body is cut short, which no node understands.
    if let Err(error) = serde_json::to_writer(&mut bytes, body) {
        tracing::error!(%error, "a question cannot be written");
    }
    bytes
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, NotUnderstood> {
    serde_json::from_slice(versioned(bytes)?).map_err(NotUnderstood::new)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The trace of a request that came in with only the id of it: its span is named after the run.
fn trace(id: &str, run: RunId) -> Option<Trace> {
    let bytes = id.as_bytes();
    let mut trace = [0; 16];
    if bytes.len() != 2 * trace.len() {
        return None;
    }
    for (byte, digits) in trace.iter_mut().zip(bytes.chunks_exact(2)) {
        let digits = std::str::from_utf8(digits).ok()?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    let run = run.to_bytes();
    let (_, span) = run.split_last_chunk()?;
    Some(Trace {
        trace,
        span: *span,
        flags: 1,
    })
}
