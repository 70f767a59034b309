//! A node's own answers, without actors.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use crane_core::{NodeName, RunId, RunStatus, Seq, Timestamp};
use futures_util::future::BoxFuture;

use super::{FakeRun, World};
use crate::api::{ApiError, ErrorType};
use crate::route::field::Answers;
use crate::route::words::{
    After, Answer, Ask, Events, ListAsk, Listed, NewRun, Outline, Told, Trouble,
};

/// A node that carries out what concerns its own shards.
#[derive(Debug)]
pub(crate) struct FakeNode {
    world: World,
    me: NodeName,
}

impl FakeNode {
    pub(super) fn new(world: &World, me: &NodeName) -> Self {
        Self {
            world: world.clone(),
            me: me.clone(),
        }
    }

    fn owns(&self, run: RunId) -> bool {
        if !self.world.0.has_common_store {
            return true;
        }
        let state = self.world.state();
        let owner = state.owners.get(&run.shard());
        owner.is_some_and(|(owner, _)| owner.as_ref() == Some(&self.me))
    }

    fn run(&self, id: RunId) -> Option<FakeRun> {
        let at = self.world.store_of(&self.me);
        self.world.state().runs.get(&(at, id)).cloned()
    }

    fn told(&self, id: RunId, node: &NodeName, created: bool) -> Answer {
        match self.run(id) {
            None => Answer::NotFound,
            Some(run) => Answer::Run(Told {
                text: Bytes::from(format!(
                    "{id} {} {} at {node}",
                    run.events,
                    run.status.as_str()
                )),
                status: run.status,
                created,
            }),
        }
    }

    fn submit(&self, id: RunId, new: &NewRun) -> Result<bool, Trouble> {
        let draining = self.world.state().draining.contains(&self.me);
        if draining {
            return Err(Trouble::NotOwner);
        }
        assert_eq!(new.request.id, Some(id), "the id travels");
        let body = format!("{:?}", new.request.prompt);
        let at = self.world.store_of(&self.me);
        let mut is_new = false;
        self.world.change(|state| {
            let run = state.runs.entry((at, id)).or_insert_with(|| {
                is_new = true;
                FakeRun {
                    events: 1,
                    status: RunStatus::Running,
                    body: body.clone(),
                }
            });
            assert_eq!(run.body, body, "the same id came with another run");
            if is_new {
                state.created.push((self.me.clone(), id));
            }
        });
        Ok(is_new)
    }

    /// Waits until something is so, while the shard is here.
    async fn until(
        &self,
        id: RunId,
        wait: Duration,
        done: impl Fn(&FakeRun) -> bool,
    ) -> Result<(), Trouble> {
        let mut changes = self.world.0.changes.subscribe();
        let happens = async {
            loop {
                if !self.owns(id) {
                    return Err(Trouble::NotOwner);
                }
                if self.run(id).is_none_or(|run| done(&run)) {
                    return Ok(());
                }
                let _ = changes.changed().await;
            }
        };
        let in_time = tokio::time::timeout(wait, happens).await;
        in_time.unwrap_or(Ok(()))
    }

    fn events(&self, id: RunId, after: After) -> Answer {
        let Some(run) = self.run(id) else {
            return Answer::NotFound;
        };
        // Three at a time.
        let last = run.events.min(after.seq.0.saturating_add(3));
        let seen = last.max(after.seq.0).min(run.events);
        let events: Vec<String> = (after.seq.0 + 1..=seen)
            .map(|seq| seq.to_string())
            .collect();
        let more = seen < run.events;
        Answer::Events(Events {
            seen: Seq(seen),
            ended: !more && run.status.is_ended(),
            more,
            bytes: events
                .iter()
                .map(|seq| format!("{seq} "))
                .collect::<String>()
                .into(),
        })
    }

    fn change(&self, id: RunId, retry: bool) -> Answer {
        let Some(run) = self.run(id) else {
            return Answer::NotFound;
        };
        if run.status.is_ended() != retry {
            let refusal = ApiError::new(ErrorType::Conflict, "it is not in a state for it");
            return Answer::Refused(refusal);
        }
        let status = match retry {
            true => RunStatus::Running,
            false => RunStatus::Cancelled,
        };
        self.world.happens(id, 1, status);
        self.told(id, &self.me, false)
    }
}

impl Answers for FakeNode {
    fn new_id(&self) -> RunId {
        static COUNT: OnceLock<AtomicU64> = OnceLock::new();
        let count = COUNT.get_or_init(AtomicU64::default);
        let number = count.fetch_add(1, Ordering::Relaxed);
        let mut random = [0; 10];
        random[2..].copy_from_slice(&number.to_be_bytes());
        RunId::from_time(number, random)
    }

    fn answer<'a>(
        &'a self,
        run: RunId,
        ask: &'a Ask,
        node: &'a NodeName,
    ) -> BoxFuture<'a, Result<Answer, Trouble>> {
        Box::pin(async move {
            let needs_owner = match ask {
                Ask::Load => false,
                Ask::Events(after) => !after.wait.is_zero(),
                Ask::Submit(_) | Ask::Cancel | Ask::Retry | Ask::End { .. } => true,
            };
            if needs_owner && !self.owns(run) {
                return Err(Trouble::NotOwner);
            }
            match ask {
                Ask::Submit(new) => {
                    self.world.delay().await;
                    let created = self.submit(run, new)?;
                    // Whatever goes wrong in waiting, the run is accepted.
                    let _ = self.until(run, new.wait, |run| run.status.is_ended()).await;
                    Ok(self.told(run, node, created))
                }
                Ask::Load => Ok(self.told(run, node, false)),
                Ask::Cancel => Ok(self.change(run, false)),
                Ask::Retry => Ok(self.change(run, true)),
                Ask::End { wait } => {
                    self.until(run, *wait, |run| run.status.is_ended()).await?;
                    Ok(self.told(run, node, false))
                }
                Ask::Events(after) => {
                    let news = |run: &FakeRun| run.events > after.seq.0 || run.status.is_ended();
                    if !after.wait.is_zero() {
                        self.until(run, after.wait, news).await?;
                    }
                    Ok(self.events(run, *after))
                }
            }
        })
    }

    fn list<'a>(&'a self, ask: &'a ListAsk) -> BoxFuture<'a, Result<Listed, ApiError>> {
        let at = self.world.store_of(&self.me);
        let state = self.world.state();
        let runs = state.runs.keys().filter(|(store, _)| *store == at);
        let mut runs: Vec<(RunId, Outline)> = runs
            .map(|(_, run)| {
                let mut millis = [0; 8];
                millis[2..].copy_from_slice(&run.to_bytes()[..6]);
                let millis = i64::from_be_bytes(millis);
                let outline = Outline {
                    status: RunStatus::Running,
                    seq: Seq(1),
                    created_at: Timestamp(millis),
                    completed_at: None,
                };
                (*run, outline)
            })
            .collect();
        runs.sort_unstable_by_key(|(run, known)| std::cmp::Reverse((known.created_at, *run)));
        let total = runs.len();
        runs.truncate(ask.limit);
        Box::pin(std::future::ready(Ok(Listed { total, runs })))
    }
}
