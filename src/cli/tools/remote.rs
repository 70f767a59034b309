//! `crane tools --server`: the same questions and orders, put to a server.

use axum::http::StatusCode;
use crane_core::breaker::Mode;
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::failure::Failure;
use super::super::remote::attend;
use super::not_found;
use super::show::Tried;
use crate::client::{Client, Error};

pub(super) async fn views(client: &Client) -> Result<Vec<Box<RawValue>>, Failure> {
    attend(async { Ok(client.tools().await?) }).await
}

pub(super) async fn view(name: &str, client: &Client) -> Result<Box<RawValue>, Failure> {
    attend(async {
        let tool = client.tool(name).await;
        about(name, tool, client).await
    })
    .await
}

pub(super) async fn call(name: &str, input: &Value, client: &Client) -> Result<Tried, Failure> {
    attend(async {
        let tried = client.try_tool(name, input).await;
        Tried::read(about(name, tried, client).await?)
    })
    .await
}

/// Forces the breaker; the answer is the tool as it stands then.
pub(super) async fn force(
    name: &str,
    mode: Mode,
    client: &Client,
) -> Result<Box<RawValue>, Failure> {
    let state = match mode {
        Mode::ForcedOpen => "open",
        Mode::ForcedClosed => "closed",
        Mode::Auto => "auto",
    };
    attend(async {
        let forced = client.force_breaker(name, state).await;
        about(name, forced, client).await?;
        Ok(client.tool(name).await?)
    })
    .await
}

/// What a server says about one tool; of one that it does not have, which there are.
async fn about<T>(name: &str, said: Result<T, Error>, client: &Client) -> Result<T, Failure> {
    match said {
        Ok(value) => Ok(value),
        Err(error) => match error.refused(StatusCode::NOT_FOUND) {
            Some(refusal) if refusal.error_type == "tool_not_found" => {
                Err(not_found(name, &client.tools().await?))
            }
            _ => Err(error.into()),
        },
    }
}
