//! The API as a function from request to response, on a node that keeps nothing. What it takes a
//! socket or a second process for is in tests/it/http.

mod changing;
mod cluster;
mod documents;
mod following;
mod homes;
mod life;
mod reading;
mod submitting;
mod tools;

use std::sync::Arc;

use axum::body::Body;
use axum::http::request::Builder;
use axum::http::{HeaderMap, Request, Response, StatusCode};
use crane_actors::clock::Clock;
use crane_actors::{Options, Owning, Restore};
use crane_store::RunStore;
use crane_tools::planner::RulesPlanner;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::config::Config;
use crate::life::Phase;

/// A runtime with all tools on a store that nodes of a cluster have, or have in common.
fn options(store: Arc<dyn RunStore>, config: &Config, owning: Owning) -> Options {
    Options {
        store,
        tools: crane_tools::standard(config.tools.clone()),
        planner: Arc::new(RulesPlanner),
        limits: config.limits.clone(),
        clock: Clock::system(),
        owning,
        restore: Restore::All,
        shards: 2,
    }
}

/// An API and what it answers with.
struct Bench {
    api: Api,
    router: Router,
}

/// An answer that was read to its end.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    /// Holds that this is an error in the one form, and gives its details.
    #[track_caller]
    fn refused(&self, status: u16, kind: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/json");
        let error = self.json();
        assert_eq!(error["error_type"], kind, "{error}");
        assert!(
            error["detail"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
        );
        assert!(error["details"].is_object());
        assert_eq!(error.as_object().unwrap().len(), 3, "{error}");
        error["details"].clone()
    }

    /// The paths of a validation error.
    #[track_caller]
    fn invalid(&self) -> Vec<String> {
        let details = self.refused(422, "validation_error");
        let errors = details["errors"].as_array().unwrap().iter();
        errors
            .map(|error| {
                assert!(!error["message"].as_str().unwrap().is_empty());
                error["path"].as_str().unwrap().to_owned()
            })
            .collect()
    }
}

impl Bench {
    async fn new() -> Self {
        Self::with(Config::default()).await
    }

    async fn with(config: Config) -> Self {
        let api = Api::new(Parts {
            node: Node::in_memory(&config).await.unwrap(),
            name: "north".to_owned(),
            limits: config.limits.clone(),
            config: config.api.clone(),
            life: Life::default(),
        });
        Self {
            router: router(api.clone()),
            api,
        }
    }

    async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// The event stream of a run, from its first event on.
    async fn stream(&self, id: &str) -> Response<Body> {
        let request = get(&format!("/runs/{id}/events"));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    async fn call(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.send(request).await.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(bytes.into()).unwrap(),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(get(path).body(Body::empty()).unwrap()).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(post(path, body)).await
    }

    /// Submits something that must be accepted, and gives its id.
    async fn submit(&self, body: &Value) -> String {
        let answer = self.post("/runs", body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        answer.json()["run_id"].as_str().unwrap().to_owned()
    }

    /// Submits something and waits for its end.
    async fn ended(&self, body: &Value) -> Value {
        let answer = self.post("/runs?wait=30s", body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        let run = answer.json();
        assert!(!run["completed_at"].is_null(), "{run}");
        run
    }
}

fn get(path: &str) -> Builder {
    Request::get(format!("{BASE}{path}"))
}

fn post(path: &str, body: &Value) -> Request<Body> {
    Request::post(format!("{BASE}{path}"))
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap()
}

/// A run message with a plan of one step.
fn one(tool: &str, input: &Value) -> Value {
    json!({ "plan": { "steps": [{ "id": "a", "tool": tool, "input": input }] } })
}

/// A run that does not end by itself while a test looks at it.
fn sleeper() -> Value {
    one("sleep", &json!({ "milliseconds": 600_000 }))
}
