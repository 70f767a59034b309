//! HTTP by hand, so that every way in which a connection breaks is seen.
//!
//! Requests are HTTP/1.0: an answer ends with its connection, and a stream of events comes without
//! the frames of chunked encoding.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::PATIENCE;
use super::history::History;

/// An answer that came whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    #[track_caller]
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (given, value) = line.split_once(':')?;
            (given == name).then_some(value.trim())
        })
    }
}

/// The text of a request.
pub(super) fn request(method: &str, path: &str, headers: &[String], body: &str) -> String {
    let mut text = format!("{method} {path} HTTP/1.0\r\nhost: localhost\r\n");
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    if !body.is_empty() {
        text.push_str("content-type: application/json\r\n");
    }
    let length = body.len();
    text.push_str(&format!("content-length: {length}\r\n\r\n{body}"));
    text
}

/// One request on a connection of its own.
pub(super) fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[String],
    body: &str,
) -> io::Result<Answer> {
    let mut stream = connect(address)?;
    stream.write_all(request(method, path, headers, body).as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let cut = || io::Error::new(io::ErrorKind::UnexpectedEof, "the answer was cut");
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(cut)?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    let answer = Answer {
        status: status.ok_or_else(cut)?,
        head: head.to_lowercase(),
        body: body.to_owned(),
    };
    let length = answer.header("content-length");
    let length = length.map(|length| length.parse().unwrap_or(usize::MAX));
    if length.is_some_and(|length| length != answer.body.len()) {
        return Err(cut());
    }
    Ok(answer)
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A frame of a stream as it comes in, line by line.
#[derive(Default)]
pub(super) struct Frame {
    id: Option<u64>,
    event: Option<String>,
}

impl Frame {
    /// Takes a line; gives the id and the type of the frame that it completes.
    pub(super) fn line(&mut self, line: &str) -> Option<(Option<u64>, String)> {
        if let Some(id) = line.strip_prefix("id: ") {
            self.id = Some(id.parse().unwrap());
        } else if let Some(event) = line.strip_prefix("event: ") {
            self.event = Some(event.to_owned());
        } else if line.is_empty() {
            let Self { id, event } = std::mem::take(self);
            return event.map(|event| (id, event));
        }
        None
    }
}

/// Goes on reading the events of a run behind the last that `history` holds, until the stream or
/// the connection ends. Gives the status of the answer.
pub(super) fn follow(address: SocketAddr, id: &str, history: &mut History) -> io::Result<u16> {
    let mut stream = connect(address)?;
    let path = format!("/api/v1/runs/{id}/events");
    let text = request("GET", &path, &resume(history), "");
    stream.write_all(text.as_bytes())?;
    let mut lines = BufReader::new(stream).lines();
    let head = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    let cut = || io::Error::new(io::ErrorKind::UnexpectedEof, "the answer was cut");
    let status: u16 = status.ok_or_else(cut)?;
    if status != 200 {
        return Ok(status);
    }
    for line in lines.by_ref() {
        if line?.is_empty() {
            break;
        }
    }
    let mut frame = Frame::default();
    for line in lines {
        if let Some((Some(id), event)) = frame.line(&line?) {
            history.push((id, event));
        }
    }
    Ok(status)
}

/// The header by which a reader goes on.
pub(super) fn resume(history: &History) -> Vec<String> {
    let last = history.last();
    last.map(|(id, _)| format!("last-event-id: {id}"))
        .into_iter()
        .collect()
}
