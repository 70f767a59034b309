//! Those who submit runs: to a node of this process, or to a server over a connection of their own.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use crane_actors::Runtime;
use crane_actors::submit::Request;
use crane_core::{Json, RunStatus};
use serde::Deserializer;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::{Value, json};

use super::{Error, probe};
use crate::client::{self, Client, Lane};

/// The request of a worker over HTTP: answered when the run has ended.
const SUBMIT: &str = "/runs?wait=60s";
/// Pause after a connection that was not made, so that a server that is away costs no core.
const PAUSE: Duration = Duration::from_millis(10);
/// The metric that tells how much memory a server uses.
const RESIDENT: &str = "process_resident_memory_bytes";

/// Whom the load is for.
#[derive(Clone, Debug)]
pub enum Source {
    /// A node of this process.
    Node(Runtime),
    /// A server.
    Server(Client),
}

/// A plan in the forms in which it is submitted, made once.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    plan: Value,
    body: Bytes,
    pub(super) steps: usize,
}

impl Prepared {
    pub(super) fn new((plan, steps): (Value, usize)) -> Self {
        let body = Json::from_value(&json!({ "plan": plan }));
        Self {
            body: Bytes::copy_from_slice(body.as_str().as_bytes()),
            plan,
            steps,
        }
    }
}

/// One of those who submit.
#[derive(Debug)]
pub(super) enum Worker {
    Node(Runtime),
    Server(Box<Lane>),
}

impl Source {
    /// A worker, connected.
    pub(super) async fn worker(&self) -> Result<Worker, Error> {
        match self {
            Self::Node(runtime) => Ok(Worker::Node(runtime.clone())),
            Self::Server(client) => {
                let mut lane = client.lane(SUBMIT)?;
                lane.connect().await?;
                Ok(Worker::Server(Box::new(lane)))
            }
        }
    }

    /// Memory in use by the node, in bytes; `None` where it does not tell.
    pub(super) async fn resident_bytes(&self) -> Option<u64> {
        match self {
            Self::Node(_) => probe::resident_bytes(),
            Self::Server(client) => {
                let bytes = client.metric(RESIDENT).await.ok().flatten()?;
                Some(bytes as u64)
            }
        }
    }
}

impl Worker {
    /// One run from its submission to its end.
    pub(super) async fn one(&mut self, plan: &Prepared) -> Result<(), String> {
        match self {
            Self::Node(runtime) => in_process(runtime, &plan.plan).await,
            Self::Server(lane) => match lane.post(plan.body.clone()).await {
                Ok(answer) => verdict(&answer),
                Err(error) => {
                    if matches!(error, client::Error::Unreachable { .. }) {
                        tokio::time::sleep(PAUSE).await;
                    }
                    Err(error.to_string())
                }
            },
        }
    }
}

async fn in_process(runtime: &Runtime, plan: &Value) -> Result<(), String> {
    let request = Request {
        plan: Some(plan.clone()),
        ..Request::default()
    };
    let submitted = runtime.submit(request, true).await;
    let submitted = submitted.map_err(|error| error.to_string())?;
    let ended = match submitted.end {
        Some(end) => end.await.ok(),
        None => None,
    };
    let run = match ended {
        Some(run) => run,
        // Its actor restarted or slept on the way: the store knows the end.
        None => runtime
            .ended(submitted.run.id)
            .await
            .map_err(|error| error.to_string())?
            .ok_or("the run is gone")?,
    };
    match run.status() {
        RunStatus::Completed => Ok(()),
        status => {
            let error = run.error.as_deref().unwrap_or_default();
            Err(format!("run {} is {}: {error}", run.id, status.as_str()))
        }
    }
}

/// Whether the run in an answer completed.
fn verdict(answer: &[u8]) -> Result<(), String> {
    match member(answer, "status").as_deref() {
        Some("completed") => Ok(()),
        Some(status) => {
            let id = member(answer, "run_id").unwrap_or_default();
            let error = member(answer, "error").unwrap_or_default();
            Err(format!("run {id} is {status}: {error}"))
        }
        None => Err("an answer is no run".to_owned()),
    }
}

/// A text among the members of a JSON object. Nothing behind it is looked at: a run's status is one
/// of its first members, its plan and its log are not.
fn member(json: &[u8], name: &str) -> Option<String> {
    let mut found = None;
    let search = Search {
        name,
        found: &mut found,
    };
    // That the object did not end where the search did is no news.
    let _ = serde_json::Deserializer::from_slice(json).deserialize_map(search);
    found
}

struct Search<'a> {
    name: &'a str,
    found: &'a mut Option<String>,
}

impl<'de> Visitor<'de> for Search<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<Cow<'de, str>>()? {
            if name == self.name {
                *self.found = members.next_value()?;
                return Ok(());
            }
            members.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_a_run_is_its_own_and_not_that_of_a_step() {
        let completed = br#"{"run_id":"x","status":"completed","plan":{"steps":[]}}"#;
        assert_eq!(verdict(completed), Ok(()));
        // Nothing behind the status is read.
        assert_eq!(
            verdict(br#"{"prompt":null,"status":"completed","plan"#),
            Ok(())
        );
        let failed = br#"{"execution_log":[{"status":"completed"}],"run_id":"x",
            "status":"failed","error":"a: no luck"}"#;
        assert_eq!(
            verdict(failed),
            Err("run x is failed: a: no luck".to_owned())
        );
        assert!(verdict(b"[]").is_err());
        assert!(verdict(b"{\"status\":7}").is_err());
        assert!(verdict(b"<html>").is_err());
    }
}
