//! The driver with its ports, gossip and all, in virtual time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use chitchat::transport::ChannelTransport;
use crane_core::{Epoch, Generation, NodeName, RunId, ShardId};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::TTL;
use super::fake_store::FakeStore;
use crate::gossip::pace::{Pace, Paced};
use crate::gossip::told::Told;
use crate::gossip::{Gossip, Options};
use crate::metrics::GossipMetrics;
use crate::ownership::Config;
use crate::ownership::driver::{Ownership, Parts, start};
use crate::ownership::messages::Message;
use crate::ownership::words::{Action, Elapsed, Event, Phase};
use crate::ports::{OwnershipStore, RunHost, Talk};
use crate::secret::Secrets;

const SHARDS: u16 = 16;

/// The runtime's clock, which follows virtual time.
fn clock() -> Elapsed {
    thread_local! {
        static START: OnceLock<Instant> = const { OnceLock::new() };
    }
    START.with(|start| Elapsed(start.get_or_init(Instant::now).elapsed()))
}

#[derive(Default)]
struct Host {
    open: Mutex<BTreeMap<ShardId, Epoch>>,
    until: Mutex<Elapsed>,
    hot: Mutex<Vec<RunId>>,
}

impl Host {
    fn acts_for(&self) -> Vec<ShardId> {
        let leased = clock() < *self.until.lock().expect("no panic");
        let open = self.open.lock().expect("no panic");
        open.keys().copied().filter(|_| leased).collect()
    }
}

impl RunHost for Host {
    fn lease_until(&self, until: Elapsed) {
        *self.until.lock().expect("no panic") = until;
    }

    fn open_shard(&self, shard: ShardId, epoch: Epoch, hot: Vec<RunId>) {
        self.open.lock().expect("no panic").insert(shard, epoch);
        self.hot.lock().expect("no panic").extend(hot);
    }

    fn stop_shard(&self, shard: ShardId, _epoch: Epoch) {
        self.open.lock().expect("no panic").remove(&shard);
    }

    fn close_shard(&self, shard: ShardId, _epoch: Epoch) -> BoxFuture<'static, Vec<RunId>> {
        self.open.lock().expect("no panic").remove(&shard);
        let hot = vec![RunId::from_time(u64::from(shard.0), [1; 10])];
        async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_ne!(shard, ShardId(3), "a host may panic");
            hot
        }
        .boxed()
    }

    fn self_test(&self) -> BoxFuture<'static, bool> {
        std::future::ready(true).boxed()
    }

    fn loads(&self) -> BTreeMap<ShardId, u32> {
        BTreeMap::new()
    }
}

struct Store {
    shared: Arc<Mutex<FakeStore>>,
    node: NodeName,
}

impl OwnershipStore for Store {
    fn carry_out(&self, call: Action) -> BoxFuture<'static, Event> {
        let mut store = self.shared.lock().expect("no panic");
        let answer = store.execute(clock(), &self.node, &call);
        let answer = answer.expect("it is a call");
        async move {
            tokio::time::sleep(Duration::from_millis(2)).await;
            answer
        }
        .boxed()
    }
}

#[derive(Clone, Default)]
struct Network(Arc<Mutex<BTreeMap<NodeName, Ownership>>>);

impl Talk for Network {
    fn tell(&self, node: &NodeName, message: &Message) -> BoxFuture<'static, ()> {
        let message = Message::decode(&message.encode()).expect("it is one");
        if let Some(ownership) = self.0.lock().expect("no panic").get(node) {
            ownership.tell(message.event());
        }
        std::future::ready(()).boxed()
    }
}

struct Node {
    host: Arc<Host>,
    ownership: Ownership,
    tasks: JoinSet<()>,
}

struct World {
    transport: ChannelTransport,
    store: Arc<Mutex<FakeStore>>,
    network: Network,
}

impl World {
    fn new() -> Self {
        Self {
            transport: ChannelTransport::with_mtu(65_507),
            store: Arc::new(Mutex::new(FakeStore::new(SHARDS, TTL))),
            network: Network::default(),
        }
    }

    async fn start(&self, number: u16) -> Node {
        let node = NodeName::new(format!("n{number}"));
        let address = |number: u16| ([127, 0, 0, 1], 20_000 + number).into();
        let options = Options {
            cluster: "test".into(),
            node: node.clone(),
            generation: Generation(1),
            listen: address(number),
            advertise: address(number),
            seeds: vec![address(0).to_string()],
            secrets: Secrets::none(&[]).expect("nobody listens"),
            told: Told::default(),
        };
        let pace = Pace::default();
        let inner = self.transport.clone();
        let transport = Box::new(Paced {
            inner,
            pace: pace.clone(),
        });
        let metrics = Arc::new(GossipMetrics::new());
        let gossip = Gossip::start_on(options, transport, pace, metrics).await;
        let (gossip, gossiping) = gossip.expect("the address is free");
        let host = Arc::new(Host::default());
        let config = Config {
            shards: SHARDS,
            ..Config::new(TTL)
        };
        let (ownership, owning) = start(Parts {
            config,
            node: node.clone(),
            host: host.clone(),
            store: Arc::new(Store {
                shared: self.store.clone(),
                node: node.clone(),
            }),
            talk: Arc::new(self.network.clone()),
            gossip,
            clock,
        });
        let mut peers = self.network.0.lock().expect("no panic");
        peers.insert(node, ownership.clone());
        drop(peers);
        let mut tasks = JoinSet::new();
        tasks.spawn(gossiping);
        tasks.spawn(owning);
        Node {
            host,
            ownership,
            tasks,
        }
    }
}

async fn until(what: &str, limit: Duration, done: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        // Virtual time: nothing waits here, the clock is moved on.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    start.elapsed()
}

fn served(nodes: &[&Node]) -> bool {
    let mut all: Vec<ShardId> = nodes.iter().flat_map(|node| node.host.acts_for()).collect();
    all.sort();
    all.len() == usize::from(SHARDS) && all.windows(2).all(|two| two[0] < two[1])
}

fn each_has_some(nodes: &[&Node]) -> bool {
    served(nodes) && nodes.iter().all(|node| node.host.acts_for().len() >= 4)
}

#[tokio::test(start_paused = true)]
async fn three_nodes_divide_the_shards_take_over_and_drain() {
    let world = World::new();
    let a = world.start(0).await;
    let b = world.start(1).await;
    let mut c = world.start(2).await;
    let limit = Duration::from_secs(60);
    until("all have some", limit, || each_has_some(&[&a, &b, &c])).await;

    c.tasks.abort_all();
    while c.tasks.join_next().await.is_some() {}
    let took = until("the others take over", limit, || served(&[&a, &b])).await;
    assert!(took <= TTL + TTL / 2, "{took:?}");

    b.ownership.tell(Event::Drain);
    let mut standing = b.ownership.standing();
    let left = standing.wait_for(|standing| standing.phase == Phase::Left);
    let left = tokio::time::timeout(limit, left).await;
    assert_eq!(left.expect("in time").expect("it goes on").owned, 0);
    assert!(served(&[&a]));
    assert!(!a.host.hot.lock().expect("no panic").is_empty());
}
