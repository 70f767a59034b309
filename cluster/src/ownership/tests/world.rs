//! Nodes, a store, gossip and messages in virtual time; every disturbance is decided by a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crane_core::placement::Assignment;
use crane_core::{Epoch, NodeName, ShardId};

use super::TTL;
use super::fake_store::FakeStore;
use crate::ownership::words::{Action, Call, Elapsed, Event, How, Owner, Peer, Phase, Sight};
use crate::ownership::{Config, Machine};

/// How far time goes at once.
pub(super) const STEP: Duration = Duration::from_millis(100);
/// After this silence gossip finds a node down.
const SILENCE: Duration = Duration::from_secs(1);

/// A number per call, the same for the same seed (splitmix64).
#[derive(Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) machine: Machine,
    pub(super) started: Elapsed,
    pub(super) running: bool,
    pub(super) paused: bool,
    /// Its calls to the store fail.
    pub(super) cut: bool,
    /// Its journal does not write.
    pub(super) ill: bool,
    pub(super) lease_until: Elapsed,
    /// What its host has open.
    pub(super) open: BTreeMap<ShardId, (Owner, Epoch)>,
    /// It neither looks at its lease nor stops when it is told to; for negative controls only.
    pub(super) reckless: bool,
    /// When it got each shard, for the pace of joining.
    pub(super) gained: Vec<Elapsed>,
    closing: BTreeSet<ShardId>,
    pub(super) most_in_motion: usize,
    told: (Phase, Option<crane_core::Generation>, u64),
    heard: BTreeMap<NodeName, Elapsed>,
    /// What gossip and the journal last told it.
    news: [Event; 3],
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Elapsed,
    pub(super) store: FakeStore,
    pub(super) store_down: bool,
    /// Of a hundred calls, so many are carried out and lose their answer.
    pub(super) lost_answers: u64,
    /// Of a hundred messages between nodes, so many are lost.
    pub(super) lost_messages: u64,
    pub(super) evidence: bool,
    pub(super) nodes: BTreeMap<NodeName, Node>,
    config: Config,
    queue: Vec<(Elapsed, NodeName, Event)>,
    pub(super) random: Random,
    /// Since when nobody has acted for a shard.
    idle_since: Vec<Option<Elapsed>>,
    pub(super) longest_idle: Duration,
}

impl World {
    pub(super) fn new(shards: u16, seed: u64) -> Self {
        let config = Config {
            shards,
            ..Config::new(TTL)
        };
        Self {
            now: Elapsed::default(),
            store: FakeStore::new(shards, TTL),
            store_down: false,
            lost_answers: 0,
            lost_messages: 0,
            evidence: false,
            nodes: BTreeMap::new(),
            config,
            queue: Vec::new(),
            random: Random(seed),
            idle_since: vec![None; usize::from(shards)],
            longest_idle: Duration::ZERO,
        }
    }

    pub(super) fn start(&mut self, name: &str) {
        let name = NodeName::new(name);
        self.queue.retain(|(_, to, _)| *to != name);
        let node = Node {
            machine: Machine::new(name.clone(), self.config.clone()),
            started: self.now,
            running: true,
            paused: false,
            cut: false,
            ill: false,
            lease_until: Elapsed::default(),
            open: BTreeMap::new(),
            reckless: false,
            gained: Vec::new(),
            closing: BTreeSet::new(),
            most_in_motion: 0,
            told: (Phase::Joining, None, 0),
            heard: BTreeMap::new(),
            news: [Event::Tick, Event::Tick, Event::Tick],
        };
        self.nodes.insert(name, node);
    }

    pub(super) fn node(&mut self, name: &str) -> &mut Node {
        self.nodes.get_mut(name).expect("the node was started")
    }

    pub(super) fn kill(&mut self, name: &str) {
        let node = self.node(name);
        node.running = false;
        node.open.clear();
        let gone = node.machine.owner();
        self.queue.retain(|(_, to, _)| to.as_str() != name);
        if let (true, Some(owner)) = (self.evidence, gone) {
            let others: Vec<NodeName> = self.nodes.keys().cloned().collect();
            for other in others {
                let owner = owner.clone();
                self.send(Duration::ZERO, other, Event::Gone { owner });
            }
        }
    }

