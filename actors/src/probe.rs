//! Whether the node can do its work: a question that goes the real way.
//!
//! ```text
//!   probe ──┬──> every RunShard's mailbox ──> handled ──────────────┐
//!           └──> the journal's queue ──> write + fdatasync ──> ack ─┴──> within the deadline?
//! ```
//!
//! Health checks come from several sides and as often as somebody has configured, so asking must
//! be cheap: one question is under way at a time, its answer serves everybody for [`FRESH`], and
//! a shard or journal that still owes an answer is not asked again. While nobody asks, nothing
//! happens.

use std::time::Duration;

use crane_store::RunStore;
use futures_util::future::{BoxFuture, join_all};
use tokio::sync::{Mutex, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::mailbox::Mailbox;
use crate::shard::ShardMsg;

/// How long an answer is good for.
pub const FRESH: Duration = Duration::from_millis(500);
/// How long a healthy node may take to answer.
pub const DEADLINE: Duration = Duration::from_secs(1);

/// What a probe found out about one part of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What is wrong, if anything is.
    pub trouble: Option<String>,
    /// How long it took, or was waited for.
    pub took: Duration,
}

impl Answer {
    /// Whether all is well.
    pub fn is_fine(&self) -> bool {
        self.trouble.is_none()
    }
}

/// What a probe found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    /// Of the shards: they handle messages.
    pub shards: Answer,
    /// Of the journal: a write becomes durable.
    pub journal: Answer,
}

/// Asks, and remembers what was answered.
#[derive(Debug, Default)]
pub(crate) struct Prober(Mutex<State>);

#[derive(Default)]
struct State {
    last: Option<(Instant, Probed)>,
    /// Shards that owe an answer, by number.
    shards: Vec<Option<oneshot::Receiver<()>>>,
    /// The journal's answer, while it is owed.
    journal: Option<BoxFuture<'static, Result<(), crane_store::Error>>>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

impl Prober {
    /// What the last probe found, or a new one.
    pub(crate) async fn probe(
        &self,
        shards: Vec<Option<Mailbox<ShardMsg>>>,
        store: &dyn RunStore,
    ) -> Probed {
        let mut state = self.0.lock().await;
        if let Some((at, probed)) = &state.last
            && at.elapsed() < FRESH
        {
            return probed.clone();
        }
        let probed = state.ask(shards, store).await;
        state.last = Some((Instant::now(), probed.clone()));
        probed
    }
}

impl State {
    async fn ask(
        &mut self,
        shards: Vec<Option<Mailbox<ShardMsg>>>,
        store: &dyn RunStore,
    ) -> Probed {
        let begun = Instant::now();
        let deadline = begun + DEADLINE;
        self.shards.resize_with(shards.len(), || None);
        let owed = self.shards.iter_mut().zip(shards).enumerate();
        let asked = join_all(owed.map(|(index, (owed, shard))| async move {
            ask_shard(owed, shard, deadline)
                .await
                .map_err(|trouble| format!("shard {index} {trouble}"))
        }));
        let asked = async {
            let mut troubles = asked.await.into_iter().filter_map(Result::err);
            Answer {
                trouble: troubles.next(),
                took: begun.elapsed(),
            }
        };
        let owed = &mut self.journal;
        let written = async {
            let trouble = ask_journal(owed, store, deadline).await.err();
            Answer {
                trouble,
                took: begun.elapsed(),
            }
        };
        let (shards, journal) = tokio::join!(asked, written);
        Probed { shards, journal }
    }
}

async fn ask_shard(
    owed: &mut Option<oneshot::Receiver<()>>,
    shard: Option<Mailbox<ShardMsg>>,
    deadline: Instant,
) -> Result<(), String> {
    if let Some(answer) = owed
        && answer.try_recv() != Err(oneshot::error::TryRecvError::Empty)
    {
        // It came too late for whoever asked then, or went down with the shard.
        *owed = None;
    }
    let answer = match owed {
        Some(answer) => answer,
        None => {
            let Some(shard) = shard else {
                return Err("is being restarted".to_owned());
            };
            let (sender, answer) = oneshot::channel();
            shard.send(ShardMsg::Probe(sender));
            owed.insert(answer)
        }
    };
    let answered = match timeout_at(deadline, answer).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err("has failed".to_owned()),
        Err(_) => return Err(late()),
    };
    *owed = None;
    answered
}

async fn ask_journal(
    owed: &mut Option<BoxFuture<'static, Result<(), crane_store::Error>>>,
    store: &dyn RunStore,
    deadline: Instant,
) -> Result<(), String> {
    if owed
        .as_mut()
        .and_then(futures_util::FutureExt::now_or_never)
        .is_some()
    {
        // As above.
        *owed = None;
    }
    let answer = owed.get_or_insert_with(|| store.probe());
    let answered = match timeout_at(deadline, answer).await {
        Ok(answered) => answered.map_err(|error| {
            // Its text names files of the node, and health checks are answered to everybody.
            tracing::warn!(%error, "the journal refuses a probe");
            "does not take writes; the log says why".to_owned()
        }),
        Err(_) => return Err(late()),
    };
    *owed = None;
    answered
}

fn late() -> String {
    format!("did not answer within {DEADLINE:?}")
}
