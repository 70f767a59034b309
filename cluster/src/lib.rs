//! Nodes that find each other, divide the shards among them, and talk.
//!
//! ```text
//!   gossip      who is there, and how are they          a hint: sealed datagrams, chitchat
//!   ownership   who acts for which shard, and when      pure: step(now, Event) -> Vec<Action>
//!   gateway     how a node asks another                 the one remotable actor, over ractor_cluster
//! ```
//!
//! **Gossip is a hint, the store is the truth.** A false suspicion costs a look-up, never an owner:
//! whose word counts in a shard is decided by the store's epochs.
//!
//! Architecture Invariant: this crate is the only one that names `ractor_cluster` and `chitchat`.
//! It never sees the actors of a node; it reaches them through the small traits that are named
//! `ports`, which the node implements.

pub mod clock;
pub mod gateway;
pub mod gossip;
pub mod leases;
pub mod metrics;
pub mod ownership;
pub mod ports;
pub mod secret;

pub use ownership::words::Owner;

/// Tells `value`, unless it was told last.
fn tell_change<T: PartialEq>(told: &tokio::sync::watch::Sender<T>, value: T) {
    told.send_if_modified(|last| {
        let changed = *last != value;
        if changed {
            *last = value;
        }
        changed
    });
}
