//! Some nodes without sockets and actors: a table of owners, a store in common, and calls that go wrong
//! as told. Each node answers the others with its real dispatcher, through real bytes.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use crane_cluster::Owner;
use crane_cluster::gateway::envelope::{Reply, Request};
use crane_cluster::gateway::{CallError, Dispatch as _};
use crane_core::{Epoch, Generation, NodeName, RunId, RunStatus, Seq, ShardId, Timestamp};
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::api::{ApiError, ErrorType};
use crate::route::far::Far;
use crate::route::field::{Answers, Field, Neighbor, Place};
use crate::route::home::Home;
use crate::route::shared::Shared;
use crate::route::words::{After, Answer, Ask, Events, ListAsk, Listed, NewRun, Told, Trouble};
use crate::route::{Dispatcher, Router};

/// What happens to the next call to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
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

/// What one node knows of the table; it is told what it is, or learns it.
#[derive(Debug)]
pub(crate) struct FakeField {
    world: World,
    me: NodeName,
    known: Mutex<HashMap<ShardId, (Option<NodeName>, Epoch)>>,
}

impl FakeField {
    fn new(world: &World, me: &NodeName) -> Self {
        Self {
            world: world.clone(),
            me: me.clone(),
            known: Mutex::default(),
        }
    }

    /// Each reading is remembered, so that a node believes what it has read until it learns better.
    fn row(&self, shard: ShardId) -> (Option<NodeName>, Epoch) {
        let truth = || {
            let state = self.world.state();
            state.owners.get(&shard).cloned().unwrap_or_default()
        };
        let mut known = self.known.lock().unwrap();
        known.entry(shard).or_insert_with(truth).clone()
    }
}

impl Field for FakeField {
    fn me(&self) -> &NodeName {
        &self.me
    }

    fn place(&self, shard: ShardId) -> Place {
        let (owner, epoch) = self.row(shard);
        match owner {
            None => Place::Nobody,
            Some(node) if node == self.me => Place::Here(epoch),
            Some(node) => Place::There { node, epoch },
        }
    }

    fn owner(&self, shard: ShardId) -> (Option<Owner>, Epoch) {
        let (owner, epoch) = self.row(shard);
        let owner = owner.map(|node| Owner {
            node,
            generation: Generation(1),
        });
        (owner, epoch)
    }

    fn learn(&self, shard: ShardId, owner: Option<Owner>, epoch: Epoch) {
        let mut known = self.known.lock().unwrap();
        let row = known.entry(shard).or_default();
        if epoch > row.1 {
            *row = (owner.map(|owner| owner.node), epoch);
        }
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.world.0.changes.subscribe()
    }

    fn refresh(&self) {
        let mut known = self.known.lock().unwrap();
        let state = self.world.state();
        for (shard, row) in known.iter_mut() {
            if let Some(truth) = state.owners.get(shard) {
                row.clone_from(truth);
            }
        }
    }

    fn reaches(&self, node: &NodeName) -> bool {
        !self.world.state().down.contains(node)
    }

    fn neighbors(&self) -> Vec<Neighbor> {
        let state = self.world.state();
        let others = state.dispatchers.keys().filter(|node| **node != self.me);
        let hidden = |node: &&NodeName| {
            let mut hidden = state.hidden.iter();
            hidden.any(|(from, hidden)| *from == self.me && hidden == *node)
        };
        let living = others.filter(|node| !state.down.contains(node));
        living
            .filter(|node| !hidden(node))
            .map(|node| Neighbor {
                node: node.clone(),
                takes: !state.draining.contains(node),
            })
            .collect()
    }

