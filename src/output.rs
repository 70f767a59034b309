//! Everything the command line writes: results to standard output, the rest to standard error.
//!
//! Nothing else in this crate touches the two streams, so that a reader who goes away
//! (`crane runs list | head -1`) ends nothing, progress bars are not torn by log lines, and color
//! is decided in one place.

mod indent;
mod paint;
mod table;

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use anstream::{AutoStream, ColorChoice};
use indicatif::MultiProgress;
use serde::Serialize;

pub use indent::indent as indented;
pub use paint::{Paint, duration, micros, one_line};
pub use table::Table;

/// Set once the reader of standard output has gone.
static READER_GONE: AtomicBool = AtomicBool::new(false);

/// The bars on the terminal, which every line on standard error has to make way for.
static BARS: Mutex<Option<MultiProgress>> = Mutex::new(None);

/// Writes a result and a line end to standard output. A reader that has gone is no error; the
/// work goes on without it.
///
/// # Errors
/// When the output cannot be written, such as to a full disk.
pub fn print(text: &str) -> io::Result<()> {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    write_stdout(text, end)
}

/// Writes a part of a result, without a line end of its own.
///
/// # Errors
/// As [`print()`].
pub fn print_part(text: &str) -> io::Result<()> {
    write_stdout(text, "")
}

fn write_stdout(text: &str, end: &str) -> io::Result<()> {
    if READER_GONE.load(Ordering::Relaxed) {
        return Ok(());
    }
    let write = || {
        let mut stream = AutoStream::auto(io::stdout().lock());
        stream.write_all(text.as_bytes())?;
        stream.write_all(end.as_bytes())?;
        stream.flush()
    };
    match beside_bars(write) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            READER_GONE.store(true, Ordering::Relaxed);
            Ok(())
        }
        written => written,
    }
}

/// Writes a value to standard output as indented JSON.
///
/// # Errors
/// As [`print()`].
pub fn print_json<T: Serialize + ?Sized>(value: &T) -> io::Result<()> {
    print(&indent::indent(&serde_json::to_string(value)?))
}

/// So many of something: `1 run`, `2 runs`.
pub fn counted<N: fmt::Display + From<u8> + PartialEq + Copy>(count: N, what: &str) -> String {
    let plural = if count == N::from(1) { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// Writes lines for people to standard error. Nobody reading them is no error.
pub fn note(text: &str) {
    let _ = write_stderr(format!("{text}\n").as_bytes());
}

/// Writes bytes to standard error as they are, beside the bars.
///
/// # Errors
/// As the stream reports them.
pub fn write_stderr(bytes: &[u8]) -> io::Result<()> {
    beside_bars(|| io::stderr().lock().write_all(bytes))
}

fn beside_bars(write: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let bars = BARS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match bars {
        Some(bars) => bars.suspend(write),
        None => write(),
    }
}

/// Makes every line on standard error give way to these bars, until called with `None`.
pub fn set_bars(bars: Option<MultiProgress>) {
    *BARS.lock().unwrap_or_else(PoisonError::into_inner) = bars;
}

/// Whether standard error is a terminal that can move its cursor.
pub fn is_interactive() -> bool {
    io::stderr().is_terminal() && terminal_moves_its_cursor()
}

/// `TERM=dumb` is how editors and scripts say that control codes are of no use.
fn terminal_moves_its_cursor() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// Whether standard error takes colors (a terminal, and no `NO_COLOR`).
pub fn is_colored() -> bool {
    AutoStream::choice(&io::stderr()) != ColorChoice::Never
}
