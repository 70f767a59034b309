//! Nodes as compose.yaml deploys them: with docker/crane.toml as it is, the secrets that
//! docker/make-secrets makes, and what the environment adds.

use std::fs;
use std::path::{Path, PathBuf};

use crate::node::{GOSSIP, Node};
use crate::system::run;
use crate::wire::TOKEN;

/// The directory with what is deployed.
const DOCKER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docker");

/// What the nodes of a cluster know and nobody else.
pub(crate) struct Secrets(PathBuf);

impl Secrets {
    /// Random ones, but for the clients' token and the database.
    pub(crate) fn make(directory: &Path, database: &str) -> Self {
        fs::create_dir_all(directory).unwrap();
        fs::write(directory.join("token"), TOKEN).unwrap();
        fs::write(directory.join("database_url"), database).unwrap();
        let place = directory.to_str().unwrap();
        run(format!("{DOCKER}/make-secrets"), &[place]);
        Self(directory.to_owned())
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// What `env_file` adds to the environment.
    fn variables(&self) -> Vec<(String, String)> {
        let text = fs::read_to_string(self.file("tokens.env")).unwrap();
        let lines = text.lines().map(|line| line.split_once('=').unwrap());
        lines
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }
}

/// Gives a node what compose.yaml gives it, and what the tests' steps need beside that.
pub(crate) fn deploy(node: &mut Node, secrets: &Secrets) {
    let name = node.name.clone();
    node.variable("CRANE_CONFIG", &format!("{DOCKER}/crane.toml"));
    node.variable("CRANE__NODE__NAME", &name);
    node.variable("CRANE__CLUSTER__ADVERTISE", &format!("{name}:{GOSSIP}"));
    for (name, value) in secrets.variables() {
        node.variable(&name, &value);
    }
    give(node, secrets);
    // Effects are called at the bridge, and steps are lost again and again.
    node.variable("CRANE__TOOLS__HTTP__ALLOW_PRIVATE", "true");
    node.variable("CRANE__LIMITS__LOST_ATTEMPTS", "1000");
}

/// Gives a node these secrets, in place of those it had.
pub(crate) fn give(node: &mut Node, secrets: &Secrets) {
    node.variable("CRANE__STORE__URL_FILE", &secrets.file("database_url"));
    node.variable(
        "CRANE__CLUSTER__SECRETS_FILE",
        &secrets.file("cluster_secret"),
    );
}