    fn call<'a>(
        &'a self,
        node: &'a NodeName,
        request: &'a Request,
    ) -> BoxFuture<'a, Result<Reply, CallError>> {
        Box::pin(async move {
            assert!(!request.deadline.is_zero(), "a call without a deadline");
            let (dispatcher, fault) = {
                let mut state = self.world.state();
                if state.down.contains(node) {
                    return Err(CallError::NotConnected(node.clone()));
                }
                *state.calls.entry(node.clone()).or_default() += 1;
                let faults = state.faults.entry(node.clone()).or_default();
                let fault = (!faults.is_empty()).then(|| faults.remove(0));
                let dispatcher = state.dispatchers.get(node).cloned();
                (dispatcher.expect("there is such a node"), fault)
            };
            match fault {
                Some(Fault::Busy) => {
                    let retry_after = Duration::from_millis(100);
                    return Ok(Reply::Busy { retry_after });
                }
                Some(Fault::Dies) => {
                    self.world.down(node.as_str());
                    return Err(CallError::Lost(node.clone()));
                }
                Some(Fault::ReplyLost | Fault::Silence) | None => {}
            }
            let dies = async {
                let mut changes = self.world.0.changes.subscribe();
                while !self.world.state().down.contains(node) {
                    let _ = changes.changed().await;
                }
            };
            let work = async {
                self.world.delay().await;
                let reply = dispatcher.dispatch(request.clone()).await;
                self.world.delay().await;
                reply
            };
            let work = tokio::time::timeout(request.deadline, work);
            let reply = tokio::select! {
                reply = work => reply.unwrap_or(Reply::Expired),
                () = dies => return Err(CallError::Lost(node.clone())),
            };
            match fault {
                Some(Fault::ReplyLost) => Err(CallError::Lost(node.clone())),
                Some(Fault::Silence) => {
                    tokio::time::sleep(request.deadline).await;
                    Err(CallError::Expired(node.clone()))
                }
                _ => Ok(reply),
            }
        })
    }
}

/// A node that carries out what concerns its own shards.
#[derive(Debug)]
pub(crate) struct FakeNode {
    world: World,
    me: NodeName,
}

impl FakeNode {
    fn new(world: &World, me: &NodeName) -> Self {
        Self {
            world: world.clone(),
            me: me.clone(),
        }
    }

    fn owns(&self, run: RunId) -> bool {
        if !self.world.0.has_common_store {
            return true;
        }
        let state = self.world.state();
        let owner = state.owners.get(&run.shard());
        owner.is_some_and(|(owner, _)| owner.as_ref() == Some(&self.me))
    }

    fn run(&self, id: RunId) -> Option<FakeRun> {
        let at = self.world.store_of(&self.me);
        self.world.state().runs.get(&(at, id)).cloned()
    }

    fn told(&self, id: RunId, node: &NodeName, created: bool) -> Answer {
        match self.run(id) {
            None => Answer::NotFound,
            Some(run) => Answer::Run(Told {
                text: Bytes::from(format!(
                    "{id} {} {} at {node}",
                    run.events,
                    run.status.as_str()
                )),
                status: run.status,
                created,
            }),
        }
    }

    fn submit(&self, id: RunId, new: &NewRun) -> Result<bool, Trouble> {
        let draining = self.world.state().draining.contains(&self.me);
        if draining && !self.world.0.has_common_store {
            return Err(Trouble::NotOwner);
        }
        assert_eq!(new.request.id, Some(id), "the id travels");
        let body = format!("{:?}", new.request.prompt);
        let at = self.world.store_of(&self.me);
        let mut is_new = false;
        self.world.change(|state| {
            let run = state.runs.entry((at, id)).or_insert_with(|| {
                is_new = true;
                FakeRun {
                    events: 1,
                    status: RunStatus::Running,
                    body: body.clone(),
                }
            });
            assert_eq!(run.body, body, "the same id came with another run");
            if is_new {
                state.created.push((self.me.clone(), id));
            }
        });
        Ok(is_new)
    }

    /// Waits until something is so, while the shard is here.
    async fn until(
        &self,
        id: RunId,
        wait: Duration,
        done: impl Fn(&FakeRun) -> bool,
    ) -> Result<(), Trouble> {
        let mut changes = self.world.0.changes.subscribe();
        let happens = async {
            loop {
                if !self.owns(id) {
                    return Err(Trouble::NotOwner);
                }
                if self.run(id).is_none_or(|run| done(&run)) {
                    return Ok(());
                }
                let _ = changes.changed().await;
            }
        };
        let in_time = tokio::time::timeout(wait, happens).await;
        in_time.unwrap_or(Ok(()))
    }

