//! A started `crane serve`, and the few requests that an operator makes.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test reads its own switch, and says why it is skipped"
)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, ExitStatus};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::program::process::Process;
pub(crate) use crate::program::{Home, PATIENCE};

/// A node that serves.
pub(crate) struct Node {
    process: Process,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    fn read(mut stream: TcpStream) -> Option<Self> {
        let mut bytes = Vec::new();
        // A reset after the answer, because the node did not read everything, takes nothing back.
        let _ = stream.read_to_end(&mut bytes);
        let answer = String::from_utf8_lossy(&bytes);
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some(Self {
            code: head.split(' ').nth(1)?.parse().ok()?,
            head: head.to_lowercase(),
            body: body.to_owned(),
        })
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Node {
    /// Starts a node on the data of `home`.
    pub(crate) fn start(home: &Home) -> Self {
        let process = Process::serve(home, "--data d");
        Self { process }
    }

    /// What `--server` takes.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.process.address)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.process.said()
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "")
    }

    /// Sends a JSON body.
    pub(crate) fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        let headers = ["content-type: application/json"];
        self.ask(method, path, &headers, &body.to_string())
    }

    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
        let mut stream = TcpStream::connect(self.process.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut text = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
        for header in headers {
            text.push_str(header);
            text.push_str("\r\n");
        }
        let length = body.len();
        text.push_str(&format!(
            "connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        ));
        stream.write_all(text.as_bytes()).unwrap();
        Answer::read(stream).unwrap()
    }

    /// Carries out a plan of these steps and gives the run as it ended.
    #[track_caller]
    pub(crate) fn run(&self, steps: &Value) -> Value {
        let message = json!({ "plan": { "steps": steps } });
        let answer = self.send("POST", "/api/v1/runs?wait=50s", &message);
        assert_eq!(answer.code, 201, "{answer:?}");
        answer.json()
    }

    /// The metrics as text.
    #[track_caller]
    pub(crate) fn scrape(&self) -> String {
        let answer = self.get("/metrics");
        assert_eq!(answer.code, 200, "{answer:?}");
        assert!(
            answer
                .head
                .contains("content-type: text/plain; version=0.0.4"),
            "{}",
            answer.head
        );
        answer.body
    }

    /// Asks until the answer is as wanted.
    #[track_caller]
    pub(crate) fn until(&self, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        let begun = Instant::now();
        loop {
            let answer = self.get(path);
            if wanted(&answer) {
                return answer;
            }
            assert!(begun.elapsed() < PATIENCE, "{path}: {answer:?}");
        }
    }

    /// Waits for the end of the process.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let status = self.process.end();
        (status, self.log())
    }

    /// Stops it as a service manager does.
    pub(crate) fn stop(self) -> (ExitStatus, String) {
        self.process.signal(Signal::TERM);
        self.end()
    }
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// A program of the system; where it is missing the test is skipped, or fails when everything is
/// required.
pub(crate) fn program(name: &str) -> Option<Command> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&paths).any(|path| path.join(name).is_file()) {
        return Some(Command::new(name));
    }
    let required = std::env::var("CRANE_REQUIRE_ALL").is_ok_and(|value| value == "1");
    assert!(
        !required,
        "{name} is missing and CRANE_REQUIRE_ALL=1 is set"
    );
    println!("skipped: {name} is missing");
    None
}