    pub(super) fn send(&mut self, delay: Duration, to: NodeName, event: Event) {
        self.queue.push((self.now.after(delay), to, event));
    }

    /// Nobody who was told to drain, and does not know it yet, will be.
    pub(super) fn forget_drains(&mut self) {
        self.queue.retain(|(_, _, event)| *event != Event::Drain);
    }

    /// Lets `duration` pass.
    pub(super) fn run(&mut self, duration: Duration) {
        let end = self.now.after(duration);
        while self.now < end {
            self.step();
        }
    }

    /// Lets time pass until `done`; how long it took.
    #[track_caller]
    pub(super) fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> Duration {
        let start = self.now;
        while !done(self) {
            assert!(self.now.since(start) < limit, "not within {limit:?}");
            self.step();
        }
        self.now.since(start)
    }

    fn step(&mut self) {
        self.now = self.now.after(STEP);
        let names: Vec<NodeName> = self.nodes.keys().cloned().collect();
        for name in names {
            let node = &self.nodes[&name];
            if !node.running || node.paused {
                continue;
            }
            for event in self.due(&name) {
                self.deliver(&name, event);
            }
        }
        self.check_exclusive();
        self.measure_idle();
    }

    /// What reaches a node at this time, in order.
    fn due(&mut self, name: &NodeName) -> Vec<Event> {
        let mut due = Vec::new();
        let now = self.now;
        self.queue.retain(|(at, to, event)| {
            let is_due = to == name && *at <= now;
            if is_due {
                due.push(event.clone());
            }
            !is_due
        });
        let told = self.nodes.values().filter(|node| node.running);
        let newest = told.map(|node| node.told.2).max().unwrap_or(0);
        let peers = self.peers_of(name);
        let node = self.node(name.as_str());
        let ok = !node.ill;
        let news = [
            Event::TableVersion(newest),
            Event::Peers(peers),
            Event::JournalWrite { ok },
        ];
        if node.news != news {
            node.news.clone_from_slice(&news);
            due.extend(news);
        }
        due.push(Event::Tick);
        due
    }

    fn peers_of(&mut self, name: &NodeName) -> Vec<Peer> {
        let now = self.now;
        let mut heard = std::mem::take(&mut self.node(name.as_str()).heard);
        let mut peers = Vec::new();
        for (other, node) in self.nodes.iter().filter(|(other, _)| *other != name) {
            let speaks = node.running && !node.paused && now.since(node.started) >= 3 * STEP;
            if speaks {
                heard.insert(other.clone(), now);
            }
            let Some(last) = heard.get(other) else {
                continue;
            };
            let down = now.since(*last) > SILENCE || node.told.0 == Phase::Left;
            peers.push(Peer {
                node: other.clone(),
                generation: node.told.1,
                sight: if down { Sight::Down } else { Sight::Alive },
                phase: node.told.0,
            });
        }
        self.node(name.as_str()).heard = heard;
        peers
    }

    fn deliver(&mut self, name: &NodeName, event: Event) {
        let now = self.now;
        let node = self.node(name.as_str());
        let actions = node.machine.step(now, event);
        node.most_in_motion = node.most_in_motion.max(node.machine.in_motion());
        for action in actions {
            self.carry_out(name, action);
        }
    }

    fn carry_out(&mut self, name: &NodeName, action: Action) {
        if let Some(call) = Call::of(&action) {
            let unreachable = self.store_down || self.nodes[name].cut;
            let answer = if unreachable {
                None
            } else {
                self.store.execute(self.now, name, &action)
            };
            let lost = self.random.chance(self.lost_answers);
            let answer = answer.filter(|_| !lost);
            let answer = answer.unwrap_or(Event::StoreFailed { call });
            self.send(Duration::ZERO, name.clone(), answer);
            return;
        }
        self.carry_out_here(name, action);
    }

