//! What the process says about itself: log lines on standard error, pretty on a terminal and JSON
//! elsewhere, and panics as log lines. What is logged may change while it runs.
//!
//! A span or an event that the filter leaves out costs a comparison of levels: filters are
//! reloaded as a whole, which tells every place in the code whether anybody listens.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::str::FromStr;
use std::sync::OnceLock;

use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::output;

/// What is logged when nobody asks for anything: trouble, but not what the live view says anyway
/// (steps that fail or were lost), and not each stopped actor, which the actor library takes for
/// news.
pub const DEFAULT_FILTER: &str = "warn,ractor=error,crane_actors::run=error";

/// Longest filter, in bytes.
const FILTER_BYTES: usize = 1_024;
/// What may be logged, from nothing to everything.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// Characters of a refused filter that are repeated.
const SHOWN_CHARS: usize = 40;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Pretty on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// A JSON object a line.
    Json,
    /// For people.
    Pretty,
}

impl FromStr for Format {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "json" => Ok(Self::Json),
            "pretty" => Ok(Self::Pretty),
            _ => Err("it must be \"auto\", \"json\" or \"pretty\""),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Json => "json",
            Self::Pretty => "pretty",
        })
    }
}

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
    /// Logging was started before, by somebody else.
    #[error("logging did not start: {0}")]
    Start(String),
}

/// Replaces the filter of a subscriber.
type Handle = reload::Handle<EnvFilter, Registry>;

/// Puts another filter in place of the present one.
type Reload = Box<dyn Fn(EnvFilter) -> Result<(), Error> + Send + Sync>;

/// Of the logging of this process; there is one, as there is one standard error.
static RELOAD: OnceLock<Reload> = OnceLock::new();

/// Starts logging by a filter (such as `info,crane_actors=debug`).
///
/// # Errors
/// A filter that is none, with what is wrong with it.
pub fn start(text: &str, format: Format) -> Result<(), Error> {
    let (lines, handle) = lines(filter(text)?, format);
    lines
        .try_init()
        .map_err(|error| Error::Start(error.to_string()))?;
    let reload = move |filter| handle.reload(filter).map_err(|_| Error::NotStarted);
    // The global subscriber above can be set once, and so this is the first time.
    let _ = RELOAD.set(Box::new(reload));
    log_panics();
    Ok(())
}

/// Writes lines about what passes the filter, which the handle replaces.
fn lines(filter: EnvFilter, format: Format) -> (impl Subscriber + Send + Sync, Handle) {
    let (filter, handle) = reload::Layer::new(filter);
    let is_pretty = match format {
        Format::Auto => io::stderr().is_terminal(),
        Format::Json => false,
        Format::Pretty => true,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(Stderr);
    let lines = if is_pretty {
        lines.with_ansi(output::is_colored()).boxed()
    } else {
        lines.json().flatten_event(true).boxed()
    };
    let subscriber = tracing_subscriber::registry().with(filter).with(lines);
    (subscriber, handle)
}

/// Whether a text is a filter.
///
/// # Errors
/// What is wrong with it.
pub fn check(text: &str) -> Result<(), Error> {
    filter(text).map(drop)
}

/// Logs by another filter from now on.
///
/// # Errors
/// A text that is no filter; the present one stays then.
pub fn set_filter(text: &str) -> Result<(), Error> {
    let filter = filter(text)?;
    let reload = RELOAD.get().ok_or(Error::NotStarted)?;
    reload(filter)
}

fn filter(text: &str) -> Result<EnvFilter, Error> {
    let refused = |reason| Error::Filter {
        text: text.chars().take(SHOWN_CHARS).collect(),
        reason,
    };
    if text.len() > FILTER_BYTES {
        let reason = format!("{} bytes, the limit is {FILTER_BYTES}", text.len());
        return Err(refused(reason));
    }
    text.split(',')
        .try_for_each(check_directive)
        .map_err(refused)?;
    let parsed = EnvFilter::builder().with_regex(false).parse(text);
    parsed.map_err(|error| refused(error.to_string()))
}

/// What a directive may be. The library that filters takes more (and any single word for a part of
/// the program, so that a level with a slip in it would silence everything else); this is what the
/// schema of the API says.
fn check_directive(directive: &str) -> Result<(), String> {
    let (target, level) = match directive.split_once('=') {
        Some((target, level)) => (Some(target), level),
        None => (None, directive),
    };
    let is_first = |c: char| c.is_ascii_alphabetic() || c == '_';
    let is_later = |c: char| is_first(c) || c.is_ascii_digit() || c == ':' || c == '-';
    let is_target = |target: &str| target.starts_with(is_first) && target.chars().all(is_later);
    if !LEVELS.contains(&level) || !target.is_none_or(is_target) {
        let shown: String = directive.chars().take(SHOWN_CHARS).collect();
        return Err(format!(
            "{shown:?} is not a level ({}), nor a part of the program and its level such as \
             crane_actors=debug",
            LEVELS.join(", ")
        ));
    }
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

#[cfg(test)]
mod tests {
    use tracing::level_filters::LevelFilter;

    use super::*;

    #[test]
    fn what_nobody_listens_to_is_left_out_by_its_level_also_after_a_change() {
        let (subscriber, handle) = lines(filter(DEFAULT_FILTER).unwrap(), Format::Json);
        // The macros of tracing look at this and at nothing else when it is below their level.
        assert_eq!(subscriber.max_level_hint(), Some(LevelFilter::WARN));
        handle.reload(filter("info,crane=debug").unwrap()).unwrap();
        assert_eq!(subscriber.max_level_hint(), Some(LevelFilter::DEBUG));
        handle.reload(filter("error").unwrap()).unwrap();
        assert_eq!(subscriber.max_level_hint(), Some(LevelFilter::ERROR));
    }

    #[test]
    fn a_level_or_a_part_and_its_level_make_a_filter_and_nothing_else_does() {
        for text in [
            "info",
            "off,crane=debug",
            "warn,crane_actors::run=trace,a-b=off",
            DEFAULT_FILTER,
        ] {
            assert_eq!(check(text), Ok(()));
        }
        for text in [
            "",
            " ",
            "inof",
            "info,",
            "info, crane=debug",
            "crane",
            "crane=",
            "=info",
            "info,=debug=",
            "crane=louder",
            "[a=",
            "[span]=info",
            &("info,".repeat(400) + "info"),
        ] {
            let error = check(text).unwrap_err();
            assert!(error.to_string().contains("is not a filter"), "{error}");
        }
    }
}
