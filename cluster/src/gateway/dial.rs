//! When to dial whom: pure, so that it is tried without a network.
//!
//! Two nodes that dial each other at once would have to give up one of the connections. So the one
//! whose name sorts last dials at once, and the other one only when nothing came of it for a while
//! (the network may let connections through in one direction only).

use std::collections::BTreeMap;
use std::time::Duration;

use crane_core::{NodeName, limits};

use super::Wanted;
use crate::ownership::words::Elapsed;

/// How long the node whose name sorts first waits to be dialed.
const POLITENESS: Duration = Duration::from_secs(2);
/// How often the address of a node that is down is tried.
const PROBE: Duration = Duration::from_millis(500);

/// What is to be done about one wanted node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dial {
    pub(super) wanted: Wanted,
    /// Only to learn whether somebody listens there.
    pub(super) probe: bool,
}

#[derive(Debug)]
struct Target {
    wanted: Wanted,
    next: Elapsed,
    dialing: bool,
    tries: u32,
}

/// All nodes that are wanted, and when each is dialed next.
#[derive(Debug)]
pub(super) struct Dialer {
    me: NodeName,
    targets: BTreeMap<NodeName, Target>,
}

impl Dialer {
    pub(super) fn new(me: NodeName) -> Self {
        let targets = BTreeMap::new();
        Self { me, targets }
    }

    /// Takes in who is wanted from now on.
    pub(super) fn want(&mut self, now: Elapsed, wanted: &[Wanted]) {
        let mut targets = BTreeMap::new();
        for wanted in wanted.iter().filter(|wanted| wanted.node != self.me) {
            let before = self.targets.remove(&wanted.node);
            let same = before.filter(|target| target.wanted == *wanted);
            let target = same.unwrap_or_else(|| {
                let polite = self.me < wanted.node && !wanted.down;
                Target {
                    wanted: wanted.clone(),
                    next: if polite { now.after(POLITENESS) } else { now },
                    dialing: false,
                    tries: 0,
                }
            });
            targets.insert(wanted.node.clone(), target);
        }
        self.targets = targets;
    }

    /// The nodes to dial now; each is under way until [`Dialer::dialed`].
    pub(super) fn due(
        &mut self,
        now: Elapsed,
        connected: impl Fn(&NodeName, &str) -> bool,
    ) -> Vec<Dial> {
        let mut due = Vec::new();
        for target in self.targets.values_mut() {
            let wanted = &target.wanted;
            let probe = wanted.down;
            let idle = target.dialing || now < target.next || wanted.address.is_empty();
            let done = match probe {
                true => target.tries >= limits::PROBES,
                false => connected(&wanted.node, &wanted.boot),
            };
            if !idle && !done {
                target.dialing = true;
                let wanted = wanted.clone();
                due.push(Dial { wanted, probe });
            }
        }
        due
    }

    /// A dial has ended, with a connection or without: if no session comes of it, there will be
    /// another. `spread` is any number; it keeps nodes from dialing in step.
    pub(super) fn dialed(&mut self, now: Elapsed, wanted: &Wanted, spread: u64) {
        let Some(target) = self.targets.get_mut(&wanted.node) else {
            return;
        };
        if target.wanted != *wanted {
            return;
        }
        target.dialing = false;
        target.tries = target.tries.saturating_add(1);
        target.next = now.after(match wanted.down {
            true => PROBE,
            false => wait(target.tries, spread),
        });
    }

    /// How often the node was dialed without a session coming of it.
    pub(super) fn tries(&self, node: &NodeName) -> u32 {
        self.targets.get(node).map_or(0, |target| target.tries)
    }

    /// The address of a node that is down refused: there is nothing more to learn.
    pub(super) fn learned(&mut self, node: &NodeName) {
        if let Some(target) = self.targets.get_mut(node) {
            target.tries = limits::PROBES;
        }
    }

    /// A session with the node is ready: the next dial, if it is lost, comes soon.
    pub(super) fn met(&mut self, now: Elapsed, node: &NodeName) {
        if let Some(target) = self.targets.get_mut(node) {
            target.tries = 0;
            target.next = now.after(limits::DIAL_PAUSE);
        }
    }

