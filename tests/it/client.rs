//! The command line against a server that was started: the same verbs, outputs and exit codes as on
//! a data directory, and what happens when the server goes away.

#![allow(
    clippy::unwrap_used,
    reason = "a helper of a test may panic like the test"
)]

mod check;
mod outages;
mod refusals;
mod security;
mod tools;
mod verbs;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::program::Home;

/// A node that serves, ended when it is dropped.
struct Node {
    child: Child,
    url: String,
}

impl Node {
    /// A node on the data of `home`, at any free port.
    fn start(home: &Home) -> Self {
        Self::spawn(home, &["--listen", "127.0.0.1:0"])
    }

    fn spawn(home: &Home, options: &[&str]) -> Self {
        let line = ["serve", "--data", "served"].iter().chain(options);
        let mut child = home
            .command(line.copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        let url = loop {
            let read = stdout.read_line(&mut said).unwrap();
            assert!(read > 0, "the node ended before it served: {said}");
            let word = said.split_whitespace().find(|word| word.contains("://"));
            if let Some(url) = word {
                break url.to_owned();
            }
        };
        // What it says later must not fill the pipe.
        std::thread::spawn(move || stdout.read_to_end(&mut Vec::new()));
        Self { child, url }
    }

    /// What `--listen` was, with the port that was found.
    fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    /// Kills it and starts it again at the same address.
    fn restart(self, home: &Home) -> Self {
        let address = self.address().to_owned();
        drop(self);
        Self::spawn(home, &["--listen", &address])
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        let _ = kill_process(pid, Signal::KILL);
        let _ = self.child.wait();
    }
}
