//! A connection of its own for one kind of request, again and again: what a load generator needs,
//! which shares the machine with what it measures. Everything but the body is made once.

use std::time::Duration;

use axum::http::{HeaderMap, Method, Request, Uri};
use bytes::Bytes;
use http_body_util::Full;

use super::Client;
use super::call::Call;
use super::connection::Connection;
use super::error::{Error, Refusal};

/// Longest time for a request: what the API waits at most, and the usual time for an answer.
const PATIENCE: Duration = Duration::from_secs(90);

/// See the module.
#[derive(Debug)]
pub struct Lane {
    client: Client,
    connection: Option<Connection>,
    uri: Uri,
    headers: HeaderMap,
}

impl Client {
    /// A lane for POST requests to a path of the API, not connected yet.
    ///
    /// # Errors
    /// A path that is none.
    pub fn lane(&self, path: &str) -> Result<Lane, Error> {
        let call = Call::post(path).body(Bytes::new());
        let (parts, _) = self.request(&call)?.into_parts();
        Ok(Lane {
            client: self.clone(),
            connection: None,
            uri: parts.uri,
            headers: parts.headers,
        })
    }
}

impl Lane {
    /// Connects, if that was not done yet.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn connect(&mut self) -> Result<&mut Connection, Error> {
        let connection = match self.connection.take().filter(|kept| !kept.is_closed()) {
            Some(kept) => kept,
            None => self.client.connect().await?,
        };
        Ok(self.connection.insert(connection))
    }

    /// Posts a body of JSON, and gives the body of the answer. Nothing is repeated.
    ///
    /// # Errors
    /// As a call; the next one starts on a new connection.
    pub async fn post(&mut self, body: Bytes) -> Result<Bytes, Error> {
        let posted = tokio::time::timeout(PATIENCE, self.exchange(body)).await;
        let posted = posted.unwrap_or_else(|_| {
            Err(Error::TimedOut {
                server: self.client.target().to_string(),
                after: PATIENCE,
            })
        });
        if let Err(error) = &posted
            && !matches!(error, Error::Refused(_))
        {
            self.connection = None;
        }
        posted
    }

    async fn exchange(&mut self, body: Bytes) -> Result<Bytes, Error> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        let client = self.client.clone();
        let sent = self.connect().await?.send(request).await;
        let response = sent.map_err(|lost| Error::on_the_wire(client.target(), &lost.error))?;
        let (parts, body) = response.into_parts();
        let body = client.collect(body).await?;
        if parts.status.is_success() {
            return Ok(body);
        }
        let refusal = Refusal::read(parts.status, &parts.headers, &body);
        Err(Error::Refused(Box::new(refusal)))
    }
}
