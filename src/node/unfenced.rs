//! The negative control of the tests of clusters: a node that does not notice that its shards are
//! no longer its own. Without fences the checker must find what they are there to prevent, or it
//! proves nothing.
//!
//! It is asked for by a variable that is only looked at in builds with debug assertions, and no
//! build for use has any of it.

use crane_store::postgres::Options;

/// Whether it is asked for.
#[cfg(debug_assertions)]
#[allow(
    clippy::disallowed_methods,
    reason = "a switch of tests, which is no setting"
)]
pub(super) fn is_asked_for() -> bool {
    std::env::var_os("CRANE_TEST_UNFENCED").is_some_and(|value| value == "1")
}

/// Never.
#[cfg(not(debug_assertions))]
pub(super) const fn is_asked_for() -> bool {
    false
}

/// The options, unfenced if that is asked for.
#[cfg(debug_assertions)]
pub(super) fn store(mut options: Options) -> Options {
    options.unfenced = is_asked_for();
    if options.unfenced {
        tracing::error!("nothing is fenced: this is a test that is to fail");
    }
    options
}

/// The options as they are.
#[cfg(not(debug_assertions))]
pub(super) const fn store(options: Options) -> Options {
    options
}
