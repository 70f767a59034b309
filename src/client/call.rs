//! One call: a request, its answer, and what is done when there is none.
//!
//! ```text
//!   Call ──> kept connection, or a new one ──> head ──> body ──> Answer, or the server's refusal
//!    ^              │ lost, and the call may be repeated
//!    └── pause <────┘ (at once, when nothing of it was sent)
//! ```
//!
//! What may be repeated: reading; a submit with its Idempotency-Key; what has no further effect the
//! second time. The first connection of all is not waited for: who mistyped an address wants to know.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};

use super::Client;
use super::connection::Connection;
use super::error::{Error, Refusal};
use super::outage::{Outage, Patience};

/// Longest time until the head of an answer, and between two pieces of its body.
const ANSWER: Duration = Duration::from_secs(30);
/// Longest answer: a page of a hundred runs of 2.5 MiB.
const ANSWER_BYTES: usize = 256 << 20;
/// How long a call goes on trying.
const PATIENCE: Patience = Patience {
    unreachable: Duration::from_secs(30),
    refused: Duration::from_secs(10),
};

/// A request to the API.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    /// What the path is below.
    base: &'static str,
    /// With the query.
    pub(super) path: String,
    pub(super) accept: &'static str,
    /// JSON.
    pub(super) body: Option<Bytes>,
    pub(super) key: Option<String>,
    pub(super) last_event_id: Option<u64>,
    /// Whether it may be sent again when its answer was lost.
    pub(super) repeatable: bool,
}

/// What a server answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Call {
    fn new(method: Method, path: impl Into<String>, repeatable: bool) -> Self {
        Self {
            method,
            base: crate::api::BASE,
            path: path.into(),
            accept: "application/json",
            body: None,
            key: None,
            last_event_id: None,
            repeatable,
        }
    }

    /// Reads.
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path, true)
    }

    /// Reads the metrics, which are beside the API.
    pub(super) fn metrics() -> Self {
        Self {
            base: "",
            accept: "text/plain",
            ..Self::get("/metrics")
        }
    }

    /// Changes something.
    pub(super) fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path, false)
    }

    /// Ends something, which can be said twice.
    pub(super) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path, true)
    }

    pub(super) fn body(mut self, json: impl Into<Bytes>) -> Self {
        self.body = Some(json.into());
        self
    }

    /// With a key that makes repeating it harmless.
    pub(super) fn key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self.repeatable = true;
        self
    }

    /// Says that the second time changes nothing.
    pub(super) fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }
}

impl Client {
    /// Makes a call until there is an answer, or no hope of one.
    pub(super) async fn call(&self, call: &Call) -> Result<Answer, Error> {
        let first = self.attempt(call).await;
        self.go_on(call, first).await
    }

    /// The same for a call that was made once already.
    pub(super) async fn go_on(
        &self,
        call: &Call,
        mut attempted: Result<Answer, Error>,
    ) -> Result<Answer, Error> {
        let mut outage = Outage::none(self.0.say, PATIENCE);
        loop {
            match attempted {
                Ok(answer) => {
                    outage.over();
                    return Ok(answer);
                }
                Err(error) if call.repeatable && self.was_reached() => outage.wait(error).await?,
                Err(error) => return Err(error),
            }
            attempted = self.attempt(call).await;
        }
    }

    /// Whether there has ever been a connection.
    pub(super) fn was_reached(&self) -> bool {
        self.0.reached.load(Ordering::Relaxed)
    }

    /// Makes a call once.
    pub(super) async fn attempt(&self, call: &Call) -> Result<Answer, Error> {
        let (connection, response) = self.exchange(call).await?;
        let (parts, body) = response.into_parts();
        let body = self.collect(body).await?;
        self.keep(connection);
        if parts.status.is_success() {
            return Ok(Answer {
                status: parts.status,
                headers: parts.headers,
                body,
            });
        }
        let refusal = Refusal::read(parts.status, &parts.headers, &body);
        Err(Error::Refused(Box::new(refusal)))
    }

