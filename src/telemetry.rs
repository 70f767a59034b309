//! What the process says about itself: log lines on standard error, pretty on a terminal and JSON
//! elsewhere, and panics as log lines.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::output;

/// What is logged when nobody asks for anything: trouble, but not what the live view says anyway
/// (steps that fail or were lost), and not each stopped actor, which the actor library takes for
/// news.
pub const DEFAULT_FILTER: &str = "warn,ractor=error,crane_actors::run=error";

/// Starts logging by a filter (such as `info,crane_actors=debug`).
///
/// # Errors
/// A filter that is none, with what is wrong with it.
pub fn start(text: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(text).map_err(|error| {
        format!("--log {text:?} is not a filter such as \"info,crane=debug\": {error}")
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Stderr);
    let started = if io::stderr().is_terminal() {
        builder.with_ansi(output::is_colored()).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
    if let Err(error) = started {
        return Err(format!("logging did not start: {error}"));
    }
    log_panics();
    Ok(())
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
