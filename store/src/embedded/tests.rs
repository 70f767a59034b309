//! The embedded store against the suite, with default settings and with settings so tight that
//! segments are rolled, snapshots made, exports written and segments recycled all the time; the
//! folder beside this file holds what only this store promises.

#![allow(clippy::unwrap_used)]

mod basics;
mod crashes;
mod damage;
mod golden;
mod kit;
mod probing;
mod space;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::{EmbeddedStore, Options};
use crate::RunStore;
use crate::conformance::{Open, Retire};
use kit::{TestClock, tight};

/// Opens the store in a directory of its own each time, with options that `change` has made.
fn open_with(change: fn(&mut Options)) -> (Open, Retire) {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let clock = TestClock::default();
    let ticking = clock.clone();
    let open: Open = Box::new(move || {
        let mut options = Options::new(dir.path().join("data"), ticking.as_clock());
        change(&mut options);
        let store: Arc<dyn RunStore> = Arc::new(EmbeddedStore::open(options).unwrap());
        std::future::ready(store).boxed()
    });
    let retire: Retire = Box::new(move |store| {
        clock.advance(Duration::from_secs(365 * 24 * 3600));
        async move { store.checkpoint().await.unwrap() }.boxed()
    });
    (open, retire)
}

mod with_small_segments {
    use super::open_with;
    use super::small;

    crate::conformance_suite!(open_with(small).0, retire: open_with(small));
}

mod with_tight_settings {
    use super::{open_with, tight};

    crate::conformance_suite!(open_with(tight).0, retire: open_with(tight));
}

/// Everything as it is by default but for the sizes, which would make the tests write gigabytes.
fn small(options: &mut Options) {
    options.segment_bytes = 256 << 10;
    options.disk_reserve = 0;
}
