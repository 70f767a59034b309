//! A server that does with each request what the next line of its script says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What is done with one request.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// These bytes; the connection stays.
    Say(String),
    /// These bytes, then the connection is closed.
    SayAndClose(String),
}

/// What all connections share.
#[derive(Debug)]
struct Script {
    acts: Mutex<VecDeque<Act>>,
    requests: watch::Sender<Vec<String>>,
    connections: watch::Sender<usize>,
}

/// See the module. It ends when it is dropped.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) address: String,
    script: Arc<Script>,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(super) async fn start(acts: impl IntoIterator<Item = Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let script = Arc::new(Script {
            acts: Mutex::new(acts.into_iter().collect()),
            requests: watch::Sender::new(Vec::new()),
            connections: watch::Sender::new(0),
        });
        let mut tasks = JoinSet::new();
        let shared = script.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                shared.connections.send_modify(|count| *count += 1);
                connections.spawn(serve(stream, shared.clone()));
            }
        });
        Self {
            address,
            script,
            _tasks: tasks,
        }
    }

    /// The requests so far, each with its head in lower case and its body.
    pub(super) fn requests(&self) -> Vec<String> {
        self.script.requests.borrow().clone()
    }

    pub(super) fn connections(&self) -> usize {
        *self.script.connections.borrow()
    }
}

/// Serves one connection.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S, script: Arc<Script>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = request(&mut stream).await {
        let act = script
            .acts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        script.requests.send_modify(|all| all.push(request));
        let (text, close) = match act {
            Some(Act::Say(text)) => (text, false),
            Some(Act::SayAndClose(text)) => (text, true),
            None => (answer(500, "the script is at its end"), true),
        };
        let said = stream.write_all(text.as_bytes()).await;
        if said.is_err() || stream.flush().await.is_err() || close {
            return;
        }
    }
}

/// The head in lower case, and the body.
async fn request<S: AsyncRead + Unpin>(stream: &mut S) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?.to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .map_or(0, |length| length.trim().parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(head + &String::from_utf8(body).ok()?)
}

/// An answer of this status with this body.
pub(super) fn answer(status: u16, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// A stream of these messages that goes on.
pub(super) fn stream(messages: &[String]) -> String {
    let mut text = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
        transfer-encoding: chunked\r\n\r\n"
        .to_owned();
    for message in messages {
        text.push_str(&format!("{:x}\r\n{message}\r\n", message.len()));
    }
    text
}

/// A stream of these messages that ends.
pub(super) fn whole_stream(messages: &[String]) -> String {
    stream(messages) + "0\r\n\r\n"
}
