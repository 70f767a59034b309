//! Where a run is, and how a request about it gets there. Every handler that concerns runs goes through
//! the [`Router`], and other nodes' questions come in through the [`Dispatcher`].
//!
//! ```text
//!   handler ──> Router ── one node ──> Runtime                                   (no detour, no cost)
//!                 │
//!                 ├── nodes with a common store ──> shared: way (trip) ──> here, or the owner's node
//!                 └── nodes with a store each ────> home: here, one of the members, or all of them
//!                                                          │            ^
//!   gateway of another node ──> Dispatcher ──> here <──────┘            │ wire: ask, answer
//!                                               └───────────────────────┘
//! ```
//!
//! What never lives here: who owns a shard ([`field::Field`] says it), what a run may do (the
//! runtime's), HTTP. Refusals travel as the API says them, so that every node says the same.

mod cluster;
mod dispatch;
mod far;
mod field;
mod here;
mod home;
mod members;
mod parked;
mod shared;
mod stuck;
mod tail;
#[cfg(test)]
pub(crate) mod tests;
mod trip;
mod way;
mod wire;
mod words;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use crane_actors::Runtime;
use crane_actors::submit::{Request, Submitted};
use crane_core::{Run, RunId, Seq, limits};
use crane_store::{Filter, Page};
use tokio::time::Instant;

pub use dispatch::Dispatcher;
pub use field::{Field, Neighbor};
pub use home::{Item, Merged};
pub use tail::{Heard, Tail};
pub use words::Outline;

use crate::api::ApiError;
use crate::life::{Life, Phase};
use far::Far;
use here::Here;
use home::Home;
use shared::{Shared, run_of};
use words::{After, Answer, Ask, Form, Told};

/// How long the owner of a new run waits for its end before the first answer; shorter than a node that
/// closes waits for its connections.
const FIRST_WAIT: Duration = Duration::from_secs(3);
/// Pause of a request that waits for a run which nobody has at the moment.
const PAUSE: Duration = Duration::from_millis(100);

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Router {
    runtime: Runtime,
    far: Option<Far>,
}

/// A run on its way to its user.
#[derive(Clone, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "a box would cost each request of a node alone an allocation"
)]
pub enum Shown {
    /// As it is, of this node.
    Run(Run),
    /// As its owner wrote it, JSON.
    Text(Bytes),
}

/// A run that was taken in.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// Its id.
    pub id: RunId,
    /// Whether this request created it.
    pub created: bool,
    /// The run.
    pub run: Shown,
}

impl Router {
    /// That of a node alone.
    pub fn alone(runtime: Runtime) -> Self {
        Self { runtime, far: None }
    }

    /// That of a node which has its store in common with others; a request is `allowed` that long.
    pub fn shared(runtime: Runtime, field: Arc<dyn Field>, allowed: Duration) -> Self {
        let here = Here::new(runtime.clone());
        let shared = Shared::new(field, here, allowed);
        Self {
            runtime,
            far: Some(Far::Shared(Arc::new(shared))),
        }
    }

