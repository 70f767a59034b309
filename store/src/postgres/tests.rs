//! The store in PostgreSQL against the suite, with a private server; the folder beside this file
//! holds what only this store promises.
//!
//! Where PostgreSQL is not installed the tests say "skipped", and fail when CRANE_REQUIRE_ALL=1.

#![allow(clippy::unwrap_used)]

mod check;
mod fences;
mod history;
mod kit;
mod outage;
mod paused;
mod proxy;
mod server;
mod setup;
mod shards;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::Options;
use crate::RunStore;
use crate::conformance::{Open, Retire};
use crate::memory::MemoryStore;
use kit::TestClock;
use server::Server;

/// Opens the store in a database of its own each time.
fn open_and_retire() -> (Open, Retire) {
    let Some(server) = Server::shared() else {
        // The suite has to run against something.
        let store = Arc::new(MemoryStore::new());
        let data = Arc::clone(&store);
        let open: Open = Box::new(move || {
            let store: Arc<dyn RunStore> = Arc::new(store.reopen());
            std::future::ready(store).boxed()
        });
        let retire: Retire = Box::new(move |_| {
            data.retire_ended();
            std::future::ready(()).boxed()
        });
        return (open, retire);
    };
    let url = server.url(&server.database());
    let clock = TestClock::default();
    let ticking = clock.clone();
    let open: Open = Box::new(move || {
        let options = Options::new(&url, "a", ticking.as_clock());
        async move {
            let store = kit::open(options).await.unwrap();
            let store: Arc<dyn RunStore> = Arc::new(store);
            store
        }
        .boxed()
    });
    let retire: Retire = Box::new(move |store| {
        clock.advance(Duration::from_secs(365 * 24 * 3600));
        async move { store.checkpoint().await.unwrap() }.boxed()
    });
    (open, retire)
}

crate::conformance_suite!(open_and_retire().0, retire: open_and_retire());