    fn events(&self, id: RunId, after: After) -> Answer {
        let Some(run) = self.run(id) else {
            return Answer::NotFound;
        };
        // Three at a time.
        let last = run.events.min(after.seq.0.saturating_add(3));
        let seen = last.max(after.seq.0).min(run.events);
        let events: Vec<String> = (after.seq.0 + 1..=seen)
            .map(|seq| seq.to_string())
            .collect();
        let more = seen < run.events;
        Answer::Events(Events {
            seen: Seq(seen),
            ended: !more && run.status.is_ended(),
            more,
            bytes: events
                .iter()
                .map(|seq| format!("{seq} "))
                .collect::<String>()
                .into(),
        })
    }

    fn change(&self, id: RunId, retry: bool) -> Answer {
        let Some(run) = self.run(id) else {
            return Answer::NotFound;
        };
        if run.status.is_ended() != retry {
            let refusal = ApiError::new(ErrorType::Conflict, "it is not in a state for it");
            return Answer::Refused(refusal);
        }
        let status = match retry {
            true => RunStatus::Running,
            false => RunStatus::Cancelled,
        };
        self.world.happens(id, 1, status);
        self.told(id, &self.me, false)
    }
}

impl Answers for FakeNode {
    fn new_id(&self) -> RunId {
        static COUNT: OnceLock<AtomicU64> = OnceLock::new();
        let count = COUNT.get_or_init(AtomicU64::default);
        let number = count.fetch_add(1, Ordering::Relaxed);
        let mut random = [0; 10];
        random[2..].copy_from_slice(&number.to_be_bytes());
        RunId::from_time(number, random)
    }

    fn answer<'a>(
        &'a self,
        run: RunId,
        ask: &'a Ask,
        node: &'a NodeName,
    ) -> BoxFuture<'a, Result<Answer, Trouble>> {
        Box::pin(async move {
            let needs_owner = match ask {
                Ask::Load => false,
                Ask::Events(after) => !after.wait.is_zero(),
                Ask::Submit(_) | Ask::Cancel | Ask::Retry | Ask::End { .. } => true,
            };
            if needs_owner && !self.owns(run) {
                return Err(Trouble::NotOwner);
            }
            match ask {
                Ask::Submit(new) => {
                    self.world.delay().await;
                    let created = self.submit(run, new)?;
                    // Whatever goes wrong in waiting, the run is accepted.
                    let _ = self.until(run, new.wait, |run| run.status.is_ended()).await;
                    Ok(self.told(run, node, created))
                }
                Ask::Load => Ok(self.told(run, node, false)),
                Ask::Cancel => Ok(self.change(run, false)),
                Ask::Retry => Ok(self.change(run, true)),
                Ask::End { wait } => {
                    self.until(run, *wait, |run| run.status.is_ended()).await?;
                    Ok(self.told(run, node, false))
                }
                Ask::Events(after) => {
                    let news = |run: &FakeRun| run.events > after.seq.0 || run.status.is_ended();
                    if !after.wait.is_zero() {
                        self.until(run, after.wait, news).await?;
                    }
                    Ok(self.events(run, *after))
                }
            }
        })
    }

    fn list<'a>(&'a self, ask: &'a ListAsk) -> BoxFuture<'a, Result<Listed, ApiError>> {
        let at = self.world.store_of(&self.me);
        let state = self.world.state();
        let runs = state.runs.keys().filter(|(store, _)| *store == at);
        let mut runs: Vec<(RunId, Timestamp)> = runs
            .map(|(_, run)| {
                let mut millis = [0; 8];
                millis[2..].copy_from_slice(&run.to_bytes()[..6]);
                let millis = i64::from_be_bytes(millis);
                (*run, Timestamp(millis))
            })
            .collect();
        runs.sort_unstable_by_key(|(run, at)| std::cmp::Reverse((*at, *run)));
        let total = runs.len();
        runs.truncate(ask.limit);
        Box::pin(std::future::ready(Ok(Listed { total, runs })))
    }
}
