//! How a server is. It is asked once: who checks health wants to know about now.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Client;
use super::call::{Answer, Call};
use super::error::{Error, Refusal};

/// Whether a server should be given work.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Readiness {
    /// Whether it should.
    pub ready: bool,
    /// What that depends on, and whether it is as it should be.
    pub checks: BTreeMap<String, bool>,
}

impl Client {
    /// Whether the server answers at all.
    ///
    /// # Errors
    /// When it does not.
    pub async fn alive(&self) -> Result<(), Error> {
        self.attempt(&Call::get("/health/live")).await.map(drop)
    }

    /// Whether the server should be given work.
    ///
    /// # Errors
    /// When it does not answer, or something else answers in its place.
    pub async fn readiness(&self) -> Result<Readiness, Error> {
        let (_, response) = self.exchange(&Call::get("/health/ready")).await?;
        let (parts, body) = response.into_parts();
        let answer = Answer {
            status: parts.status,
            headers: parts.headers,
            body: self.collect(body).await?,
        };
        match self.read(&answer) {
            // 503 with an answer of the node is no refusal.
            Err(_) if !answer.status.is_success() => {
                let refusal = Refusal::read(answer.status, &answer.headers, &answer.body);
                Err(Error::Refused(Box::new(refusal)))
            }
            read => read,
        }
    }
}
