//! Who is there: what the failure detector sees, with the rules that make it usable.
//!
//! * A node is its name; of several lives that are listed, the latest counts. One that looks around
//!   does not: it may have the name of another node, and end for that.
//! * A node that was down and comes back in the same life is under suspicion for a while: a link
//!   that flaps must not make shards flap.
//! * A node that loses sight of all others at once is lonely: it is probably itself that is cut off.
//!   Those that come back then are not under suspicion.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crane_core::{Generation, NodeName};

use super::told::Told;
use crate::ownership::words::{Elapsed, Peer, Phase, Sight};

/// How long a node that came back is under suspicion.
const SUSPICION: Duration = Duration::from_secs(5);

/// Another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub node: NodeName,
    /// Which life of it.
    pub generation: Generation,
    /// Where it gossips.
    pub address: SocketAddr,
    /// How it looks.
    pub sight: Sight,
    /// What it says of itself.
    pub told: Arc<Told>,
}

impl Member {
    /// The member as the ownership machine knows it.
    pub fn peer(&self) -> Peer {
        Peer {
            node: self.node.clone(),
            generation: self.told.lease,
            sight: self.sight,
            phase: self.told.phase,
        }
    }

    /// Whether it has taken its leave.
    pub fn said_goodbye(&self) -> bool {
        self.told.phase == Phase::Left
    }
}

/// Whether a node has company.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Company {
    /// It has never seen another node.
    #[default]
    Alone,
    /// It sees others.
    Together,
    /// It has lost sight of all others at once.
    Lonely,
}

/// One life of a node, as gossip lists it at the moment.
#[derive(Clone, Debug)]
pub(crate) struct Sighting {
    pub(crate) node: NodeName,
    pub(crate) generation: Generation,
    pub(crate) address: SocketAddr,
    /// Whether the failure detector finds it alive.
    pub(crate) alive: bool,
    /// A number that grows while it is heard of.
    pub(crate) heartbeat: u64,
    pub(crate) told: Arc<Told>,
}

#[derive(Clone, Debug)]
struct Known {
    generation: Generation,
    sight: Sight,
    heartbeat: u64,
    heard_at: Elapsed,
    suspect_until: Elapsed,
    /// Whether this life was ever seen alive: what was not there before cannot come back.
    was_alive: bool,
}

/// What has been seen so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tracker {
    known: BTreeMap<NodeName, Known>,
    company: Company,
}

/// What a look at gossip gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// By name.
    pub(crate) members: Vec<Member>,
    /// For each that was just found down: how long after the last sign of life.
    pub(crate) detections: Vec<Duration>,
}

impl Tracker {
    pub(crate) fn company(&self) -> Company {
        self.company
    }

    /// Takes in all lives that gossip lists, this node's not among them.
    pub(crate) fn look(&mut self, now: Elapsed, sightings: Vec<Sighting>) -> Look {
        let mut latest: BTreeMap<NodeName, Sighting> = BTreeMap::new();
        for sighting in sightings.into_iter().filter(|one| !one.told.looks) {
            let listed = latest.get(&sighting.node);
            if listed.is_none_or(|listed| listed.generation < sighting.generation) {
                latest.insert(sighting.node.clone(), sighting);
            }
        }
        let mut look = Look::default();
        self.known.retain(|node, _| latest.contains_key(node));
        for (node, sighting) in latest {
            if let Some(sight) = self.see(now, &sighting, &mut look.detections) {
                look.members.push(Member {
                    node,
                    generation: sighting.generation,
                    address: sighting.address,
                    sight,
                    told: sighting.told,
                });
            }
        }
        self.reconsider_company(&look.members);
        look
    }

    /// How the node looks now; `None` before it was ever heard of twice.
    fn see(
        &mut self,
        now: Elapsed,
        sighting: &Sighting,
        detections: &mut Vec<Duration>,
    ) -> Option<Sight> {
        let alive = sighting.alive && sighting.told.phase != Phase::Left;
        let known = match self.known.get_mut(&sighting.node) {
            Some(known) if known.generation == sighting.generation => known,
            before => {
                if !alive && before.is_none() {
                    return None;
                }
                let known = Known {
                    generation: sighting.generation,
                    sight: if alive { Sight::Alive } else { Sight::Down },
                    heartbeat: sighting.heartbeat,
                    heard_at: now,
                    suspect_until: now,
                    was_alive: alive,
                };
                let sight = known.sight;
                self.known.insert(sighting.node.clone(), known);
                return Some(sight);
            }
        };
        if known.heartbeat != sighting.heartbeat {
            known.heartbeat = sighting.heartbeat;
            known.heard_at = now;
        }
        let was_down = known.sight == Sight::Down;
        if alive && was_down && known.was_alive && self.company != Company::Lonely {
            known.suspect_until = now.after(SUSPICION);
        }
        known.was_alive |= alive;
        if !alive && !was_down && sighting.told.phase != Phase::Left {
            detections.push(now.since(known.heard_at));
        }
        known.sight = match alive {
            false => Sight::Down,
            true if now < known.suspect_until => Sight::Suspect,
            true => Sight::Alive,
        };
        Some(known.sight)
    }

