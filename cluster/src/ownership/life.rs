//! From joining to up, and back when this node finds itself ill.

use super::Machine;
use super::words::{Action, Elapsed, Phase};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    /// It looks around until then.
    settled_at: Elapsed,
    /// Whether it was up before: the others know it, it need not be looked at again.
    known: bool,
    healthy: bool,
    testing: bool,
    test_at: Elapsed,
    /// Since when the journal has failed to write.
    failing_since: Option<Elapsed>,
}

impl Machine {
    /// The store has begun a life of this node.
    pub(super) fn begin_life(&mut self) {
        self.life.settled_at = if self.life.known {
            self.now
        } else {
            self.now.after(self.config.settle)
        };
        self.view.read_at(self.now);
    }

    /// The lease is lost.
    pub(super) fn end_life(&mut self) {
        match self.phase {
            Phase::Up => self.phase = Phase::Joining,
            // What it still owned is no longer its own to hand over.
            Phase::Draining => self.phase = Phase::Left,
            Phase::Joining | Phase::Left => {}
        }
    }

    pub(super) fn self_tested(&mut self, ok: bool) {
        self.life.testing = false;
        self.life.healthy = ok;
        self.life.test_at = self.now.after(self.config.ttl / 4);
        if ok {
            self.life.failing_since = None;
        }
    }

    pub(super) fn journal_write(&mut self, ok: bool) {
        if ok {
            self.life.failing_since = None;
        } else if self.life.failing_since.is_none() {
            self.life.failing_since = Some(self.now);
        }
    }

    pub(super) fn go_on_in_life(&mut self, out: &mut Vec<Action>) {
        self.notice_illness(out);
        if self.phase != Phase::Joining || self.lease.generation.is_none() {
            return;
        }
        if !self.life.healthy {
            if !self.life.testing && self.now >= self.life.test_at {
                self.life.testing = true;
                out.push(Action::SelfTest);
            }
            return;
        }
        let settled = self.now >= self.life.settled_at
            && (self.life.known || self.peers.all_settled(self.now, self.config.settle));
        if settled && self.has_lease() && self.view.is_known() {
            self.phase = Phase::Up;
            self.life.known = true;
        }
    }

    /// A node that answers gossip and renews its lease but cannot write would keep its shards and
    /// do nothing for them: it gives them up.
    fn notice_illness(&mut self, out: &mut Vec<Action>) {
        let ill = self
            .life
            .failing_since
            .is_some_and(|since| self.now.since(since) >= self.config.ttl / 2);
        if !ill || !self.life.healthy {
            return;
        }
        self.life.healthy = false;
        self.life.test_at = self.now.after(self.config.ttl / 4);
        // Those in the table are given back by the rule for what is over.
        self.drop_all(out);
        if self.phase == Phase::Up {
            self.phase = Phase::Joining;
        }
    }
}
