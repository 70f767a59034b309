//! What keeps gossip going.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use chitchat::transport::Transport;
use chitchat::{
    Chitchat, ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, spawn_chitchat,
};
use crane_core::{Generation, NodeName};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Fuse, FusedFuture};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{debug, info, warn};

use super::members::{Company, Look, Member, Sighting, Tracker};
use super::pace::{self, Pace};
use super::told::Told;
use super::{Error, Members, Options, namesake, seeds};
use crate::metrics::GossipMetrics;
use crate::ownership::words::{Elapsed, Phase, Sight};

/// A node is found down after so many of its usual intervals without a sign of life.
const PHI: f64 = 8.0;
/// Intervals that the usual one is computed from.
const SAMPLES: usize = 200;
/// Longer silences do not count as intervals.
const LONGEST: Duration = Duration::from_secs(20);
/// How long a node that is down stays listed.
const REMEMBER: Duration = Duration::from_secs(3_600);
/// How long a removed key is remembered, and how long one with a time limit lasts.
const REMOVED: Duration = Duration::from_secs(600);
/// How often seeds are looked up while this node sees nobody.
const ALONE: Duration = Duration::from_secs(2);
/// How often otherwise: two halves of a cluster may know nothing of each other.
const TOGETHER: Duration = Duration::from_secs(60);
/// How long between two starts of chitchat.
const RESTART: Duration = Duration::from_secs(1);
/// Bits of chitchat's generation that count starts in one life of a node.
pub(super) const INCARNATION_BITS: u32 = 16;

type Ended = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

struct Running {
    chitchat: ChitchatHandle,
    ended: Ended,
    /// What it has told, by key.
    told: BTreeMap<String, String>,
    read: Read,
}

/// What outlives a driver that fails.
pub(super) struct Shared {
    pub(super) members: Arc<watch::Sender<Arc<Members>>>,
    pub(super) incarnations: Arc<AtomicU64>,
    pub(super) strangers: Arc<AtomicBool>,
}

pub(super) struct Driver {
    options: Options,
    transport: Box<dyn Transport>,
    pace: Pace,
    metrics: Arc<GossipMetrics>,
    shared: Shared,
    tracker: Tracker,
    namesakes: namesake::Watch,
    started: Instant,
    running: Option<Running>,
    next_look_up: Instant,
    /// The seeds that are being looked up. A name server that does not answer holds nothing else up.
    looking_up: Fuse<BoxFuture<'static, (BTreeSet<SocketAddr>, bool)>>,
}

impl Driver {
    pub(super) fn new(
        options: Options,
        transport: Box<dyn Transport>,
        pace: Pace,
        metrics: Arc<GossipMetrics>,
        shared: Shared,
    ) -> Self {
        Self {
            options,
            transport,
            pace,
            metrics,
            shared,
            tracker: Tracker::default(),
            namesakes: namesake::Watch::default(),
            started: Instant::now(),
            running: None,
            next_look_up: Instant::now(),
            looking_up: Fuse::terminated(),
        }
    }

    /// Starts chitchat, as a later incarnation than before.
    pub(super) async fn begin(&mut self) -> Result<(), Error> {
        let incarnation = self.shared.incarnations.fetch_add(1, Ordering::Relaxed);
        let generation = (self.options.generation.0 << INCARNATION_BITS) + incarnation;
        let node: Arc<str> = self.options.node.as_str().into();
        let config = ChitchatConfig {
            chitchat_id: ChitchatId::new(node, generation, self.options.advertise),
            cluster_id: self.options.cluster.clone(),
            gossip_interval: pace::ROUND,
            listen_addr: self.options.listen,
            // Names are looked up here, more often than chitchat would.
            seed_nodes: seeds::addresses(&self.options.seeds),
            failure_detector_config: FailureDetectorConfig::new(
                PHI,
                SAMPLES,
                LONGEST,
                pace::ROUND,
                REMEMBER,
            ),
            marked_for_deletion_grace_period: REMOVED,
            catchup_callback: None,
            extra_liveness_predicate: None,
        };
        let told = self.options.told.to_keys();
        let first = told.clone().into_iter().collect();
        let chitchat = spawn_chitchat(config, first, self.transport.as_ref())
            .await
            .map_err(|error| Error(format!("{error:#}")))?;
        let ended = Box::pin(chitchat.termination_watcher());
        let read = Read::new();
        self.running = Some(Running {
            chitchat,
            ended,
            told,
            read,
        });
        Ok(())
    }

