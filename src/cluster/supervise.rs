//! Keeping work going that should never end: whatever ends by itself or panics is started again.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

/// The first wait before work is started again; doubled each time.
const FIRST: Duration = Duration::from_millis(100);
/// No wait is longer.
const LONGEST: Duration = Duration::from_secs(5);
/// Work that has gone on for so long begins with the first wait again.
const STEADY: Duration = Duration::from_secs(60);

/// Does `work`, and then whatever `again` makes, for as long as `wanted` says so.
pub(super) async fn keep_going<F>(
    name: &'static str,
    mut work: BoxFuture<'static, ()>,
    mut again: impl FnMut() -> F,
    wanted: impl Fn() -> bool,
) where
    F: Future<Output = Result<BoxFuture<'static, ()>, String>>,
{
    let mut wait = FIRST;
    loop {
        let begun = Instant::now();
        let panicked = AssertUnwindSafe(work).catch_unwind().await.is_err();
        if !wanted() {
            return;
        }
        if begun.elapsed() >= STEADY {
            wait = FIRST;
        }
        tracing::error!(name, panicked, "has ended by itself and is started again");
        work = loop {
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST);
            match again().await {
                Ok(work) => break work,
                Err(error) if wanted() => tracing::error!(name, error, "does not start"),
                Err(_) => return,
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

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
        keep_going("the work", async {}.boxed(), again, wanted).await;
        assert_eq!(starts.load(Ordering::Relaxed), 4);
        let waited = begun.elapsed();
        assert_eq!(waited.as_millis(), 100 + 200 + 400 + 800);
    }
}
