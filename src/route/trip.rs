//! The way of one request, as a policy without clocks: what to do after each try.
//!
//! ```text
//!   a try ──> Redirected ── up to three in a row ──> at once
//!         ├─> NotHere, Unreachable, Busy ──────────> after a pause, while patience lasts
//!         ├─> Unknown ── may be repeated? ─────────> after a pause, while patience lasts
//!         └─> NotUnderstood ───────────────────────> give up
//! ```

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crane_core::{RunId, limits};

/// Shortest pause, in milliseconds.
const SHORTEST: u64 = 10;
/// Longest of the first pauses; it doubles.
const FIRST: u64 = 25;
/// Longest pause.
const LONGEST: u64 = 200;

/// How much a request puts up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patience {
    /// All its pauses together.
    pub(super) pauses: Duration,
    /// Everything together; no try begins later.
    pub(super) all: Duration,
    /// One call, beyond the time that it waits on purpose.
    pub(super) call: Duration,
    /// Whether it counts among the requests that wait at a time.
    pub(super) counted: bool,
    /// Whether it is given up at once where nothing can have been done: there is another way.
    pub(super) fickle: bool,
}

impl Patience {
    /// That of a request which has `allowed` in all.
    pub(super) fn of_request(allowed: Duration) -> Self {
        let most = allowed.mul_f64(0.8);
        Self {
            pauses: limits::MOVING_WAIT.min(most),
            all: (2 * limits::MOVING_WAIT + limits::CALL_WAIT).min(most),
            call: limits::CALL_WAIT.min(most),
            counted: true,
            fickle: false,
        }
    }

    /// That of a question which is asked again and again, so that it need not be long.
    pub(super) fn of_poll() -> Self {
        Self {
            pauses: Duration::from_secs(2),
            all: limits::POLL_WAIT,
            call: limits::CALL_WAIT,
            counted: false,
            fickle: false,
        }
    }
}

/// What came of a try that brought no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Another node is said to own the run, and that is news.
    Redirected,
    /// Nobody is known who owns it; nothing was done.
    NotHere,
    /// Its owner cannot be reached; nothing was done.
    Unreachable,
    /// Its owner has too much to do; nothing was done.
    Busy(Duration),
    /// It may have been done or not.
    Unknown,
    /// Its owner does not understand, and never will.
    NotUnderstood(String),
}

/// Why there is no answer at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stuck {
    /// No node owned the run for too long, or its owner could not be reached.
    Unowned,
    /// Its owner has too much to do.
    Busy,
    /// Too many requests wait already.
    Crowded,
    /// It may have been done or not.
    Unknown,
    /// The owner is of another version.
    NotUnderstood(String),
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Try again at once.
    Again,
    /// Try again after a pause, or when the place of the run has changed.
    Pause(Duration),
    /// That is all.
    GiveUp(Stuck),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Trip {
    patience: Patience,
    may_be_repeated: bool,
    seed: u64,
    redirects: u8,
    pauses: u32,
    paused: Duration,
    unknown: bool,
}

impl Trip {
    /// `salt` keeps requests for the same run apart.
    pub(super) fn new(run: RunId, salt: u64, patience: Patience, may_be_repeated: bool) -> Self {
        let mut hasher = DefaultHasher::new();
        (run.to_bytes(), salt).hash(&mut hasher);
        Self {
            patience,
            may_be_repeated,
            seed: hasher.finish(),
            redirects: 0,
            pauses: 0,
            paused: Duration::ZERO,
            unknown: false,
        }
    }

    /// How often in a row it was sent on.
    pub(super) fn hops(&self) -> u8 {
        self.redirects
    }

    /// Whether some try may have been carried out without an answer.
    pub(super) fn was_unknown(&self) -> bool {
        self.unknown
    }

    /// How long the next call may take, `elapsed` after the start.
    pub(super) fn call(&self, elapsed: Duration, wait: Duration) -> Duration {
        let left = self.patience.all.saturating_sub(elapsed);
        wait + self
            .patience
            .call
            .min(left)
            .max(Duration::from_millis(SHORTEST))
    }

    /// How long it has been in pauses.
    pub(super) fn paused(&mut self, time: Duration) {
        self.paused += time;
    }

