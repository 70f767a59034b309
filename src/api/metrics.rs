//! Metrics: the text that Prometheus reads, and a summary for people.
//!
//! The summary's runs are those of the store, which survive a restart of the node; everything else
//! in it counts from the start of the node.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use crane_actors::clock::Clock;
use crane_core::RunStatus;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Api, ApiError, ErrorType};
use crate::metrics;

/// Under the base of the API.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(summary))
}

/// At the root.
pub(super) fn root_routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(prometheus))
}

/// All metrics, in the text format of Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "operating", operation_id = "prometheus",
    responses(
        (status = OK, description = "The metrics", body = String, content_type = "text/plain"),
        (status = SERVICE_UNAVAILABLE, description = "This process records no metrics", body = ApiError),
    ),
)]
async fn prometheus(State(api): State<Api>) -> Result<Response, ApiError> {
    api.node.runtime().show_metrics().await?;
    let text = metrics::render().ok_or_else(|| {
        ApiError::new(
            ErrorType::Unavailable,
            "this process records no metrics; crane serve does",
        )
    })?;
    let media_type = HeaderValue::from_static(metrics::MEDIA_TYPE);
    Ok(([(header::CONTENT_TYPE, media_type)], text).into_response())
}

/// A few figures for people and dashboards.
#[derive(Debug, Serialize, ToSchema)]
struct Summary {
    /// When they were taken.
    #[schema(format = DateTime)]
    timestamp: String,
    /// Of the runs that are kept, those of earlier starts of the node as well.
    runs: Runs,
    /// Since the node started.
    execution: Execution,
    /// Since the node started.
    tools: Tools,
    /// Since the node started.
    planner: Planner,
}

#[derive(Debug, Serialize, ToSchema)]
struct Runs {
    total: usize,
    /// By status; each status is there.
    by_status: BTreeMap<String, usize>,
    /// Share of the ended runs that completed, from 0 to 1; 0 while none has ended.
    #[schema(minimum = 0.0, maximum = 1.0)]
    success_rate: f64,
}

#[derive(Debug, Serialize, ToSchema)]
struct Execution {
    /// Mean time from acceptance to the end, of runs that ended; 0 while none has.
    #[schema(minimum = 0.0)]
    avg_duration_seconds: f64,
    /// Steps that completed or failed.
    total_steps_executed: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct Tools {
    /// Calls that reached a tool and ended; dry runs as well.
    total_executions: u64,
    /// The same by tool; each tool is there.
    by_tool: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Planner {
    /// What kind of planner the node has.
    kind: String,
    /// Prompts that became a plan.
    prompts_planned: u64,
    /// Prompts that it did not understand.
    prompts_not_understood: u64,
    /// Prompts whose plan was not valid.
    plans_refused: u64,
    /// Mean time of making a plan; 0 before the first prompt.
    #[schema(minimum = 0.0)]
    avg_duration_seconds: f64,
}

/// Figures of the node, as JSON.
#[utoipa::path(
    get, path = "/metrics", tag = "operating", operation_id = "metrics",
    responses(
        (status = OK, description = "The figures", body = Summary),
        (status = SERVICE_UNAVAILABLE, description = "The store fails", body = ApiError),
    ),
)]
async fn summary(State(api): State<Api>) -> Result<Json<Summary>, ApiError> {
    let runtime = api.node.runtime();
    let counts = runtime.counts().await?;
    let figures = runtime.figures();
    let of = |status: RunStatus| counts.get(&status).copied().unwrap_or(0);
    let ended: usize = RunStatus::ALL
        .into_iter()
        .filter(|status| status.is_ended())
        .map(of)
        .sum();
    let success_rate = of(RunStatus::Completed) as f64 / ended.max(1) as f64;
    Ok(Json(Summary {
        timestamp: Clock::system().now().to_string(),
        runs: Runs {
            total: RunStatus::ALL.into_iter().map(of).sum(),
            by_status: RunStatus::ALL
                .into_iter()
                .map(|status| (status.as_str().to_owned(), of(status)))
                .collect(),
            success_rate,
        },
        execution: Execution {
            avg_duration_seconds: figures.run_seconds,
            total_steps_executed: figures.steps_executed,
        },
        tools: Tools {
            total_executions: figures.tool_calls.values().sum(),
            by_tool: figures.tool_calls,
        },
        planner: Planner {
            kind: figures.planner.to_owned(),
            prompts_planned: figures.prompts_planned,
            prompts_not_understood: figures.prompts_not_understood,
            plans_refused: figures.plans_refused,
            avg_duration_seconds: figures.planner_seconds,
        },
    }))
}