    fn carry_out_here(&mut self, name: &NodeName, action: Action) {
        let now = self.now;
        let node = self.nodes.get_mut(name).expect("it runs");
        match action {
            Action::LeaseUntil(until) => node.lease_until = until,
            Action::OpenShard { shard, epoch, .. } => {
                // Without a lease by the end of the same step, it is closed again in it.
                let Some(owner) = node.machine.owner() else {
                    return;
                };
                let before = node.open.insert(shard, (owner, epoch));
                assert!(
                    before.is_none() || node.reckless,
                    "{name} opened {shard} twice"
                );
                node.gained.push(now);
            }
            Action::CloseShard { shard, epoch, how } => {
                if !node.reckless {
                    node.open.remove(&shard);
                }
                if how == How::HandOver {
                    node.closing.insert(shard);
                    let hot = Vec::new();
                    let closed = Event::Closed { shard, epoch, hot };
                    self.send(STEP, name.clone(), closed);
                }
            }
            Action::SelfTest => {
                let ok = !node.ill;
                self.send(STEP, name.clone(), Event::SelfTested { ok });
            }
            Action::Publish {
                phase,
                generation,
                table_version,
            } => {
                node.told = (phase, generation, table_version);
            }
            tells => self.tell(tells),
        }
    }

    fn tell(&mut self, action: Action) {
        match action {
            Action::Ask {
                from,
                by,
                shards,
                at_most,
            } => {
                self.message(
                    from.node,
                    Event::Asked {
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
                let owner = to;
                self.message(
                    node,
                    Event::Assigned {
                        owner,
                        shard,
                        epoch,
                        hot,
                    },
                );
            }
            _ => unreachable!("calls are carried out by the store"),
        }
    }

    fn message(&mut self, to: NodeName, event: Event) {
        if !self.random.chance(self.lost_messages) {
            self.send(STEP, to, event);
        }
    }

    /// Who acts for each shard: has it open, by a lease that lasts.
    fn all_actors(&self) -> Vec<Vec<&(Owner, Epoch)>> {
        let mut actors = vec![Vec::new(); usize::from(self.config.shards)];
        for node in self
            .nodes
            .values()
            .filter(|node| node.running && !node.paused)
        {
            if self.now < node.lease_until || node.reckless {
                for (shard, acting) in &node.open {
                    actors[usize::from(shard.0)].push(acting);
                }
            }
        }
        actors
    }

    /// Who acts for a shard.
    pub(super) fn actors(&self, shard: ShardId) -> Vec<&(Owner, Epoch)> {
        self.all_actors().swap_remove(usize::from(shard.0))
    }

    fn check_exclusive(&self) {
        for (shard, actors) in (0..).map(ShardId).zip(self.all_actors()) {
            assert!(
                actors.len() <= 1,
                "{actors:?} acts for {shard} at {:?}",
                self.now
            );
            for (owner, epoch) in actors {
                assert!(
                    self.store.accepts(owner, shard, *epoch),
                    "{owner} acts for {shard} in {epoch}, but {:?}",
                    self.store.row(shard)
                );
            }
        }
    }

    fn measure_idle(&mut self) {
        let acted: Vec<bool> = self.all_actors().iter().map(|a| !a.is_empty()).collect();
        for (since, acted) in self.idle_since.iter_mut().zip(acted) {
            if acted {
                *since = None;
            } else {
                let since = *since.get_or_insert(self.now);
                self.longest_idle = self.longest_idle.max(self.now.since(since));
            }
        }
    }

    /// Forgets how long shards were without anybody so far.
    pub(super) fn measure_from_now(&mut self) {
        self.longest_idle = Duration::ZERO;
        self.idle_since.fill(None);
    }

    /// Whether somebody acts for every shard.
    pub(super) fn all_served(&self) -> bool {
        self.all_actors().iter().all(|actors| !actors.is_empty())
    }

    /// Shards by node that runs.
    pub(super) fn loads(&self) -> Vec<usize> {
        let running = self.nodes.values().filter(|node| node.running);
        running.map(|node| node.open.len()).collect()
    }

    /// Whether every shard is where the nodes that run want it, and nothing is on its way.
    pub(super) fn settled(&self) -> bool {
        if !self.all_served() {
            return false;
        }
        let running = self.nodes.iter().filter(|(_, node)| node.running);
        let running: BTreeSet<NodeName> = running.map(|(name, _)| name.clone()).collect();
        let wanted = Assignment::new(self.config.shards, running);
        let actors = self.all_actors();
        (0..).map(ShardId).zip(actors).all(|(shard, actors)| {
            actors.first().map(|(owner, _)| &owner.node) == wanted.owner(shard)
        })
    }
}