    /// What to do after a try that ended `elapsed` after the start.
    pub(super) fn after(&mut self, turn: Turn, elapsed: Duration) -> Next {
        let mut length = self.jitter();
        let mut stuck = Stuck::Unowned;
        match turn {
            Turn::Redirected if self.redirects < limits::REDIRECTS => {
                self.redirects += 1;
                return Next::Again;
            }
            Turn::Redirected | Turn::NotHere | Turn::Unreachable => {}
            Turn::Busy(retry_after) => {
                length = length.max(retry_after);
                stuck = Stuck::Busy;
            }
            Turn::Unknown if self.may_be_repeated => self.unknown = true,
            Turn::Unknown => return Next::GiveUp(Stuck::Unknown),
            Turn::NotUnderstood(text) => return Next::GiveUp(Stuck::NotUnderstood(text)),
        }
        let patient = self.paused + length <= self.patience.pauses
            && elapsed + length <= self.patience.all
            && (self.unknown || !self.patience.fickle);
        if patient {
            self.redirects = 0;
            self.pauses += 1;
            return Next::Pause(length);
        }
        Next::GiveUp(match self.unknown {
            true => Stuck::Unknown,
            false => stuck,
        })
    }

    /// From 10 ms to 25, 50, 100 and then always 200.
    fn jitter(&self) -> Duration {
        let most = (FIRST << self.pauses.min(3)).min(LONGEST);
        let mut hasher = DefaultHasher::new();
        (self.seed, self.pauses).hash(&mut hasher);
        let above = hasher.finish() % (most - SHORTEST + 1);
        Duration::from_millis(SHORTEST + above)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trip(may_be_repeated: bool) -> Trip {
        let patience = Patience::of_request(Duration::from_secs(60));
        Trip::new(RunId::from_bytes([7; 16]), 0, patience, may_be_repeated)
    }

    #[test]
    fn three_times_in_a_row_a_request_is_sent_on_without_a_pause() {
        let mut trip = trip(true);
        for _ in 0..2 {
            for _ in 0..limits::REDIRECTS {
                assert_eq!(trip.after(Turn::Redirected, Duration::ZERO), Next::Again);
            }
            assert_eq!(trip.hops(), limits::REDIRECTS);
            let next = trip.after(Turn::Redirected, Duration::ZERO);
            assert!(matches!(next, Next::Pause(_)), "{next:?}");
            assert_eq!(trip.hops(), 0);
        }
    }

    #[test]
    fn pauses_are_jittered_between_ten_and_two_hundred_milliseconds_up_to_a_bound() {
        let mut trip = trip(true);
        let mut lengths = Vec::new();
        let end = loop {
            match trip.after(Turn::NotHere, trip.paused) {
                Next::Pause(length) => {
                    trip.paused(length);
                    lengths.push(length);
                }
                end => break end,
            }
        };
        assert_eq!(end, Next::GiveUp(Stuck::Unowned));
        let all: Duration = lengths.iter().sum();
        assert!(all > Duration::from_millis(9_800) && all <= limits::MOVING_WAIT);
        let range = Duration::from_millis(10)..=Duration::from_millis(200);
        assert!(lengths.iter().all(|length| range.contains(length)));
        assert!(lengths[0] <= Duration::from_millis(25));
        lengths.dedup();
        assert!(lengths.len() > 10, "they are all the same");
    }

    #[test]
    fn what_may_have_been_done_is_repeated_only_where_that_is_harmless() {
        let once = trip(false).after(Turn::Unknown, Duration::ZERO);
        assert_eq!(once, Next::GiveUp(Stuck::Unknown));
        let mut often = trip(true);
        let next = often.after(Turn::Unknown, Duration::ZERO);
        assert!(matches!(next, Next::Pause(_)), "{next:?}");
        assert!(often.was_unknown());
        // Later tries that certainly did nothing do not make the first one known.
        let late = often.after(Turn::Unreachable, Duration::from_secs(100));
        assert_eq!(late, Next::GiveUp(Stuck::Unknown));
    }

    #[test]
    fn a_busy_owner_is_left_alone_for_as_long_as_it_says() {
        let mut trip = trip(true);
        let second = Duration::from_secs(1);
        let next = trip.after(Turn::Busy(second), Duration::ZERO);
        assert_eq!(next, Next::Pause(second));
        trip.paused(limits::MOVING_WAIT);
        let next = trip.after(Turn::Busy(second), Duration::ZERO);
        assert_eq!(next, Next::GiveUp(Stuck::Busy));
    }

    #[test]
    fn patience_stays_below_what_a_request_may_take() {
        let short = Patience::of_request(Duration::from_secs(1));
        assert!(short.all < Duration::from_secs(1));
        assert!(short.pauses <= short.all && short.call <= short.all);
        let long = Patience::of_request(Duration::from_secs(3_600));
        assert_eq!(long.pauses, limits::MOVING_WAIT);
    }
}
