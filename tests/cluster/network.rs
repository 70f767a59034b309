//! A bridge with a network namespace for each node, and what can go wrong between them.
//!
//! Rules are in the namespaces alone, so that nothing of the machine's own changes, and they go away
//! with them. `tc netem` is not to be had everywhere; iptables drops, with a probability where asked.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::system::{run, try_run};

/// All that is made here begins so, followed by the number of the process.
const PREFIX: &str = "cr";
/// Where files of the name service lie for each namespace.
const NAMES: &str = "/etc/netns";
/// Last part of the address of the bridge, which is this side's.
pub(crate) const HOST: u8 = 254;

/// See the module. Everything is removed when it is dropped.
///
/// From then on its addresses lead wherever the machine's default route does. So whoever is not ended
/// with the test has no way there: nodes and programs are in namespaces without such a route, and
/// clients of this process connect from the address of the bridge (`wire.rs`).
pub(crate) struct Network {
    /// Names of all that is made here.
    name: String,
    net: [u8; 3],
    /// Beside that of the clients.
    spaces: usize,
}

impl Network {
    /// A network with so many namespaces.
    pub(crate) fn new(spaces: usize) -> Self {
        static NETWORKS: AtomicU32 = AtomicU32::new(0);
        sweep();
        let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let letter = char::from(b'a' + u8::try_from(number % 26).unwrap());
        let network = Self {
            name: format!("{PREFIX}{}{letter}", std::process::id()),
            net: free(number),
            spaces,
        };
        let bridge = network.bridge();
        let host = format!("{}/24", network.host());
        run("ip", &["link", "add", &bridge, "type", "bridge"]);
        run("ip", &["addr", "add", &host, "dev", &bridge]);
        run("ip", &["link", "set", &bridge, "up"]);
        for number in 0..=spaces {
            network.add(number);
        }
        network
    }

    /// What its namespaces know by name: each other (ip-netns(8) lays this over /etc/hosts).
    fn hosts(&self) -> String {
        let hosts =
            (0..self.spaces).map(|n| format!("{} {}\n", self.address(n), self.host_name(n)));
        hosts.chain(["127.0.0.1 localhost\n".to_owned()]).collect()
    }

    fn add(&self, number: usize) {
        let (space, bridge) = (self.space(number), self.bridge());
        let outside = self.outside(number);
        let inside = format!("{}i{number}", self.name);
        let address = format!("{}/24", self.address(number));
        let names = Path::new(NAMES).join(&space);
        fs::create_dir_all(&names).unwrap();
        fs::write(names.join("hosts"), self.hosts()).unwrap();
        run("ip", &["netns", "add", &space]);
        run(
            "ip",
            &[
                "link", "add", &outside, "type", "veth", "peer", "name", &inside,
            ],
        );
        run("ip", &["link", "set", &inside, "netns", &space]);
        run("ip", &["link", "set", &outside, "master", &bridge]);
        run("ip", &["link", "set", &outside, "up"]);
        run(
            "ip",
            &["-n", &space, "addr", "add", &address, "dev", &inside],
        );
        run("ip", &["-n", &space, "link", "set", &inside, "up"]);
        run("ip", &["-n", &space, "link", "set", "lo", "up"]);
    }

    /// Gives a name these addresses, in all namespaces. What runs there sees it: the file stays the
    /// same one, since another one would not be laid over theirs.
    pub(crate) fn name(&self, name: &str, addresses: &[Ipv4Addr]) {
        let lines = addresses
            .iter()
            .map(|address| format!("{address} {name}\n"));
        let lines: String = lines.collect();
        for number in 0..=self.spaces {
            let hosts = Path::new(NAMES).join(self.space(number)).join("hosts");
            let mut hosts = fs::OpenOptions::new().append(true).open(hosts).unwrap();
            hosts.write_all(lines.as_bytes()).unwrap();
        }
    }

    fn bridge(&self) -> String {
        format!("{}b", self.name)
    }

    fn outside(&self, number: usize) -> String {
        format!("{}o{number}", self.name)
    }