    /// Whether this life of the node is wanted, and not down.
    pub(super) fn wants(&self, node: &NodeName, boot: &str) -> bool {
        let target = self.targets.get(node);
        target.is_some_and(|target| target.wanted.boot == boot && !target.wanted.down)
    }

    /// Whether gossip has said anything about this life of the node.
    pub(super) fn knows(&self, node: &NodeName, boot: &str) -> bool {
        let target = self.targets.get(node);
        target.is_some_and(|target| target.wanted.boot == boot)
    }
}

/// Between half of the back-off and all of it.
fn wait(tries: u32, spread: u64) -> Duration {
    let doubled = limits::DIAL_PAUSE.saturating_mul(1 << tries.saturating_sub(1).min(10));
    let full = doubled.min(limits::DIAL_PAUSE_MAX);
    let half = u64::try_from(full.as_millis() / 2).unwrap_or(0);
    Duration::from_millis(half + spread % (half + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Elapsed {
        Elapsed(Duration::from_millis(millis))
    }

    fn wanted(node: &str, down: bool) -> Wanted {
        Wanted {
            node: NodeName::new(node),
            boot: "1".into(),
            address: format!("{node}:1"),
            down,
        }
    }

    fn due(dialer: &mut Dialer, now: u64) -> usize {
        dialer.due(at(now), |_, _| false).len()
    }

    #[test]
    fn the_node_that_sorts_last_dials_and_the_other_waits_to_be_dialed() {
        let mut last = Dialer::new(NodeName::new("b"));
        last.want(at(0), &[wanted("a", false), wanted("b", false)]);
        assert_eq!(due(&mut last, 0), 1);
        let mut first = Dialer::new(NodeName::new("a"));
        first.want(at(0), &[wanted("b", false)]);
        assert_eq!(due(&mut first, 1_999), 0);
        assert_eq!(due(&mut first, 2_000), 1);
    }

    #[test]
    fn a_node_is_dialed_once_at_a_time_and_later_and_later() {
        let mut dialer = Dialer::new(NodeName::new("b"));
        dialer.want(at(0), &[wanted("a", false)]);
        assert_eq!(due(&mut dialer, 0), 1);
        assert_eq!(due(&mut dialer, 60_000), 0);
        let mut now = 60_000;
        for wait in [200, 400, 800, 1_600, 3_200, 5_000, 5_000] {
            // The spread that makes the wait the longest.
            dialer.dialed(at(now), &wanted("a", false), wait / 2);
            assert_eq!(due(&mut dialer, now + wait / 2 - 1), 0);
            assert_eq!(due(&mut dialer, now + wait), 1);
            now += wait;
        }
    }

    #[test]
    fn a_node_that_is_connected_is_not_dialed() {
        let mut dialer = Dialer::new(NodeName::new("b"));
        dialer.want(at(0), &[wanted("a", false)]);
        assert_eq!(dialer.due(at(0), |_, boot| boot == "1"), []);
    }

    #[test]
    fn one_that_is_down_is_probed_until_it_refuses_or_for_a_while() {
        let mut dialer = Dialer::new(NodeName::new("a"));
        dialer.want(at(0), &[wanted("b", true)]);
        assert!(!dialer.wants(&NodeName::new("b"), "1"));
        let mut probes = 0;
        for round in 0..100 {
            let now = 500 * round;
            for dial in dialer.due(at(now), |_, _| false) {
                assert!(dial.probe);
                probes += 1;
                dialer.dialed(at(now), &dial.wanted, 0);
            }
        }
        assert_eq!(probes, limits::PROBES);
        dialer.want(at(0), &[]);
        dialer.want(at(0), &[wanted("b", true)]);
        assert_eq!(due(&mut dialer, 0), 1);
        dialer.dialed(at(0), &wanted("b", true), 0);
        dialer.learned(&NodeName::new("b"));
        assert_eq!(due(&mut dialer, 60_000), 0);
    }
}
