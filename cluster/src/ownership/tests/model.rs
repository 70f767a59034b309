//! The machine under a model checker: every interleaving of two nodes and one shard, with pauses,
//! lost answers, calls that never arrive, false suspicion, a drain, and writes that land late.
//!
//! Nodes that are not paused are prompt: time goes on when they have done what there is to do.
//! Whatever is late is late because its node is paused, or because it is a write on its way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crane_core::{Epoch, NodeName, ShardId};
use stateright::{Checker, HasDiscoveries, Model, Property};

use super::fake_store::FakeStore;
use crate::ownership::words::{Action, Call, Elapsed, Event, How, Owner, Peer, Phase, Sight};
use crate::ownership::{Config, Machine};

const SHARD: ShardId = ShardId(0);
/// A lease lasts four units of time.
const UNIT: Duration = Duration::from_secs(1);
const TTL: Duration = Duration::from_secs(4);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Node {
    machine: Machine,
    open: Option<(Owner, Epoch)>,
    lease_until: Elapsed,
    calls: Vec<Action>,
    arriving: Vec<Event>,
    paused: bool,
    ticked: bool,
    suspects: bool,
    told: (Phase, Option<crane_core::Generation>, u64),
    /// A write on its way to the store.
    write: Option<(Owner, Epoch)>,
}

/// What may still go wrong.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Budget {
    units: u8,
    pauses: u8,
    losses: u8,
    suspicions: u8,
    drains: u8,
    writes: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    now: Elapsed,
    store: FakeStore,
    nodes: Vec<Node>,
    budget: Budget,
    /// Who wrote while the shard was in an epoch.
    writers: BTreeMap<Epoch, BTreeSet<usize>>,
    refused: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    Advance,
    Tick(usize),
    Perform(usize),
    LoseAnswer(usize),
    LoseCall(usize),
    Arrive(usize),
    Pause(usize),
    Resume(usize),
    Suspect(usize),
    Drain(usize),
    Write(usize),
    Land(usize),
}

#[derive(Clone, Debug)]
struct Cluster {
    fence: bool,
    /// Whether hosts look at their lease before they act.
    leases: bool,
    budget: Budget,
}

impl Node {
    fn new(number: usize) -> Self {
        let config = Config {
            shards: 1,
            ttl: TTL,
            settle: UNIT,
            transfers: 1,
            linger: UNIT,
        };
        Self {
            machine: Machine::new(NodeName::new(format!("n{number}")), config),
            open: None,
            lease_until: Elapsed::default(),
            calls: Vec::new(),
            arriving: Vec::new(),
            paused: false,
            ticked: false,
            suspects: false,
            told: (Phase::Joining, None, 0),
            write: None,
        }
    }

    fn busy(&self) -> bool {
        !self.calls.is_empty() || !self.arriving.is_empty()
    }

    /// Whether it goes on by itself.
    fn has_work(&self) -> bool {
        let ticks = !self.ticked && self.calls.is_empty();
        !self.paused && (!self.arriving.is_empty() || ticks)
    }
}

impl World {
    /// Both nodes are up, and one of them owns the shard.
    fn warm(cluster: &Cluster) -> Self {
        let mut world = Self {
            now: Elapsed::default(),
            store: FakeStore::new(1, TTL),
            nodes: vec![Node::new(0), Node::new(1)],
            budget: cluster.budget.clone(),
            writers: BTreeMap::new(),
            refused: false,
        };
        world.budget.units = u8::MAX;
        let up = |node: &Node| node.machine.phase() == Phase::Up && !node.busy();
        while !(world.nodes.iter().all(up) && world.nodes.iter().any(|node| node.open.is_some())) {
            let prompt = world.prompt_choice().unwrap_or(Choice::Advance);
            world.choose(prompt);
        }
        world.budget.units = cluster.budget.units;
        world.store.fence = cluster.fence;
        world
    }

    fn prompt_choice(&self) -> Option<Choice> {
        self.nodes.iter().enumerate().find_map(|(n, node)| {
            if !node.arriving.is_empty() {
                Some(Choice::Arrive(n))
            } else if !node.calls.is_empty() {
                Some(Choice::Perform(n))
            } else {
                (!node.ticked).then_some(Choice::Tick(n))
            }
        })
    }

    fn peers_of(&self, n: usize) -> Event {
        let other = &self.nodes[1 - n];
        let silent = other.paused || other.told.0 == Phase::Left;
        let down = self.nodes[n].suspects || silent;
        Event::Peers(vec![Peer {
            node: NodeName::new(format!("n{}", 1 - n)),
            generation: other.told.1,
            sight: if down { Sight::Down } else { Sight::Alive },
            phase: other.told.0,
        }])
    }

    fn step(&mut self, n: usize, event: Event) {
        let now = self.now;
        for action in self.nodes[n].machine.step(now, event) {
            self.carry_out(n, action);
        }
    }

