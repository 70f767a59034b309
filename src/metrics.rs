//! The metrics of this process, in the text format that Prometheus reads.
//!
//! ```text
//!   crates ──> metrics' recorder ──> samples ──(every second)──> buckets ──┐
//!   runtime's counts ──> Runtime::show_metrics ────────────────────────────┼──> GET /metrics
//!   /proc/self ──────────────────────────────────────────────(when asked)──┘
//! ```
//!
//! The recorder is the process's, since that is how the crates reach it; it is installed once, by
//! a node that serves. Every other command records nothing.
//!
//! What never lives here: names and meanings; each crate has its own.

mod buckets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use metrics::{describe_gauge, gauge};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

/// How often samples are put into their buckets. A sample takes 16 bytes until then: at 100,000
/// steps a second, and 350,000 samples, that makes 6 MB (and 28 MB if it were done every five
/// seconds).
const UPKEEP: Duration = Duration::from_secs(1);

/// The media type of what is rendered.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Why metrics are not recorded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else records them, or this was asked for twice.
    #[error("metrics are recorded already: {0}")]
    Recorder(#[from] BuildError),
    /// The system refused a thread.
    #[error("no thread for the upkeep of metrics: {0}")]
    Thread(#[from] std::io::Error),
}

struct Exporter {
    handle: PrometheusHandle,
    process: Collector,
}

static EXPORTER: OnceLock<Exporter> = OnceLock::new();

/// Records the metrics of this process from now on; to be called before a node is opened, since
/// handles are looked up then.
///
/// # Errors
/// When they are recorded already, or the system refuses a thread.
pub fn install() -> Result<(), Error> {
    let handle = buckets::set(PrometheusBuilder::new())?.install_recorder()?;
    let process = Collector::default();
    process.describe();
    crane_store::metrics::describe();
    crane_actors::metrics::describe();
    crane_cluster::metrics::describe();
    describe_gauge!(
        "crane_build_info",
        "Always 1; the labels say what is running."
    );
    let labels = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("commit", env!("CRANE_COMMIT")),
    ];
    gauge!("crane_build_info", &labels).set(1.0);
    let upkeep = handle.clone();
    // A thread of its own: it works for milliseconds at a stretch under load, and requests would
    // wait behind it.
    thread::Builder::new()
        .name("crane-metrics".to_owned())
        .spawn(move || keep_up(|| upkeep.run_upkeep()))?;
    // The recorder above can be installed once, and so this is the first time.
    let _ = EXPORTER.set(Exporter { handle, process });
    Ok(())
}

/// Everything recorded so far; `None` where nothing is recorded.
pub fn render() -> Option<String> {
    let exporter = EXPORTER.get()?;
    exporter.process.collect();
    Some(exporter.handle.render())
}

/// Does the upkeep for as long as the process lives, whatever one round of it does.
fn keep_up(round: impl Fn()) {
    loop {
        thread::sleep(UPKEEP);
        if catch_unwind(AssertUnwindSafe(&round)).is_err() {
            // The panic is a log line of its own.
            tracing::error!("the upkeep of metrics failed; it is tried again");
        }
    }
}
