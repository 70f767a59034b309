//! Other processes with this node's own name: its earlier lives, which are over, or a node that was
//! given the same name, which would take its place or has it.
//!
//! ```text
//!   first heard of ──> Unclear ── heartbeat moves still, 15 rounds later ──> Alive
//!                         └────── it has not moved for 10 rounds ──────────> Gone
//! ```
//! Only a process that lives moves its heartbeat. What others still say of one that was killed has come
//! around after a few rounds, so that a node which starts again is not taken for two.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use chitchat::Chitchat;
use crane_core::Generation;

use super::driver::INCARNATION_BITS;
use super::told::Told;
use crate::ownership::words::{Elapsed, Phase};

/// Rounds without a sign of life after which it is gone.
const SILENT: u32 = 10;
/// Rounds after which what is heard is no echo any more.
const ECHO: u32 = 15;

/// Another process with this node's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namesake {
    /// Which life, or which node, it is.
    pub generation: Generation,
    /// Id of the process.
    pub boot: String,
    /// Where it gossips.
    pub address: SocketAddr,
    /// Whether it has not joined and is looking around itself.
    pub looks: bool,
    /// Whether it lives.
    pub life: Life,
}

/// Whether a namesake lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It was heard of too shortly to say.
    Unclear,
    /// It does.
    Alive,
    /// It has ended, or is out of reach.
    Gone,
}

/// What gossip lists of one.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    generation: Generation,
    address: SocketAddr,
    heartbeat: u64,
    told: Told,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    first: Elapsed,
    moved: Elapsed,
    heartbeat: u64,
    life: Life,
}

/// What has been seen of them so far, by the id of the process.
#[derive(Debug, Default)]
pub(crate) struct Watch(HashMap<String, Seen>);

/// All that gossip lists under this node's name, but `boot`, which is this process; and whether any
/// other node was heard of.
pub(crate) fn list(chitchat: &Chitchat, boot: &str) -> (Vec<Listed>, bool) {
    let me = chitchat.self_chitchat_id();
    let mut listed = Vec::new();
    let mut heard = false;
    for (id, state) in chitchat.node_states() {
        // Before its first words nothing is known of it.
        if id == me || state.max_version() == 0 {
            continue;
        }
        if id.node_id != me.node_id {
            heard = true;
            continue;
        }
        let told = Told::from_keys(state.key_values());
        if told.boot != boot {
            heard = true;
            listed.push(Listed {
                generation: Generation(id.generation_id >> INCARNATION_BITS),
                address: id.gossip_advertise_addr,
                heartbeat: state.heartbeat().into(),
                told,
            });
        }
    }
    (listed, heard)
}

impl Watch {
    /// Takes in what is listed now; rounds go out each `interval`. One that has taken its leave is none.
    pub(crate) fn look(
        &mut self,
        now: Elapsed,
        listed: Vec<Listed>,
        interval: Duration,
    ) -> Vec<Namesake> {
        let is_listed = |boot: &String| listed.iter().any(|one| one.told.boot == *boot);
        self.0.retain(|boot, _| is_listed(boot));
        let present = listed
            .into_iter()
            .filter(|one| one.told.phase != Phase::Left);
        present
            .map(|one| {
                let fresh = Seen {
                    first: now,
                    moved: now,
                    heartbeat: one.heartbeat,
                    life: Life::Unclear,
                };
                let seen = self.0.entry(one.told.boot.clone()).or_insert(fresh);
                seen.hear(now, one.heartbeat, interval);
                Namesake {
                    generation: one.generation,
                    boot: one.told.boot,
                    address: one.address,
                    looks: one.told.looks,
                    life: seen.life,
                }
            })
            .collect()
    }
}

impl Seen {
    fn hear(&mut self, now: Elapsed, heartbeat: u64, interval: Duration) {
        let moves = heartbeat > self.heartbeat;
        if moves {
            self.heartbeat = heartbeat;
            self.moved = now;
        }
        if moves && now.since(self.first) >= ECHO * interval {
            self.life = Life::Alive;
        } else if now.since(self.moved) >= SILENT * interval {
            self.life = Life::Gone;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND: Duration = Duration::from_millis(200);

    fn listed(heartbeat: u64, phase: Phase) -> Vec<Listed> {
        vec![Listed {
            generation: Generation(7),
            address: ([127, 0, 0, 1], 1).into(),
            heartbeat,
            told: Told {
                boot: "other".to_owned(),
                phase,
                ..Told::default()
            },
        }]
    }

    /// What is thought after each round, whose heartbeats are these.
    fn lives(heartbeats: impl Iterator<Item = u64>) -> Vec<Life> {
        let mut watch = Watch::default();
        let looks = heartbeats.zip(0_u32..).map(|(heartbeat, round)| {
            let now = Elapsed(round * ROUND);
            let found = watch.look(now, listed(heartbeat, Phase::Up), ROUND);
            found[0].life
        });
        looks.collect()
    }

    #[test]
    fn a_process_whose_heartbeat_moves_on_lives() {
        let lives = lives((0..20).map(|round| round / 2));
        assert!(lives[..15].iter().all(|life| *life == Life::Unclear));
        assert_eq!(lives[19], Life::Alive);
    }

    #[test]
    fn what_is_still_heard_of_a_process_that_was_killed_is_no_life() {
        let lives = lives((0..40).map(|round| round.min(8)));
        assert!(!lives.contains(&Life::Alive));
        assert_eq!((lives[17], lives[18]), (Life::Unclear, Life::Gone));
    }

    #[test]
    fn one_that_is_heard_again_lives_after_all() {
        let silent_and_back = (0..30).map(|round| if round < 20 { 1 } else { round });
        let lives = lives(silent_and_back);
        assert_eq!((lives[19], lives[20]), (Life::Gone, Life::Alive));
    }

    #[test]
    fn one_that_has_taken_its_leave_is_none() {
        let mut watch = Watch::default();
        let found = watch.look(Elapsed(ROUND), listed(1, Phase::Left), ROUND);
        assert_eq!(found, []);
    }
}
