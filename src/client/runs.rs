//! Runs of a server: submit, list, read, change.

use axum::http::StatusCode;
use bytes::Bytes;
use crane_core::event::Labels;
use crane_core::{RunId, RunStatus, Seq};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::Client;
use super::call::{Answer, Call};
use super::error::Error;
use super::query::Query;

/// A run message, as the API takes it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Message {
    /// The goal in words; exactly one of `prompt` and `plan` is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The plan as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Value>,
    /// Values over the plan's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// Labels to find the run by.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

/// A run as the server tells it.
#[derive(Debug)]
pub struct RemoteRun {
    /// What a client needs of it.
    pub head: Head,
    /// All of it, as it was answered.
    pub json: Box<RawValue>,
}

/// What a client needs of a run; the members of the JSON that are not here do not matter to it.
#[derive(Debug, Deserialize)]
pub struct Head {
    /// Its identity.
    pub run_id: RunId,
    /// Its status as users read it.
    #[serde(deserialize_with = "status")]
    pub status: RunStatus,
    /// Its last event.
    pub seq: Seq,
    /// Who has it.
    pub node: String,
    /// Its result, once completed.
    #[serde(default)]
    pub result: Option<Box<RawValue>>,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<String>,
}

/// A page of runs.
#[derive(Debug)]
pub struct Listing {
    /// How many match.
    pub total: usize,
    /// The runs of the page, newest first.
    pub runs: Vec<Box<RawValue>>,
    /// The nodes whose runs are missing, since nobody reaches them.
    pub missing: Vec<String>,
}

/// Reads a status by its name.
///
/// # Errors
/// When there is no such status.
pub fn status<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<RunStatus, D::Error> {
    let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
    RunStatus::ALL
        .into_iter()
        .find(|status| status.as_str() == text)
        .ok_or_else(|| serde::de::Error::custom(format!("no run is {text:?}")))
}

impl Client {
    /// Submits a run. The key, which nobody has used, makes it the same run however often the message
    /// has to be sent. Where nodes have no common store, a key that a member which is away might know
    /// is refused; this one is known to nobody, so that the message goes without it then: once, since
    /// an answer that is lost cannot be asked for again.
    ///
    /// # Errors
    /// What the server says is wrong with the message; or no answer.
    pub async fn submit(&self, message: &Message, key: &str) -> Result<RemoteRun, Error> {
        let body = self.json(message)?;
        let call = Call::post("/runs").body(body.clone()).key(key);
        // An answer to the very first message: whatever was sent before that may have been accepted.
        let answer = match self.attempt(&call).await {
            Err(Error::Refused(refusal)) if refusal.needs_no_key() => {
                self.call(&Call::post("/runs").body(body)).await?
            }
            first => self.go_on(&call, first).await?,
        };
        self.remote_run(&answer)
    }

    /// A page of the runs with any of these statuses (none: all) and all of these labels.
    ///
    /// # Errors
    /// As the call.
    pub async fn list(
        &self,
        statuses: &[RunStatus],
        labels: &[(String, String)],
        limit: usize,
        offset: usize,
    ) -> Result<Listing, Error> {
        let mut query = Query::new("/runs");
        query.add("limit", &limit.to_string());
        query.add("offset", &offset.to_string());
        if !statuses.is_empty() {
            let names: Vec<&str> = statuses.iter().map(|status| status.as_str()).collect();
            query.add("status", &names.join(","));
        }
        for (name, value) in labels {
            query.add("label", &format!("{name}={value}"));
        }
        let answer = self.call(&Call::get(query.finish())).await?;
        let total = answer.headers.get("x-total-count");
        let total = total.and_then(|total| total.to_str().ok()?.parse().ok());
        let missing = answer.headers.get(crate::api::UNREACHABLE);
        let missing = missing.and_then(|missing| missing.to_str().ok());
        let missing = missing.into_iter().flat_map(|names| names.split(','));
        let runs: Vec<Box<RawValue>> = self.read(&answer)?;
        Ok(Listing {
            total: total.unwrap_or(offset + runs.len()),
            runs,
            missing: missing.map(|name| name.trim().to_owned()).collect(),
        })
    }

    /// A run.
    ///
    /// # Errors
    /// As the call; a run that is not there is a refusal with 404.
    pub async fn run(&self, id: RunId) -> Result<RemoteRun, Error> {
        let answer = self.call(&Call::get(format!("/runs/{id}"))).await?;
        self.remote_run(&answer)
    }

    /// The events of a run so far.
    ///
    /// # Errors
    /// As [`Client::run`].
    pub async fn events_so_far(&self, id: RunId) -> Result<Vec<Box<RawValue>>, Error> {
        let answer = self.call(&Call::get(format!("/runs/{id}/events"))).await?;
        if answer.status == StatusCode::NO_CONTENT {
            return Ok(Vec::new());
        }
        self.read(&answer)
    }

    /// Cancels a run.
    ///
    /// # Errors
    /// As [`Client::run`]; a run that has ended is a refusal with 409.
    pub async fn cancel(&self, id: RunId) -> Result<(), Error> {
        self.call(&Call::delete(format!("/runs/{id}"))).await?;
        Ok(())
    }

    /// Opens an ended run, whose last event is `seen`, again.
    ///
    /// # Errors
    /// As [`Client::run`]; a run that cannot be retried is a refusal with 409.
    pub async fn retry(&self, id: RunId, seen: Seq) -> Result<(), Error> {
        let retried = self.call(&Call::post(format!("/runs/{id}/retry"))).await;
        match retried {
            Err(error @ (Error::Broken { .. } | Error::TimedOut { .. })) => {
                // The answer is lost, what was done is not: nothing else writes to an ended run.
                let run = self.run(id).await?;
                if run.head.seq > seen {
                    Ok(())
                } else {
                    Err(error)
                }
            }
            other => other.map(|_| ()),
        }
    }

    fn remote_run(&self, answer: &Answer) -> Result<RemoteRun, Error> {
        let json: Box<RawValue> = self.read(answer)?;
        let head = serde_json::from_str(json.get())
            .map_err(|error| Error::strange(&self.0.target, format!("it is no run: {error}")))?;
        Ok(RemoteRun { head, json })
    }

    pub(super) fn json<T: Serialize>(&self, value: &T) -> Result<Bytes, Error> {
        serde_json::to_vec(value).map(Bytes::from).map_err(|error| {
            Error::strange(
                &self.0.target,
                format!("no JSON can be made for it: {error}"),
            )
        })
    }

    pub(super) fn read<T: serde::de::DeserializeOwned>(&self, answer: &Answer) -> Result<T, Error> {
        serde_json::from_slice(&answer.body)
            .map_err(|error| Error::strange(&self.0.target, error.to_string()))
    }
}
