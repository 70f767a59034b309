//! Running the program `crane` as its users do, and a small web server for it to talk to.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a helper of a test may panic like the test, and its time is real"
)]

pub(crate) mod process;
pub(crate) mod serving;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// A process that has not ended by then hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A directory for one test, and the program working in it.
pub(crate) struct Home {
    directory: TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self {
            directory: TempDir::new().unwrap(),
        }
    }

    /// A path in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file and gives its name.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), content).unwrap();
        name.to_owned()
    }

    /// The program, to be started in the directory, with nothing of the test's own environment
    /// that could change what it does.
    pub(crate) fn command<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crane"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CRANE_") {
                command.env_remove(name);
            }
        }
        command
            .args(arguments)
            .env("CRANE__TOOLS__HTTP__ALLOW_PRIVATE", "true")
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command line (words separated by blanks) to its end.
    pub(crate) fn crane(&self, line: &str) -> Ended {
        self.run(line.split_whitespace())
    }

    /// Runs the program to its end.
    pub(crate) fn run<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Ended {
        let command = self.command(arguments);
        end(assert_cmd::Command::from_std(command))
    }

    /// Runs a command that must succeed, and gives what it says as JSON.
    #[track_caller]
    pub(crate) fn json(&self, line: &str) -> Value {
        let ended = self.crane(line);
        assert_eq!(ended.code, Some(0), "{line}: {ended:?}");
        serde_json::from_str(&ended.stdout).unwrap()
    }

    /// Starts the program in the background.
    pub(crate) fn start(&self, line: &str) -> Running {
        Running::spawn(self.command(line.split_whitespace()))
    }
}

pub(crate) fn end(mut command: assert_cmd::Command) -> Ended {
    let output = command.timeout(PATIENCE).output().unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The program, while it runs.
pub(crate) struct Running {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
    stderr: BufReader<std::process::ChildStderr>,
    /// What was read of standard output so far.
    printed: String,
}

impl Running {
    /// Starts a command whose output is read here.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self {
            child,
            stdout,
            stderr,
            printed: String::new(),
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap()
    }

    /// Reads standard error up to the first line that contains `text`.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            let read = self.stderr.read_line(&mut line).unwrap();
            assert!(
                read > 0,
                "the program ended without saying {text:?}: {seen}"
            );
            if line.contains(text) {
                return line;
            }
            seen.push_str(&line);
        }
    }

    /// Reads standard output up to the first line that contains `text`.
    #[track_caller]
    pub(crate) fn wait_for_output(&mut self, text: &str) {
        let mut from = 0;
        while !self.printed[from..].contains(text) {
            from = self.printed.len();
            let read = self.stdout.read_line(&mut self.printed).unwrap();
            assert!(read > 0, "{text:?} was not printed: {}", self.printed);
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for the end; standard error is what was not read before.
    pub(crate) fn end(mut self) -> Ended {
        let mut stderr = String::new();
        self.stderr.read_to_string(&mut stderr).unwrap();
        self.stdout.read_to_string(&mut self.printed).unwrap();
        Ended {
            code: self.child.wait().unwrap().code(),
            stdout: self.printed,
            stderr,
        }
    }
}

/// A web server on this machine that hands each request to the test.
pub(crate) struct Server {
    pub(crate) url: String,
    requests: Receiver<Request>,
}

/// A request that waits for its answer.
pub(crate) struct Request {
    pub(crate) head: String,
    stream: TcpStream,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let (sender, requests) = channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let mut head = String::new();
                while let Some(Ok(line)) = lines.next()
                    && !line.is_empty()
                {
                    head.push_str(&line.to_lowercase());
                    head.push('\n');
                }
                // The test that asked for it may be over.
                let _ = sender.send(Request { head, stream });
            }
        });
        Self { url, requests }
    }

    /// The next request.
    pub(crate) fn request(&self) -> Request {
        self.requests.recv_timeout(PATIENCE).unwrap()
    }
}

impl Request {
    pub(crate) fn answer_json(mut self, body: &Value) {
        let body = body.to_string();
        let length = body.len();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
        let text = format!("{head}\r\ncontent-length: {length}\r\n\r\n{body}");
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find_map(|line| line.strip_prefix(name));
        line.map(|rest| rest.trim_start_matches(':').trim())
    }
}

/// A file of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
