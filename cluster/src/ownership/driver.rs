//! What carries out the machine's actions and tells it what came of them.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use crane_core::{Epoch, NodeName, ShardId, limits};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tracing::{debug, info, warn};

use super::messages::Message;
use super::words::{Action, Call, Elapsed, Event, How, Owner, Phase, Row, Sight};
use super::{Config, Machine};
use crate::gossip::{Gossip, Members};
use crate::metrics::OwnershipMetrics;
use crate::ports::{OwnershipStore, RunHost, Talk};

/// Longest time between two ticks.
const TICK: Duration = Duration::from_millis(100);
/// How often the host is asked how busy its shards are.
const LOADS: Duration = Duration::from_secs(1);

/// What a node is doing, for whoever wants to see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Where it is in its life.
    pub phase: Phase,
    /// This life, once it has a lease.
    pub owner: Option<Owner>,
    /// Shards that it owns.
    pub owned: usize,
}

/// Ownership at work, to tell and to ask. Clones share it.
#[derive(Clone, Debug)]
pub struct Ownership {
    events: mpsc::Sender<Event>,
    standing: watch::Receiver<Standing>,
    table: watch::Receiver<Arc<[Row]>>,
}

impl Ownership {
    /// Tells the machine what happened: `Fenced`, `JournalWrite`, `Gone`, `Drain`, and the messages
    /// of other nodes. What comes while too much waits is lost, as a message may be.
    pub fn tell(&self, event: Event) {
        // One that has ended, since the node leaves or ownership is started again, needs no telling.
        if let Err(error @ mpsc::error::TrySendError::Full(_)) = self.events.try_send(event) {
            warn!(%error, "ownership was not told");
        }
    }

    /// What the node is doing, to read and to wait for.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Who owns each shard, by shard, as far as this node knows; empty before it has read that.
    pub fn table(&self) -> watch::Receiver<Arc<[Row]>> {
        self.table.clone()
    }
}

/// All that the driver works with.
pub struct Parts {
    /// The numbers of the protocol.
    pub config: Config,
    /// Name of this node.
    pub node: NodeName,
    /// The node's runtime.
    pub host: Arc<dyn RunHost>,
    /// The store's side.
    pub store: Arc<dyn OwnershipStore>,
    /// The way to other nodes.
    pub talk: Arc<dyn Talk>,
    /// Gossip.
    pub gossip: Gossip,
    /// The node's elapsed time; [`crate::clock::boot_time`].
    pub clock: fn() -> Elapsed,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Parts of {}", self.node)
    }
}

/// Ownership of the node in `parts`. It works while the future that is returned is polled, and ends
/// when the node has left.
pub fn start(parts: Parts) -> (Ownership, impl Future<Output = ()> + Send) {
    let (sender, events) = mpsc::channel(limits::OWNERSHIP_EVENTS);
    let machine = Machine::new(parts.node.clone(), parts.config.clone());
    let (told, standing) = watch::channel(standing_of(&machine));
    let (table_told, table) = watch::channel(Arc::default());
    let driver = Driver {
        machine,
        parts,
        work: JoinSet::new(),
        told,
        table: table_told,
        down: BTreeMap::new(),
        metrics: OwnershipMetrics::new(),
        moved: Moved::default(),
    };
    let events_of = sender.clone();
    let ownership = Ownership {
        events: events_of,
        standing,
        table,
    };
    // The sender that the future holds keeps the channel open while nobody else tells anything.
    (ownership, driver.run(events, sender))
}

struct Driver {
    machine: Machine,
    parts: Parts,
    /// Calls to the store, closing shards, self-tests: each ends in an event.
    work: JoinSet<Option<Event>>,
    told: watch::Sender<Standing>,
    table: watch::Sender<Arc<[Row]>>,
    /// Nodes that are down, and since when.
    down: BTreeMap<NodeName, Elapsed>,
    metrics: OwnershipMetrics,
    moved: Moved,
}

/// Shards that have come and gone since that was last logged.
#[derive(Default)]
struct Moved {
    opened: usize,
    closed: usize,
}

impl Driver {
    async fn run(mut self, mut events: mpsc::Receiver<Event>, _open: mpsc::Sender<Event>) {
        let every = TICK.min(self.parts.config.ttl / 16);
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut loads = tokio::time::interval(LOADS);
        loads.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut members = self.parts.gossip.members();
        members.mark_changed();
        while self.machine.phase() != Phase::Left {
            tokio::select! {
                // Answers of the store first: the lease must not wait behind anything.
                biased;
                Some(ended) = self.work.join_next() => {
                    if let Ok(Some(event)) = ended {
                        self.step(event);
                    }
                }
                _ = ticks.tick() => self.step(Event::Tick),
                Some(event) = events.recv() => self.step(event),
                Ok(()) = members.changed() => {
                    let members = members.borrow_and_update().clone();
                    self.heard(&members);
                }
                _ = loads.tick() => {
                    let loads = self.parts.host.loads();
                    self.step(Event::Loads(loads));
                    self.tell_moved();
                }
            }
        }
        self.tell_moved();
        info!("this node has left its cluster");
    }

    /// Logs what has moved: a line for all, since there are hundreds at a time.
    fn tell_moved(&mut self) {
        let Moved { opened, closed } = std::mem::take(&mut self.moved);
        if opened > 0 || closed > 0 {
            let owned = self.machine.owned();
            info!(opened, closed, owned, "shards have moved");
        }
    }