    /// That of a node which has its own store and others beside it. The members that it has ever seen
    /// are kept in the directory `data`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn home(
        runtime: Runtime,
        field: Arc<dyn Field>,
        data: Option<&Path>,
        allowed: Duration,
    ) -> io::Result<Self> {
        let here = Here::new(runtime.clone());
        let home = Home::open(field, here, data, allowed)?;
        Ok(Self {
            runtime,
            far: Some(Far::Home(Arc::new(home))),
        })
    }

    /// Whether runs are taken in, in this phase of the node's life: one that goes passes them on, as long
    /// as there are others.
    pub fn admits(&self, phase: Phase) -> bool {
        let has_company = || self.far.as_ref().is_some_and(Far::has_company);
        phase == Phase::Serving || has_company()
    }

    /// The phase in which requests that wait for a run are answered as it stands.
    fn waits_until(&self) -> Phase {
        match &self.far {
            // The run goes on elsewhere, and the wait with it.
            Some(Far::Shared(_)) => Phase::Closing,
            Some(Far::Home(_)) | None => Phase::Draining,
        }
    }

    /// Takes a run in; it is durable when this returns. With `wait`, the run is answered when it has
    /// ended, or as it is when the time is over or `life` is.
    ///
    /// # Errors
    /// What is refused, and why; 503 when nobody can take it in.
    pub async fn submit(
        &self,
        request: Request,
        wait: Option<Duration>,
        life: &Life,
    ) -> Result<Accepted, ApiError> {
        if let Some(far) = &self.far {
            return Box::pin(self.submit_far(far, request, wait, life)).await;
        }
        let submitted = self.runtime.submit(request, wait.is_some()).await?;
        let (id, created) = (submitted.run.id, submitted.created);
        let run = match wait {
            Some(wait) => self.until_ended(submitted, wait, life).await?,
            None => submitted.run,
        };
        Ok(Accepted {
            id,
            created,
            run: Shown::Run(run),
        })
    }

    /// The run when it ends; when the time is over or the node goes down, the run as it is then. The
    /// runtime hands over the ended run itself: nothing is read from the store.
    async fn until_ended(
        &self,
        submitted: Submitted,
        wait: Duration,
        life: &Life,
    ) -> Result<Run, ApiError> {
        let Submitted { run, end, .. } = submitted;
        if run.status().is_ended() {
            return Ok(run);
        }
        let id = run.id;
        let ended = async {
            if let Some(end) = end
                && let Ok(run) = end.await
            {
                return Ok(Some(run));
            }
            // Its actor sleeps or starts over, or another request has submitted it.
            Box::pin(self.runtime.ended(id)).await
        };
        let waited = tokio::select! {
            biased;
            ended = ended => ended?,
            () = tokio::time::sleep(wait) => self.runtime.load(id).await?,
            () = life.reached(self.waits_until()) => self.runtime.load(id).await?,
        };
        Ok(waited.unwrap_or(run))
    }

    async fn submit_far(
        &self,
        far: &Far,
        request: Request,
        wait: Option<Duration>,
        life: &Life,
    ) -> Result<Accepted, ApiError> {
        let wait = wait.unwrap_or_default();
        let until = Instant::now() + wait;
        self.has_store(far)?;
        let submitted = far.submit(request, wait.min(FIRST_WAIT)).await;
        let (id, answer) = submitted.inspect_err(|_| self.runtime.count_unplaced())?;
        let missing = || ApiError::internal(format!("run {id} was accepted and is not there"));
        let told = run_of(id, answer)?.ok_or_else(missing)?;
        let created = told.created;
        let mut text = told.text;
        if !told.status.is_ended() && !wait.is_zero() {
            let ended = tokio::select! {
                biased;
                ended = ended_far(far, id, until) => ended,
                () = tokio::time::sleep_until(until) => None,
                () = life.reached(self.waits_until()) => None,
            };
            let last = match ended {
                Some(told) => Some(told),
                None => loaded(far, id).await,
            };
            if let Some(told) = last {
                text = told.text;
            }
        }
        Ok(Accepted {
            id,
            created,
            run: Shown::Text(text),
        })
    }

    /// Whether somebody could make a run durable. Without a database nobody can, for whom a run need not
    /// wait.
    fn has_store(&self, far: &Far) -> Result<(), ApiError> {
        let Far::Shared(shared) = far else {
            return Ok(());
        };
        let Some(error @ crane_store::Error::Unavailable(_)) = self.runtime.refusing() else {
            return Ok(());
        };
        if shared
            .field()
            .neighbors()
            .iter()
            .any(|other| other.has_store)
        {
            return Ok(());
        }
        Err(self.runtime.refuse(error.into()).into())
    }

    /// A run, by its durable events; `None` when there is no such run.
    ///
    /// # Errors
    /// When the store fails, or its home is away.
    pub async fn load(&self, id: RunId) -> Result<Option<Shown>, ApiError> {
        let Some(far) = &self.far else {
            return Ok(self.runtime.load(id).await?.map(Shown::Run));
        };
        let answer = Box::pin(far.ask(id, &Ask::Load)).await?;
        Ok(run_of(id, answer)?.map(|told| Shown::Text(told.text)))
    }

    /// Cancels a run; the request is durable when this returns.
    ///
    /// # Errors
    /// No such run, it has ended already, or nobody can do it at the moment.
    pub async fn cancel(&self, id: RunId) -> Result<Shown, ApiError> {
        match &self.far {
            None => Ok(Shown::Run(self.runtime.cancel(id).await?)),
            Some(far) => change(far, id, Ask::Cancel).await,
        }
    }

    /// Opens a failed or cancelled run again; that is durable when this returns.
    ///
    /// # Errors
    /// No such run, it has not ended or completed, or nobody can do it at the moment.
    pub async fn retry(&self, id: RunId) -> Result<Shown, ApiError> {
        match &self.far {
            None => Ok(Shown::Run(self.runtime.retry(id).await?)),
            Some(far) => change(far, id, Ask::Retry).await,
        }
    }

    /// A page of runs, newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self, filter: Filter, page: Page) -> Result<Merged, ApiError> {
        if let Some(Far::Home(home)) = &self.far {
            return Box::pin(home.list(filter, page)).await;
        }
        let listing = self.runtime.list(filter, page).await?;
        let runs = listing.runs.iter().map(|(id, summary)| Item {
            id: *id,
            outline: summary.into(),
            home: None,
        });
        Ok(Merged {
            total: listing.total,
            runs: runs.collect(),
            missing: Vec::new(),
        })
    }

    /// Follows a run from the event after `after` on, or from its last when there is no such event
    /// yet: as a list of what is stored, or live. `None` when there is no such run.
    ///
    /// # Errors
    /// When the store fails, or its home is away.
    pub async fn tail(
        &self,
        id: RunId,
        after: Seq,
        as_list: bool,
    ) -> Result<Option<Tail>, ApiError> {
        let Some(far) = &self.far else {
            let tail = self.runtime.tail(id, after).await?;
            return Ok(tail.map(|tail| Tail::near(id, tail)));
        };
        let form = match as_list {
            true => Form::Elements,
            false => Form::Frames,
        };
        let ask = Ask::Events(After {
            seq: after,
            wait: Duration::ZERO,
            form,
        });
        match Box::pin(far.ask(id, &ask)).await? {
            Answer::Events(events) => Ok(Some(Tail::far(far.clone(), id, form, events))),
            Answer::NotFound => Ok(None),
            Answer::Refused(error) => Err(error),
            Answer::Run(_) => Err(ApiError::internal("a run came instead of events")),
        }
    }
}

/// Waits until a run has ended, whoever has it; `None` when the time is over, or it is gone.
async fn ended_far(far: &Far, id: RunId, until: Instant) -> Option<Told> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        let wait = left.min(limits::POLL_WAIT);
        match far.ask(id, &Ask::End { wait }).await {
            Ok(Answer::Run(told)) if told.status.is_ended() => return Some(told),
            Ok(Answer::Run(_)) => {}
            Ok(Answer::NotFound) => return None,
            // Somebody will have it again.
            Ok(Answer::Refused(_) | Answer::Events(_)) | Err(_) => {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// The run as it stands, if that can be said at the moment.
async fn loaded(far: &Far, id: RunId) -> Option<Told> {
    let answer = far.ask(id, &Ask::Load).await.ok()?;
    run_of(id, answer).ok().flatten()
}

async fn change(far: &Far, id: RunId, ask: Ask) -> Result<Shown, ApiError> {
    let answer = Box::pin(far.ask(id, &ask)).await?;
    match run_of(id, answer)? {
        Some(told) => Ok(Shown::Text(told.text)),
        None => Err(ApiError::run_not_found(id)),
    }
}