    pub(super) async fn run(
        mut self,
        mut told: watch::Receiver<Told>,
        mut leave: watch::Receiver<bool>,
    ) {
        let mut rounds = tokio::time::interval(pace::ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = rounds.tick() => self.round().await,
                (found, all) = &mut self.looking_up => self.meet_seeds(found, all).await,
                Ok(()) = told.changed() => {
                    self.options.told = told.borrow_and_update().clone();
                    self.tell().await;
                }
                // The handle may be gone without a goodbye; gossip then ends as well.
                said = asked_to_leave(&mut leave) => {
                    if said {
                        self.say_goodbye().await;
                    }
                    break;
                }
                error = ended(&mut self.running) => {
                    warn!(%error, "gossip has stopped, and is started again");
                    self.begin_again().await;
                }
            }
        }
        if let Some(running) = self.running.take() {
            let _ = running.chitchat.shutdown().await;
        }
    }

    async fn begin_again(&mut self) {
        self.running = None;
        tokio::time::sleep(RESTART).await;
        if let Err(error) = self.begin().await {
            warn!(%error, "gossip is tried again");
        }
    }

    async fn round(&mut self) {
        if self.running.is_none() {
            self.begin_again().await;
        }
        self.look().await;
        let now = Instant::now();
        if now >= self.next_look_up && self.looking_up.is_terminated() {
            let together = self.tracker.company() == Company::Together;
            self.next_look_up = now + if together { TOGETHER } else { ALONE };
            let (seeds, own) = (self.options.seeds.clone(), self.options.advertise);
            self.looking_up = seeds::look_up(seeds, own).boxed().fuse();
        }
    }

    async fn look(&mut self) {
        let Some(running) = &mut self.running else {
            return;
        };
        let read = &mut running.read;
        let boot = &self.options.told.boot;
        let listed = running
            .chitchat
            .with_chitchat(|chitchat| (list(chitchat, read), namesake::list(chitchat, boot)));
        let (sightings, (namesakes, heard)) = listed.await;
        let before = self.tracker.company();
        let now = Elapsed(self.started.elapsed());
        let Look {
            members,
            detections,
        } = self.tracker.look(now, sightings);
        let company = self.tracker.company();
        if before != company {
            debug!(?company, members = members.len(), "company has changed");
            self.next_look_up = self.next_look_up.min(Instant::now() + ALONE);
        }
        for detection in detections {
            self.metrics.detection.record(detection);
        }
        let present = members
            .iter()
            .filter(|member| member.sight != Sight::Down)
            .count();
        self.pace.set(pace::interval(present + 1));
        let others = members.iter().filter(|member| !member.said_goodbye());
        let sights = others.map(|member| member.sight);
        self.metrics.members(sights.chain([Sight::Alive]));
        log_changes(&self.shared.members.borrow().members, &members);
        let namesakes = self.namesakes.look(now, namesakes, self.pace.get());
        let look = Arc::new(Members {
            members,
            namesakes,
            heard,
        });
        crate::tell_change(&self.shared.members, look);
    }

    async fn meet_seeds(&mut self, found: BTreeSet<SocketAddr>, all: bool) {
        if all || !found.is_empty() {
            let strangers = !found.is_empty();
            self.shared.strangers.store(strangers, Ordering::Release);
        }
        if let Some(running) = &self.running {
            for address in found {
                // Ends only with chitchat itself, which is noticed elsewhere.
                let _ = running.chitchat.gossip(address);
            }
        }
    }

    /// Tells what has changed, and no more: each change is carried to every node.
    async fn tell(&mut self) {
        let Some(running) = &mut self.running else {
            return;
        };
        let keys = self.options.told.to_keys();
        let before = std::mem::replace(&mut running.told, keys.clone());
        running
            .chitchat
            .with_chitchat(|chitchat| {
                let state = chitchat.self_node_state();
                for (key, value) in &keys {
                    if before.get(key) != Some(value) {
                        state.set(key, value);
                    }
                }
                for key in before.keys().filter(|key| !keys.contains_key(*key)) {
                    state.delete(key);
                }
            })
            .await;
    }

    async fn say_goodbye(&mut self) {
        self.options.told.phase = Phase::Left;
        self.tell().await;
        let known = self.shared.members.borrow().clone();
        // Two rounds: the first may be lost, and others pass it on.
        for _ in 0..2 {
            if let Some(running) = &self.running {
                for member in known.members.iter().filter(|m| m.sight != Sight::Down) {
                    let _ = running.chitchat.gossip(member.address);
                }
            }
            tokio::time::sleep(pace::ROUND).await;
        }
    }
}