    fn reconsider_company(&mut self, members: &[Member]) {
        let sees = members.iter().any(|member| member.sight != Sight::Down);
        let left = members.iter().all(Member::said_goodbye);
        self.company = match self.company {
            _ if sees => Company::Together,
            Company::Together if !left => Company::Lonely,
            Company::Together => Company::Alone,
            company => company,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Elapsed {
        Elapsed(Duration::from_secs(seconds))
    }

    fn sighting(node: &str, generation: u64, alive: bool, heartbeat: u64) -> Sighting {
        Sighting {
            node: NodeName::new(node),
            generation: Generation(generation),
            address: ([127, 0, 0, 1], 1).into(),
            alive,
            heartbeat,
            told: Arc::default(),
        }
    }

    fn sights(look: &Look) -> Vec<(&str, Sight)> {
        let members = look.members.iter();
        members
            .map(|member| (member.node.as_str(), member.sight))
            .collect()
    }

    #[test]
    fn of_several_lives_the_latest_counts() {
        let mut tracker = Tracker::default();
        let lives = vec![
            sighting("a", 2, true, 1),
            sighting("a", 3, true, 1),
            sighting("a", 1, true, 1),
        ];
        let look = tracker.look(at(0), lives);
        assert_eq!(look.members.len(), 1);
        assert_eq!(look.members[0].generation, Generation(3));
    }

    #[test]
    fn one_that_looks_around_takes_nobodys_place() {
        let mut tracker = Tracker::default();
        let mut looks = sighting("a", 2, true, 1);
        Arc::make_mut(&mut looks.told).looks = true;
        let lives = vec![sighting("a", 1, true, 1), looks.clone()];
        let look = tracker.look(at(0), lives);
        assert_eq!(look.members[0].generation, Generation(1));
        assert_eq!(tracker.look(at(1), vec![looks]).members, []);
    }

    #[test]
    fn one_that_was_never_alive_is_not_listed() {
        let mut tracker = Tracker::default();
        let look = tracker.look(at(0), vec![sighting("a", 1, false, 1)]);
        assert_eq!(look.members, []);
        assert_eq!(tracker.company(), Company::Alone);
    }

    #[test]
    fn one_that_comes_back_is_under_suspicion_and_a_new_life_is_not() {
        let mut tracker = Tracker::default();
        let b = || sighting("b", 1, true, 1);
        tracker.look(at(0), vec![sighting("a", 1, true, 1), b()]);
        let look = tracker.look(at(3), vec![sighting("a", 1, false, 1), b()]);
        assert_eq!(sights(&look), [("a", Sight::Down), ("b", Sight::Alive)]);
        assert_eq!(look.detections, [Duration::from_secs(3)]);
        let back = || vec![sighting("a", 1, true, 2), b()];
        let look = tracker.look(at(4), back());
        assert_eq!(sights(&look)[0], ("a", Sight::Suspect));
        assert_eq!(sights(&tracker.look(at(8), back()))[0].1, Sight::Suspect);
        assert_eq!(sights(&tracker.look(at(9), back()))[0].1, Sight::Alive);
        tracker.look(at(10), vec![sighting("a", 1, false, 2), b()]);
        // A life that is listed before it is heard of was never lost.
        let look = tracker.look(at(11), vec![sighting("a", 2, false, 1), b()]);
        assert_eq!(sights(&look)[0], ("a", Sight::Down));
        let look = tracker.look(at(12), vec![sighting("a", 2, true, 2), b()]);
        assert_eq!(sights(&look)[0], ("a", Sight::Alive));
        let look = tracker.look(at(13), vec![sighting("a", 3, true, 1), b()]);
        assert_eq!(sights(&look)[0], ("a", Sight::Alive));
    }

    #[test]
    fn a_node_that_loses_all_others_is_lonely_and_does_not_suspect_them_for_it() {
        let mut tracker = Tracker::default();
        let all = |alive| vec![sighting("a", 1, alive, 1), sighting("b", 1, alive, 1)];
        tracker.look(at(0), all(true));
        assert_eq!(tracker.company(), Company::Together);
        tracker.look(at(2), all(false));
        assert_eq!(tracker.company(), Company::Lonely);
        let look = tracker.look(at(3), all(true));
        assert_eq!(sights(&look), [("a", Sight::Alive), ("b", Sight::Alive)]);
        assert_eq!(tracker.company(), Company::Together);
    }

    #[test]
    fn one_that_said_goodbye_is_down_at_once_and_was_not_detected() {
        let mut tracker = Tracker::default();
        tracker.look(at(0), vec![sighting("a", 1, true, 1)]);
        let mut leaving = sighting("a", 1, true, 2);
        Arc::make_mut(&mut leaving.told).phase = Phase::Left;
        let look = tracker.look(at(1), vec![leaving]);
        assert_eq!(sights(&look), [("a", Sight::Down)]);
        assert_eq!(look.detections, []);
        assert!(look.members[0].said_goodbye());
        assert_eq!(tracker.company(), Company::Alone);
    }
}
