//! What the process says about itself: log lines on standard error, pretty on a terminal and JSON
//! elsewhere, and panics as log lines.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, reload};

use crate::output;

/// What is logged when nobody asks for anything: trouble, but not what the live view says anyway
/// (steps that fail or were lost), and not each stopped actor, which the actor library takes for
/// news.
pub const DEFAULT_FILTER: &str = "warn,ractor=error,crane_actors::run=error";

/// Why logging is not as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is no filter.
    #[error("{text:?} is not a filter such as \"info,crane=debug\": {reason}")]
    Filter {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Logging was not started in this process.
    #[error("logging was not started")]
    NotStarted,
}

/// Puts another filter in place of the present one.
type Reload = Box<dyn Fn(EnvFilter) -> Result<(), Error> + Send + Sync>;

static RELOAD: OnceLock<Reload> = OnceLock::new();

/// Starts logging by a filter (such as `info,crane_actors=debug`).
///
/// # Errors
/// A filter that is none, with what is wrong with it.
pub fn start(text: &str) -> Result<(), String> {
    let filter = filter(text).map_err(|error| format!("--log {error}"))?;
    let (filter, handle) = reload::Layer::new(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(Stderr);
    let lines = if io::stderr().is_terminal() {
        lines.with_ansi(output::is_colored()).boxed()
    } else {
        lines.json().flatten_event(true).boxed()
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()
        .map_err(|error| format!("logging did not start: {error}"))?;
    // The global subscriber above can be set once, and so this is the first time.
    let _ = RELOAD.set(Box::new(move |filter| {
        handle.reload(filter).map_err(|_| Error::NotStarted)
    }));
    log_panics();
    Ok(())
}

/// Logs by another filter from now on.
///
/// # Errors
/// A text that is no filter; the present one stays then.
pub fn set_filter(text: &str) -> Result<(), Error> {
    let filter = filter(text)?;
    RELOAD.get().ok_or(Error::NotStarted)?(filter)
}

fn filter(text: &str) -> Result<EnvFilter, Error> {
    EnvFilter::try_new(text).map_err(|error| Error::Filter {
        text: text.to_owned(),
        reason: error.to_string(),
    })
}

/// A panic in a tool or an actor is contained by its supervisor; it is news, not the end, so it is
/// a log line like any other.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let message = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("(no message)");
        let location = panic.location().map(ToString::to_string);
        tracing::error!(message, location, "panic");
    }));
}

/// Standard error, a line at a time and beside the progress bars.
#[derive(Clone, Copy, Debug)]
struct Stderr;

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = LineWriter;

    fn make_writer(&'a self) -> LineWriter {
        LineWriter(Vec::new())
    }
}

/// Collects what one event writes.
struct LineWriter(Vec<u8>);

impl Write for LineWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LineWriter {
    fn drop(&mut self) {
        // A log line that nobody can read is lost, like any other message to nobody.
        let _ = output::write_stderr(&self.0);
    }
}
