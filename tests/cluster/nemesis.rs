//! What happens to a cluster, and what that explains (docs/adr/004 says why).
//!
//! | what | whose effects may be done twice |
//! |---|---|
//! | kill, pause, loss of the database for longer than a lease | of the node it happens to |
//! | outage of the database for longer than a lease, loss of packets | of every node |
//! | what is shorter than a lease or between nodes alone, restarts in order, strangers | nobody's |

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use crate::checker::Disturbance;
use crate::database::PORT;
use crate::fleet::Fleet;
use crate::strangers::Strangers;
use crate::system::Random;

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// kill -9, and a start some time later.
    Kill,
    /// SIGSTOP for less than a lease.
    ShortPause,
    /// SIGSTOP for longer than a lease.
    LongPause,
    /// Three nodes and two hear nothing of each other; all reach the database.
    Partition,
    /// The same, and the two do not reach the database either.
    Minority,
    /// A node does not hear another one, which hears it.
    OneWay,
    /// A node does not hear the database, which hears it.
    Unanswered,
    /// Every fifth packet is lost.
    Loss,
    /// The database stands still for less than a lease.
    ShortOutage,
    /// The database crashes and is back after more than a lease.
    LongOutage,
    /// Two nodes, one after the other, are stopped in order and started again.
    Restart,
    /// A node of another cluster and one with the wrong secret come, knock, and are killed.
    Strangers,
}

impl Act {
    /// All of them.
    pub(crate) const ALL: [Self; 12] = [
        Self::Kill,
        Self::ShortPause,
        Self::LongPause,
        Self::Partition,
        Self::Minority,
        Self::OneWay,
        Self::Unanswered,
        Self::Loss,
        Self::ShortOutage,
        Self::LongOutage,
        Self::Restart,
        Self::Strangers,
    ];
}

/// See the module.
pub(crate) struct Nemesis {
    pub(crate) random: Random,
    pub(crate) disturbances: Vec<Disturbance>,
}

impl Nemesis {
    pub(crate) fn new(random: Random) -> Self {
        Self {
            random,
            disturbances: Vec::new(),
        }
    }

    /// Does it, and puts everything right again.
    pub(crate) fn act(&mut self, act: Act, fleet: &mut Fleet) {
        let lease = fleet.shape.lease;
        let (short, long) = (lease * 2 / 5, lease * 5 / 3);
        let victim = self.victim(fleet);
        let from = Instant::now();
        let disturbed: Vec<usize> = match act {
            Act::Kill => return self.kill(victim, fleet),
            Act::ShortPause | Act::LongPause => {
                let length = if act == Act::LongPause { long } else { short };
                fleet.nodes[victim].pause();
                wait(length);
                fleet.nodes[victim].resume();
                vec![victim]
            }
            Act::Partition | Act::Minority | Act::OneWay | Act::Unanswered | Act::Loss => {
                let disturbed = self.drop_packets(act, victim, fleet);
                wait(long);
                disturbed
            }
            Act::ShortOutage => {
                fleet.database.pause();
                wait(short);
                fleet.database.resume();
                Vec::new()
            }
            Act::LongOutage => {
                fleet.database.crash();
                wait(long);
                fleet.database.run();
                (0..fleet.nodes.len()).collect()
            }
            Act::Restart => {
                let order = self.random.shuffled(fleet.nodes.len());
                restart(fleet, &order[..2]);
                Vec::new()
            }
            Act::Strangers => {
                let strangers = Strangers::start(fleet);
                strangers.knock(fleet);
                // They would have joined by then.
                wait(long);
                strangers.are_alone(fleet);
                Vec::new()
            }
        };
        for node in 0..fleet.nodes.len() {
            fleet.network.heal(node);
        }
        self.disturb(act, &disturbed, from, fleet);
    }

    /// Begins what is an act of the network's, if it is one; whose effects may be done twice.
    fn drop_packets(&mut self, act: Act, victim: usize, fleet: &Fleet) -> Vec<usize> {
        let nodes = fleet.nodes.len();
        match act {
            Act::Partition => {
                self.split(fleet, false);
                Vec::new()
            }
            Act::Minority => self.split(fleet, true),
            Act::OneWay => {
                let other = (victim + 1 + self.random.below(nodes - 1)) % nodes;
                fleet.network.deafen(victim, other);
                Vec::new()
            }
            Act::Unanswered => {
                fleet.network.deafen_to_port(victim, PORT);
                vec![victim]
            }
            Act::Loss => {
                for node in 0..nodes {
                    fleet.network.lose(node, 20);
                }
                (0..nodes).collect()
            }
            Act::Kill
            | Act::ShortPause
            | Act::LongPause
            | Act::ShortOutage
            | Act::LongOutage
            | Act::Restart
            | Act::Strangers => Vec::new(),
        }
    }

    fn kill(&mut self, victim: usize, fleet: &mut Fleet) {
        let from = Instant::now();
        fleet.nodes[victim].kill();
        self.disturb(Act::Kill, &[victim], from, fleet);
        // Others take over before it is back, or it is back before.
        let tenths = u32::try_from(self.random.below(50)).unwrap_or(0);
        wait(Duration::from_millis(200) + Duration::from_millis(100) * tenths);
        fleet.nodes[victim].start();
    }

    /// A node that has something to lose.
    fn victim(&mut self, fleet: &Fleet) -> usize {
        let shards = fleet.shards();
        let least = 512 / fleet.nodes.len() / 2;
        let order = self.random.shuffled(fleet.nodes.len());
        let busy = order.iter().find(|node| shards[**node] >= least);
        *busy.unwrap_or(&order[0])
    }

    fn disturb(&mut self, act: Act, nodes: &[usize], from: Instant, fleet: &Fleet) {
        let nodes: Vec<Ipv4Addr> = nodes
            .iter()
            .map(|node| fleet.nodes[*node].address)
            .collect();
        if !nodes.is_empty() {
            self.disturbances.push(Disturbance {
                what: format!("{act:?}"),
                nodes,
                from,
                to: Instant::now(),
            });
        }
    }

    /// Parts two nodes from the others, and from the database if that is asked for; which they are.
    fn split(&mut self, fleet: &Fleet, from_database: bool) -> Vec<usize> {
        let order = self.random.shuffled(fleet.nodes.len());
        let (few, many) = order.split_at(2);
        for one in few {
            for other in many {
                fleet.network.part(*one, *other);
            }
            if from_database {
                fleet.network.part_from_port(*one, PORT);
            }
        }
        few.to_vec()
    }
}

/// One node after the other, each once the one before works again.
pub(crate) fn restart(fleet: &mut Fleet, nodes: &[usize]) {
    for node in nodes {
        let stopped = fleet.nodes[*node].stop();
        fleet.nodes[*node].start();
        let calm = fleet.calm();
        println!("         {stopped:.1?} to stop, {calm:.1?} to be back");
    }
}

/// How long something lasts; nothing is waited for.
fn wait(length: Duration) {
    thread::sleep(length);
}
