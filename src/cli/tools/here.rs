//! `crane tools` on a data directory; what asks no stored state leaves none behind.

use crane_actors::runtime::ToolView;
use crane_core::breaker::Mode;
use serde_json::Value;

use super::super::failure::Failure;
use super::super::{Data, session};
use super::not_found;
use super::show::Tried;
use crate::node::{self, Node};
use crate::settings::Settings;
use crate::tool_view;

/// The tools as they stand in the data; without data, as they are on a new node.
pub(super) async fn views(data: &Data) -> Result<Vec<Value>, Failure> {
    let look = async |node: &Node| Ok(views_of(node));
    if data.path().exists() {
        session::with_node(data, look).await
    } else {
        session::without_data(look).await
    }
}

fn views_of(node: &Node) -> Vec<Value> {
    let tools = node.runtime().tools();
    tools.iter().map(tool_view::tool).collect()
}

pub(super) async fn call(name: &str, input: Value, data: &Data) -> Result<Tried, Failure> {
    let try_it = async |node: &Node| {
        let tried = node.runtime().try_tool(name, input).await;
        tried.ok_or_else(|| not_found(name, &views_of(node)))
    };
    // Trying a calculator leaves no data directory behind.
    let needs_data = data.path().exists() || is_stateful(name)?;
    let tried = if needs_data {
        session::with_node(data, try_it).await?
    } else {
        session::without_data(try_it).await?
    };
    Tried::read(&tool_view::tried(&tried).to_string())
}

fn is_stateful(name: &str) -> Result<bool, Failure> {
    let catalog = node::catalog(Settings::from_environment()?.tools)?;
    let spec = catalog.specs().find(|spec| spec.name.as_str() == name);
    Ok(spec.is_some_and(|spec| spec.stateful))
}

pub(super) async fn force(name: &str, mode: Mode, data: &Data) -> Result<Value, Failure> {
    session::with_node(data, async |node: &Node| {
        node.runtime().force_breaker(name, mode);
        let tools = node.runtime().tools();
        let found = |tool: &&ToolView| tool.spec.name.as_str() == name;
        match tools.iter().find(found) {
            Some(tool) => Ok(tool_view::tool(tool)),
            None => Err(not_found(name, &views_of(node))),
        }
    })
    .await
}