    /// A program that runs in a namespace of its own kind, that of clients.
    pub(crate) fn client(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.space(self.spaces)]);
        command
            .args(["setpriv", "--pdeathsig", "KILL"])
            .arg(program);
        command
    }

    /// Name of a namespace.
    pub(crate) fn space(&self, number: usize) -> String {
        format!("{}n{number}", self.name)
    }

    /// The name of a namespace in all of them, as the nodes of compose.yaml are named.
    pub(crate) fn host_name(&self, number: usize) -> String {
        format!("crane-{}", number + 1)
    }

    /// Address of this side.
    pub(crate) fn host(&self) -> Ipv4Addr {
        let [a, b, c] = self.net;
        Ipv4Addr::new(a, b, c, HOST)
    }

    /// Address in a namespace.
    pub(crate) fn address(&self, number: usize) -> Ipv4Addr {
        let [a, b, c] = self.net;
        Ipv4Addr::new(a, b, c, u8::try_from(number + 1).unwrap())
    }

    /// All of it, as PostgreSQL and others write it.
    pub(crate) fn range(&self) -> String {
        let [a, b, c] = self.net;
        format!("{a}.{b}.{c}.0/24")
    }

    fn rule(&self, at: usize, rule: &str) {
        let space = self.space(at);
        let line = format!("netns exec {space} iptables -w -A {rule}");
        run("ip", &line.split(' ').collect::<Vec<_>>());
    }

    /// Nothing that `from` sends arrives at `at`.
    pub(crate) fn deafen(&self, at: usize, from: usize) {
        let from = self.address(from);
        self.rule(at, &format!("INPUT -s {from} -j DROP"));
    }

    /// The two hear nothing of each other.
    pub(crate) fn part(&self, one: usize, other: usize) {
        self.deafen(one, other);
        self.deafen(other, one);
    }

    /// Nothing that this side sends from `port` arrives at `at`.
    pub(crate) fn deafen_to_port(&self, at: usize, port: u16) {
        let host = self.host();
        self.rule(
            at,
            &format!("INPUT -s {host} -p tcp --sport {port} -j DROP"),
        );
    }

    /// `at` and `port` of this side hear nothing of each other.
    pub(crate) fn part_from_port(&self, at: usize, port: u16) {
        let host = self.host();
        self.deafen_to_port(at, port);
        self.rule(
            at,
            &format!("OUTPUT -d {host} -p tcp --dport {port} -j DROP"),
        );
    }

    /// `at` hears nothing of all others nor of `port` of this side, nor they of it, from one moment to
    /// the next.
    pub(crate) fn cut_off(&self, at: usize, port: u16) {
        let (space, host) = (self.space(at), self.host());
        let others = (0..self.spaces).filter(|other| *other != at);
        let mut rules = String::from("*filter\n");
        for other in others.map(|other| self.address(other)) {
            rules += &format!("-A INPUT -s {other} -j DROP\n-A OUTPUT -d {other} -j DROP\n");
        }
        rules += &format!("-A INPUT -s {host} -p tcp --sport {port} -j DROP\n");
        rules += &format!("-A OUTPUT -d {host} -p tcp --dport {port} -j DROP\nCOMMIT\n");
        let mut restore = Command::new("ip")
            .args(["netns", "exec", &space])
            .args(["iptables-restore", "-w", "--noflush"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = restore.stdin.take().unwrap();
        input.write_all(rules.as_bytes()).unwrap();
        drop(input);
        assert!(restore.wait().unwrap().success(), "{rules}");
    }

    /// So many percent of what is sent to `at` are lost.
    pub(crate) fn lose(&self, at: usize, percent: u32) {
        let rule = format!("INPUT -m statistic --mode random --probability 0.{percent:02} -j DROP");
        self.rule(at, &rule);
    }

    /// All is well again at `at`.
    pub(crate) fn heal(&self, at: usize) {
        let space = self.space(at);
        run("ip", &["netns", "exec", &space, "iptables", "-w", "-F"]);
    }

    /// Bytes that a namespace has received and sent so far.
    pub(crate) fn bytes(&self, number: usize) -> (u64, u64) {
        let read = |name: &str| {
            let outside = self.outside(number);
            let path = format!("/sys/class/net/{outside}/statistics/{name}");
            let text = fs::read_to_string(path).unwrap();
            text.trim().parse::<u64>().unwrap()
        };
        // The other end of the cable.
        (read("tx_bytes"), read("rx_bytes"))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for number in 0..=self.spaces {
            let space = self.space(number);
            try_run("ip", &["netns", "del", &space]);
            let _ = fs::remove_dir_all(Path::new(NAMES).join(&space));
            try_run("ip", &["link", "del", &self.outside(number)]);
        }
        try_run("ip", &["link", "del", &self.bridge()]);
    }
}

/// A range of addresses that nobody on this machine uses.
fn free(number: u32) -> [u8; 3] {
    let used = run("ip", &["-o", "-4", "addr"]);
    let first = std::process::id().wrapping_mul(7) + number;
    let candidates = (first..first + 10_000).map(|candidate| {
        let [.., high, low] = candidate.to_be_bytes();
        [10, 128 | (high & 0x7f), low]
    });
    let mut candidates = candidates;
    let is_free = |[a, b, c]: &[u8; 3]| !used.contains(&format!(" {a}.{b}.{c}."));
    candidates.find(is_free).expect("an unused network")
}

/// Removes what tests have left that were killed.
fn sweep() {
    let owner = |name: &str| -> Option<u32> {
        let digits = name.strip_prefix(PREFIX)?;
        let end = digits.find(|c: char| !c.is_ascii_digit())?;
        digits[..end].parse().ok()
    };
    let is_stale =
        |name: &str| owner(name).is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists());
    for line in run("ip", &["netns", "list"]).lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        if is_stale(name) {
            try_run("ip", &["netns", "del", name]);
        }
    }
    for entry in fs::read_dir(NAMES).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_stale) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let links = run("ip", &["-o", "link"]);
    let names = links.lines().filter_map(|line| {
        let name = line.split(": ").nth(1)?;
        Some(name.split('@').next().unwrap_or(name).to_owned())
    });
    for name in names.collect::<BTreeSet<String>>() {
        if is_stale(&name) {
            try_run("ip", &["link", "del", &name]);
        }
    }
}

#[test]
fn nothing_leaves_this_machine_once_a_network_is_gone() {
    use std::net::SocketAddr;

    use crate::wire::{Failure, ask};

    let Some(_turn) = crate::system::turn() else {
        return;
    };
    let network = Network::new(1);
    let address = SocketAddr::from((network.address(0), 1));
    let space = network.space(0);
    // Nor does anything leave the namespaces before.
    assert!(
        run("ip", &["-n", &space, "route"])
            .lines()
            .all(|line| !line.starts_with("default"))
    );
    drop(network);
    let asked = ask(address, "GET", "/", &[], "");
    assert!(matches!(asked, Err(Failure::Unreached)), "{asked:?}");
}