    /// The head of the answer, and the connection on which its body comes.
    pub(super) async fn exchange(
        &self,
        call: &Call,
    ) -> Result<(Connection, Response<Incoming>), Error> {
        let mut request = self.request(call)?;
        if let Some(mut kept) = self.kept() {
            match self.send(&mut kept, request).await? {
                Sent::Answered(response) => return Ok((kept, *response)),
                // The server has closed it meanwhile, as it may.
                Sent::Unsent(unsent, _) => request = *unsent,
            }
        }
        let mut fresh = self.connect().await?;
        match self.send(&mut fresh, request).await? {
            Sent::Answered(response) => Ok((fresh, *response)),
            Sent::Unsent(_, error) => Err(error),
        }
    }

    /// A new connection.
    pub(super) async fn connect(&self) -> Result<Connection, Error> {
        let connection = Connection::open(&self.0.target, self.0.tls.as_ref()).await?;
        self.0.reached.store(true, Ordering::Relaxed);
        Ok(connection)
    }

    async fn send(
        &self,
        connection: &mut Connection,
        request: Request<Full<Bytes>>,
    ) -> Result<Sent, Error> {
        let target = &self.0.target;
        match tokio::time::timeout(ANSWER, connection.send(request)).await {
            Ok(Ok(response)) => Ok(Sent::Answered(Box::new(response))),
            Ok(Err(unanswered)) => {
                let error = Error::on_the_wire(target, &unanswered.error);
                match unanswered.unsent {
                    Some(request) => Ok(Sent::Unsent(request, error)),
                    None => Err(error),
                }
            }
            Err(_) => Err(self.timed_out()),
        }
    }

    fn timed_out(&self) -> Error {
        Error::TimedOut {
            server: self.0.target.to_string(),
            after: ANSWER,
        }
    }

    /// A whole body.
    pub(super) async fn collect(&self, mut body: Incoming) -> Result<Bytes, Error> {
        let target = &self.0.target;
        let mut whole = BytesMut::new();
        while let Some(data) = self.data(&mut body).await? {
            if whole.is_empty() && body.is_end_stream() {
                // Most answers come in one piece, which need not be copied.
                return Ok(data);
            }
            whole.extend_from_slice(&data);
            if whole.len() > ANSWER_BYTES {
                let reason = format!("it is longer than {ANSWER_BYTES} bytes");
                return Err(Error::strange(target, reason));
            }
        }
        Ok(whole.freeze())
    }

    /// The next piece of a body; `None` at its end.
    async fn data(&self, body: &mut Incoming) -> Result<Option<Bytes>, Error> {
        loop {
            let frame = tokio::time::timeout(ANSWER, body.frame()).await;
            match frame.map_err(|_| self.timed_out())? {
                None => return Ok(None),
                Some(Err(error)) => return Err(Error::on_the_wire(&self.0.target, &error)),
                Some(Ok(frame)) => {
                    // What is no data are trailers.
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// The request as it goes on the wire.
    pub(super) fn request(&self, call: &Call) -> Result<Request<Full<Bytes>>, Error> {
        let target = &self.0.target;
        let path = format!("{}{}{}", target.prefix, call.base, call.path);
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(path)
            .header(header::HOST, &target.authority)
            .header(header::ACCEPT, call.accept)
            .header(header::USER_AGENT, USER_AGENT);
        if let Some(token) = &self.0.token {
            request = request.header(header::AUTHORIZATION, &token.0);
        }
        if call.body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(key) = &call.key {
            request = request.header("idempotency-key", key);
        }
        if let Some(id) = call.last_event_id {
            request = request.header("last-event-id", HeaderValue::from(id));
        }
        request
            .body(Full::new(call.body.clone().unwrap_or_default()))
            .map_err(|error| Error::strange(target, format!("no request fits it ({error})")))
    }

    /// The connection that the last call left, if it still stands.
    fn kept(&self) -> Option<Connection> {
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.take().filter(|connection| !connection.is_closed())
    }

    fn keep(&self, connection: Connection) {
        if !connection.is_closed() {
            *self.0.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
        }
    }
}

/// How the program introduces itself.
const USER_AGENT: &str = concat!("crane/", env!("CARGO_PKG_VERSION"));

/// What became of a request.
enum Sent {
    Answered(Box<Response<Incoming>>),
    /// The server cannot have seen it.
    Unsent(Box<Request<Full<Bytes>>>, Error),
}
