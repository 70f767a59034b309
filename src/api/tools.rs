//! Tools: what steps can call, a try outside any run, and the breakers.

use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use crane_actors::runtime::ToolView;
use crane_core::breaker::Mode;
use crane_core::plan::Finding;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Api, ApiError, answer, body};
use crate::life::Phase;
use crate::plan_file::Grammar;
use crate::tool_view::{self, Breaker, Tool, Trial};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(test))
        .routes(routes!(force))
}

/// The tool that a path names.
struct Named(String);

impl FromRequestParts<Api> for Named {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        match Path::from_request_parts(parts, api).await {
            Ok(Path(name)) => Ok(Self(name)),
            Err(_) => Err(ApiError::tool_not_found("(not UTF-8)")),
        }
    }
}

fn find(api: &Api, name: &str) -> Result<ToolView, ApiError> {
    let mut tools = api.node.runtime().tools().into_iter();
    tools
        .find(|tool| tool.spec.name.as_str() == name)
        .ok_or_else(|| ApiError::tool_not_found(name))
}

/// Lists the tools and where their breakers stand.
#[utoipa::path(
    get, path = "/tools", tag = "tools", operation_id = "list_tools",
    responses((status = OK, body = Vec<Tool>, description = "By name")),
)]
async fn list(State(api): State<Api>) -> Result<Response, ApiError> {
    let tools = api.node.runtime().tools();
    let tools: Vec<Tool> = tools.iter().map(tool_view::tool).collect();
    answer::json(StatusCode::OK, &tools)
}

/// Shows a tool: what it takes, its bounds, its breaker.
#[utoipa::path(
    get, path = "/tools/{name}", tag = "tools", operation_id = "get_tool",
    params(("name" = String, Path, description = "The tool")),
    responses((status = OK, body = Tool, description = "The tool")),
)]
async fn get(State(api): State<Api>, Named(name): Named) -> Result<Response, ApiError> {
    let tool = find(&api, &name)?;
    answer::json(StatusCode::OK, &tool_view::tool(&tool))
}

/// Calls a tool once, outside any run. The body is its input.
#[utoipa::path(
    post, path = "/tools/{name}/test", tag = "tools", operation_id = "test_tool",
    params(("name" = String, Path, description = "The tool")),
    request_body(content = Value, content_type = "application/json"),
    responses((status = OK, body = Trial, description = "How the call ended, well or badly")),
)]
async fn test(
    State(api): State<Api>,
    Named(name): Named,
    request: Request,
) -> Result<Response, ApiError> {
    if api.life.phase() >= Phase::Draining {
        return Err(ApiError::stopping());
    }
    find(&api, &name)?;
    let input = document(&api, request).await?;
    let tried = api.node.runtime().try_tool(&name, input).await;
    let tried = tried.ok_or_else(|| ApiError::tool_not_found(&name))?;
    answer::json(StatusCode::OK, &tool_view::tried(tried))
}

/// What a breaker is told.
#[derive(ToSchema)]
#[allow(dead_code, reason = "read by the derive alone")]
struct Order {
    state: Ordered,
}

/// `open`: calls fail at once. `closed`: calls always go through. `auto`: back to its own rules.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[allow(dead_code, reason = "read by the derive alone")]
enum Ordered {
    Open,
    Closed,
    Auto,
}

/// Forces the breaker of a tool, or gives it back to its own rules.
#[utoipa::path(
    post, path = "/tools/{name}/breaker", tag = "tools", operation_id = "force_breaker",
    params(("name" = String, Path, description = "The tool")),
    request_body(content = Order, content_type = "application/json"),
    responses((status = OK, body = Breaker, description = "Where the breaker stands now")),
)]
async fn force(
    State(api): State<Api>,
    Named(name): Named,
    request: Request,
) -> Result<Response, ApiError> {
    find(&api, &name)?;
    let document = document(&api, request).await?;
    let mode = mode(&document)?;
    api.node.runtime().force_breaker(&name, mode);
    let tool = find(&api, &name)?;
    answer::json(StatusCode::OK, &tool_view::breaker(&tool.breaker))
}

async fn document(api: &Api, request: Request) -> Result<Value, ApiError> {
    let (parts, body) = request.into_parts();
    let limit = api.limits.request_bytes;
    let read = body::read(&parts.headers, body, &[Grammar::Json], limit).await;
    read.map(|(_, value)| value)
}

fn mode(document: &Value) -> Result<Mode, ApiError> {
    let mut findings = Vec::new();
    let mut refuse = |path: &str, message: &str| {
        findings.push(Finding {
            path: path.to_owned(),
            message: message.to_owned(),
        });
    };
    let mut mode = Mode::Auto;
    match document {
        Value::Object(fields) => {
            match fields.get("state").map(Value::as_str) {
                Some(Some("auto")) => {}
                Some(Some("open")) => mode = Mode::ForcedOpen,
                Some(Some("closed")) => mode = Mode::ForcedClosed,
                Some(_) => refuse("state", "must be open, closed or auto"),
                None => refuse("state", "is missing; give open, closed or auto"),
            }
            for name in fields.keys().filter(|name| *name != "state") {
                refuse(
                    &super::error::shorten(name),
                    "unknown field (known is state)",
                );
            }
        }
        _ => refuse("", "must be an object with \"state\""),
    }
    if findings.is_empty() {
        return Ok(mode);
    }
    Err(ApiError::invalid(&findings))
}
