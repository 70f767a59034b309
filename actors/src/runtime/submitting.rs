//! Taking run messages in: the id, the key, the answer.

use crane_core::plan::Finding;
use crane_core::{Run, RunId, limits};
use tokio::sync::oneshot;

use super::{ReadError, Runtime};
use crate::shard::ShardMsg;
use crate::submit::{self, Request, Submit, SubmitError, Submitted};

impl Runtime {
    /// Checks and accepts a run; it is durable when this returns. With `watch`, the answer can be
    /// waited on for the run's end.
    ///
    /// # Errors
    /// See [`SubmitError`]; a refused request has left no trace and used up no key.
    pub async fn submit(&self, request: Request, watch: bool) -> Result<Submitted, SubmitError> {
        let submitted = self.take_in(request, watch).await;
        submitted.map_err(|error| self.refuse(error))
    }

    /// Counts that a submission is refused.
    pub fn refuse(&self, error: SubmitError) -> SubmitError {
        self.kernel.metrics.rejected(&error);
        error
    }

    /// Counts a submission that got to no node which could take it in.
    pub fn count_unplaced(&self) {
        self.kernel.metrics.unplaced();
    }

    async fn take_in(&self, request: Request, watch: bool) -> Result<Submitted, SubmitError> {
        let id = match (request.id, &request.key) {
            (Some(id), _) => id,
            (None, Some(key)) => RunId::from_key(&request.tenant, key),
            (None, None) => self.random_id(),
        };
        let keyed = request.key.is_some();
        let repeatable = keyed || request.id.is_some();
        if self.kernel.is_elsewhere(id.shard()) {
            return Err(SubmitError::NotOwner(id.shard()));
        }
        let checked = submit::check(&self.kernel, request).await?;
        let hash = checked.submission.accepted.request_hash;
        if keyed && let Some(run) = self.load(id).await.map_err(read_to_submit)? {
            return self.known(run, hash);
        }
        if let Some(error) = self.kernel.store.refusing() {
            return Err(error.into());
        }
        let tenure = self.kernel.watched(id.shard()).map_err(read_to_submit)?;
        let (reply, answer) = oneshot::channel();
        let (watcher, end) = if watch {
            let (sender, receiver) = oneshot::channel();
            (Some(sender), Some(receiver))
        } else {
            (None, None)
        };
        self.send(
            id,
            ShardMsg::Submit(Box::new(Submit {
                run: id,
                submission: Box::new(checked.submission),
                planned: checked.planned,
                reply,
                watcher,
            })),
        );
        let unanswered = || match tenure.filter(|tenure| repeatable && tenure.is_over()) {
            Some(tenure) => SubmitError::NotOwner(tenure.shard()),
            None => SubmitError::Lost,
        };
        match answer.await.unwrap_or_else(|_| Err(unanswered())) {
            Ok(run) => {
                self.kernel.metrics.submitted.increment(1);
                Ok(Submitted {
                    run,
                    created: true,
                    end,
                })
            }
            Err(SubmitError::Exists(_)) => {
                let run = self.described(id).await?;
                self.known(run, hash)
            }
            Err(error) => Err(error),
        }
    }

    /// Everything that is wrong with a request; nothing comes of it.
    pub async fn findings(&self, request: Request) -> Vec<Finding> {
        match submit::check(&self.kernel, request).await {
            Err(SubmitError::Invalid(findings)) => findings,
            _ => Vec::new(),
        }
    }

    /// The answer to a request whose run exists.
    fn known(&self, run: Run, hash: Option<u128>) -> Result<Submitted, SubmitError> {
        let stored = run.accepted.as_ref().and_then(|a| a.request_hash);
        if stored != hash {
            return Err(SubmitError::KeyReused(run.id));
        }
        self.kernel.metrics.deduplicated.increment(1);
        Ok(Submitted {
            run,
            created: false,
            end: None,
        })
    }

    /// A run that another request is creating right now, once it is durable.
    async fn described(&self, id: RunId) -> Result<Run, SubmitError> {
        for _ in 0..limits::ENDED_ACTOR_TRIES {
            if self.kernel.is_elsewhere(id.shard()) {
                return Err(SubmitError::NotOwner(id.shard()));
            }
            let (sender, answer) = oneshot::channel();
            self.send(id, ShardMsg::Describe(id, sender));
            if let Ok(run) = answer.await {
                return Ok(run);
            }
            if let Some(run) = self.load(id).await.map_err(read_to_submit)? {
                return Ok(run);
            }
            tokio::time::sleep(limits::ENDED_ACTOR_PAUSE).await;
        }
        Err(SubmitError::Lost)
    }

    /// A new id. Its shard may be another node's, where shards have owners.
    pub fn random_id(&self) -> RunId {
        let mut random = [0; 10];
        if let Err(error) = getrandom::fill(&mut random) {
            // Without the system's random numbers, the clock's microseconds and a counter differ.
            tracing::warn!(%error, "no random numbers from the system");
            random[..8].copy_from_slice(&self.kernel.clock.now().0.to_be_bytes());
        }
        RunId::from_time(self.kernel.clock.now().as_millis(), random)
    }
}

fn read_to_submit(error: ReadError) -> SubmitError {
    match error {
        ReadError::Store(error) => SubmitError::Store(error),
        ReadError::NotOwner(shard) => SubmitError::NotOwner(shard),
        ReadError::Damaged(detail) => SubmitError::Store(crane_store::Error::Fatal(detail.into())),
    }
}
