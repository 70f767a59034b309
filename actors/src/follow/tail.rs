//! The events of a run in batches, as they are: for readers that hand them on.
//!
//! A reader that is slower than its run is told so ([`Heard::Lagged`]) and holds nothing up: what
//! it holds is one piece, and the hub forgets what is [`limits::STREAM_BACKLOG`] batches old.

use std::sync::Arc;

use crane_core::run::view::Rounds;
use crane_core::{Plan, Record, RunId, Seq, limits};
use crane_store::{RunImage, codec};
use tokio::sync::broadcast::error::RecvError;

use crate::hub::{EventBatch, Subscription};
use crate::kernel::Kernel;
use crate::runtime::ReadError;
use crate::tenure::Tenure;

/// What a reader hears next.
#[derive(Clone, Debug)]
pub enum Heard {
    /// The events that follow on what it has.
    Events(Piece),
    /// It was too slow for the run. Nothing is lost: from where it is, the store has the rest.
    Lagged,
    /// The current round of the run has ended, and it has every event.
    Ended,
}

/// Events that follow on each other, with what is needed to show them.
#[derive(Clone, Debug)]
pub struct Piece {
    /// The events; not empty.
    pub batch: Arc<EventBatch>,
    /// The plan of the run, once there is one.
    pub plan: Option<Arc<Plan>>,
    /// The round before the first of the events.
    pub rounds: Rounds,
}

/// Hands on the events of one run as they become durable.
#[derive(Debug)]
pub struct Tail {
    kernel: Arc<Kernel>,
    /// The tenure of the run's shard, if it may end.
    tenure: Option<Arc<Tenure>>,
    subscription: Subscription,
    run: RunId,
    /// The last event that was handed out or skipped.
    seen: Seq,
    /// Whether that one ended a round.
    ended: bool,
    plan: Option<Arc<Plan>>,
    rounds: Rounds,
    /// Read from the store and not handed out yet.
    ready: Vec<Record>,
    /// Whether the store holds more behind that.
    behind: bool,
}

impl Tail {
    /// Follows `run` from the event after `after`, or from its end if it is not there yet; `None`
    /// when there is no such run.
    pub(crate) async fn open(
        kernel: Arc<Kernel>,
        run: RunId,
        after: Seq,
    ) -> Result<Option<Self>, ReadError> {
        let tenure = kernel.watched(run.shard())?;
        Self::of(kernel, tenure, run, after).await
    }

    /// The events of `run` that are stored, whoever owns it.
    pub(crate) async fn stored(
        kernel: Arc<Kernel>,
        run: RunId,
        after: Seq,
    ) -> Result<Option<Self>, ReadError> {
        Self::of(kernel, None, run, after).await
    }

    async fn of(
        kernel: Arc<Kernel>,
        tenure: Option<Arc<Tenure>>,
        run: RunId,
        after: Seq,
    ) -> Result<Option<Self>, ReadError> {
        let subscription = kernel.hub.subscribe(run);
        let mut tail = Self {
            kernel,
            tenure,
            subscription,
            run,
            seen: Seq(0),
            ended: false,
            plan: None,
            rounds: Rounds::default(),
            ready: Vec::new(),
            behind: false,
        };
        let Some(image) = tail.kernel.store.load(run).await? else {
            return Ok(None);
        };
        tail.take(&image, after)?;
        Ok(Some(tail))
    }

    /// The last event that was handed out or skipped.
    pub fn seen(&self) -> Seq {
        self.seen
    }

    /// Whether everything that was stored so far is handed out, and the run has ended.
    pub fn is_at_end(&self) -> bool {
        self.ready.is_empty() && !self.behind && self.ended
    }

    /// The next events of those that are stored; `None` when all of them are handed out. It does
    /// not wait for the run.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn next_stored(&mut self) -> Result<Option<Piece>, ReadError> {
        if self.ready.is_empty() && self.behind {
            self.read_store().await?;
        }
        if self.ready.is_empty() {
            return Ok(None);
        }
        let records = std::mem::take(&mut self.ready);
        Ok(Some(self.hand_out(Arc::new(EventBatch::new(records)))))
    }

    /// What comes next. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the store fails, or the run's shard is not this node's any more.
    pub async fn next(&mut self) -> Result<Heard, ReadError> {
        loop {
            if let Some(piece) = self.next_stored().await? {
                return Ok(Heard::Events(piece));
            }
            if self.ended {
                return Ok(Heard::Ended);
            }
            match self.hear().await? {
                Ok(batch) => {
                    if let Some(batch) = self.fresh(batch) {
                        return Ok(Heard::Events(self.hand_out(batch)));
                    }
                }
                Err(RecvError::Lagged(_)) => return Ok(Heard::Lagged),
                Err(RecvError::Closed) => return Ok(Heard::Ended),
            }
        }
    }

    /// What the hub says next, as long as it is here that the run goes on.
    async fn hear(&mut self) -> Result<Result<Arc<EventBatch>, RecvError>, ReadError> {
        let Some(tenure) = &self.tenure else {
            return Ok(self.subscription.recv().await);
        };
        tokio::select! {
            // What was said before the end counts.
            biased;
            heard = self.subscription.recv() => Ok(heard),
            () = tenure.over() => Err(ReadError::NotOwner(self.run.shard())),
        }
    }

    /// What of a batch of the hub follows on what was handed out.
    fn fresh(&mut self, batch: Arc<EventBatch>) -> Option<Arc<EventBatch>> {
        let Some(first) = batch.records().first().map(|record| record.seq) else {
            self.behind = true;
            return None;
        };
        let next = self.seen.next();
        if first > next {
            self.behind = true;
            return None;
        }
        if first == next {
            return Some(batch);
        }
        // It was on its way while the store was read.
        let rest: Vec<Record> = batch
            .records()
            .iter()
            .filter(|record| record.seq >= next)
            .cloned()
            .collect();
        (!rest.is_empty()).then(|| Arc::new(EventBatch::new(rest)))
    }

    /// Reads what the store holds behind what was handed out.
    async fn read_store(&mut self) -> Result<(), ReadError> {
        // What the hub has said until now is in the store, and is no backlog of this reader.
        self.subscription.skip();
        match self.kernel.store.load(self.run).await? {
            Some(image) => self.take(&image, self.seen),
            // Its retention has ended.
            None => {
                self.behind = false;
                self.ended = true;
                Ok(())
            }
        }
    }

    /// Skips the events up to `after` and keeps a piece of those behind.
    fn take(&mut self, image: &RunImage, after: Seq) -> Result<(), ReadError> {
        self.behind = false;
        let mut records = codec::decode_from(&image.events.bytes, self.seen);
        let mut start = None;
        while let Some(record) = records.next() {
            let record = record?;
            if record.seq <= after {
                self.note(&record);
                continue;
            }
            self.ready.push(record);
            let start = *start.get_or_insert(records.offset());
            if records.offset() - start >= limits::STREAM_PIECE_BYTES {
                self.behind = true;
                break;
            }
        }
        Ok(())
    }

    fn hand_out(&mut self, batch: Arc<EventBatch>) -> Piece {
        let rounds = self.rounds;
        for record in batch.records() {
            self.note(record);
        }
        Piece {
            batch,
            plan: self.plan.clone(),
            rounds,
        }
    }

    /// Remembers what later events need to be shown.
    fn note(&mut self, record: &Record) {
        self.seen = record.seq;
        self.ended = record.event.is_terminal();
        self.rounds.of(record);
        if let Some(source) = record.event.plan() {
            self.plan = self.kernel.plans.load(source);
        }
    }
}
