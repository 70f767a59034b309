//! A command's time with a node: open it, work, close it, whatever happens in between.
//!
//! ```text
//!   open ──> work ───────────────────────> close (running steps get a moment) ──> outcome
//!              ├─ the store fails ───────────────────────────────────────────────> Broken
//!              └─ Ctrl-C ────────────────> close (second Ctrl-C: without that ──> Interrupted,
//!                                            moment; third: at once)               unless the work
//!                                                                                   came to its end
//! ```

use std::path::Path;
use std::pin::{Pin, pin};
use std::time::Duration;

use crane_actors::Restore;
use crane_store::embedded;

use super::Data;
use super::failure::Failure;
use super::interrupt::Interrupt;
use crate::config::DEFAULT_DATA;
use crate::node::Node;
use crate::output;

/// How long running steps may go on after Ctrl-C. A step that is cut off then runs again on resume,
/// and an at-most-once step cannot.
const GRACE: Duration = Duration::from_secs(3);

/// Works with a node on `data`, which is made if it is missing.
pub(super) async fn with_node<T>(
    data: &Data,
    work: impl AsyncFnOnce(&Node) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let config = data.find()?;
    if config.store.postgres.is_none() {
        refuse_parent(&config.node.data)?;
    }
    let mut interrupt = Interrupt::listen()?;
    let opening = Node::open(&config, Restore::None);
    let node = tokio::select! {
        node = opening => node?,
        () = interrupt.next() => {
            output::note("interrupted before anything was started");
            return Err(Failure::Interrupted);
        }
    };
    attend(&node, &mut interrupt, work).await
}

/// Works with a node on `data`, which must exist: who asks what is there does not want it made.
pub(super) async fn with_existing<T>(
    data: &Data,
    work: impl AsyncFnOnce(&Node) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let config = data.find()?;
    if config.store.postgres.is_none() {
        require(&config.node.data)?;
    }
    with_node(data, work).await
}

/// Works with a node that is set up as for `data` and keeps nothing.
pub(super) async fn without_data<T>(
    data: &Data,
    work: impl AsyncFnOnce(&Node) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let config = data.find()?;
    let mut interrupt = Interrupt::listen()?;
    let node = Node::in_memory(&config).await?;
    attend(&node, &mut interrupt, work).await
}

/// Says which option to use when there is no such directory.
pub(super) fn require(data: &Path) -> Result<(), Failure> {
    if data.exists() {
        return refuse_parent(data);
    }
    Err(Failure::failed(format!(
        "there is no data directory {}; name the one that holds the runs with --data DIR",
        data.display()
    )))
}

/// Says so when the directory around a data directory was named: it would become another one, with
/// nothing in it.
fn refuse_parent(data: &Path) -> Result<(), Failure> {
    let inner = data.join(DEFAULT_DATA.trim_start_matches("./"));
    if embedded::is_store(data) || !embedded::is_store(&inner) {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "{} is no data directory; did you mean {}?",
        data.display(),
        inner.display()
    )))
}

async fn attend<T>(
    node: &Node,
    interrupt: &mut Interrupt,
    work: impl AsyncFnOnce(&Node) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut work = pin!(work(node));
    let outcome = tokio::select! {
        biased;
        reason = node.runtime().failed() => return Err(Failure::Broken(reason.to_string())),
        () = interrupt.next() => return stop(node, interrupt, work).await,
        outcome = &mut work => outcome,
    };
    tokio::select! {
        closed = node.close(GRACE) => closed?,
        // Everything that was acknowledged is durable without being closed.
        () = interrupt.next() => return Err(Failure::Interrupted),
    }
    outcome
}

/// Closes the node while the work goes on looking: it may still come to its end.
async fn stop<T>(
    node: &Node,
    interrupt: &mut Interrupt,
    mut work: Pin<&mut impl Future<Output = Result<T, Failure>>>,
) -> Result<T, Failure> {
    let mut closing = pin!(node.close(GRACE));
    // The node starts no more steps from the first time that its closing is looked at.
    let mut closed = tokio::select! {
        biased;
        closed = &mut closing => Some(closed),
        () = std::future::ready(()) => None,
    };
    output::note("interrupted; running steps may end first (again: at once)");
    let mut outcome = None;
    let mut hurried = false;
    while closed.is_none() {
        tokio::select! {
            biased;
            // That its run stops under way is what the interruption means.
            done = &mut work, if outcome.is_none() => outcome = Some(done.ok()),
            () = interrupt.next() => {
                // In good order even so, or the steps that are cut off would count as lost in a
                // crash. Who has no patience for that either is let go.
                if std::mem::replace(&mut hurried, true) {
                    break;
                }
                node.runtime().hurry();
            }
            done = &mut closing => closed = Some(done),
        }
    }
    closed.transpose()?;
    outcome.flatten().ok_or(Failure::Interrupted)
}