    fn heard(&mut self, members: &Members) {
        self.note_down(members);
        let peers = members
            .members
            .iter()
            .map(crate::gossip::members::Member::peer);
        self.step(Event::Peers(peers.collect()));
        for member in members.members.iter().filter(|m| m.said_goodbye()) {
            if let Some(generation) = member.told.lease {
                let node = member.node.clone();
                let owner = Owner { node, generation };
                self.step(Event::Gone { owner });
            }
        }
        let versions = members
            .members
            .iter()
            .map(|member| member.told.table_version);
        if let Some(newest) = versions.max() {
            self.step(Event::TableVersion(newest));
        }
    }

    fn note_down(&mut self, members: &Members) {
        let now = (self.parts.clock)();
        let down = members.members.iter().filter(|m| m.sight == Sight::Down);
        let since = |node: &NodeName| self.down.get(node).copied().unwrap_or(now);
        self.down = down.map(|m| (m.node.clone(), since(&m.node))).collect();
    }

    /// Of the shards that came to this node, those whose owner was found down: how long ago.
    fn note_takeover(&self, rows: &[(ShardId, Epoch)]) {
        let now = (self.parts.clock)();
        for (shard, _) in rows {
            let row = self.machine.rows().get(usize::from(shard.0));
            let owner = row.and_then(|row| row.owner.as_ref());
            if let Some(since) = owner.and_then(|owner| self.down.get(&owner.node)) {
                self.metrics.taken_over(now.since(*since));
            }
        }
    }

    fn step(&mut self, event: Event) {
        if let Event::Taken { rows, .. } = &event {
            self.note_takeover(rows);
        }
        let now = (self.parts.clock)();
        for action in self.machine.step(now, event) {
            self.carry_out(action);
        }
        self.metrics.owned(self.machine.owned());
        crate::tell_change(&self.told, standing_of(&self.machine));
        let rows = self.machine.rows();
        self.table.send_if_modified(|table| {
            let changed = **table != *rows;
            if changed {
                *table = rows.into();
            }
            changed
        });
    }

    fn carry_out(&mut self, action: Action) {
        let host = &self.parts.host;
        match action {
            Action::LeaseUntil(until) => host.lease_until(until),
            Action::OpenShard {
                shard,
                epoch,
                hot,
                reason,
            } => {
                debug!(%shard, %epoch, reason = reason.as_str(), "a shard is opened");
                self.metrics.placed(reason);
                self.moved.opened += 1;
                host.open_shard(shard, epoch, hot);
            }
            Action::CloseShard { shard, epoch, how } => self.close(shard, epoch, how),
            Action::SelfTest => {
                let testing = host.self_test();
                let tested = |ok| Event::SelfTested { ok };
                self.spawn(testing, tested, move || tested(false));
            }
            Action::Publish {
                phase,
                generation,
                table_version,
            } => {
                self.parts.gossip.tell(|told| {
                    // It still passes requests on, for which it needs the others. Its goodbye comes when
                    // the node ends ([`crate::gossip::Gossip::leave`]).
                    told.phase = match phase {
                        Phase::Left => Phase::Draining,
                        Phase::Joining | Phase::Up | Phase::Draining => phase,
                    };
                    told.lease = generation;
                    told.table_version = table_version;
                });
            }
            Action::Ask {
                from,
                by,
                shards,
                at_most,
            } => {
                let at_most = u32::try_from(at_most).unwrap_or(u32::MAX);
                self.tell(
                    &from.node,
                    &Message::Ask {
                        by,
                        shards,
                        at_most,
                    },
                );
            }
            Action::Assign {
                to,
                shard,
                epoch,
                hot,
            } => {
                let node = to.node.clone();
                self.tell(
                    &node,
                    &Message::Assign {
                        to,
                        shard,
                        epoch,
                        hot,
                    },
                );
            }
            call => self.call(call),
        }
    }

    fn close(&mut self, shard: ShardId, epoch: Epoch, how: How) {
        let host = &self.parts.host;
        debug!(%shard, %epoch, ?how, "a shard is closed");
        self.moved.closed += 1;
        match how {
            How::Stop => host.stop_shard(shard, epoch),
            How::HandOver => {
                let closing = host.close_shard(shard, epoch);
                let closed = move |hot| Event::Closed { shard, epoch, hot };
                // A host that panics has nothing under way any more.
                self.spawn(closing, closed, move || closed(Vec::new()));
            }
        }
    }

    fn call(&mut self, action: Action) {
        let Some(call) = Call::of(&action) else {
            return;
        };
        let asking = self.parts.store.carry_out(action);
        self.spawn(asking, |event| event, move || Event::StoreFailed { call });
    }

    /// `otherwise` is the event if `work` panics: whatever was asked for is answered.
    fn spawn<T: Send + 'static>(
        &mut self,
        work: BoxFuture<'static, T>,
        then: impl FnOnce(T) -> Event + Send + 'static,
        otherwise: impl FnOnce() -> Event + Send + 'static,
    ) {
        self.work.spawn(async move {
            let ended = AssertUnwindSafe(work).catch_unwind().await;
            Some(match ended {
                Ok(value) => then(value),
                Err(_) => otherwise(),
            })
        });
    }

    fn tell(&mut self, node: &NodeName, message: &Message) {
        let telling = self.parts.talk.tell(node, message);
        self.work.spawn(async move {
            telling.await;
            None
        });
    }
}

fn standing_of(machine: &Machine) -> Standing {
    Standing {
        phase: machine.phase(),
        owner: machine.owner(),
        owned: machine.owned(),
    }
}
