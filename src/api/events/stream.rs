//! The stream itself: pieces as they come, a comment now and then, an end.

use std::convert::Infallible;

use axum::body::Body;
use bytes::Bytes;
use crane_core::{RunId, limits};
use metrics::{Gauge, gauge};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::api::Api;
use crate::api::measure::SUBSCRIBERS;
use crate::life::{Life, Phase};
use crate::route::{Heard, Tail};

/// What a stream says from time to time, so that nobody in between takes it for dead.
const COMMENT: &[u8] = b": still here\n\n";
/// What a reader that was too slow is told. It has no id: the reader's own last one counts.
const LAGGED: &[u8] =
    b"event: lagged\ndata: {\"detail\":\"too slow; go on with Last-Event-ID\"}\n\n";

/// Counts a reader for as long as it is there.
#[derive(Debug)]
struct Subscriber(Gauge);

impl Subscriber {
    fn new() -> Self {
        let gauge = gauge!(SUBSCRIBERS);
        gauge.increment(1);
        Self(gauge)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

/// What a stream needs.
#[derive(Debug)]
struct Stream {
    run: RunId,
    tail: Tail,
    life: Life,
    comments: Interval,
    _subscriber: Subscriber,
}

/// The body of the answer: everything that `tail` hears.
pub(super) fn body(api: &Api, run: RunId, tail: Tail) -> Body {
    let every = limits::STREAM_HEARTBEAT;
    let mut comments = tokio::time::interval_at(Instant::now() + every, every);
    // A reader that takes nothing for a minute needs no four comments.
    comments.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stream = Stream {
        run,
        tail,
        life: api.life.clone(),
        comments,
        _subscriber: Subscriber::new(),
    };
    Body::from_stream(futures_util::stream::unfold(Some(stream), async |stream| {
        let mut stream = stream?;
        let (bytes, more) = stream.next().await?;
        Some((Ok::<_, Infallible>(bytes), more.then_some(stream)))
    }))
}

impl Stream {
    /// The next bytes, and whether more may follow.
    async fn next(&mut self) -> Option<(Bytes, bool)> {
        let heard = tokio::select! {
            biased;
            heard = self.tail.next() => heard,
            () = self.life.reached(Phase::Closing) => return None,
            _ = self.comments.tick() => return Some((Bytes::from_static(COMMENT), true)),
        };
        match heard {
            Ok(Heard::Frames(bytes)) => Some((bytes, true)),
            Ok(Heard::Lagged) => Some((Bytes::from_static(LAGGED), false)),
            Ok(Heard::Ended) => None,
            // The reader asks again, and then hears of it by the status of the answer.
            Err(error) => {
                let (detail, cause) = (error.detail, error.cause);
                tracing::warn!(run_id = %self.run, detail, cause, "a stream of events was cut short");
                None
            }
        }
    }
}
