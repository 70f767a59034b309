//! What a service submits, its checks, and what it hears.

use std::sync::Arc;

use crane_core::event::{Accepted, Labels};
use crane_core::plan::Finding;
use crane_core::run::Submission;
use crane_core::{Json, Plan, Run, RunId, ShardId, limits};
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use crate::kernel::Kernel;
use crate::planner;

/// A run message: a goal in words or a plan.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The goal in words; exactly one of `prompt` and `plan` is given.
    pub prompt: Option<String>,
    /// The plan as written.
    pub plan: Option<Value>,
    /// Values that overlay the plan's `input`, a JSON object.
    pub input: Option<Value>,
    /// Labels to find the run by.
    pub labels: Labels,
    /// Idempotency key: the same tenant and key never create a second run.
    pub key: Option<String>,
    /// On whose behalf.
    pub tenant: String,
    /// W3C trace id that the run's lines and calls carry.
    pub trace_id: Option<String>,
    /// The id of the run, chosen by whoever looks for its owner. As with a key, the same request
    /// with the same id never creates a second run. Without it and without a key, the node chooses
    /// one of a shard that it owns.
    pub id: Option<RunId>,
}

/// The answer to an accepted request.
#[derive(Debug)]
pub struct Submitted {
    /// The run, durable.
    pub run: Run,
    /// Whether this request created it; otherwise an earlier one with the same key did.
    pub created: bool,
    /// Receives the run when it ends, if that was asked for; closed without an answer when its
    /// actor restarts or sleeps ([`crate::Runtime::ended`] then helps).
    pub end: Option<oneshot::Receiver<Run>>,
}

/// Why a request was refused.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The request is not valid; everything that is wrong with it.
    #[error("the request is not valid: {}", summary(.0))]
    Invalid(Vec<Finding>),
    /// The key was used before with another request.
    #[error("the idempotency key was used before with another request (run {0})")]
    KeyReused(RunId),
    /// The run exists already.
    #[error("run {0} exists already")]
    Exists(RunId),
    /// The node holds as many waiting runs as it may.
    #[error("{limit} runs are waiting already; try again later")]
    TooMany {
        /// The bound.
        limit: usize,
    },
    /// The node is going down.
    #[error("the node is shutting down")]
    Stopping,
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] crane_store::Error),
    /// The run's shard is not open on this node; only with [`crate::Owning::Leased`]. The request has
    /// left no trace, or has a key or an id and can be repeated safely wherever the shard is.
    #[error("shard {0} is not owned by this node")]
    NotOwner(ShardId),
    /// The shard failed before it answered; with a key or an id the request can be repeated safely.
    #[error("no answer from the shard; the run may or may not have been accepted")]
    Lost,
}

fn summary(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings
        .iter()
        .map(|finding| match finding.path.as_str() {
            "" => finding.message.clone(),
            path => format!("{path}: {}", finding.message),
        })
        .collect();
    lines.join("; ")
}

/// A checked request on its way to its shard.
#[derive(Debug)]
pub(crate) struct Submit {
    pub(crate) run: RunId,
    pub(crate) submission: Box<Submission>,
    /// What the planner made of the prompt, when it needs no network.
    pub(crate) planned: Option<Result<Arc<Plan>, Arc<str>>>,
    pub(crate) reply: oneshot::Sender<Result<Run, SubmitError>>,
    pub(crate) watcher: Option<oneshot::Sender<Run>>,
}

/// A request that passed its checks.
pub(crate) struct Checked {
    pub(crate) submission: Submission,
    pub(crate) planned: Option<Result<Arc<Plan>, Arc<str>>>,
}

