//! Starting children, telling them what to do, and waiting for what comes of it.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::child::CHILD;

pub(crate) const SECRET: &str = "the secret of these tests";
const LIMIT: Duration = Duration::from_secs(60);

static NEXT: AtomicU64 = AtomicU64::new(1);

/// Waits until `done`.
#[track_caller]
pub(crate) fn until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LIMIT, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Tells all nodes of all others, and waits until they are connected.
pub(crate) fn connect(nodes: &[&Node]) {
    for node in nodes {
        node.want(nodes);
    }
    for node in nodes {
        until("all are connected", || {
            let connected = node.connected();
            let others = nodes.iter().filter(|other| other.name != node.name);
            let names: Vec<&str> = others.map(|other| other.name.as_str()).collect();
            names
                .iter()
                .all(|name| connected.split(',').any(|one| one == *name))
        });
    }
}

#[derive(Default)]
struct Answers {
    by_id: Mutex<HashMap<String, String>>,
    more: Condvar,
}

pub(crate) struct Node {
    name: String,
    boot: String,
    child: Mutex<Child>,
    stdin: Mutex<ChildStdin>,
    answers: Arc<Answers>,
    address: String,
}

impl Node {
    pub(crate) fn start(name: &str, secret: &str, certificates: Option<&Certificates>) -> Self {
        let boot = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
        let directory = certificates.map(|c| c.0.path().display().to_string());
        let directory = directory.unwrap_or_default();
        let mut child = Command::new(std::env::current_exe().expect("this test's own path"))
            .args([
                "--exact",
                "child::child",
                "--nocapture",
                "--test-threads",
                "1",
            ])
            .env(CHILD, format!("{name}|{boot}|{secret}|{directory}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this binary starts");
        let stdin = child.stdin.take().expect("it is piped");
        let stdout = child.stdout.take().expect("it is piped");
        let answers = Arc::new(Answers::default());
        let heard = answers.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(answer) = line.strip_prefix("> ") {
                    let (id, text) = answer.split_once(' ').expect("an id and a text");
                    let mut by_id = heard.by_id.lock().expect("no panic");
                    by_id.insert(id.to_owned(), text.to_owned());
                    heard.more.notify_all();
                }
            }
        });
        let mut node = Self {
            name: name.to_owned(),
            boot,
            child: Mutex::new(child),
            stdin: Mutex::new(stdin),
            answers,
            address: String::new(),
        };
        node.address = node.answer("0");
        node
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    fn tell(&self, command: &str) -> String {
        let id = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
        let mut stdin = self.stdin.lock().expect("no panic");
        writeln!(stdin, "{id} {command}").expect("the child reads");
        id
    }

    /// What the child said to the command with this id.
    pub(crate) fn answer(&self, id: &str) -> String {
        let by_id = self.answers.by_id.lock().expect("no panic");
        let unanswered = |by_id: &mut HashMap<String, String>| !by_id.contains_key(id);
        let waited = self
            .answers
            .more
            .wait_timeout_while(by_id, LIMIT, unanswered);
        let (mut by_id, _) = waited.expect("no panic");
        by_id.remove(id).expect("the child answers in time")
    }

    pub(crate) fn ask(&self, command: &str) -> String {
        self.answer(&self.tell(command))
    }

    pub(crate) fn connected(&self) -> String {
        self.ask("connected")
    }

    fn word(&self, state: &str) -> String {
        format!("{}|{}|{}|{state}", self.name, self.boot, self.address)
    }

    pub(crate) fn want(&self, nodes: &[&Node]) {
        let words: Vec<String> = nodes.iter().map(|node| node.word("up")).collect();
        self.ask(&format!("want {}", words.join(" ")));
    }

    pub(crate) fn want_down(&self, node: &Node) {
        self.ask(&format!("want {}", node.word("down")));
    }

    pub(crate) fn begin_call(&self, node: &str, kind: &str, size: usize, millis: u64) -> String {
        self.tell(&format!("call {node} {kind} {size} {millis}"))
    }

    pub(crate) fn call(&self, node: &str, kind: &str, size: usize, millis: u64) -> String {
        self.answer(&self.begin_call(node, kind, size, millis))
    }

    pub(crate) fn kill(&self) {
        let mut child = self.child.lock().expect("no panic");
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An authority, and one certificate of it, in a directory.
pub(crate) struct Certificates(tempfile::TempDir);

impl Certificates {
    pub(crate) fn make() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: String| {
            let file: PathBuf = Path::new(directory.path()).join(name);
            std::fs::write(file, text).expect("it is written");
        };
        let mut authority = CertificateParams::new(vec![]).expect("good names");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().expect("a key");
        let signed = authority
            .self_signed(&authority_key)
            .expect("it signs itself");
        write("ca.pem", signed.pem());
        let issuer = Issuer::new(authority, authority_key);
        let node = CertificateParams::new(vec!["crane".into()]).expect("good names");
        let key = KeyPair::generate().expect("a key");
        let certificate = node.signed_by(&key, &issuer).expect("it is signed");
        write("node.pem", certificate.pem());
        write("node.key", key.serialize_pem());
        Self(directory)
    }
}
