//! What the node says of itself through gossip: load, breakers, whether it reaches its store. And
//! what it makes of the breakers of others: a tool that is cut off there is on trial here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crane_actors::Runtime;
use crane_actors::clock::Clock;
use crane_cluster::gossip::Members;
use crane_cluster::gossip::told::{Load, PeerBreaker};
use crane_cluster::ownership::words::Sight;
use crane_core::{NodeName, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, MissedTickBehavior};

use crate::cluster::Cluster;

/// How often.
const EVERY: Duration = Duration::from_secs(1);

/// See the module. Goes on for ever.
pub(super) async fn tell(runtime: Runtime, cluster: Cluster, clock: Clock) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut members = cluster.members();
    let mut advice = Advice::default();
    let mut cpu = Cpu::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let load = Load { cpu: cpu.percent(), ..load(&runtime) };
                let breakers = breakers(&runtime);
                let store_ok = reaches_store(&runtime);
                cluster.gossip().tell(|told| {
                    told.load = load;
                    told.breakers = breakers;
                    told.store_ok = store_ok;
                });
            }
            Ok(()) = members.changed() => {
                let known: Arc<Members> = members.borrow_and_update().clone();
                for (tool, until) in advice.of(&known, clock.now()) {
                    runtime.advise_breaker(&tool, until);
                }
            }
        }
    }
}

fn load(runtime: &Runtime) -> Load {
    let shards = runtime.supervision().shards;
    let count = |runs: usize| u32::try_from(runs).unwrap_or(u32::MAX);
    Load {
        runs: count(shards.iter().map(|shard| shard.runs).sum()),
        queued: count(shards.iter().map(|shard| shard.waiting).sum()),
        cpu: 0,
    }
}

fn breakers(runtime: &Runtime) -> BTreeMap<String, PeerBreaker> {
    let open = runtime.breakers_open().into_iter();
    let told = open.filter_map(|(tool, breaker)| {
        let until = breaker.open_until?.0 / 1_000;
        Some((tool, PeerBreaker { until }))
    });
    told.collect()
}

/// A full disk is no reason to think the store lost.
fn reaches_store(runtime: &Runtime) -> bool {
    !matches!(
        runtime.refusing(),
        Some(crane_store::Error::Unavailable(_) | crane_store::Error::Fatal(_))
    )
}

/// What was advised already: advice is given once for each time that a breaker opens.
#[derive(Debug, Default)]
struct Advice(BTreeMap<(NodeName, String), i64>);

impl Advice {
    /// The breakers of others that have opened since: tool, and until when.
    fn of(&mut self, members: &Members, now: Timestamp) -> Vec<(String, Timestamp)> {
        let mut known = BTreeMap::new();
        let mut news = Vec::new();
        let others = members.members.iter().filter(|m| m.sight != Sight::Down);
        for member in others {
            for (tool, breaker) in &member.told.breakers {
                let until = Timestamp(breaker.until.saturating_mul(1_000));
                if until <= now {
                    continue;
                }
                let key = (member.node.clone(), tool.clone());
                if self.0.get(&key) != Some(&breaker.until) {
                    news.push((tool.clone(), until));
                }
                known.insert(key, breaker.until);
            }
        }
        self.0 = known;
        news
    }
}

/// Time of all processors that the process has used.
struct Cpu {
    at: Instant,
    used: Duration,
    cores: u32,
}

impl Cpu {
    fn new() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self {
            at: Instant::now(),
            used: used(),
            cores: u32::try_from(cores).unwrap_or(1),
        }
    }

    /// Of all processors, since it was asked last.
    fn percent(&mut self) -> u32 {
        let (at, used) = (Instant::now(), used());
        let possible = (at - self.at).as_millis() * u128::from(self.cores);
        let percent = (used.saturating_sub(self.used).as_millis() * 100)
            .checked_div(possible)
            .unwrap_or(0);
        (self.at, self.used) = (at, used);
        u32::try_from(percent).unwrap_or(100).min(100)
    }
}

fn used() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use crane_cluster::gossip::members::Member;
    use crane_cluster::gossip::told::Told;
    use crane_core::Generation;

    use super::*;

    fn member(node: &str, sight: Sight, until: i64) -> Member {
        let breaker = PeerBreaker { until };
        Member {
            node: NodeName::new(node),
            generation: Generation(1),
            address: ([127, 0, 0, 1], 1).into(),
            sight,
            told: Arc::new(Told {
                breakers: [("http".to_owned(), breaker)].into(),
                ..Told::default()
            }),
        }
    }

    #[test]
    fn a_breaker_of_a_peer_is_advice_once_for_each_time_that_it_opens() {
        let mut advice = Advice::default();
        let members = |until| Members {
            members: vec![
                member("a", Sight::Alive, until),
                member("b", Sight::Down, until),
            ],
            ..Members::default()
        };
        let now = Timestamp(5_000_000);
        let expected = [("http".to_owned(), Timestamp(9_000_000))];
        assert_eq!(advice.of(&members(9_000), now), expected);
        assert_eq!(advice.of(&members(9_000), now), []);
        assert_eq!(advice.of(&members(4_000), now), []);
        assert_eq!(advice.of(&members(9_000), now), expected);
    }
}
