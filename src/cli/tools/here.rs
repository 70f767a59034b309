//! `crane tools` on a data directory; what asks no stored state leaves none behind.

use crane_core::breaker::Mode;
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::failure::Failure;
use super::super::{Data, raw, session};
use super::not_found;
use super::show::Tried;
use crate::config::Config;
use crate::node::{self, Node};
use crate::tool_view;

/// The tools as they stand in the data; without data, as they are on a new node.
pub(super) async fn views(data: &Data) -> Result<Vec<Box<RawValue>>, Failure> {
    let look = async |node: &Node| views_of(node);
    look_at(data, look).await
}

/// One of them.
pub(super) async fn view(name: &str, data: &Data) -> Result<Box<RawValue>, Failure> {
    look_at(data, async |node: &Node| view_of(name, node)).await
}

async fn look_at<T>(
    data: &Data,
    look: impl AsyncFnOnce(&Node) -> Result<T, Failure>,
) -> Result<T, Failure> {
    if data.find()?.node.data.exists() {
        session::with_node(data, look).await
    } else {
        session::without_data(data, look).await
    }
}

fn views_of(node: &Node) -> Result<Vec<Box<RawValue>>, Failure> {
    let tools = node.runtime().tools();
    tools
        .iter()
        .map(|tool| raw(&tool_view::tool(tool)))
        .collect()
}

fn view_of(name: &str, node: &Node) -> Result<Box<RawValue>, Failure> {
    let tools = node.runtime().tools();
    match tools.iter().find(|tool| tool.spec.name.as_str() == name) {
        Some(tool) => raw(&tool_view::tool(tool)),
        None => Err(not_found(name, &views_of(node)?)),
    }
}

pub(super) async fn call(name: &str, input: Value, data: &Data) -> Result<Tried, Failure> {
    let try_it = async |node: &Node| match node.runtime().try_tool(name, input).await {
        Some(tried) => Ok(tried),
        None => Err(not_found(name, &views_of(node)?)),
    };
    // Trying a calculator leaves no data directory behind.
    let config = data.find()?;
    let needs_data = config.node.data.exists() || is_stateful(name, &config)?;
    let tried = if needs_data {
        session::with_node(data, try_it).await?
    } else {
        session::without_data(data, try_it).await?
    };
    Tried::read(raw(&tool_view::tried(tried))?)
}

fn is_stateful(name: &str, config: &Config) -> Result<bool, Failure> {
    let catalog = node::catalog(config.tools.clone())?;
    let spec = catalog.specs().find(|spec| spec.name.as_str() == name);
    Ok(spec.is_some_and(|spec| spec.stateful))
}

pub(super) async fn force(name: &str, mode: Mode, data: &Data) -> Result<Box<RawValue>, Failure> {
    session::with_node(data, async |node: &Node| {
        node.runtime().force_breaker(name, mode);
        view_of(name, node)
    })
    .await
}
