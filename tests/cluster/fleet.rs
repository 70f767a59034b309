//! A cluster: its network, its database, its nodes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::database::Database;
use crate::deployment::{self, Secrets};
use crate::network::Network;
use crate::node::Node;
use crate::system::until;

/// How a cluster is made.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) nodes: usize,
    /// Namespaces beyond those of the nodes.
    pub(crate) spare: usize,
    pub(crate) lease: Duration,
    /// The negative control: whoever lost his shards does not notice.
    pub(crate) unfenced: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            nodes: 5,
            spare: 0,
            lease: Duration::from_secs(2),
            unfenced: false,
        }
    }
}

/// See the module. Nodes end before their database, and that before the network.
pub(crate) struct Fleet {
    pub(crate) nodes: Vec<Node>,
    pub(crate) database: Database,
    pub(crate) network: Network,
    pub(crate) shape: Shape,
    secrets: Secrets,
    directory: TempDir,
}

impl Fleet {
    /// Starts a cluster and waits until it works.
    pub(crate) fn start(shape: Shape) -> Self {
        let mut fleet = Self::prepare(shape);
        for node in &mut fleet.nodes {
            node.start();
        }
        println!("calm after {:.1?}", fleet.calm());
        fleet
    }

    /// All of it but started nodes.
    pub(crate) fn prepare(shape: Shape) -> Self {
        let network = Network::new(shape.nodes + shape.spare);
        let database = Database::start(network.host(), &network.range());
        let directory = TempDir::new().unwrap();
        let mut fleet = Self {
            nodes: Vec::new(),
            secrets: Secrets::make(&directory.path().join("secrets"), &database.url()),
            database,
            network,
            directory,
            shape,
        };
        for space in 0..fleet.shape.nodes {
            let mut node = fleet.node(space);
            if fleet.shape.unfenced {
                node.variable("CRANE_TEST_UNFENCED", "1");
            }
            fleet.nodes.push(node);
        }
        fleet
    }

    /// A node that is not started, nor one of `nodes`.
    pub(crate) fn node(&self, space: usize) -> Node {
        let name = self.network.host_name(space);
        let place = (self.network.space(space), self.network.address(space));
        let mut node = Node::new(&name, place, self.directory.path().join(&name));
        deployment::deploy(&mut node, &self.secrets);
        let lease = self.shape.lease.as_millis();
        node.variable("CRANE__CLUSTER__LEASE", &format!("{lease}ms"));
        node
    }

    /// Secrets that no node of this cluster has.
    pub(crate) fn other_secrets(&self) -> Secrets {
        Secrets::make(
            &self.directory.path().join("other-secrets"),
            &self.database.url(),
        )
    }

    /// Waits until all nodes that run are ready and agree that they own everything.
    #[track_caller]
    pub(crate) fn calm(&self) -> Duration {
        let begun = Instant::now();
        let running: Vec<&Node> = self.nodes.iter().filter(|node| node.is_started()).collect();
        let names: Vec<&str> = running.iter().map(|node| &*node.name).collect();
        let agrees = |node: &Node| {
            let Some(cluster) = node.cluster() else {
                return false;
            };
            let up = |member: &Value| {
                let name = member["node"].as_str().unwrap_or_default();
                let well = member["state"] == "alive" && member["phase"] == "up";
                // None of the living is without shards for long.
                !names.contains(&name) || (well && member["shards"].as_u64() > Some(0))
            };
            let owned = |shard: &Value| {
                let owner = shard["owner"].as_str();
                owner.is_some_and(|owner| names.contains(&owner))
            };
            let (Some(members), Some(shards)) =
                (cluster["members"].as_array(), cluster["shards"].as_array())
            else {
                return false;
            };
            members.len() >= names.len()
                && members.iter().all(up)
                && shards.len() == 512
                && shards.iter().all(owned)
        };
        let mut wrong = String::new();
        let patience = Duration::from_secs(60);
        let calm = || {
            let waiting = running
                .iter()
                .find(|node| !node.is_ready() || !agrees(node));
            if let Some(node) = waiting {
                wrong = node.name.clone();
            }
            waiting.is_none()
        };
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until("the cluster is calm", patience, calm);
        }));
        if outcome.is_err() {
            let node = running.iter().find(|node| node.name == wrong);
            let view = node
                .and_then(|node| node.cluster())
                .map(|view| summary(&view));
            panic!("{wrong} is not calm: {view:?}\n{}", self.tails());
        }
        begun.elapsed()
    }

    /// Shards of each node, as one that is ready sees it.
    pub(crate) fn shards(&self) -> Vec<usize> {
        let cluster = self.any_ready().cluster().unwrap_or_default();
        let owners = cluster["shards"].as_array().cloned().unwrap_or_default();
        let count = |node: &Node| {
            let mut owned = owners.iter().map(|shard| shard["owner"].as_str());
            let own = owned.by_ref().filter(|owner| *owner == Some(&node.name));
            own.count()
        };
        self.nodes.iter().map(count).collect()
    }

    /// Waits until each node has about as much as the others.
    #[track_caller]
    pub(crate) fn balanced(&self) {
        let fair = 512 / self.nodes.len();
        until("shards are balanced", Duration::from_secs(90), || {
            self.shards().iter().all(|owned| *owned >= fair * 4 / 5)
        });
    }

    /// A node that runs and can be asked.
    pub(crate) fn any_ready(&self) -> &Node {
        let ready = self
            .nodes
            .iter()
            .find(|node| node.is_started() && node.is_ready());
        ready.unwrap_or_else(|| panic!("no node is ready\n{}", self.tails()))
    }

    /// The last that all nodes have logged.
    pub(crate) fn tails(&self) -> String {
        let tails: Vec<String> = self.nodes.iter().map(Node::tail).collect();
        tails.join("\n")
    }

    /// Keeps the logs when that was asked for; says where they are.
    fn keep(&self) -> Option<PathBuf> {
        std::env::var_os("CRANE_KEEP")?;
        let kept = std::env::temp_dir().join(format!("crane-cluster-{}", std::process::id()));
        std::fs::create_dir_all(&kept).ok()?;
        for node in &self.nodes {
            let _ = std::fs::copy(node.log(), kept.join(format!("{}.log", node.name)));
        }
        let _ = std::fs::copy(self.database.log(), kept.join("postgres.log"));
        Some(kept)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if let Some(kept) = self.keep() {
            println!("logs: {}", kept.display());
        }
    }
}

/// A cluster without its many shards.
fn summary(view: &Value) -> Value {
    let mut view = view.clone();
    if let Some(view) = view.as_object_mut() {
        view.remove("shards");
    }
    view
}
