//! The time in which a server gives no answer: how often it is tried again, for how long, and what
//! is said meanwhile.

use std::time::Duration;

use crane_core::retry::RetryPolicy;
use tokio::time::Instant;

use super::error::Error;

/// First and longest pause between two attempts.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// How long a caller goes on trying.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// While there is no connection.
    pub(super) unreachable: Duration,
    /// While the server says that it cannot now.
    pub(super) refused: Duration,
}

/// See the module. Begins with the first failure and ends with the next success.
#[derive(Debug)]
pub(super) struct Outage {
    say: fn(&str),
    patience: Patience,
    since: Option<Instant>,
    failures: u32,
    /// Whether it was said that the server does not answer.
    said: bool,
}

impl Outage {
    /// None so far.
    pub(super) fn none(say: fn(&str), patience: Patience) -> Self {
        Self {
            say,
            patience,
            since: None,
            failures: 0,
            said: false,
        }
    }

    /// Waits until it is time to try again after `error`, or gives it back when that is no use, or
    /// when the patience is at an end.
    pub(super) async fn wait(&mut self, error: Error) -> Result<(), Error> {
        if !error.may_pass() {
            return Err(error);
        }
        let (patience, hint) = match &error {
            Error::Refused(refusal) => (self.patience.refused, refusal.retry_after),
            _ => (self.patience.unreachable, None),
        };
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        let pause = self.pause().max(hint.unwrap_or_default());
        let left = patience.saturating_sub(now - since);
        if pause > left {
            return Err(error);
        }
        self.failures += 1;
        if !std::mem::replace(&mut self.said, true) {
            (self.say)(&format!(
                "{error}; trying again for {} s",
                patience.as_secs()
            ));
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }

    fn pause(&self) -> Duration {
        let (initial, max) = PAUSES;
        let policy = RetryPolicy {
            max_attempts: u32::MAX,
            initial,
            factor: 2.0,
            max,
            jitter: true,
        };
        // Many clients lose the same server at the same time; none is harmed by a seed of zero.
        let seed = getrandom::u64().unwrap_or_default();
        policy.delay(self.failures + 1, seed)
    }

    /// The server answers; whether that lasts is not known yet.
    pub(super) fn answered(&mut self) {
        if std::mem::take(&mut self.said) {
            (self.say)("the server answers again");
        }
    }

    /// The server has done what it was asked.
    pub(super) fn over(&mut self) {
        self.answered();
        self.since = None;
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        unreachable: Duration::from_millis(900),
        refused: Duration::from_millis(1),
    };

    fn broken() -> Error {
        Error::Broken {
            server: "http://x".to_owned(),
            reason: "reset".to_owned(),
        }
    }

    #[tokio::test]
    async fn pauses_grow_and_end_with_the_patience() {
        let mut outage = Outage::none(|_| (), PATIENCE);
        let start = Instant::now();
        let mut pauses = 0;
        while outage.wait(broken()).await.is_ok() {
            pauses += 1;
        }
        assert!((3..9).contains(&pauses), "{pauses}");
        assert!(start.elapsed() > Duration::from_millis(300));
        outage.over();
        assert!(outage.wait(broken()).await.is_ok(), "a new one begins");
    }

    #[test]
    fn no_pause_is_longer_than_the_longest() {
        let mut outage = Outage::none(|_| (), PATIENCE);
        for failures in [0, 1, 5, 1_000, u32::MAX - 1] {
            outage.failures = failures;
            assert!(outage.pause() <= PAUSES.1);
            assert!(outage.pause() >= PAUSES.0 / 2);
        }
    }

    #[tokio::test]
    async fn what_cannot_pass_is_given_back_at_once() {
        let mut outage = Outage::none(|_| (), PATIENCE);
        let error = Error::Token("it is empty");
        assert_eq!(outage.wait(error.clone()).await, Err(error));
    }
}
