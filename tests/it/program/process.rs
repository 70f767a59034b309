//! A started `crane serve` as a process: its greeting, its log, signals, its end.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{Home, PATIENCE};

/// The last line that a node greets with begins so.
const LAST: &str = "try it:";

/// A node that serves; it is killed when the test is done with it.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
    /// The lines that it greeted with.
    pub(crate) greeting: Vec<String>,
    log: PathBuf,
}

impl Process {
    /// Starts `crane serve` with these options (words separated by blanks) on a free port.
    #[track_caller]
    pub(crate) fn serve(home: &Home, options: &str) -> Self {
        let line = format!("serve --listen 127.0.0.1:0 {options}");
        Self::spawn(home, home.command(line.split_whitespace()))
    }

    /// Starts a `crane serve` and waits until it has greeted.
    #[track_caller]
    pub(crate) fn spawn(home: &Home, mut command: Command) -> Self {
        let log = home.path("log");
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut greeting: Vec<String> = Vec::new();
        while !greeting.last().is_some_and(|line| line.starts_with(LAST)) {
            let mut line = String::new();
            let read = stdout.read_line(&mut line).unwrap();
            let said = || std::fs::read_to_string(&log).unwrap();
            assert!(read > 0, "it ended: {greeting:?} {}", said());
            greeting.push(line.trim_end().to_owned());
        }
        let mut words = greeting.iter().flat_map(|line| line.split_whitespace());
        let address = words.find_map(|word| word.split_once("://")?.1.parse().ok());
        // What it says later must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        Self {
            child,
            address: address.unwrap(),
            greeting,
            log,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to standard error.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the end of the process", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Its resident memory in bytes (Linux).
    pub(crate) fn memory(&self) -> usize {
        let status = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.unwrap().split_whitespace().next().unwrap();
        number.parse::<usize>().unwrap() << 10
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks again and again until it is so.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "still waiting for: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
