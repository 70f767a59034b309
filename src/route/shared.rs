//! Nodes with a common store: a run is where its shard is, and what is stored can be read anywhere.

use std::sync::Arc;
use std::time::Duration;

use crane_actors::submit::Request;
use crane_core::{NodeName, RunId, RunStatus, limits};

use super::field::{Answers, Field, Place};
use super::stuck;
use super::trip::{Patience, Stuck};
use super::way::{Arrived, Way};
use super::words::{After, Answer, Ask, NewRun, Told, Trouble};
use crate::api::{ApiError, ErrorType};

/// See the module.
#[derive(Debug)]
pub(super) struct Shared {
    way: Way,
    patience: Patience,
}

impl Shared {
    /// Requests are `allowed` that long.
    pub(super) fn new(field: Arc<dyn Field>, here: Arc<dyn Answers>, allowed: Duration) -> Self {
        Self {
            way: Way::new(field, here),
            patience: Patience::of_request(allowed),
        }
    }

    pub(super) fn field(&self) -> &Arc<dyn Field> {
        &self.way.field
    }

    /// Takes a run in, wherever its shard is; its end may be waited for `wait` before the answer.
    pub(super) async fn submit(
        &self,
        request: Request,
        wait: Duration,
    ) -> Result<(RunId, Answer), ApiError> {
        let run = match &request.key {
            Some(key) => RunId::from_key(&request.tenant, key),
            None => return self.submit_anywhere(request, wait).await,
        };
        let ask = submission(run, request, wait);
        let arrived = self.way.go(run, &ask, self.patience).await;
        let Arrived { mut answer, again } =
            arrived.map_err(|stuck| stuck::refusal(run, &ask, stuck))?;
        if let Answer::Run(told) = &mut answer {
            // Most probably this request's, if an earlier try was not answered.
            told.created |= again;
        }
        Ok((run, answer))
    }

    /// A run without a key takes another id when the shard of the first one takes nothing in: it may be
    /// on its way from one node to another, with long steps to wait for.
    async fn submit_anywhere(
        &self,
        request: Request,
        wait: Duration,
    ) -> Result<(RunId, Answer), ApiError> {
        let mut tries = 1;
        loop {
            let run = self.new_id();
            let ask = submission(run, request.clone(), wait);
            let patience = Patience {
                fickle: tries < limits::UNPLACED_TRIES,
                ..self.patience
            };
            let stuck = match self.way.go(run, &ask, patience).await {
                Ok(Arrived { mut answer, .. }) => {
                    if let Answer::Run(told) = &mut answer {
                        told.created = true;
                    }
                    return Ok((run, answer));
                }
                Err(stuck) => stuck,
            };
            let nothing_done = matches!(stuck, Stuck::Unowned | Stuck::Busy);
            if !patience.fickle || !nothing_done {
                return Err(stuck::refusal(run, &ask, stuck));
            }
            tries += 1;
        }
    }

    /// The id of a run without a key: any will do, so that a shard which moves holds up no new run.
    fn new_id(&self) -> RunId {
        let mut id = self.way.here.new_id();
        for _ in 1..limits::RUN_ID_TRIES {
            let within_reach = match self.way.field.place(id.shard()) {
                Place::Here(_) => true,
                Place::There { node, .. } => self.way.field.reaches(&node),
                Place::Nobody => false,
            };
            if within_reach {
                break;
            }
            id = self.way.here.new_id();
        }
        id
    }

    /// Answers another node.
    pub(super) async fn answer_other(&self, run: RunId, ask: &Ask) -> Result<Answer, Trouble> {
        let me = self.way.field.me();
        self.way.here.answer(run, ask, me).await
    }

    /// Answers about a run: from the store what is stored, by its owner what is to come.
    pub(super) async fn ask(&self, run: RunId, ask: &Ask) -> Result<Answer, ApiError> {
        let patience = match ask {
            Ask::Load => return self.stored(run, ask).await,
            Ask::Events(after) if after.wait.is_zero() => return self.stored(run, ask).await,
            Ask::Submit(_) | Ask::Cancel | Ask::Retry => self.patience,
            Ask::End { .. } | Ask::Events(_) => Patience::of_poll(),
        };
        let arrived = match self.way.go(run, ask, patience).await {
            Ok(arrived) => arrived,
            Err(stuck) => return self.without_owner(run, ask, stuck).await,
        };
        match (ask, &arrived.answer) {
            // It may be an earlier try of this very request that has ended it.
            (Ask::Cancel, Answer::Refused(error))
                if arrived.again && error.error_type == ErrorType::Conflict =>
            {
                self.cancelled(run, arrived.answer).await
            }
            _ => Ok(arrived.answer),
        }
    }

    /// What is stored may be all that a reader waits for, also while nobody owns the run.
    async fn without_owner(&self, run: RunId, ask: &Ask, stuck: Stuck) -> Result<Answer, ApiError> {
        match ask {
            Ask::End { .. } => {
                if let Answer::Run(told) = self.stored(run, &Ask::Load).await?
                    && told.status.is_ended()
                {
                    return Ok(Answer::Run(told));
                }
            }
            Ask::Events(after) => {
                let wait = Duration::ZERO;
                let stored = Ask::Events(After { wait, ..*after });
                if let Answer::Events(events) = self.stored(run, &stored).await?
                    && (events.seen > after.seq || events.ended)
                {
                    return Ok(Answer::Events(events));
                }
            }
            Ask::Submit(_) | Ask::Load | Ask::Cancel | Ask::Retry => {}
        }
        Err(stuck::refusal(run, ask, stuck))
    }

    /// The run if it is cancelled, otherwise `answer`.
    async fn cancelled(&self, run: RunId, answer: Answer) -> Result<Answer, ApiError> {
        match self.stored(run, &Ask::Load).await? {
            Answer::Run(told) if told.status == RunStatus::Cancelled => Ok(Answer::Run(told)),
            _ => Ok(answer),
        }
    }

    async fn stored(&self, run: RunId, ask: &Ask) -> Result<Answer, ApiError> {
        let owner = self.owner(run);
        let answered = self.way.here.answer(run, ask, &owner).await;
        // Reading needs no owner, so that there is an answer.
        answered.map_err(|_: Trouble| stuck::refusal(run, ask, Stuck::Unowned))
    }

    /// Who is named as the owner of a run, alive or not; this node while it is nobody.
    fn owner(&self, run: RunId) -> NodeName {
        let (owner, _) = self.way.field.owner(run.shard());
        owner.map_or_else(|| self.way.field.me().clone(), |owner| owner.node)
    }
}

fn submission(run: RunId, mut request: Request, wait: Duration) -> Ask {
    request.id = Some(run);
    Ask::Submit(Box::new(NewRun { request, wait }))
}

/// The run that an answer holds, if it does.
pub(super) fn run_of(run: RunId, answer: Answer) -> Result<Option<Told>, ApiError> {
    match answer {
        Answer::Run(told) => Ok(Some(told)),
        Answer::NotFound => Ok(None),
        Answer::Refused(error) => Err(error),
        Answer::Events(_) => Err(ApiError::internal(format!(
            "events came instead of run {run}"
        ))),
    }
}
