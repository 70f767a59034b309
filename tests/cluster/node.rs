//! A node: `crane serve` in its namespace, killed, paused and started again at will.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::system::{crane, until};
use crate::wire::{self, Answer, Failure};

/// Port of every node's API.
pub(crate) const API: u16 = 8_080;
/// Port of gossip and gateway.
pub(crate) const GOSSIP: u16 = 7_946;

/// See the module. It is killed when it is dropped.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
    space: String,
    directory: PathBuf,
    variables: BTreeMap<String, String>,
    child: Option<Child>,
}

impl Node {
    /// A node in `directory` that is not started yet, nor configured.
    pub(crate) fn new(
        name: &str,
        (space, address): (String, Ipv4Addr),
        directory: PathBuf,
    ) -> Self {
        fs::create_dir_all(&directory).unwrap();
        Self {
            name: name.to_owned(),
            address,
            space,
            directory,
            variables: BTreeMap::new(),
            child: None,
        }
    }

    /// With a variable of the environment.
    pub(crate) fn variable(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    /// Starts it, and does not wait until it serves. It ends with the thread that does this.
    pub(crate) fn start(&mut self) {
        assert!(self.child.is_none(), "{} is running", self.name);
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .unwrap();
        let mut command = Command::new("ip");
        command
            .args([
                "netns",
                "exec",
                &self.space,
                "setpriv",
                "--pdeathsig",
                "KILL",
            ])
            .arg(crane())
            .arg("serve")
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CRANE_") {
                command.env_remove(name);
            }
        }
        command.envs(&self.variables);
        self.child = Some(command.spawn().unwrap());
    }

    /// Whether it was started and not ended from here.
    pub(crate) fn is_started(&self) -> bool {
        self.child.is_some()
    }

    fn pid(&self) -> Pid {
        let child = self.child.as_ref().unwrap();
        Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.child.take().unwrap().wait().unwrap();
    }

    /// SIGSTOP.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Stops it as a service manager does, and waits; how long that took.
    #[track_caller]
    pub(crate) fn stop(&mut self) -> Duration {
        let begun = Instant::now();
        self.signal(Signal::TERM);
        let mut child = self.child.take().unwrap();
        let mut status = None;
        until("a node has stopped", Duration::from_secs(60), || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        assert_eq!(
            status.and_then(|status| status.code()),
            Some(0),
            "{}",
            self.tail()
        );
        begun.elapsed()
    }

    /// Where its API is.
    pub(crate) fn api(&self) -> SocketAddr {
        SocketAddr::from((self.address, API))
    }

    pub(crate) fn ask(&self, path: &str) -> Result<Answer, Failure> {
        wire::ask(self.api(), "GET", path, &[], "")
    }

    /// Whether it says that it is ready.
    pub(crate) fn is_ready(&self) -> bool {
        let answer = self.ask("/api/v1/health/ready");
        answer.is_ok_and(|answer| answer.status == 200)
    }

    /// The cluster as it sees it.
    pub(crate) fn cluster(&self) -> Option<Value> {
        let answer = self.ask("/api/v1/cluster").ok()?;
        (answer.status == 200).then(|| answer.json())
    }

    /// The members of the cluster as it sees it, itself among them.
    #[track_caller]
    pub(crate) fn members(&self) -> Vec<Value> {
        let cluster = self.cluster().unwrap();
        cluster["members"].as_array().unwrap().clone()
    }

    /// The sum of a metric over its labels that hold `label`.
    pub(crate) fn metric(&self, name: &str, label: &str) -> f64 {
        let answer = self.ask("/metrics").unwrap();
        let lines = answer.body.lines();
        let values = lines.filter(|line| line.starts_with(name) && line.contains(label));
        let values = values.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        values.sum()
    }

    /// Seconds of processor time so far.
    pub(crate) fn processor(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid().as_raw_nonzero()));
        let stat = stat.unwrap();
        // Fields 14 and 15 of proc(5), in 1/100 s; the name before may hold blanks.
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let ticks = fields.split_whitespace().skip(11).take(2);
        ticks
            .map(|field| field.parse::<f64>().unwrap())
            .sum::<f64>()
            / 100.0
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// The last lines of its log.
    pub(crate) fn tail(&self) -> String {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(15);
        format!("{}:\n{}", self.name, lines[from..].join("\n"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