/// Checks a request and compiles its plan.
pub(crate) async fn check(kernel: &Kernel, request: Request) -> Result<Checked, SubmitError> {
    let request_hash = request.key.is_some().then(|| fingerprint(&request));
    let mut findings = Vec::new();
    check_labels(&request.labels, &mut findings);
    let input = check_input(request.input, &mut findings);
    let (prompt, plan) = match (request.prompt, request.plan) {
        (Some(prompt), None) => (check_prompt(prompt, &mut findings), None),
        (None, Some(source)) => (None, check_plan(kernel, &source, &mut findings)),
        (Some(_), Some(_)) => {
            findings.push(finding(
                "prompt",
                "both prompt and plan are given; give one of them",
            ));
            (None, None)
        }
        (None, None) => {
            findings.push(finding(
                "prompt",
                "neither prompt nor plan is given; give one of them",
            ));
            (None, None)
        }
    };
    let defaults = plan.as_ref().map(|plan| &plan.input);
    let input = Json::from_value(&overlay(defaults, input));
    if input.size() > kernel.limits.payload_bytes {
        let (size, limit) = (input.size(), kernel.limits.payload_bytes);
        findings.push(finding(
            "input",
            format!("{size} bytes, the limit is {limit}"),
        ));
    }
    if !findings.is_empty() {
        return Err(SubmitError::Invalid(findings));
    }
    let planned = match &prompt {
        Some(prompt) if kernel.planner.is_local() => Some(planner::plan(kernel, prompt).await),
        _ => None,
    };
    let accepted = Accepted {
        prompt,
        plan: plan.as_ref().map(|plan| plan.source.clone()),
        input,
        labels: request.labels,
        request_hash,
        trace_id: request.trace_id.map(Arc::from),
    };
    let submission = Submission { accepted, plan };
    Ok(Checked {
        submission,
        planned,
    })
}

fn finding(path: &str, message: impl Into<String>) -> Finding {
    Finding {
        path: path.to_owned(),
        message: message.into(),
    }
}

fn check_prompt(prompt: String, findings: &mut Vec<Finding>) -> Option<Arc<str>> {
    let chars = prompt.chars().count();
    if prompt.trim().is_empty() {
        findings.push(finding("prompt", "is empty; say what is to be done"));
    } else if chars > limits::PROMPT_CHARS {
        let limit = limits::PROMPT_CHARS;
        findings.push(finding(
            "prompt",
            format!("{chars} characters, the limit is {limit}"),
        ));
    }
    Some(prompt.into())
}

fn check_plan(kernel: &Kernel, source: &Value, findings: &mut Vec<Finding>) -> Option<Arc<Plan>> {
    let checked = kernel
        .plans
        .check(source, kernel.tools.as_ref(), &kernel.limits);
    match checked {
        Ok(plan) => Some(plan),
        Err(wrong) => {
            findings.extend(wrong.into_iter().map(|f| Finding {
                path: match f.path.as_str() {
                    // How the plan itself is written.
                    "plan" => f.path,
                    path => format!("plan.{path}"),
                },
                message: f.message,
            }));
            None
        }
    }
}

fn check_labels(labels: &Labels, findings: &mut Vec<Finding>) {
    if labels.len() > limits::LABELS {
        let (count, limit) = (labels.len(), limits::LABELS);
        findings.push(finding(
            "labels",
            format!("{count} labels, the limit is {limit}"),
        ));
    }
    for (key, value) in labels {
        if key.is_empty() || key.contains('=') {
            findings.push(finding(
                &format!("labels.{key}"),
                "a label's key must not be empty or contain '='",
            ));
        }
        if key.len() > limits::LABEL_BYTES || value.len() > limits::LABEL_BYTES {
            let limit = limits::LABEL_BYTES;
            findings.push(finding(
                &format!("labels.{}", key.chars().take(32).collect::<String>()),
                format!("key or value is longer than {limit} bytes"),
            ));
        }
    }
}

fn check_input(input: Option<Value>, findings: &mut Vec<Finding>) -> Option<Map<String, Value>> {
    match input {
        None => None,
        Some(Value::Object(members)) => Some(members),
        Some(_) => {
            findings.push(finding("input", "must be an object"));
            None
        }
    }
}

/// The plan's defaults with the request's values on top, member by member.
fn overlay(defaults: Option<&Value>, input: Option<Map<String, Value>>) -> Value {
    let mut merged = match defaults {
        Some(Value::Object(members)) => members.clone(),
        _ => Map::new(),
    };
    merged.extend(input.into_iter().flatten());
    Value::Object(merged)
}

/// Identifies the content of a request, whatever the order of its members was.
fn fingerprint(request: &Request) -> u128 {
    let canonical = json!({
        "prompt": request.prompt,
        "plan": request.plan,
        "input": request.input,
        "labels": request.labels,
    });
    Json::from_value(&canonical).fingerprint()
}
