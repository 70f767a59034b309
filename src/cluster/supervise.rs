//! Keeping work going that should never end: whatever ends by itself or panics is started again. What
//! does not start again for long is given up, and with it the node, which then leaves in order.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crane_core::limits;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::Instant;

/// Work that has gone on for so long begins with the first wait again.
const STEADY: Duration = Duration::from_secs(60);

/// How the work of a node is.
#[derive(Debug, Default)]
pub(super) struct Vitals {
    /// How many pieces of it stand still.
    still: AtomicUsize,
    /// What was given up, and why.
    given_up: watch::Sender<Option<String>>,
}

impl Vitals {
    /// Whether all of it goes on.
    pub(super) fn are_fine(&self) -> bool {
        self.still.load(Ordering::Acquire) == 0
    }

    /// Waits until something was given up; what, and why.
    pub(super) async fn failed(&self) -> String {
        let mut given_up = self.given_up.subscribe();
        // The sender lives in `self`.
        let reason = given_up.wait_for(Option::is_some).await;
        reason.ok().and_then(|r| r.clone()).unwrap_or_default()
    }
}

/// Work that should never end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ward {
    /// What it is called.
    pub(super) name: &'static str,
    /// How long it may stand still before it is given up; `None`: as long as need be.
    pub(super) patience: Option<Duration>,
}

impl Ward {
    /// Does `work`, and then whatever `again` makes, for as long as `wanted` says so.
    pub(super) async fn keep_going<F>(
        self,
        vitals: &Vitals,
        mut work: BoxFuture<'static, ()>,
        mut again: impl FnMut() -> F,
        wanted: impl Fn() -> bool,
    ) where
        F: Future<Output = Result<BoxFuture<'static, ()>, String>>,
    {
        let name = self.name;
        let mut wait = limits::RESTART_PAUSE;
        loop {
            let begun = Instant::now();
            let panicked = AssertUnwindSafe(work).catch_unwind().await.is_err();
            if !wanted() {
                return;
            }
            if begun.elapsed() >= STEADY {
                wait = limits::RESTART_PAUSE;
            }
            tracing::error!(name, panicked, "has ended by itself and is started again");
            vitals.still.fetch_add(1, Ordering::AcqRel);
            let ended = Instant::now();
            work = loop {
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(limits::RESTART_PAUSE_MAX);
                match again().await {
                    Ok(work) => break work,
                    Err(_) if !wanted() => return,
                    Err(error) => {
                        tracing::error!(name, error, "does not start");
                        if self
                            .patience
                            .is_some_and(|longest| ended.elapsed() >= longest)
                        {
                            let reason = format!("{name} does not start any more: {error}");
                            vitals.given_up.send_replace(Some(reason));
                            return;
                        }
                    }
                }
            };
            vitals.still.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const WORK: Ward = Ward {
        name: "the work",
        patience: None,
    };

    #[tokio::test(start_paused = true)]
    async fn work_that_does_not_start_for_long_is_given_up_and_no_longer_fine() {
        let vitals = Vitals::default();
        let ward = Ward {
            patience: Some(Duration::from_secs(60)),
            ..WORK
        };
        let begun = Instant::now();
        let again = || async { Err("the port is taken".to_owned()) };
        let work = tokio::time::sleep(Duration::from_secs(1)).boxed();
        let kept = ward.keep_going(&vitals, work, again, || true);
        let looked = async {
            assert!(vitals.are_fine());
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert!(!vitals.are_fine());
        };
        let (_, (), reason) = tokio::join!(kept, looked, vitals.failed());
        assert_eq!(
            reason,
            "the work does not start any more: the port is taken"
        );
        let took = begun.elapsed().as_secs();
        assert!((61..=66).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_ends_panics_or_does_not_start_is_started_again_until_nobody_wants_it() {
        let starts = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&starts);
        let again = move || {
            let start = counted.fetch_add(1, Ordering::Relaxed);
            async move {
                match start {
                    0 => Ok(async { panic!("as it should") }.boxed()),
                    1 => Err("not yet".to_owned()),
                    _ => Ok(async {}.boxed()),
                }
            }
        };
        let counted = Arc::clone(&starts);
        let begun = Instant::now();
        let wanted = move || counted.load(Ordering::Relaxed) < 4;
        let vitals = Vitals::default();
        WORK.keep_going(&vitals, async {}.boxed(), again, wanted)
            .await;
        assert_eq!(starts.load(Ordering::Relaxed), 4);
        let waited = begun.elapsed();
        assert_eq!(waited.as_millis(), 100 + 200 + 400 + 800);
    }
}