/// Whether gossip is to end with a goodbye; `false` when nobody can say so any more.
async fn asked_to_leave(leave: &mut watch::Receiver<bool>) -> bool {
    leave.wait_for(|leave| *leave).await.is_ok()
}

/// Resolves when chitchat has ended by itself.
async fn ended(running: &mut Option<Running>) -> String {
    match running {
        Some(running) => match (&mut running.ended).await {
            Ok(()) => "it ended".to_owned(),
            Err(error) => format!("{error:#}"),
        },
        None => std::future::pending().await,
    }
}

/// What each life has told, by the version it was read at: most rounds bring nothing new.
type Read = HashMap<ChitchatId, (u64, Arc<Told>)>;

fn list(chitchat: &Chitchat, read: &mut Read) -> Vec<Sighting> {
    let me = chitchat.self_chitchat_id();
    let live: HashSet<&ChitchatId> = chitchat.live_nodes().collect();
    let states = chitchat.node_states();
    read.retain(|id, _| states.contains_key(id));
    // Of some only the name is known yet.
    let others = states
        .iter()
        .filter(|(id, state)| id.node_id != me.node_id && state.max_version() > 0);
    others
        .map(|(id, state)| {
            let version = state.max_version();
            let known = read.get(id).filter(|(at, _)| *at == version);
            let told = known.map(|(_, told)| told.clone()).unwrap_or_else(|| {
                let told = Arc::new(Told::from_keys(state.key_values()));
                read.insert(id.clone(), (version, told.clone()));
                told
            });
            Sighting {
                node: NodeName::new(id.node_id.clone()),
                generation: Generation(id.generation_id >> INCARNATION_BITS),
                address: id.gossip_advertise_addr,
                alive: live.contains(id),
                heartbeat: state.heartbeat().into(),
                told,
            }
        })
        .collect()
}

/// Logs which nodes have come, gone or fallen silent.
fn log_changes(before: &[Member], now: &[Member]) {
    for member in now {
        let was = before.iter().find(|was| was.node == member.node);
        let was_up = was.is_some_and(|was| was.sight != Sight::Down);
        let node = &member.node;
        match member.sight {
            Sight::Down if was_up && member.said_goodbye() => info!(%node, "a node has left"),
            Sight::Down if was_up => warn!(%node, "a node is down"),
            Sight::Alive if !was_up => {
                let address = &member.told.rpc;
                info!(%node, address, "a node is there");
            }
            Sight::Alive | Sight::Suspect | Sight::Down => {}
        }
    }
}
