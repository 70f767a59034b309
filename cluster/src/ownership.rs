//! Who acts for which shard, and when: the ownership machine of one node, without input or output.
//!
//! ```text
//!                 Event                              Action
//!   store ──> Renewed, TableRead, Taken ...   ┌──> Renew, ReadTable, Take ...      ──> store
//!   gossip ─> Peers, Gone                step ┼──> OpenShard, CloseShard, LeaseUntil ─> run host
//!   peers ──> Asked, Assigned                 ├──> Ask, Assign                     ──> peers
//!   clock ──> Tick                            └──> Publish                         ──> gossip
//! ```
//!
//! Time is the node's own elapsed time and an argument; nothing here reads a clock, draws a random
//! number, awaits or allocates without a bound. Whoever drives it carries out each action and
//! answers every call to the store with exactly one event.
//!
//! What it holds to:
//! 1. A shard is opened only in an epoch that the store gave to this life of this node, and an
//!    epoch that is over for it is never opened again (`floor`).
//! 2. The host is told until when the lease lasts ([`Action::LeaseUntil`], 0.9 TTL after the
//!    renewal was *sent*), so that a paused process finds itself fenced before anything else runs.
//! 3. The shards of another node are taken only after the store has declared that node dead.
//! 4. No shard moves for the sake of balance while any node joins, drains or is under suspicion.

mod balance;
mod drain;
pub mod driver;
mod lease;
mod life;
pub mod messages;
mod peers;
mod table;
mod takeover;
pub mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crane_core::ids::SHARD_COUNT;
use crane_core::placement::Assignment;
use crane_core::{Epoch, Generation, NodeName, RunId, ShardId};

use lease::Lease;
use peers::Peers;
use table::View;
use words::{Action, Call, Elapsed, Event, How, Owner, Phase, Reason, Row};

/// The numbers of the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// Number of shards.
    pub shards: u16,
    /// How long a lease lasts after the store granted it.
    pub ttl: Duration,
    /// How long a node must have been seen live before it is given shards.
    pub settle: Duration,
    /// Shards that are being handed over at the same time.
    pub transfers: usize,
    /// How long a drained node stays to forward late messages.
    pub linger: Duration,
}

impl Config {
    /// The numbers for leases of `ttl`.
    pub fn new(ttl: Duration) -> Self {
        Self {
            shards: SHARD_COUNT,
            ttl,
            settle: Duration::from_secs(2),
            transfers: 8,
            linger: 2 * ttl,
        }
    }
}

/// What a shard that this node owns is doing here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Stage {
    /// Its runs go on.
    Open,
    /// The host lets its running steps end.
    Closing { to: Option<Owner>, since: Elapsed },
    /// It rests; the store is to be told who is next.
    Closed { to: Option<Owner>, hot: Vec<RunId> },
    /// The store is being told.
    Handing { to: Option<Owner>, hot: Vec<RunId> },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Held {
    epoch: Epoch,
    stage: Stage,
}

/// The ownership machine of one node. See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Machine {
    config: Config,
    me: NodeName,
    now: Elapsed,
    phase: Phase,
    lease: Lease,
    held: BTreeMap<ShardId, Held>,
    /// Epochs up to this one are over for this node.
    floor: BTreeMap<ShardId, Epoch>,
    view: View,
    peers: Peers,
    /// Wanted owners, over the nodes that may own.
    wanted: Assignment,
    /// Calls to the store that are not answered yet; at most one of a kind.
    busy: BTreeSet<Call>,
    /// Runs under way in each shard, as last told by the host.
    loads: BTreeMap<ShardId, u32>,
    life: life::State,
    balance: balance::State,
    /// Nobody is declared dead for a lease before that, after one was found to last.
    declare_at: Elapsed,
    drain: drain::State,
    published: Option<(Phase, Option<Generation>, u64)>,
}

impl Machine {
    /// The machine of the node `me`, which owns nothing yet.
    pub fn new(me: NodeName, config: Config) -> Self {
        Self {
            config,
            me,
            now: Elapsed::default(),
            phase: Phase::Joining,
            lease: Lease::default(),
            held: BTreeMap::new(),
            floor: BTreeMap::new(),
            view: View::default(),
            peers: Peers::default(),
            wanted: Assignment::default(),
            busy: BTreeSet::new(),
            loads: BTreeMap::new(),
            life: life::State::default(),
            balance: balance::State::default(),
            declare_at: Elapsed::default(),
            drain: drain::State::default(),
            published: None,
        }
    }

    /// Takes in what happened by `now` and says what to do about it, in this order.
    pub fn step(&mut self, now: Elapsed, event: Event) -> Vec<Action> {
        self.now = self.now.max(now);
        let mut out = Vec::new();
        self.absorb(event, &mut out);
        if self.phase == Phase::Left {
            self.publish(&mut out);
            return out;
        }
        self.keep_lease(&mut out);
        self.go_on_in_life(&mut out);
        self.reconsider_wanted();
        self.follow_table(&mut out);
        self.take_over(&mut out);
        self.balance(&mut out);
        self.drain(&mut out);
        self.hand_over(&mut out);
        self.read_table(&mut out);
        self.publish(&mut out);
        out
    }

