//! Following a run, wherever it is: its events as users get them, without gap or repeat.
//!
//! ```text
//!   Near   the runtime's own reader: pieces as they become durable
//!   Far    what is stored, then "news behind 7? I wait 10 s" again and again
//! ```
//! A far reader holds one number, the last event that it has handed on. Whoever owns the run by then
//! is asked for what is behind it, so that a run that moves, or whose owner dies, leaves no trace in
//! the stream. It is never told that it lags: it asks when it has handed on what it has.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use crane_actors::follow;
use crane_core::{RunId, Seq, limits};
use futures_util::future::BoxFuture;

use super::far::Far;
use super::words::{After, Answer, Ask, Events, Form};
use crate::api::{ApiError, ErrorType};
use crate::render;

/// How long a far reader leaves the run alone after it has found nobody who has it.
const PAUSE: Duration = Duration::from_millis(100);

/// What a reader hears next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The events that follow on what it has, as frames of an event stream.
    Frames(Bytes),
    /// It was too slow for the run; from where it is, it can read on.
    Lagged,
    /// The current round of the run has ended, and it has every event.
    Ended,
}

/// See the module.
#[derive(Debug)]
pub struct Tail(Source);

#[derive(Debug)]
enum Source {
    Near(RunId, Box<follow::Tail>),
    Far(Box<FarTail>),
}

impl Tail {
    pub(super) fn near(run: RunId, tail: follow::Tail) -> Self {
        Self(Source::Near(run, Box::new(tail)))
    }

    pub(super) fn far(far: Far, run: RunId, form: Form, events: Events) -> Self {
        Self(Source::Far(Box::new(FarTail {
            far,
            run,
            form,
            seen: events.seen,
            ended: events.ended,
            more: events.more,
            ready: events.bytes,
            flight: None,
        })))
    }

    /// The last event that was handed on or skipped.
    pub fn seen(&self) -> Seq {
        match &self.0 {
            Source::Near(_, tail) => tail.seen(),
            Source::Far(tail) => tail.seen,
        }
    }

    /// Whether everything that was stored so far is handed on, and the run has ended.
    pub fn is_at_end(&self) -> bool {
        match &self.0 {
            Source::Near(_, tail) => tail.is_at_end(),
            Source::Far(tail) => tail.is_at_end(),
        }
    }

    /// What comes next. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn next(&mut self) -> Result<Heard, ApiError> {
        match &mut self.0 {
            Source::Near(run, tail) => match tail.next().await? {
                follow::Heard::Events(piece) => {
                    let frames = render::frames(*run, &piece);
                    frames.map(Heard::Frames).map_err(ApiError::internal)
                }
                follow::Heard::Lagged => Ok(Heard::Lagged),
                follow::Heard::Ended => Ok(Heard::Ended),
            },
            Source::Far(tail) => tail.next().await,
        }
    }

    /// The next events of those that are stored, as elements of an array; `None` when all of them are
    /// handed on. It does not wait for the run.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn next_stored(&mut self) -> Result<Option<Bytes>, ApiError> {
        match &mut self.0 {
            Source::Near(run, tail) => match tail.next_stored().await? {
                Some(piece) => {
                    let elements = render::elements(*run, &piece);
                    elements.map(Some).map_err(ApiError::internal)
                }
                None => Ok(None),
            },
            Source::Far(tail) => tail.next_stored().await,
        }
    }
}

struct FarTail {
    far: Far,
    run: RunId,
    form: Form,
    seen: Seq,
    /// Whether that one ended a round.
    ended: bool,
    /// Whether more is stored.
    more: bool,
    /// Written, up to `seen`, and not handed on yet.
    ready: Bytes,
    /// A question under way; it survives a reader that looks elsewhere.
    flight: Option<BoxFuture<'static, Result<Answer, ApiError>>>,
}

impl fmt::Debug for FarTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FarTail")
            .field("run", &self.run)
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

impl FarTail {
    fn is_at_end(&self) -> bool {
        self.ready.is_empty() && !self.more && self.ended
    }

    async fn next(&mut self) -> Result<Heard, ApiError> {
        loop {
            if !self.ready.is_empty() {
                return Ok(Heard::Frames(std::mem::take(&mut self.ready)));
            }
            if self.is_at_end() {
                return Ok(Heard::Ended);
            }
            let wait = match self.more {
                true => Duration::ZERO,
                false => limits::POLL_WAIT,
            };
            match self.ask(wait).await {
                Ok(()) => {}
                // Its shard moves, or its owner is gone; somebody will have it.
                Err(error) if error.error_type == ErrorType::Unavailable => {
                    tracing::debug!(run_id = %self.run, detail = error.detail, "a stream waits");
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn next_stored(&mut self) -> Result<Option<Bytes>, ApiError> {
        while self.ready.is_empty() {
            if !self.more {
                return Ok(None);
            }
            self.ask(Duration::ZERO).await?;
        }
        Ok(Some(std::mem::take(&mut self.ready)))
    }

    /// Asks for what is behind the last event.
    async fn ask(&mut self, wait: Duration) -> Result<(), ApiError> {
        let flight = self.flight.get_or_insert_with(|| {
            let after = After {
                seq: self.seen,
                wait,
                form: self.form,
            };
            let (far, run) = (self.far.clone(), self.run);
            Box::pin(async move { far.ask(run, &Ask::Events(after)).await })
        });
        let answer = flight.await;
        self.flight = None;
        match answer? {
            // Whatever a node says that knows less: what was handed on stays so.
            Answer::Events(events) if events.seen < self.seen => {
                return Err(ApiError::new(
                    ErrorType::Unavailable,
                    "the node that has the run knows less of it than was read already",
                ));
            }
            Answer::Events(events) => {
                self.seen = events.seen;
                self.ended = events.ended;
                self.more = events.more;
                self.ready = events.bytes;
            }
            // Its retention has ended.
            Answer::NotFound => {
                self.ended = true;
                self.more = false;
            }
            Answer::Refused(error) => return Err(error),
            Answer::Run(_) => return Err(ApiError::internal("a run came instead of events")),
        }
        Ok(())
    }
}