    fn carry_out(&mut self, n: usize, action: Action) {
        if Call::of(&action).is_some() {
            self.nodes[n].calls.push(action);
            return;
        }
        let node = &mut self.nodes[n];
        match action {
            Action::LeaseUntil(until) => node.lease_until = until,
            Action::OpenShard { epoch, .. } => {
                node.open = node.machine.owner().map(|owner| (owner, epoch));
            }
            Action::CloseShard { shard, epoch, how } => {
                node.open = None;
                if how == How::HandOver {
                    let hot = Vec::new();
                    node.arriving.push(Event::Closed { shard, epoch, hot });
                }
            }
            Action::SelfTest => node.arriving.push(Event::SelfTested { ok: true }),
            Action::Publish {
                phase,
                generation,
                table_version,
            } => {
                node.told = (phase, generation, table_version);
            }
            Action::Ask {
                by,
                shards,
                at_most,
                ..
            } => {
                let asked = Event::Asked {
                    by,
                    shards,
                    at_most,
                };
                self.nodes[1 - n].arriving.push(asked);
            }
            Action::Assign {
                to,
                shard,
                epoch,
                hot,
            } => {
                let owner = to;
                let assigned = Event::Assigned {
                    owner,
                    shard,
                    epoch,
                    hot,
                };
                self.nodes[1 - n].arriving.push(assigned);
            }
            _ => unreachable!("calls wait for the store"),
        }
    }

    fn perform(&mut self, n: usize, arrives: bool, answered: bool) {
        let action = self.nodes[n].calls.remove(0);
        let name = NodeName::new(format!("n{n}"));
        let answer = if arrives {
            self.store.execute(self.now, &name, &action)
        } else {
            None
        };
        let failed = Call::of(&action).map(|call| Event::StoreFailed { call });
        let answer = if answered { answer } else { failed };
        self.nodes[n].arriving.extend(answer);
    }

    fn choose(&mut self, choice: Choice) {
        match choice {
            Choice::Advance => {
                self.now = self.now.after(UNIT);
                self.budget.units -= 1;
                for node in &mut self.nodes {
                    node.ticked = false;
                }
            }
            Choice::Tick(n) => {
                self.nodes[n].ticked = true;
                let peers = self.peers_of(n);
                let version = self.nodes[1 - n].told.2;
                self.step(n, peers);
                self.step(n, Event::TableVersion(version));
            }
            Choice::Perform(n) => self.perform(n, true, true),
            Choice::LoseAnswer(n) => {
                self.budget.losses -= 1;
                self.perform(n, true, false);
            }
            Choice::LoseCall(n) => {
                self.budget.losses -= 1;
                self.perform(n, false, false);
            }
            Choice::Arrive(n) => {
                let event = self.nodes[n].arriving.remove(0);
                self.step(n, event);
            }
            Choice::Pause(n) => {
                self.budget.pauses -= 1;
                self.nodes[n].paused = true;
            }
            Choice::Resume(n) => self.nodes[n].paused = false,
            Choice::Suspect(n) => {
                self.budget.suspicions -= 1;
                self.nodes[n].suspects = true;
            }
            Choice::Drain(n) => {
                self.budget.drains -= 1;
                self.step(n, Event::Drain);
            }
            Choice::Write(n) => {
                self.budget.writes -= 1;
                self.nodes[n].write = self.nodes[n].open.clone();
            }
            Choice::Land(n) => self.land(n),
        }
    }

    fn land(&mut self, n: usize) {
        let Some((owner, epoch)) = self.nodes[n].write.take() else {
            return;
        };
        if self.store.accepts(&owner, SHARD, epoch) {
            let current = self.store.row(SHARD).epoch;
            self.writers.entry(current).or_default().insert(n);
        } else {
            self.refused = true;
            self.nodes[n].arriving.push(Event::Fenced {
                shard: SHARD,
                epoch,
            });
        }
    }

    /// Acting now, by its own knowledge.
    fn acts(&self, cluster: &Cluster, n: usize) -> Option<&(Owner, Epoch)> {
        let node = &self.nodes[n];
        let leased = self.now < node.lease_until || !cluster.leases;
        node.open.as_ref().filter(|_| leased && !node.paused)
    }
}

impl Cluster {
    fn work_of(&self, n: usize, world: &World, choices: &mut Vec<Choice>) {
        let node = &world.nodes[n];
        if node.arriving.is_empty() {
            choices.push(Choice::Tick(n));
            if world.budget.suspicions > 0 && !node.suspects {
                choices.push(Choice::Suspect(n));
            }
        } else {
            choices.push(Choice::Arrive(n));
        }
        if world.budget.pauses > 0 {
            choices.push(Choice::Pause(n));
        }
    }
}

impl Model for Cluster {
    type State = World;
    type Action = Choice;

    fn init_states(&self) -> Vec<World> {
        vec![World::warm(self)]
    }

