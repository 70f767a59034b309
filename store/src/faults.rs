//! Named points between the steps of the embedded store, where a test may make it die.
//!
//! Between any two steps whose order matters, the store calls `Faults::hit` with the name of the
//! point. Without an installed closure that is one branch. What a closure orders is carried out by
//! the store as if the machine had done it: the process died, the disk reported an error, the disk
//! was full, or (the hidden negative control) a sync was left out although it is reported as done.
//! Nothing here decides anything by itself.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a test orders at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Go on.
    Continue,
    /// Stop as if the process died here: nothing more is written by any thread of the store.
    Crash,
    /// The step fails with an input/output error.
    Error,
    /// The step fails because the disk is full.
    NoSpace,
    /// The step is left out and reported as done. Only the steps in [`SKIPPABLE`] can be left out;
    /// elsewhere it means [`Order::Continue`].
    Skip,
}

/// Every point, in the order of a store's life.
pub const POINTS: &[&str] = &[
    "open.format",
    "open.move_aside",
    "open.rebuild_rows",
    "open.rebuild_cursor",
    "open.boot",
    "segment.zero",
    "segment.sync",
    "segment.rename",
    "segment.renamed",
    "segment.roll",
    "journal.write",
    "journal.sync",
    "journal.synced",
    "journal.applied",
    "checkpoint.ended",
    "checkpoint.history_sync",
    "checkpoint.history_synced",
    "checkpoint.rows",
    "checkpoint.flush",
    "checkpoint.flushed",
    "checkpoint.cursor",
    "checkpoint.cursor_flush",
    "checkpoint.cursor_flushed",
    "export.write",
    "export.sync",
    "export.verify",
    "export.rename",
    "export.renamed",
    "export.remove_old",
    "recycle.rename",
    "recycle.renamed",
    "history.retire",
];

/// The points at which [`Order::Skip`] leaves the step out: `journal.sync` (no fdatasync) and
/// `journal.write` (neither write nor fdatasync).
pub const SKIPPABLE: &[&str] = &["journal.write", "journal.sync"];

type Hook = dyn Fn(&'static str) -> Order + Send + Sync;

struct Installed {
    hook: Box<Hook>,
    free_bytes: Option<Box<dyn Fn() -> u64 + Send + Sync>>,
    crashed: AtomicBool,
}

/// The fault points of one store; unset, which is the default, they cost one branch each.
#[derive(Clone, Default)]
pub struct Faults(Option<Arc<Installed>>);

/// The error that stands for the death of the process.
#[derive(Debug, thiserror::Error)]
#[error("the process was made to die at {0}")]
struct Crashed(&'static str);

impl Faults {
    /// Points that ask `hook` what to do. After it has once ordered [`Order::Crash`], every later
    /// point of every thread dies as well, without asking.
    pub fn new(hook: impl Fn(&'static str) -> Order + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(Installed {
            hook: Box::new(hook),
            free_bytes: None,
            crashed: AtomicBool::new(false),
        })))
    }

    /// Also answers in the file system's place when the store asks for its free bytes.
    #[must_use]
    pub fn with_free_bytes(mut self, free: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        if let Some(installed) = self.0.as_mut().and_then(Arc::get_mut) {
            installed.free_bytes = Some(Box::new(free));
        }
        self
    }

    /// The free bytes a test wants the store to see.
    pub(crate) fn free_bytes(&self) -> Option<u64> {
        let free = self.0.as_ref()?.free_bytes.as_ref()?;
        Some(free())
    }

    /// Passes a point: `Ok(true)` to do the step, `Ok(false)` to leave it out.
    ///
    /// # Errors
    /// What the test ordered.
    pub(crate) fn hit(&self, point: &'static str) -> io::Result<bool> {
        match &self.0 {
            None => Ok(true),
            Some(installed) => installed.hit(point),
        }
    }

    /// Passes a point whose step cannot be left out.
    pub(crate) fn pass(&self, point: &'static str) -> io::Result<()> {
        self.hit(point).map(|_| ())
    }

    /// Whether a test has installed a closure.
    pub(crate) fn is_installed(&self) -> bool {
        self.0.is_some()
    }

    /// Whether a test has made the process die.
    pub(crate) fn crashed(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|installed| installed.crashed.load(Ordering::SeqCst))
    }
}

impl Installed {
    fn hit(&self, point: &'static str) -> io::Result<bool> {
        if self.crashed.load(Ordering::SeqCst) {
            return Err(io::Error::other(Crashed(point)));
        }
        match (self.hook)(point) {
            Order::Continue => Ok(true),
            Order::Crash => {
                self.crashed.store(true, Ordering::SeqCst);
                Err(io::Error::other(Crashed(point)))
            }
            Order::Error => Err(io::Error::other(format!("ordered by a test at {point}"))),
            Order::NoSpace => Err(io::Error::from(io::ErrorKind::StorageFull)),
            Order::Skip => Ok(!SKIPPABLE.contains(&point)),
        }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Faults(installed)"
        } else {
            "Faults(none)"
        })
    }
}
