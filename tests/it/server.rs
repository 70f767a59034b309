//! `crane serve` from outside: who comes in, who is cut, how it starts and how it stops.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "helpers of a test may panic like the test, and its time is real"
)]

mod access;
mod deployed;
mod ends;
mod life;
mod settings;
mod slow;
mod systemd;
mod tls;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use crate::program::process::{Process, eventually};
use crate::program::{Home, PATIENCE};

/// A node that serves.
struct Serving {
    process: Process,
    address: SocketAddr,
}

/// An answer as it came over the wire.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl std::ops::Deref for Serving {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl Serving {
    /// Starts `crane serve` on a free port.
    fn start(home: &Home, options: &str) -> Self {
        Self::of(Process::serve(home, options))
    }

    fn spawn(home: &Home, command: Command) -> Self {
        Self::of(Process::spawn(home, command))
    }

    fn of(process: Process) -> Self {
        let address = process.address;
        Self { process, address }
    }

    fn wait_for(&self, text: &str) {
        eventually(text, || self.said().contains(text));
    }

    /// Waits for its end; gives the exit code.
    fn end(&mut self) -> Option<i32> {
        self.process.end().code()
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Whether somebody could connect now.
    fn takes_connections(&self) -> bool {
        TcpStream::connect(self.address).is_ok()
    }

    /// One request on a connection of its own, with these lines of headers.
    fn get(&self, path: &str, headers: &str) -> Answer {
        self.send(&format!(
            "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n"
        ))
    }

    fn post(&self, path: &str, body: &str) -> Answer {
        let length = body.len();
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
    }

    fn send(&self, text: &str) -> Answer {
        let mut stream = self.connect();
        stream.write_all(text.as_bytes()).unwrap();
        Answer::read(stream)
    }

    fn is_live(&self) -> bool {
        self.get("/api/v1/health/live", "").status == 200
    }
}

impl Answer {
    /// Reads until the server closes.
    fn read(mut stream: impl Read) -> Self {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split_whitespace().nth(1).unwrap_or("0");
        Self {
            status: status.parse().unwrap(),
            head: head.to_lowercase(),
            body: body.to_owned(),
        }
    }
}

/// Whether the other side closes, or has closed, the connection, within so long.
fn closes_within(mut stream: &TcpStream, time: Duration) -> bool {
    stream.set_read_timeout(Some(time)).unwrap();
    let mut buffer = [0; 1_024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}
