//! HTTP/1.1 by hand: one request a connection, and the events of a stream.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::time::Duration;

use rustix::net::sockopt::Timeout;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType};
use serde_json::Value;

use crate::history::History;
use crate::network::HOST;

/// What clients show to nodes.
pub(crate) const TOKEN: &str = "a-token-that-all-clients-have";
/// Longest time until there is a connection.
const CONNECT: Duration = Duration::from_secs(2);
/// Longest time that a node may be silent.
const SILENCE: Duration = Duration::from_secs(40);

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In lower case.
    head: String,
    pub(crate) body: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// There was no connection, so that nobody has seen the request.
    Unreached,
    /// The connection ended, or was silent for too long.
    Broken(String),
}

/// A connection from this side of the bridge. Once the bridge is gone there is none: nothing that a
/// test leaves behind ever reaches for these addresses through the machine's other interfaces.
fn connect(address: SocketAddr) -> Result<TcpStream, Failure> {
    let SocketAddr::V4(address) = address else {
        return Err(Failure::Unreached);
    };
    let [a, b, c, _] = address.ip().octets();
    let here = SocketAddrV4::new(Ipv4Addr::new(a, b, c, HOST), 0);
    let reach = || {
        let flags = SocketFlags::CLOEXEC;
        let socket = net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        net::bind(&socket, &here)?;
        // That of connecting as well (socket(7)).
        net::sockopt::set_socket_timeout(&socket, Timeout::Send, Some(CONNECT))?;
        net::connect(&socket, &address)?;
        Ok::<_, rustix::io::Errno>(TcpStream::from(socket))
    };
    let stream = reach().map_err(|_| Failure::Unreached)?;
    let set = stream
        .set_read_timeout(Some(SILENCE))
        .and_then(|()| stream.set_write_timeout(Some(SILENCE)));
    set.map_err(|_| Failure::Unreached)?;
    Ok(stream)
}

fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[String],
    body: &str,
) -> Result<TcpStream, Failure> {
    let mut stream = connect(address)?;
    let mut text = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         authorization: Bearer {TOKEN}\r\n"
    );
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    if !body.is_empty() {
        text.push_str("content-type: application/json\r\n");
    }
    text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    stream
        .write_all(text.as_bytes())
        .map_err(|error| Failure::Broken(error.to_string()))?;
    Ok(stream)
}

/// One request and its answer.
pub(crate) fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[String],
    body: &str,
) -> Result<Answer, Failure> {
    let mut stream = send(address, method, path, headers, body)?;
    let mut bytes = Vec::new();
    stream
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::Broken(error.to_string()))?;
    let cut = || Failure::Broken(format!("the answer ends after {} bytes", bytes.len()));
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let (head, body) = bytes.split_at(end.ok_or_else(cut)? + 4);
    let head = String::from_utf8_lossy(head).to_lowercase();
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let mut answer = Answer {
        status: status.ok_or_else(cut)?,
        head,
        body: String::new(),
    };
    let length = answer.header("content-length");
    let length: Option<usize> = length.and_then(|text| text.parse().ok());
    let body = match length {
        Some(length) => (body.len() == length).then(|| body.to_vec()),
        None if answer.header("transfer-encoding") == Some("chunked") => joined(body),
        None => Some(body.to_vec()),
    };
    answer.body = String::from_utf8_lossy(&body.ok_or_else(cut)?).into_owned();
    Ok(answer)
}

/// A body that comes in chunks (RFC 9112, section 7.1); `None` when its end is missing.
fn joined(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..line]).ok()?, 16).ok()?;
        let chunk = rest.get(line + 2..line + 2 + length)?;
        if length == 0 {
            return Some(whole);
        }
        whole.extend_from_slice(chunk);
        rest = rest.get(line + 2 + length + 2..)?;
    }
}

/// Reads the events of a run behind those of `history` for as long as the stream lasts and is wanted;
/// the status.
pub(crate) fn follow(
    address: SocketAddr,
    run: &str,
    history: &mut History,
    wanted: impl Fn() -> bool,
) -> Result<u16, Failure> {
    let last = history
        .last()
        .map(|(seq, _)| format!("last-event-id: {seq}"));
    let headers: Vec<String> = last.into_iter().collect();
    let path = format!("/api/v1/runs/{run}/events");
    let stream = send(address, "GET", &path, &headers, "")?;
    let mut lines = BufReader::new(stream).lines();
    let mut line = || match lines.next() {
        Some(Ok(line)) => Ok(Some(line)),
        Some(Err(error)) => Err(Failure::Broken(error.to_string())),
        None => Ok(None),
    };
    let first = line()?.unwrap_or_default();
    let status = first
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| Failure::Broken(format!("no answer: {first:?}")))?;
    if status != 200 {
        return Ok(status);
    }
    let (mut id, mut kind) = (None, String::new());
    while let Some(line) = line()?.filter(|_| wanted()) {
        if let Some(seq) = line.strip_prefix("id: ") {
            id = seq.trim().parse().ok();
        } else if let Some(name) = line.strip_prefix("event: ") {
            kind = name.trim().to_owned();
        } else if line.trim().is_empty()
            && let Some(seq) = id.take()
        {
            // A message counts when it is whole; chunks begin on lines of their own.
            history.push((seq, std::mem::take(&mut kind)));
        }
    }
    Ok(status)
}
