//! What the cluster asks of its node, and of the store: small traits, so that it sees neither
//! actors nor SQL.

use std::collections::BTreeMap;

use crane_core::{Epoch, NodeName, RunId, ShardId};
use futures_util::future::BoxFuture;

use crate::ownership::messages::Message;
use crate::ownership::words::{Action, Elapsed, Event};

/// The runtime of the node, shard by shard. All but the futures return at once.
pub trait RunHost: Send + Sync + 'static {
    /// Steps may start until `until` on the clock of [`crate::clock::boot_time`], and not later,
    /// whatever else happens: look at the clock at the start of each step, not at a timer.
    fn lease_until(&self, until: Elapsed);

    /// Restores the runs of `shard` and goes on with them, writing in `epoch`; `hot` first.
    fn open_shard(&self, shard: ShardId, epoch: Epoch, hot: Vec<RunId>);

    /// Stops all that goes on in `shard` at once, without writing. It may be opened again, in a
    /// later epoch, as soon as this returns.
    fn stop_shard(&self, shard: ShardId, epoch: Epoch);

    /// Starts no step in `shard` any more, lets running ones end for as long as the drain timeout
    /// allows, writes snapshots; then gives the runs that the next owner should take up first.
    fn close_shard(&self, shard: ShardId, epoch: Epoch) -> BoxFuture<'static, Vec<RunId>>;

    /// Whether this node can write to its store and carry out a step.
    fn self_test(&self) -> BoxFuture<'static, bool>;

    /// Runs under way, by shard; shards without any may be left out.
    fn loads(&self) -> BTreeMap<ShardId, u32>;
}

/// The store's side of ownership.
///
/// Contract, which `ownership/tests/fake_store.rs` writes down in code:
/// * `Register` gives a generation higher than all before, with a lease; it fails rather than waits.
/// * `Renew` prolongs a lease only while it lasts by the store's clock and its holder is not
///   declared dead; else `LeaseLost`. It runs on a connection of its own, never behind work.
/// * `DeclareDead` with `Expired` succeeds only when the lease is over by the store's clock, under
///   the same lock as a renewal; from then on that generation can neither renew nor take.
/// * `Take` takes only shards whose owner is nobody or declared dead, and raises each epoch by one.
/// * `Hand` gives away only shards that are this node's in that epoch, and raises it by one.
/// * An epoch, once raised, refuses all writes of earlier ones.
pub trait OwnershipStore: Send + Sync + 'static {
    /// Carries out a call (`Register`, `Renew`, `ReadTable`, `DeclareDead`, `Take`, `Hand`,
    /// `Leave`); the answer is the event that belongs to it, or `StoreFailed`. Must end in time
    /// much shorter than a lease.
    fn carry_out(&self, call: Action) -> BoxFuture<'static, Event>;
}

/// How ownership talks to other nodes; a message may be lost.
pub trait Talk: Send + Sync + 'static {
    /// Sends `message` to `node`.
    fn tell(&self, node: &NodeName, message: &Message) -> BoxFuture<'static, ()>;
}
