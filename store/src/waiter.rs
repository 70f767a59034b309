//! The one who waits for a write, whichever store makes it.

use crate::{Ack, Error};

/// Somebody who waits for a write. Told exactly once: when dropped untold (a thread died while it
/// held the write), the answer is that the outcome is unknown.
pub(crate) struct Waiter(Option<Ack>);

impl Waiter {
    /// Wraps the callback.
    pub(crate) fn new(ack: Ack) -> Self {
        Self(Some(ack))
    }

    /// Tells the outcome.
    pub(crate) fn tell(mut self, outcome: Result<(), Error>) {
        if let Some(ack) = self.0.take() {
            ack(outcome);
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if let Some(ack) = self.0.take() {
            ack(Err(Error::Fatal(
                "a thread of the store died with this write".into(),
            )));
        }
    }
}
