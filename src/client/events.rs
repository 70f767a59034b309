//! The events of a run as a server streams them, over broken connections and restarts of the node.
//!
//! ```text
//!   connect (Last-Event-ID) ──> message ──> event, in order, none twice ──> ... ──> terminal event
//!       ^   204: nothing more      │ lost, silent, lagged, ended too early              │ end
//!       └───────── pause ──────────┘                                                    v
//!                                                                                    None
//! ```

use std::time::Duration;

use axum::http::{StatusCode, header};
use crane_core::{RunId, Seq};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::Client;
use super::call::Call;
use super::connection::Connection;
use super::error::{Error, Refusal};
use super::outage::{Outage, Patience};
use super::sse::{Message, Parser};

/// A stream that has not even sent a comment for so long is dead; the server sends one every 15 s.
const SILENCE: Duration = Duration::from_secs(45);
/// How long a stream goes on trying: the restart of a node, or of the machine it is on.
const PATIENCE: Patience = Patience {
    unreachable: Duration::from_secs(300),
    refused: Duration::from_secs(300),
};

/// An event as the server sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Its place in the run.
    pub seq: Seq,
    /// Its JSON.
    pub json: String,
}

/// Reads the events of one run. See the module.
#[derive(Debug)]
pub struct Events {
    client: Client,
    run: RunId,
    silence: Duration,
    /// The last event handed out.
    last: Seq,
    /// Whether that ended a round.
    is_terminal: bool,
    stream: Option<Stream>,
    outage: Outage,
}

#[derive(Debug)]
struct Stream {
    body: Incoming,
    parser: Parser,
    /// Whether it has brought an event.
    progress: bool,
    /// Drives the body.
    _connection: Connection,
}

/// What a stream has to say.
enum Heard {
    Message(Message),
    /// A comment, or a part of a message.
    Life,
    /// It ended as streams end.
    End,
    Lost(Error),
}

impl Client {
    /// The events of a run after `after`.
    pub fn events(&self, run: RunId, after: Seq) -> Events {
        Events {
            client: self.clone(),
            run,
            silence: SILENCE,
            last: after,
            is_terminal: false,
            stream: None,
            outage: Outage::none(self.0.say, PATIENCE),
        }
    }
}

impl Events {
    /// Takes a stream for dead that says nothing for so long, in place of [`SILENCE`].
    #[cfg(test)]
    pub(super) fn impatient(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }

    /// Whom it asks.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The next event; `None` after the terminal event of the run's current round.
    ///
    /// # Errors
    /// When the server refuses, cannot be reached for minutes, or says what no node says.
    pub async fn next(&mut self) -> Result<Option<Text>, Error> {
        loop {
            let heard = match &mut self.stream {
                Some(stream) => stream.hear(&self.client, self.silence).await,
                None => match self.connect().await {
                    Ok(Some(stream)) => {
                        self.outage.answered();
                        self.stream = Some(stream);
                        continue;
                    }
                    Ok(None) => return Ok(None),
                    Err(error) => Heard::Lost(error),
                },
            };
            match heard {
                Heard::Message(message) if message.id.is_none() => {
                    if message.event == "lagged" {
                        self.lagged().await?;
                    }
                }
                Heard::Message(message) => {
                    self.outage.over();
                    if let Some(text) = self.take(message)? {
                        return Ok(Some(text));
                    }
                }
                Heard::Life => self.outage.over(),
                Heard::End if self.is_terminal => return Ok(None),
                Heard::End => self.lost("the server ended the stream").await?,
                Heard::Lost(error) if !self.client.was_reached() => return Err(error),
                Heard::Lost(error) => self.wait(error).await?,
            }
        }
    }

    /// The server could not hold what this reader was too slow to take; it is read again from there.
    async fn lagged(&mut self) -> Result<(), Error> {
        let progress = self.stream.take().is_some_and(|stream| stream.progress);
        if progress {
            return Ok(());
        }
        self.lost("this reader was too slow").await
    }

    async fn lost(&mut self, reason: &str) -> Result<(), Error> {
        self.wait(Error::broken(&self.client.0.target, reason))
            .await
    }

    async fn wait(&mut self, error: Error) -> Result<(), Error> {
        self.stream = None;
        self.outage.wait(error).await
    }

    /// A stream from where this one stands; `None` when the server says that nothing more comes.
    async fn connect(&self) -> Result<Option<Stream>, Error> {
        let mut call = Call::get(format!("/runs/{}/events", self.run));
        call.accept = "text/event-stream";
        call.last_event_id = Some(self.last.0).filter(|last| *last > 0);
        let (connection, response) = self.client.exchange(&call).await?;
        let (parts, body) = response.into_parts();
        if parts.status == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        if !parts.status.is_success() {
            let body = self.client.collect(body).await?;
            let refusal = Refusal::read(parts.status, &parts.headers, &body);
            return Err(Error::Refused(Box::new(refusal)));
        }
        let kind = parts.headers.get(header::CONTENT_TYPE);
        let is_stream = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        if !is_stream {
            let reason = "it is no event stream";
            return Err(Error::strange(&self.client.0.target, reason));
        }
        Ok(Some(Stream {
            body,
            parser: Parser::default(),
            progress: false,
            _connection: connection,
        }))
    }

    /// The event in a message, if it is new.
    fn take(&mut self, message: Message) -> Result<Option<Text>, Error> {
        let id = message.id.unwrap_or_default();
        let strange = |reason: String| Error::strange(&self.client.0.target, reason);
        let seq = id
            .parse()
            .map(Seq)
            .map_err(|_| strange(format!("an event has the id {id:?}")))?;
        if seq <= self.last {
            return Ok(None);
        }
        if seq != self.last.next() {
            let last = self.last;
            return Err(strange(format!("event {seq} follows event {last}")));
        }
        self.last = seq;
        let terminal = ["run_completed", "run_failed", "run_cancelled"];
        self.is_terminal = terminal.contains(&message.event.as_str());
        if let Some(stream) = &mut self.stream {
            stream.progress = true;
        }
        let json = message.data;
        Ok(Some(Text { seq, json }))
    }
}

impl Stream {
    async fn hear(&mut self, client: &Client, silence: Duration) -> Heard {
        let target = &client.0.target;
        if let Some(message) = self.parser.next() {
            return Heard::Message(message);
        }
        let frame = match tokio::time::timeout(silence, self.body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => return Heard::Lost(Error::on_the_wire(target, &error)),
            Ok(None) => return Heard::End,
            Err(_) => {
                let reason = format!("nothing came for {silence:?}");
                return Heard::Lost(Error::broken(target, reason));
            }
        };
        match frame.into_data().map(|bytes| self.parser.feed(&bytes)) {
            Ok(Err(wrong)) => Heard::Lost(Error::strange(target, wrong.to_string())),
            Ok(Ok(())) | Err(_) => match self.parser.next() {
                Some(message) => Heard::Message(message),
                None => Heard::Life,
            },
        }
    }
}
