//! The HTTP API of a node, `/api/v1`.
//!
//! ```text
//!   connection (server.rs) ──> layers: panics, request id, metrics, tokens, draining
//!                                 └──> a handler of runs, tools, health, operate ──> Runtime
//!                                         └──> JSON, or one form of error (error.rs)
//! ```
//!
//! Handlers translate and nothing else: every rule is the runtime's. Each is annotated with what it
//! takes and answers, and the OpenAPI document is made from that.
//!
//! What never lives here: sockets, TLS, signals.

mod answer;
mod auth;
mod body;
mod cluster;
mod cors;
mod deadline;
mod docs;
mod error;
mod events;
mod fallback;
mod guard;
mod health;
mod measure;
mod metrics;
mod models;
mod openapi;
mod operate;
mod query;
mod runs;
mod supervision;
#[cfg(test)]
mod tests;
mod tools;
mod trace;

use std::sync::{Arc, OnceLock};

use axum::{Router, middleware};
use bytes::Bytes;
use crane_core::Limits;
use utoipa_axum::router::OpenApiRouter;

use crate::config::ApiConfig;
use crate::life::Life;
use crate::node::Node;

use auth::AuthLayer;
use deadline::DeadlineLayer;
pub use error::{ApiError, ErrorType};
use measure::Measured;

/// Where the API lives.
pub const BASE: &str = "/api/v1";
/// The header that names the members of a cluster whose runs a list does without.
pub const UNREACHABLE: &str = "x-crane-unreachable";

/// What the handlers share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Api(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    parts: Parts,
    /// The OpenAPI document, as soon as the router that it describes is made.
    document: OnceLock<Bytes>,
}

/// What an API is made of.
#[derive(Debug)]
pub struct Parts {
    /// The node it serves.
    pub node: Node,
    /// What the node calls itself in a run's `node`.
    pub name: String,
    /// Its bounds.
    pub limits: Limits,
    /// Who may come in, from where, and for how long.
    pub config: ApiConfig,
    /// Where it is in its life.
    pub life: Life,
}

impl Api {
    /// The API of a node.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Shared {
            parts,
            document: OnceLock::new(),
        }))
    }

    /// The OpenAPI document.
    fn document(&self) -> Option<Bytes> {
        self.0.document.get().cloned()
    }
}

impl std::ops::Deref for Api {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0.parts
    }
}

/// Everything that the node answers over HTTP.
pub fn router(api: Api) -> Router {
    let v1 = OpenApiRouter::new()
        .merge(health::routes())
        .merge(metrics::routes())
        .merge(supervision::routes())
        .merge(cluster::routes())
        .merge(operate::routes())
        .merge(runs::routes())
        .merge(events::routes())
        .merge(tools::routes())
        .merge(openapi::routes())
        .merge(docs::routes());
    let (router, document) = OpenApiRouter::with_openapi(openapi::head())
        .merge(metrics::root_routes())
        .nest(BASE, v1)
        .merge(docs::root_routes())
        .split_for_parts();
    let known = query::Known::of(&document);
    let measured = Measured::of(&document);
    match openapi::text(&document, &api, !api.config.tokens.is_empty()) {
        Ok(text) => drop(api.0.document.set(text)),
        Err(error) => tracing::error!(%error, "the OpenAPI document cannot be written"),
    }
    let cors = cors::layer(&api.config.cors_origins);
    let router = router
        .fallback(fallback::not_found)
        .method_not_allowed_fallback(fallback::method_not_allowed)
        // From the inside out; each sees the route as `MatchedPath`.
        .layer(middleware::from_fn_with_state(known, query::known_only))
        // Tokens outside that: nothing of a route shows to those who have none.
        .layer((
            DeadlineLayer(api.config.request_timeout),
            AuthLayer::new(api.config.tokens.clone()),
        ))
        .layer(middleware::from_fn(guard::guard))
        .with_state(api);
    let router = match cors {
        // Outside the tokens: a browser asks without one whether it may ask.
        Some(cors) => router.layer(cors),
        None => router,
    };
    // The outermost: it sees what became of every request, panics and refusals included.
    router.layer(middleware::from_fn_with_state(measured, measure::measure))
}
