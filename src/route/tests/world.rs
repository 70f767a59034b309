//! Some nodes without sockets and actors: a table of owners, a store in common, and calls that go wrong
//! as told. Each node answers the others with its real dispatcher, through real bytes.

mod field;
mod node;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crane_core::{Epoch, NodeName, RunId, RunStatus, ShardId};
use tokio::sync::watch;

use crate::route::far::Far;
use crate::route::field::Field as _;
use crate::route::home::Home;
use crate::route::shared::Shared;
use crate::route::{Dispatcher, Router};
use field::FakeField;
use node::FakeNode;

/// What happens to the next call to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// None: all is well.
    Fine,
    /// It is carried out, and its reply is lost at once.
    ReplyLost,
    /// It is carried out, and nothing is heard of it.
    Silence,
    /// The node answers that it is busy.
    Busy,
    /// The node dies before it carries it out.
    Dies,
}

/// A run in the store.
#[derive(Clone, Debug)]
pub(crate) struct FakeRun {
    pub(crate) events: u64,
    pub(crate) status: RunStatus,
    body: String,
}

#[derive(Debug, Default)]
struct State {
    owners: HashMap<ShardId, (Option<NodeName>, Epoch)>,
    /// By store: the common one, or that of a node.
    runs: BTreeMap<(Option<NodeName>, RunId), FakeRun>,
    /// What was created, a line each.
    created: Vec<(NodeName, RunId)>,
    faults: HashMap<NodeName, Vec<Fault>>,
    /// Nodes that cannot be called.
    down: Vec<NodeName>,
    draining: Vec<NodeName>,
    /// Who has not heard of whom yet.
    hidden: Vec<(NodeName, NodeName)>,
    dispatchers: HashMap<NodeName, Dispatcher>,
    /// Of real nodes.
    fields: Vec<Arc<FakeField>>,
    /// Calls by the node that was called.
    calls: HashMap<NodeName, usize>,
    /// Where the next delay of a call comes from; none when it is zero.
    seed: u64,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct World(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
    has_common_store: bool,
}

pub(crate) fn name(text: &str) -> NodeName {
    NodeName::new(text)
}

impl World {
    pub(crate) fn new(has_common_store: bool) -> Self {
        Self(Arc::new(Inner {
            state: Mutex::default(),
            changes: watch::Sender::new(0),
            has_common_store,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.0.changes.send_modify(|changes| *changes += 1);
    }

    /// A node with a store in common with others.
    pub(in crate::route) fn shared(&self, node: &str) -> Far {
        let me = name(node);
        let field = Arc::new(FakeField::new(self, &me));
        let here = Arc::new(FakeNode::new(self, &me));
        let shared = Shared::new(field, here, Duration::from_secs(60));
        self.add(me, Far::Shared(Arc::new(shared)))
    }

    /// A node with its own store, and its data in a directory.
    pub(in crate::route) fn home(&self, node: &str, data: Option<&std::path::Path>) -> Far {
        let me = name(node);
        let field = Arc::new(FakeField::new(self, &me));
        let here = Arc::new(FakeNode::new(self, &me));
        let home = Home::open(field, here, data, Duration::from_secs(60)).unwrap();
        self.add(me, Far::Home(Arc::new(home)))
    }

    fn add(&self, node: NodeName, far: Far) -> Far {
        let dispatcher = Dispatcher::of(far.clone());
        self.change(|state| drop(state.dispatchers.insert(node, dispatcher)));
        far
    }

    /// Gives a run's shard to somebody else, in a new epoch.
    pub(crate) fn give(&self, run: RunId, owner: Option<&str>) {
        self.give_shard(run.shard(), owner);
    }

    pub(crate) fn give_shard(&self, shard: ShardId, owner: Option<&str>) {
        self.change(|state| {
            let (now, epoch) = state.owners.entry(shard).or_default();
            *now = owner.map(name);
            *epoch = epoch.next();
        });
    }

    pub(crate) fn give_all(&self, owner: &str) {
        for shard in 0..crane_core::ids::SHARD_COUNT {
            self.give_shard(ShardId(shard), Some(owner));
        }
    }

    pub(crate) fn fault(&self, node: &str, fault: Fault) {
        self.change(|state| state.faults.entry(name(node)).or_default().push(fault));
    }

    pub(crate) fn down(&self, node: &str) {
        self.change(|state| state.down.push(name(node)));
    }

    pub(crate) fn up(&self, node: &str) {
        self.change(|state| state.down.retain(|down| down.as_str() != node));
    }

    pub(crate) fn drains(&self, node: &str) {
        self.change(|state| state.draining.push(name(node)));
    }

    /// `from` does not hear of `node` by itself.
    pub(crate) fn hides(&self, from: &str, node: &str) {
        self.change(|state| state.hidden.push((name(from), name(node))));
    }

    /// Now everybody has heard of `node`.
    pub(crate) fn reveals(&self, node: &str) {
        self.change(|state| state.hidden.retain(|(_, hidden)| hidden.as_str() != node));
    }

    /// From now on calls, and taking runs in, take their time, each another.
    pub(crate) fn delays(&self, seed: u64) {
        self.change(|state| state.seed = seed | 1);
    }

    /// A part of a call.
    async fn delay(&self) {
        let millis = {
            let mut state = self.state();
            // Steele, Vigna: LXM's multiplier; any would do.
            state.seed = state.seed.wrapping_mul(0xd134_2543_de82_ef95);
            state.seed >> 59
        };
        if millis > 0 {
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
    }

    /// A node with a store in common with others, and a real runtime on it.
    pub(crate) fn real(&self, node: &str, runtime: &crane_actors::Runtime) -> Router {
        let field = Arc::new(FakeField::new(self, &name(node)));
        self.change(|state| state.fields.push(field.clone()));
        let router = Router::shared(runtime.clone(), field, Duration::from_secs(60));
        if let Some(far) = &router.far {
            self.add(name(node), far.clone());
        }
        router
    }

    /// A node with its own store, and a real runtime on it.
    pub(crate) fn real_home(&self, node: &str, runtime: &crane_actors::Runtime) -> Router {
        let field = Arc::new(FakeField::new(self, &name(node)));
        let router = Router::home(runtime.clone(), field, None, Duration::from_secs(60)).unwrap();
        if let Some(far) = &router.far {
            self.add(name(node), far.clone());
        }
        router
    }

    /// Every real node has read the table by now.
    pub(crate) fn settles(&self) {
        let fields = self.state().fields.clone();
        for field in fields {
            field.refresh();
        }
    }

    /// How often a node was called.
    pub(crate) fn calls(&self, node: &str) -> usize {
        self.state().calls.get(node).copied().unwrap_or(0)
    }

    pub(crate) fn created(&self) -> Vec<(NodeName, RunId)> {
        self.state().created.clone()
    }

    /// Adds events to a run, and maybe ends it.
    pub(crate) fn happens(&self, run: RunId, events: u64, status: RunStatus) {
        self.change(|state| {
            let mut runs = state.runs.iter_mut().filter(|((_, id), _)| *id == run);
            let (_, run) = runs.next().expect("there is such a run");
            run.events += events;
            run.status = status;
        });
    }

    /// Puts a run into the store.
    pub(crate) fn store(&self, node: &str, run: RunId) {
        let at = self.store_of(&name(node));
        let fake = FakeRun {
            events: 1,
            status: RunStatus::Running,
            body: String::new(),
        };
        self.change(|state| drop(state.runs.insert((at, run), fake)));
    }

    fn store_of(&self, node: &NodeName) -> Option<NodeName> {
        (!self.0.has_common_store).then(|| node.clone())
    }
}
