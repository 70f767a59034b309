//! A run of another process, folded here from its events: the same run, and so the same live view,
//! tables and reports, as one that this process executes.

use crane_core::run::read::record_of;
use crane_core::{Record, Run, RunId, Seq};

use super::Client;
use super::error::Error;
use super::events::Events;

/// Follows one run from its first event on.
#[derive(Debug)]
pub struct Follower {
    events: Events,
    run: Run,
}

impl Client {
    /// Follows a run, from its first event on.
    pub fn follow(&self, id: RunId) -> Follower {
        Follower {
            events: self.events(id, Seq(0)),
            run: Run::empty(id),
        }
    }

    /// The run as its events so far make it.
    ///
    /// # Errors
    /// As the call, or when the events do not make a run.
    pub async fn folded(&self, id: RunId) -> Result<Run, Error> {
        let mut run = Run::empty(id);
        for event in self.events_so_far(id).await? {
            self.fold(&mut run, event.get())?;
        }
        Ok(run)
    }

    fn fold(&self, run: &mut Run, event: &str) -> Result<Record, Error> {
        let strange = |reason: String| Error::strange(&self.0.target, reason);
        let record = record_of(run, event).map_err(|error| strange(error.to_string()))?;
        run.apply(&record)
            .map_err(|error| strange(error.to_string()))?;
        Ok(record)
    }
}

impl Follower {
    /// The run as it was after the last event handed out.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// The next event; `None` after the terminal event of the current round.
    ///
    /// # Errors
    /// As [`Events::next`], or when the events do not make a run.
    pub async fn next(&mut self) -> Result<Option<Record>, Error> {
        let Some(text) = self.events.next().await? else {
            return Ok(None);
        };
        let record = self.events.client().fold(&mut self.run, &text.json)?;
        Ok(Some(record))
    }
}
