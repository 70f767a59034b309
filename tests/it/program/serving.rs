//! A started `crane serve`, and HTTP/1.1 by hand: requests that no library would send, answers as
//! they come over the wire.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Command, ExitStatus};

use rustix::process::Signal;
use serde_json::Value;

use super::process::Process;
use super::{Home, PATIENCE};

/// Where the API lives.
pub(crate) const BASE: &str = "/api/v1";

/// A node that serves.
pub(crate) struct Serving {
    process: Process,
    pub(crate) address: SocketAddr,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The lines of the head, names in lower case.
    pub(crate) head: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// A kept connection.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

impl Serving {
    /// Starts `crane serve` on the data `d` of `home` and a free port.
    pub(crate) fn start(home: &Home) -> Self {
        Self::spawn(
            home,
            home.command(["serve", "--listen", "127.0.0.1:0", "--data", "d"]),
        )
    }

    /// The same with settings, such as `CRANE__LIMITS__STEPS`.
    pub(crate) fn with(home: &Home, settings: &[(&str, &str)]) -> Self {
        let mut command = home.command(["serve", "--listen", "127.0.0.1:0", "--data", "d"]);
        command.envs(settings.iter().copied());
        Self::spawn(home, command)
    }

    pub(crate) fn spawn(home: &Home, command: Command) -> Self {
        let process = Process::spawn(home, command);
        let address = process.address;
        Self { process, address }
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.process.kill();
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> ExitStatus {
        self.process.end()
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// Makes it go down in good order.
    pub(crate) fn terminate(&self) {
        self.process.signal(Signal::TERM);
    }

    /// What it wrote to standard error.
    pub(crate) fn said(&self) -> String {
        self.process.said()
    }

    /// Its resident memory in bytes (Linux).
    pub(crate) fn memory(&self) -> usize {
        self.process.memory()
    }

    pub(crate) fn connect(&self) -> Connection {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Connection {
            stream: BufReader::new(stream),
        }
    }

    /// One request on a connection of its own.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let mut connection = self.connect();
        connection.send(&request(method, path, headers, body));
        connection.answer().unwrap()
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", &format!("{BASE}{path}"), "", b"")
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", &format!("{BASE}{path}"), "", b"")
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_with(path, "", body)
    }

    /// With further lines of headers, each ending in `\r\n`.
    pub(crate) fn post_with(&self, path: &str, headers: &str, body: &Value) -> Answer {
        let headers = format!("content-type: application/json\r\n{headers}");
        self.ask(
            "POST",
            &format!("{BASE}{path}"),
            &headers,
            body.to_string().as_bytes(),
        )
    }

    /// Submits something that must be accepted, and gives its id.
    #[track_caller]
    pub(crate) fn submit(&self, body: &Value) -> String {
        let answer = self.post("/runs", body);
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["run_id"].as_str().unwrap().to_owned()
    }

    /// Opens the event stream of a run.
    pub(crate) fn follow(&self, id: &str, headers: &str) -> Connection {
        let mut connection = self.connect();
        connection.send(&request(
            "GET",
            &format!("{BASE}/runs/{id}/events"),
            headers,
            b"",
        ));
        connection
    }
}

/// The bytes of a request whose length is right.
pub(crate) fn request(method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head =
        format!("{method} {path} HTTP/1.1\r\nhost: x\r\n{headers}content-length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

impl Connection {
    /// Writes as much as the other side takes; it may refuse in the middle and close.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.get_mut().write_all(bytes);
    }

    /// Says that nothing more will come.
    pub(crate) fn finish(&mut self) {
        let _ = self.stream.get_ref().shutdown(Shutdown::Write);
    }

    /// The next answer; `None` when the connection was closed without one.
    pub(crate) fn answer(&mut self) -> Option<Answer> {
        let mut answer = self.head()?;
        if answer.header("transfer-encoding") == "chunked" {
            while let Some(chunk) = self.chunk() {
                answer.body.extend_from_slice(&chunk);
            }
        } else if let Ok(length) = answer.header("content-length").parse() {
            answer.body = vec![0; length];
            self.stream.read_exact(&mut answer.body).unwrap();
        }
        Some(answer)
    }

    /// The head of the next answer.
    pub(crate) fn head(&mut self) -> Option<Answer> {
        let first = self.line()?;
        let status = first.split(' ').nth(1)?.parse().ok()?;
        let mut head = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            head.push((name.to_lowercase(), value.trim().to_owned()));
        }
        Some(Answer {
            status,
            head,
            body: Vec::new(),
        })
    }

    /// The next chunk of a body without a length; `None` at its end.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let length = usize::from_str_radix(&self.line()?, 16).ok()?;
        let mut chunk = vec![0; length + 2];
        self.stream.read_exact(&mut chunk).ok()?;
        chunk.truncate(length);
        (length > 0).then_some(chunk)
    }

    /// The frames of an event stream up to its end, without its comments.
    #[track_caller]
    pub(crate) fn frames(&mut self) -> Vec<String> {
        let head = self.head().unwrap();
        assert_eq!(head.status, 200, "{head:?}");
        let mut text = Vec::new();
        while let Some(chunk) = self.chunk() {
            text.extend_from_slice(&chunk);
        }
        let text = String::from_utf8(text).unwrap();
        let frames = text.split_inclusive("\n\n");
        let frames = frames.filter(|frame| !frame.starts_with(':'));
        frames.map(str::to_owned).collect()
    }

    fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        let read = self.stream.read_until(b'\n', &mut line);
        read.ok().filter(|read| *read > 0)?;
        Some(String::from_utf8_lossy(&line).trim_end().to_owned())
    }
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of a header; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.head.iter().find(|(given, _)| given == name);
        found.map_or("", |(_, value)| value)
    }

    /// Holds that this is an error in the one form, and gives its details.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, kind: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        let (given, details) = self.error();
        assert_eq!(given, kind, "{}", self.text());
        details
    }

    /// The type and details of an error in the one form.
    #[track_caller]
    pub(crate) fn error(&self) -> (String, Value) {
        assert_eq!(self.header("content-type"), "application/json", "{self:?}");
        let error = self.json();
        let members = error.as_object().unwrap();
        let names: Vec<&str> = members.keys().map(String::as_str).collect();
        assert_eq!(names, ["detail", "details", "error_type"], "{error}");
        assert!(
            error["detail"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
        );
        assert!(error["details"].is_object());
        assert!(!self.header("x-request-id").is_empty());
        let kind = error["error_type"].as_str().unwrap().to_owned();
        (kind, error["details"].clone())
    }
}
