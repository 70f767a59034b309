//! What a connection waits for, and for how long it may.
//!
//! ```text
//!   accepted ──> Head ──────> Node ─────────> Idle ──> Head ...
//!                 │ head read  ^  │ answer sent ^   next byte
//!                 └──> Body ───┘  └──> Stream ──┘
//! ```
//!
//! Beside that, a write may be blocked: the client takes nothing of what is ready for it.
//!
//! The connection notes its changes here, without locks; one sweep over all connections cuts those
//! whose client takes too long. So a request costs no timer. While the connection waits for the
//! node, as an event stream does nearly always, nothing is counted.
//!
//! **The end of what a client sends** is not the end of its interest: it may close its side after
//! the request and read on. So the end is hidden from HTTP while an answer is in the making, which
//! would be given up otherwise. A client that leaves a stream has the same look; there the end is
//! shown, since nobody reads half of a stream. One that has left an answer in the making cannot be told
//! from one that still wants it; it has to go first when others need its place.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

/// How long a client may take, for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) head: Duration,
    pub(super) body: Duration,
    /// Bytes of a body that earn a second more.
    pub(super) body_rate: u64,
    pub(super) write: Duration,
    pub(super) idle: Duration,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// The client, for a handshake or the rest of a head.
    Head,
    /// The client, for the rest of a body.
    Body,
    /// The node, for an answer.
    Node,
    /// The client, for anything.
    Idle,
    /// The node, for more of an answer that has begun and has no known end.
    Stream,
}

/// See the module. Shared by a connection and the sweep.
#[derive(Debug)]
pub(super) struct Activity {
    start: Instant,
    phase: AtomicU8,
    /// When the phase began, in milliseconds; written before the phase, so that a phase is never
    /// seen with the beginning of an earlier one.
    since: AtomicU64,
    /// Bytes of the present body.
    received: AtomicU64,
    /// When a write found the client's window full, in milliseconds; 0 when none did.
    blocked: AtomicU64,
    /// Whether the client has said that nothing more comes.
    ended: AtomicBool,
    /// Whom to tell that the end is no longer hidden.
    reader: AtomicWaker,
}

impl Activity {
    /// Of a connection that was just accepted. `start` is when the server started, the same for
    /// all of its connections.
    pub(super) fn new(start: Instant) -> Self {
        let activity = Self {
            start,
            phase: AtomicU8::new(Phase::Head as u8),
            since: AtomicU64::new(0),
            received: AtomicU64::new(0),
            blocked: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            reader: AtomicWaker::new(),
        };
        activity.enter(Phase::Head);
        activity
    }

    fn now(&self) -> u64 {
        millis(self.start.elapsed())
    }

    fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Head,
            1 => Phase::Body,
            2 => Phase::Node,
            3 => Phase::Idle,
            _ => Phase::Stream,
        }
    }

    fn enter(&self, phase: Phase) {
        if !matches!(phase, Phase::Node | Phase::Stream) {
            self.since.store(self.now(), Ordering::Relaxed);
        }
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// A head was read; `has_body` when something of the request is still to come.
    pub(super) fn request(&self, has_body: bool) {
        if has_body {
            self.received.store(0, Ordering::Relaxed);
            self.enter(Phase::Body);
        } else {
            self.enter(Phase::Node);
        }
    }

    /// Bytes of the body have come.
    pub(super) fn received_body(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The body has come, or nobody wants the rest of it.
    pub(super) fn body_done(&self) {
        if self.phase() == Phase::Body {
            self.enter(Phase::Node);
        }
    }

    /// An answer without a known end has begun.
    pub(super) fn streams(&self) {
        self.enter(Phase::Stream);
        self.show_end();
    }

    /// The answer has been handed over.
    pub(super) fn answered(&self) {
        self.enter(Phase::Idle);
        self.show_end();
    }

    fn show_end(&self) {
        if self.has_ended() {
            self.reader.wake();
        }
    }

    /// Whether nothing more comes, and HTTP need not know yet; `reader` is woken when it does.
    pub(super) fn hides_end(&self, reader: &Waker) -> bool {
        let is_hidden = || self.has_ended() && self.phase() == Phase::Node;
        if !is_hidden() {
            return false;
        }
        self.reader.register(reader);
        // The answer may have been handed over in between.
        is_hidden()
    }

    /// Bytes were read; 0 is the end.
    pub(super) fn read(&self, bytes: usize) {
        if bytes == 0 {
            if !self.has_ended() {
                self.since.store(self.now(), Ordering::Relaxed);
            }
            self.ended.store(true, Ordering::Release);
        } else if self.phase() == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    /// Whether the client has said that nothing more comes.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Whether the node waits for a request that is on its way: the first one, or one whose head has
    /// begun to come.
    pub(super) fn is_in_head(&self) -> bool {
        self.phase() == Phase::Head
    }

    /// Whether the node waits for the body of a request.
    pub(super) fn is_in_body(&self) -> bool {
        self.phase() == Phase::Body
    }

    /// A write did, or did not, get on.
    pub(super) fn wrote(&self, gets_on: bool) {
        let is_blocked = self.blocked.load(Ordering::Relaxed) != 0;
        match (gets_on, is_blocked) {
            (true, true) => self.blocked.store(0, Ordering::Relaxed),
            (false, false) => self.blocked.store(self.now().max(1), Ordering::Relaxed),
            (true, false) | (false, true) => {}
        }
    }

    /// Whether the client has taken longer than it may.
    pub(super) fn is_overdue(&self, patience: &Patience) -> bool {
        let now = self.now();
        let blocked = self.blocked.load(Ordering::Relaxed);
        if blocked != 0 && now.saturating_sub(blocked) > millis(patience.write) {
            return true;
        }
        let allowed = match self.phase() {
            Phase::Head => patience.head,
            Phase::Body => {
                let received = self.received.load(Ordering::Relaxed);
                let earned = received.saturating_mul(1_000) / patience.body_rate.max(1);
                patience.body + Duration::from_millis(earned)
            }
            Phase::Idle => patience.idle,
            Phase::Node | Phase::Stream => return false,
        };
        let since = self.since.load(Ordering::Relaxed);
        now.saturating_sub(since) > millis(allowed)
    }

    /// Since when it waits for its client, in milliseconds; `None` while it waits for the node, or
    /// has waited for less than `grace`: what a client sends is on its way for a moment.
    pub(super) fn waits_since(&self, grace: Duration) -> Option<u64> {
        let since = self.began_to_wait()?;
        (self.now().saturating_sub(since) >= millis(grace)).then_some(since)
    }

    fn began_to_wait(&self) -> Option<u64> {
        let phase = self.phase();
        let blocked = self.blocked.load(Ordering::Relaxed);
        match (phase, blocked) {
            // It may have left.
            (Phase::Node, 0) if self.has_ended() => Some(self.since.load(Ordering::Relaxed)),
            (Phase::Node | Phase::Stream, 0) => None,
            (Phase::Node | Phase::Stream, blocked) => Some(blocked),
            (Phase::Head | Phase::Body | Phase::Idle, _) => {
                Some(self.since.load(Ordering::Relaxed))
            }
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        head: Duration::from_secs(1),
        body: Duration::from_secs(2),
        body_rate: 100,
        write: Duration::from_secs(3),
        idle: Duration::from_secs(10),
    };

    async fn overdue_after(activity: &Activity, millis: u64) -> bool {
        tokio::time::advance(Duration::from_millis(millis)).await;
        activity.is_overdue(&PATIENCE)
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_an_idle_client_and_a_body_have_their_own_time() {
        let activity = Activity::new(Instant::now());
        assert!(!overdue_after(&activity, 1_000).await);
        assert!(overdue_after(&activity, 1).await, "a head");
        activity.request(true);
        assert!(!overdue_after(&activity, 2_000).await);
        activity.received_body(50);
        assert!(
            !overdue_after(&activity, 500).await,
            "50 bytes earn half a second"
        );
        assert!(overdue_after(&activity, 1).await, "a body");
        activity.body_done();
        assert!(
            !overdue_after(&activity, 1_000_000).await,
            "the node's own time"
        );
        activity.answered();
        assert!(!overdue_after(&activity, 10_000).await);
        assert!(overdue_after(&activity, 1).await, "idle");
        activity.read(1);
        assert!(
            !overdue_after(&activity, 1_000).await,
            "a new head has its own time"
        );
        assert!(overdue_after(&activity, 1).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_may_wait_for_ever_but_its_reader_may_not() {
        let activity = Activity::new(Instant::now());
        activity.request(false);
        activity.wrote(true);
        assert!(!overdue_after(&activity, 86_400_000).await);
        assert_eq!(activity.waits_since(Duration::ZERO), None);
        activity.wrote(false);
        assert!(!overdue_after(&activity, 3_000).await);
        activity.wrote(true);
        activity.wrote(false);
        assert!(
            !overdue_after(&activity, 3_000).await,
            "it got on in between"
        );
        assert!(overdue_after(&activity, 1).await);
        assert!(activity.waits_since(Duration::from_millis(3_001)).is_some());
        assert!(activity.waits_since(Duration::from_millis(3_002)).is_none());
    }

    #[tokio::test]
    async fn the_end_is_hidden_while_an_answer_is_made_and_shown_afterwards() {
        let activity = Activity::new(Instant::now());
        let waker = Waker::noop();
        activity.request(false);
        assert!(!activity.hides_end(waker), "there is no end yet");
        activity.read(0);
        assert!(activity.hides_end(waker));
        assert!(activity.waits_since(Duration::ZERO).is_some(), "it may go");
        activity.streams();
        assert!(!activity.hides_end(waker));
        activity.answered();
        assert!(!activity.hides_end(waker));
        activity.request(true);
        assert!(
            !activity.hides_end(waker),
            "a body that is cut short is an error"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_ends_late_does_not_touch_the_next_phase() {
        let activity = Activity::new(Instant::now());
        activity.request(true);
        activity.answered();
        activity.body_done();
        assert_eq!(activity.phase(), Phase::Idle);
    }
}
