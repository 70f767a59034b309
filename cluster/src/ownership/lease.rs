//! The lease of this node: asked for, prolonged each quarter of its time, and given up in time.
//!
//! ```text
//!   sent ──── TTL/4 ──── next renewal ──── 0.9 TTL ──── no step starts ──── TTL ──── all is dropped
//! ```
//! Only the store's clock decides when a lease is over. The node counts from before it asked, on
//! its own clock, and stops a tenth earlier: clocks that differ in rate by less than that are safe.

use std::time::Duration;

use crane_core::Generation;

use super::words::{Action, Call, Elapsed};
use super::{Config, Machine, Phase};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Lease {
    pub(super) generation: Option<Generation>,
    /// When the last request that was granted had left.
    granted: Elapsed,
    /// Steps may start until then.
    pub(super) until: Elapsed,
    next: Elapsed,
    /// Earlier lives of this very process, which are certainly gone.
    pub(super) earlier: Vec<Generation>,
    /// Until then nothing is taken from others: whoever was without the store itself cannot know
    /// who else was.
    pub(super) patient_until: Elapsed,
    /// Whether the store failed to begin this node's life.
    starved: bool,
}

impl Lease {
    pub(super) fn failed(&mut self, now: Elapsed, config: &Config) {
        self.next = now.after(config.ttl / 8);
        self.starved |= self.generation.is_none();
    }

    fn grant(&mut self, sent: Elapsed, ttl: Duration) {
        self.granted = self.granted.max(sent);
        self.until = self.granted.after(ttl * 9 / 10);
        self.next = sent.after(ttl / 4);
    }
}

impl Machine {
    /// Whether this node may act by its lease.
    pub(super) fn has_lease(&self) -> bool {
        self.lease.generation.is_some() && self.now < self.lease.until
    }

    pub(super) fn keep_lease(&mut self, out: &mut Vec<Action>) {
        if let Some(by) = self.lease.generation {
            if self.now.since(self.lease.granted) >= self.config.ttl {
                self.lapse(out);
            } else if self.now >= self.lease.next {
                let sent = self.now;
                self.call(Call::Renew, Action::Renew { by, sent }, out);
            }
        }
        if self.lease.generation.is_none()
            && self.phase != Phase::Draining
            && self.now >= self.lease.next
        {
            let sent = self.now;
            self.call(Call::Register, Action::Register { sent }, out);
        }
    }

    pub(super) fn registered(
        &mut self,
        generation: Generation,
        sent: Elapsed,
        out: &mut Vec<Action>,
    ) {
        self.busy.remove(&Call::Register);
        self.lease.generation = Some(generation);
        self.lease.granted = sent;
        self.lease.grant(sent, self.config.ttl);
        if std::mem::take(&mut self.lease.starved) || !self.lease.earlier.is_empty() {
            self.lease.patient_until = self.now.after(self.config.ttl);
        }
        out.push(Action::LeaseUntil(self.lease.until));
        self.begin_life();
    }

    pub(super) fn renewed(&mut self, by: Generation, sent: Elapsed, out: &mut Vec<Action>) {
        self.busy.remove(&Call::Renew);
        if self.lease.generation == Some(by) {
            self.lease.grant(sent, self.config.ttl);
            out.push(Action::LeaseUntil(self.lease.until));
        }
    }

    pub(super) fn lease_lost(&mut self, by: Generation, out: &mut Vec<Action>) {
        self.busy.remove(&Call::Renew);
        if self.lease.generation == Some(by) {
            self.lapse(out);
        }
    }

    /// This life is over: others may act for the shards of it.
    fn lapse(&mut self, out: &mut Vec<Action>) {
        self.drop_all(out);
        self.lease.earlier.extend(self.lease.generation.take());
        self.lease.until = self.now.min(self.lease.until);
        self.lease.next = self.now;
        self.view.read_at(self.now);
        self.end_life();
    }
}