    fn actions(&self, world: &World, choices: &mut Vec<Choice>) {
        // What a node does by itself touches nothing of the others: its order among theirs does
        // not matter, so that one order is enough.
        if let Some(n) = world.nodes.iter().position(Node::has_work) {
            self.work_of(n, world, choices);
            return;
        }
        let mut prompt = true;
        for (n, node) in world.nodes.iter().enumerate() {
            if !node.calls.is_empty() {
                prompt &= node.paused;
                choices.push(Choice::Perform(n));
                if world.budget.losses > 0 {
                    choices.extend([Choice::LoseAnswer(n), Choice::LoseCall(n)]);
                }
            }
            if node.write.is_some() {
                choices.push(Choice::Land(n));
            }
            if node.paused {
                choices.push(Choice::Resume(n));
                continue;
            }
            if world.budget.drains > 0 {
                choices.push(Choice::Drain(n));
            }
            let may_write = world.acts(self, n).is_some() && node.write.is_none();
            if may_write && world.budget.writes > 0 {
                choices.push(Choice::Write(n));
            }
        }
        if prompt && world.budget.units > 0 {
            choices.push(Choice::Advance);
        }
    }

    fn next_state(&self, world: &World, choice: Choice) -> Option<World> {
        let mut next = world.clone();
        next.choose(choice);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one node writes in an epoch", |_, world: &World| {
                world.writers.values().all(|nodes| nodes.len() <= 1)
            }),
            Property::always("who acts is the owner", |cluster: &Self, world: &World| {
                (0..2)
                    .filter_map(|n| world.acts(cluster, n))
                    .all(|(owner, epoch)| {
                        let row = world.store.row(SHARD);
                        row.owner.as_ref() == Some(owner) && row.epoch == *epoch
                    })
            }),
            Property::sometimes("a write is refused", |_, world: &World| world.refused),
            Property::sometimes("both nodes write", |_, world: &World| {
                world
                    .writers
                    .values()
                    .flatten()
                    .collect::<BTreeSet<_>>()
                    .len()
                    == 2
            }),
        ]
    }
}

/// A pause that outlasts the lease.
fn pause() -> Budget {
    Budget {
        units: 7,
        pauses: 1,
        losses: 0,
        suspicions: 0,
        drains: 0,
        writes: 2,
    }
}

#[track_caller]
fn holds(budget: Budget) {
    let (fence, leases) = (true, true);
    let cluster = Cluster {
        fence,
        leases,
        budget,
    };
    let checker = cluster.checker().spawn_bfs().join();
    assert!(checker.is_done());
    for (name, path) in checker.discoveries() {
        let fine = ["a write is refused", "both nodes write"].contains(&name);
        assert!(fine, "{name}: {:?}", path.into_actions());
    }
    assert!(checker.unique_state_count() > 1_000);
}

#[test]
fn with_pauses_one_node_acts() {
    holds(pause());
    holds(Budget {
        units: 5,
        pauses: 2,
        writes: 1,
        ..pause()
    });
}

#[test]
fn with_lost_answers_lost_calls_and_false_suspicion_one_node_acts() {
    let (units, pauses, losses, suspicions, writes) = (5, 0, 1, 1, 1);
    holds(Budget {
        units,
        pauses,
        losses,
        suspicions,
        writes,
        drains: 0,
    });
    holds(Budget {
        units,
        pauses: 1,
        losses,
        suspicions: 0,
        writes,
        drains: 0,
    });
}

#[test]
fn with_a_drain_that_is_interrupted_one_node_acts() {
    holds(Budget {
        units: 5,
        drains: 1,
        writes: 1,
        ..pause()
    });
    holds(Budget {
        units: 5,
        drains: 1,
        pauses: 0,
        losses: 1,
        writes: 1,
        ..pause()
    });
}

/// A cluster in which a node is paused; `fence` and `leases` say whether each is looked at.
fn paused(fence: bool, leases: bool) -> Cluster {
    let budget = pause();
    Cluster {
        fence,
        leases,
        budget,
    }
}

#[test]
fn the_model_reaches_refused_writes_and_a_takeover() {
    let cluster = paused(true, true);
    let checker = cluster.checker().spawn_bfs().join();
    checker.assert_any_discovery("a write is refused");
    checker.assert_any_discovery("both nodes write");
}

#[test]
fn without_the_fence_the_checker_finds_two_nodes_that_write_in_one_epoch() {
    let cluster = paused(false, true);
    let wanted = HasDiscoveries::AnyFailures;
    let checker = cluster.checker().finish_when(wanted).spawn_bfs().join();
    checker.assert_any_discovery("one node writes in an epoch");
}

#[test]
fn without_looking_at_the_lease_the_checker_finds_one_that_acts_and_is_not_the_owner() {
    let cluster = paused(true, false);
    let wanted = HasDiscoveries::AnyFailures;
    let checker = cluster.checker().finish_when(wanted).spawn_bfs().join();
    checker.assert_any_discovery("who acts is the owner");
}
