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

use crate::program::Home;
use crate::program::process::Process;

/// A node that serves.
struct Node {
    process: Process,
    url: String,
}

impl Node {
    /// A node on the data of `home`, at any free port.
    fn start(home: &Home) -> Self {
        Self::spawn(home, &["--listen", "127.0.0.1:0"])
    }

    fn spawn(home: &Home, options: &[&str]) -> Self {
        let line = ["serve", "--data", "served"].iter().chain(options);
        let process = Process::spawn(home, home.command(line.copied()));
        let greeting = process.greeting.join(" ");
        let mut words = greeting.split_whitespace();
        let url = words.find(|word| word.contains("://")).unwrap().to_owned();
        Self { process, url }
    }

    /// What `--listen` was, with the port that was found.
    fn address(&self) -> String {
        self.process.address.to_string()
    }

    /// Kills it and starts it again at the same address.
    fn restart(self, home: &Home) -> Self {
        let address = self.address();
        drop(self);
        Self::spawn(home, &["--listen", &address])
    }
}