    fn absorb(&mut self, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::Tick => {}
            Event::Registered { generation, sent } => self.registered(generation, sent, out),
            Event::Renewed { by, sent } => self.renewed(by, sent, out),
            Event::LeaseLost { by } => self.lease_lost(by, out),
            Event::StoreFailed { call } => self.store_failed(call),
            Event::TableRead(table) => self.table_read(&table),
            Event::DeclaredDead { owner, dead } => self.declared_dead(&owner, dead),
            Event::Taken { by, rows } => self.taken(by, &rows, out),
            Event::Handed { by, rows } => self.handed(by, &rows, out),
            Event::LeftStore => self.left_store(),
            Event::Closed { shard, epoch, hot } => self.closed(shard, epoch, hot),
            Event::Fenced { shard, epoch } => self.fenced(shard, epoch, out),
            Event::SelfTested { ok } => self.self_tested(ok),
            Event::JournalWrite { ok } => self.journal_write(ok),
            Event::Loads(loads) => self.loads = loads,
            Event::Peers(peers) => self.peers_changed(peers),
            Event::Gone { owner } => self.peers.note_gone(owner),
            Event::TableVersion(version) => self.table_version(version),
            Event::Asked {
                by,
                shards,
                at_most,
            } => self.asked(&by, &shards, at_most, out),
            assigned @ Event::Assigned { .. } => self.assigned(assigned, out),
            Event::Drain => self.start_drain(),
        }
    }

    /// This life of this node; `None` until the store has given it a generation.
    pub fn owner(&self) -> Option<Owner> {
        let generation = self.lease.generation?;
        Some(Owner {
            node: self.me.clone(),
            generation,
        })
    }

    /// Where this node is in its life.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The shards that are open here, with their epochs.
    pub fn open(&self) -> impl Iterator<Item = (ShardId, Epoch)> + '_ {
        self.held
            .iter()
            .filter(|(_, held)| held.stage == Stage::Open)
            .map(|(shard, held)| (*shard, held.epoch))
    }

    /// Who owns each shard, as far as this node knows; empty before the table was read.
    pub fn rows(&self) -> &[Row] {
        self.view.all()
    }

    /// Number of shards that this node owns.
    pub fn owned(&self) -> usize {
        self.held.len()
    }

    /// Opens `shard` unless this epoch is known to be over.
    fn open_shard(
        &mut self,
        shard: ShardId,
        epoch: Epoch,
        hot: Vec<RunId>,
        reason: Reason,
        out: &mut Vec<Action>,
    ) {
        let over = self.floor.get(&shard).is_some_and(|floor| epoch <= *floor);
        let newer = self.held.get(&shard).is_none_or(|held| held.epoch < epoch);
        if over || !newer {
            return;
        }
        if self.held.contains_key(&shard) {
            self.drop_shard(shard, out);
        }
        let stage = Stage::Open;
        self.held.insert(shard, Held { epoch, stage });
        out.push(Action::OpenShard {
            shard,
            epoch,
            hot,
            reason,
        });
    }

    /// Stops whatever goes on in `shard`, at once; its epoch is over for this node.
    fn drop_shard(&mut self, shard: ShardId, out: &mut Vec<Action>) {
        if let Some(held) = self.held.remove(&shard) {
            self.over(shard, held.epoch);
            out.push(Action::CloseShard {
                shard,
                epoch: held.epoch,
                how: How::Stop,
            });
        }
    }

    /// From now on `epoch` of `shard` is over for this node.
    fn over(&mut self, shard: ShardId, epoch: Epoch) {
        let floor = self.floor.entry(shard).or_default();
        *floor = (*floor).max(epoch);
    }

    fn drop_all(&mut self, out: &mut Vec<Action>) {
        let shards: Vec<ShardId> = self.held.keys().copied().collect();
        for shard in shards {
            self.drop_shard(shard, out);
        }
    }

    /// The store refused a write in `epoch`: somebody else owns the shard.
    fn fenced(&mut self, shard: ShardId, epoch: Epoch, out: &mut Vec<Action>) {
        if self
            .held
            .get(&shard)
            .is_some_and(|held| held.epoch == epoch)
        {
            self.drop_shard(shard, out);
            self.view.read_at(self.now);
        }
    }

    fn store_failed(&mut self, call: Call) {
        self.busy.remove(&call);
        match call {
            Call::Register | Call::Renew => self.lease.failed(self.now, &self.config),
            Call::Hand => self.hand_failed(),
            Call::Leave => self.drain.retry_at = self.now.after(self.config.ttl / 4),
            // What became of it shows in the table.
            Call::Read | Call::Declare | Call::Take => {
                self.view.read_at(self.now.after(self.config.ttl / 8));
            }
        }
    }

    /// Asks the store, unless a call of this kind is not answered yet.
    fn call(&mut self, call: Call, action: Action, out: &mut Vec<Action>) {
        if self.busy.insert(call) {
            out.push(action);
        }
    }

    fn publish(&mut self, out: &mut Vec<Action>) {
        let state = (self.phase, self.lease.generation, self.view.version());
        if self.published != Some(state) {
            self.published = Some(state);
            out.push(Action::Publish {
                phase: state.0,
                generation: state.1,
                table_version: state.2,
            });
        }
    }
}

#[cfg(test)]
mod tests;
