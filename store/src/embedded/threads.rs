//! The threads of an embedded store, and what becomes of the store when one of them ends or panics.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::checkpointer::{Checkpointer, Parts};
use super::journal::Journal;
use super::shared::{Phase, Shared};
use super::writer::Writer;
use super::{lock, readers};

/// The journal's thread: writes until the store is closed, then refuses what still comes.
pub(super) fn writer(shared: &Arc<Shared>, journal: Journal) {
    let mut writer = Writer::new(Arc::clone(shared), journal);
    match catch_unwind(AssertUnwindSafe(|| writer.run())) {
        Ok(Ok(())) => shared.work.add(|pile| pile.close = true),
        Ok(Err(error)) => shared.fail(&format!("the journal failed: {error}")),
        Err(_) => shared.fail("the journal's thread panicked"),
    }
    // Tells whoever waited for a write that was under way.
    drop(writer);
    let mut jobs = Vec::new();
    while shared.queue.take_late(&mut jobs) {
        for job in jobs.drain(..) {
            job.waiter.tell(Err(shared.stopped()));
        }
    }
}

/// The checkpointer's thread, the last one that holds files: with it the store is closed.
pub(super) fn checkpointer(shared: &Arc<Shared>, parts: Parts) {
    let mut checkpointer = Checkpointer::new(Arc::clone(shared), parts);
    match catch_unwind(AssertUnwindSafe(|| checkpointer.run())) {
        Ok(Ok(())) => {
            checkpointer.finish();
            *lock(&shared.layout) = None;
            shared.phase.send_if_modified(|phase| {
                let is_open = *phase == Phase::Open;
                if is_open {
                    *phase = Phase::Closed;
                }
                is_open
            });
        }
        Ok(Err(error)) => {
            shared.fail(&format!("a checkpoint failed: {error}"));
            checkpointer.die_with_process();
        }
        Err(_) => shared.fail("the checkpointer's thread panicked"),
    }
    shared.work.end();
}

/// A thread that reads runs which are not in memory.
pub(super) fn reader(shared: &Shared) {
    if catch_unwind(AssertUnwindSafe(|| readers::run(shared))).is_err() {
        shared.fail("a reader thread panicked");
    }
}
