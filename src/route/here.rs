//! This node's own answers: from its runtime, and written for users at once.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use crane_actors::Runtime;
use crane_actors::follow::{Heard, Piece, Tail};
use crane_actors::runtime::{ChangeError, ReadError};
use crane_actors::submit::{SubmitError, Submitted};
use crane_core::{NodeName, Run, RunId, limits};
use crane_store::Page;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout_at};

use super::field::Answers;
use super::parked::Parked;
use super::words::{
    After, Answer, Ask, Events, Form, ListAsk, Listed, NewRun, Outline, Told, Trouble,
};
use crate::api::ApiError;
use crate::render;

/// See the module.
#[derive(Debug)]
pub(super) struct Here {
    runtime: Runtime,
    parked: Parked,
}

/// An answer, or that there is none here.
type Answered = Result<Answer, Trouble>;

impl Here {
    pub(super) fn new(runtime: Runtime) -> Arc<Self> {
        let parked = Parked::default();
        Arc::new(Self { runtime, parked })
    }

    async fn submit(&self, run: RunId, new: &NewRun, node: &NodeName) -> Answered {
        let until = Instant::now() + new.wait;
        let mut request = new.request.clone();
        request.id = Some(run);
        let watch = !new.wait.is_zero();
        let open = self.is_open(run);
        let submitted = self.runtime.submit(request, watch).await;
        let Submitted { run, created, end } = match submitted {
            Ok(submitted) => submitted,
            Err(error) => return of_submit(error, open),
        };
        if !watch || run.status().is_ended() {
            return told(&run, node, created);
        }
        let ended = async {
            if let Some(end) = end
                && let Ok(run) = end.await
            {
                return Some(run);
            }
            // Its actor sleeps or starts over, or another request has submitted it. Whatever goes
            // wrong in waiting, the run is accepted.
            self.runtime.ended(run.id).await.ok().flatten()
        };
        match timeout_at(until, ended).await {
            Ok(Some(ended)) => told(&ended, node, created),
            Ok(None) | Err(_) => told(&run, node, created),
        }
    }

    /// Whether the run's shard takes new runs in here.
    fn is_open(&self, run: RunId) -> bool {
        self.runtime.epoch_of(run.shard()).is_some()
    }

    async fn load(&self, run: RunId, node: &NodeName) -> Answered {
        match self.runtime.load(run).await {
            Ok(Some(run)) => told(&run, node, false),
            Ok(None) => Ok(Answer::NotFound),
            Err(error) => self.of_read(error),
        }
    }

    async fn end(&self, run: RunId, wait: Duration, node: &NodeName) -> Answered {
        match tokio::time::timeout(wait, self.runtime.ended(run)).await {
            Ok(Ok(Some(run))) => told(&run, node, false),
            Ok(Ok(None)) => Ok(Answer::NotFound),
            Ok(Err(error)) => self.of_read(error),
            Err(_) => self.load(run, node).await,
        }
    }

    async fn events(&self, run: RunId, after: After) -> Answered {
        let live = !after.wait.is_zero();
        let tail = match self.parked.take(run, after.seq, live) {
            Some(tail) => Ok(Some(tail)),
            None if live => self.runtime.tail(run, after.seq).await,
            None => self.runtime.stored(run, after.seq).await,
        };
        let mut tail = match tail {
            Ok(Some(tail)) => tail,
            Ok(None) => return Ok(Answer::NotFound),
            Err(error) => return self.of_read(error),
        };
        let mut written = Written::new(run, after.form);
        // What comes up to an event that is not there yet is nothing that was asked for.
        let is_there = tail.seen() >= after.seq;
        let read = match live {
            true if is_there => written.news(&mut tail, after.wait).await,
            true => Ok(()),
            false => written.stored(&mut tail).await,
        };
        if let Err(error) = read {
            return self.of_unreadable(error);
        }
        let ended = tail.is_at_end();
        let events = Events {
            seen: tail.seen(),
            ended,
            more: written.more,
            bytes: written.bytes(),
        };
        if is_there && (live && !ended || events.more) {
            self.parked.put(run, live, tail);
        }
        Ok(Answer::Events(events))
    }

    /// What came of a change.
    fn changed(&self, changed: Result<Run, ChangeError>, node: &NodeName) -> Answered {
        match changed {
            Ok(run) => told(&run, node, false),
            Err(ChangeError::NotFound(_)) => Ok(Answer::NotFound),
            Err(ChangeError::Elsewhere(_)) => Err(Trouble::NotOwner),
            // It was gone before the answer.
            Err(ChangeError::NotOwner(_) | ChangeError::Lost(_)) => Err(Trouble::Unknown),
            // An earlier try may have done it.
            Err(ChangeError::Read(error)) if self.was_closed(&error) => Err(Trouble::Unknown),
            Err(ChangeError::Read(error)) => self.of_read(error),
            Err(error @ (ChangeError::Rejected(_) | ChangeError::TooMany { .. })) => {
                Ok(Answer::Refused(error.into()))
            }
        }
    }

    fn of_unreadable(&self, error: Unreadable) -> Answered {
        match error {
            Unreadable::Read(error) => self.of_read(error),
            Unreadable::Write(error) => Ok(Answer::Refused(ApiError::internal(error))),
        }
    }

    /// Whether it is because the store was closed in order: this node has no runs any more, and nothing
    /// is wrong with it.
    fn was_closed(&self, error: &ReadError) -> bool {
        let has_stopped = matches!(error, ReadError::Store(crane_store::Error::Fatal(_)));
        has_stopped && self.runtime.is_stopping()
    }

