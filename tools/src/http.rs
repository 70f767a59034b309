//! The `http` tool: one request, its redirects, and an answer as JSON.
//!
//! ```text
//!   input ──> request ──> guard (scheme, literal address) ──> client ──> response ──> output
//!                ^                                              │ names go through resolver,
//!                │                                              │ which asks the guard again
//!                └──────────── redirect, at most 10 ────────────┘
//! ```
//!
//! Plans come from prompts and from other people, so a URL is hostile until shown otherwise:
//! private, loopback, link-local and other special addresses are refused, whether they stand in
//! the URL, come out of DNS (checked on the addresses the connection is made to, so a name cannot
//! change its mind in between) or are the target of a redirect. Proxies of the environment are not
//! used, since a proxy would resolve names on the other side of that check.

mod address;
mod guard;
mod redirect;
mod request;
mod resolver;
mod response;

use std::sync::{Arc, OnceLock};

use crane_actors::tool::{CallContext, Tool};
use crane_core::limits::{HTTP_CONNECT_TIMEOUT, HTTP_HEADERS, HTTP_REDIRECTS};
use crane_core::tool::{ErrorKind, ToolError, ToolSpec};
use crane_core::{Limits, Timestamp};
use futures_util::future::{BoxFuture, FutureExt};
use reqwest::{Client, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use guard::{Guard, Refused};
use request::Request;

pub use guard::{Allowed, AllowedError};

/// The name plans use.
pub const NAME: &str = "http";

/// The settings of the `http` tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Whether private, loopback and other special addresses may be called, all of them.
    pub allow_private: bool,
    /// Hosts (`quotes.internal`, `*.internal`) whose addresses, and networks (`10.1.0.0/16`,
    /// `::1`) whose members, may be called although they are special.
    pub allow: Vec<Allowed>,
    /// Longest body of a response, in bytes.
    pub response_bytes: usize,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            allow_private: false,
            allow: Vec::new(),
            response_bytes: Limits::default().payload_bytes,
        }
    }
}

/// The `http` tool.
#[derive(Clone, Debug)]
pub struct HttpTool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    guard: Arc<Guard>,
    response_bytes: usize,
    /// Made by the first call: it reads the certificates of the system, which takes a while and
    /// fails where there are none, and most nodes and commands never need it.
    client: OnceLock<Result<Client, Arc<str>>>,
}

impl HttpTool {
    /// The tool with these settings.
    pub fn new(config: HttpConfig) -> Self {
        Self {
            shared: Arc::new(Shared {
                guard: Arc::new(Guard::new(config.allow_private, config.allow)),
                response_bytes: config.response_bytes,
                client: OnceLock::new(),
            }),
        }
    }
}

impl Tool for HttpTool {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            idempotent: false,
            ..ToolSpec::pure(
                NAME,
                "Makes an HTTP request and returns status, headers and body.",
                schema(),
            )
        }
    }

    fn call(
        &self,
        input: Value,
        context: CallContext,
    ) -> BoxFuture<'static, Result<Value, ToolError>> {
        let shared = self.shared.clone();
        async move {
            let request = Request::read(input, &context)?;
            shared.call(request, context.now).await
        }
        .boxed()
    }
}

fn schema() -> Value {
    let scalar = json!({ "type": ["string", "number", "boolean"] });
    let status = json!({ "type": "integer", "minimum": 100, "maximum": 599 });
    json!({
        "type": "object",
        "properties": {
            "method": {
                "enum": request::METHODS,
                "description": "Default: GET."
            },
            "url": {
                "type": "string",
                "minLength": 1,
                "description": "An http or https URL without user name and password."
            },
            "headers": {
                "type": "object",
                "maxProperties": HTTP_HEADERS,
                "additionalProperties": scalar,
                "description": "Headers to send. Idempotency-Key and traceparent are set by \
                                Crane unless given here."
            },
            "query": {
                "type": "object",
                "additionalProperties": {
                    "type": ["string", "number", "boolean", "null", "array"],
                    "items": scalar
                },
                "description": "Parameters to add to the URL; an array repeats its name, null \
                                leaves it out."
            },
            "json": {
                "description": "The body, sent as JSON; not together with body."
            },
            "body": {
                "type": "string",
                "description": "The body, sent as it is; not together with json."
            },
            "expect_status": {
                "type": ["integer", "array"],
                "minimum": 100,
                "maximum": 599,
                "items": status,
                "minItems": 1,
                "description": "The status, or several, that count as success. Default: 200 to \
                                299. A redirect that is expected is not followed."
            }
        },
        "required": ["url"],
        "additionalProperties": false
    })
}

impl Shared {
    async fn call(&self, mut request: Request, now: Timestamp) -> Result<Value, ToolError> {
        let client = self.client()?;
        for _ in 0..=HTTP_REDIRECTS {
            self.guard
                .check(&request.url)
                .map_err(|refused| ToolError::invalid_input(refused.to_string()))?;
            let response = send(client, &request).await?;
            if !request.expects(response.status())
                && let Some(next) = redirect::follow(&request, &response)?
            {
                request = next;
                continue;
            }
            return response::read(&request, response, self.response_bytes, now).await;
        }
        Err(ToolError::permanent(format!(
            "{} leads to more than {HTTP_REDIRECTS} redirects",
            request.name()
        )))
    }

    fn client(&self) -> Result<&Client, ToolError> {
        let made = self.client.get_or_init(|| {
            Client::builder()
                .user_agent(concat!("crane/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                .referer(false)
                .no_proxy()
                .connect_timeout(HTTP_CONNECT_TIMEOUT)
                .dns_resolver(Arc::new(resolver::Resolver::new(self.guard.clone())))
                .build()
                .map_err(|error| cause(&error).into())
        });
        made.as_ref().map_err(|cause| {
            ToolError::permanent(format!(
                "the HTTP client cannot start: {cause}; are the system's CA certificates \
                 installed?"
            ))
        })
    }
}

async fn send(client: &Client, request: &Request) -> Result<Response, ToolError> {
    let mut builder = client
        .request(request.method.clone(), request.url.clone())
        .headers(request.headers.clone());
    if let Some(body) = &request.body {
        builder = builder.body(body.clone());
    }
    builder
        .send()
        .await
        .map_err(|error| failed(request, &error))
}

/// A request or the reading of its response failed.
fn failed(request: &Request, error: &reqwest::Error) -> ToolError {
    if let Some(refused) = sources(error).find_map(|source| source.downcast_ref::<Refused>()) {
        return ToolError::invalid_input(refused.to_string());
    }
    let kind = if error.is_timeout() {
        ErrorKind::Timeout
    } else if error.is_builder() {
        ErrorKind::InvalidInput
    } else {
        ErrorKind::Transient
    };
    ToolError::new(kind, format!("{} failed: {}", request.name(), cause(error)))
}

/// The innermost cause: the outer ones say "error sending request" and repeat the URL, which may
/// hold secrets in its query.
fn cause(error: &reqwest::Error) -> String {
    match sources(error).last() {
        Some(innermost) => innermost.to_string(),
        None => "no cause is given".to_owned(),
    }
}

fn sources<'a>(
    error: &'a reqwest::Error,
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    let first = std::error::Error::source(error);
    std::iter::successors(first, |error| error.source())
}

#[cfg(test)]
mod tests;