    /// Why nothing was read.
    fn of_read(&self, error: ReadError) -> Answered {
        match error {
            ReadError::NotOwner(_) => Err(Trouble::NotOwner),
            closed if self.was_closed(&closed) => Err(Trouble::NotOwner),
            ReadError::Store(_) | ReadError::Damaged(_) => Ok(Answer::Refused(error.into())),
        }
    }
}

impl Answers for Here {
    fn new_id(&self) -> RunId {
        self.runtime.random_id()
    }

    fn answer<'a>(
        &'a self,
        run: RunId,
        ask: &'a Ask,
        node: &'a NodeName,
    ) -> BoxFuture<'a, Answered> {
        Box::pin(async move {
            match ask {
                Ask::Submit(new) => self.submit(run, new, node).await,
                Ask::Load => self.load(run, node).await,
                Ask::Cancel => self.changed(self.runtime.cancel(run).await, node),
                Ask::Retry => self.changed(self.runtime.retry(run).await, node),
                Ask::End { wait } => self.end(run, *wait, node).await,
                Ask::Events(after) => self.events(run, *after).await,
            }
        })
    }

    fn list<'a>(&'a self, ask: &'a ListAsk) -> BoxFuture<'a, Result<Listed, ApiError>> {
        Box::pin(async move {
            let page = Page {
                offset: 0,
                limit: ask.limit,
            };
            let listing = self.runtime.list(ask.filter.clone(), page).await?;
            let runs = listing.runs.into_iter();
            Ok(Listed {
                total: listing.total,
                runs: runs
                    .map(|(run, summary)| (run, Outline::from(&summary)))
                    .collect(),
            })
        })
    }
}

/// Events as they are being written.
#[derive(Debug)]
struct Written {
    run: RunId,
    form: Form,
    pieces: Vec<Bytes>,
    size: usize,
    /// Whether more is stored than was taken.
    more: bool,
}

/// Why events could not be written.
enum Unreadable {
    Read(ReadError),
    Write(serde_json::Error),
}

impl Written {
    fn new(run: RunId, form: Form) -> Self {
        Self {
            run,
            form,
            pieces: Vec::new(),
            size: 0,
            more: false,
        }
    }

    fn add(&mut self, piece: &Piece) -> Result<(), Unreadable> {
        let bytes = match self.form {
            Form::Frames => render::frames(self.run, piece),
            Form::Elements => render::elements(self.run, piece),
        };
        let bytes = bytes.map_err(Unreadable::Write)?;
        self.size += bytes.len();
        self.pieces.push(bytes);
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.size >= limits::STREAM_PIECE_BYTES
    }

    /// What is stored, up to a bound.
    async fn stored(&mut self, tail: &mut Tail) -> Result<(), Unreadable> {
        while !self.is_full() {
            match tail.next_stored().await.map_err(Unreadable::Read)? {
                Some(piece) => self.add(&piece)?,
                None => return Ok(()),
            }
        }
        self.more = true;
        Ok(())
    }

    /// The first that comes within `wait`, and what has come with it, up to a bound.
    async fn news(&mut self, tail: &mut Tail, wait: Duration) -> Result<(), Unreadable> {
        let until = Instant::now() + wait;
        while self.pieces.is_empty() {
            match timeout_at(until, tail.next()).await {
                Ok(heard) => match heard.map_err(Unreadable::Read)? {
                    Heard::Events(piece) => self.add(&piece)?,
                    // The next look finds the gap and reads the store.
                    Heard::Lagged => {}
                    Heard::Ended => return Ok(()),
                },
                Err(_) => return Ok(()),
            }
        }
        while !self.is_full() {
            // Dropping it loses nothing.
            let heard = { pin!(tail.next()).now_or_never() };
            match heard {
                Some(Ok(Heard::Events(piece))) => self.add(&piece)?,
                Some(Ok(Heard::Lagged)) => {}
                // An error comes again with the next question.
                Some(Ok(Heard::Ended) | Err(_)) | None => return Ok(()),
            }
        }
        Ok(())
    }

    fn bytes(mut self) -> Bytes {
        if self.pieces.len() <= 1 {
            return self.pieces.pop().unwrap_or_default();
        }
        let mut all = BytesMut::with_capacity(self.size + self.pieces.len());
        for piece in &self.pieces {
            if !all.is_empty() && self.form == Form::Elements {
                all.extend_from_slice(b",");
            }
            all.extend_from_slice(piece);
        }
        all.freeze()
    }
}

/// A run as it is told.
fn told(run: &Run, node: &NodeName, created: bool) -> Answered {
    let told = match render::run(run, node.as_str()) {
        Ok(text) => Answer::Run(Told {
            text: text.into(),
            status: run.status(),
            created,
        }),
        Err(error) => Answer::Refused(ApiError::internal(error)),
    };
    Ok(told)
}

/// Why a run was not taken in; `open` is whether its shard was open here before.
fn of_submit(error: SubmitError, open: bool) -> Answered {
    match error {
        SubmitError::Stopping => Err(Trouble::NotOwner),
        SubmitError::NotOwner(_) if !open => Err(Trouble::NotOwner),
        // It was closed before the answer. What may have been done is found by its id, wherever the
        // run is now; if nobody has it in time, it is not to be told as nothing done.
        SubmitError::NotOwner(_) => Err(Trouble::Unknown),
        SubmitError::Lost => Err(Trouble::Unknown),
        SubmitError::Invalid(_)
        | SubmitError::KeyReused(_)
        | SubmitError::Exists(_)
        | SubmitError::TooMany { .. }
        | SubmitError::Store(_) => Ok(Answer::Refused(error.into())),
    }
}
