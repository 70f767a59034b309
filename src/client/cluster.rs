//! The cluster behind a server, and orders to its nodes.

use serde_json::value::RawValue;

use super::Client;
use super::call::Call;
use super::error::Error;
use super::query::{Query, escaped};

impl Client {
    /// The cluster as the server sees it.
    ///
    /// # Errors
    /// As the call.
    pub async fn cluster(&self) -> Result<Box<RawValue>, Error> {
        let answer = self.call(&Call::get("/cluster")).await?;
        self.read(&answer)
    }

    /// Makes a node go down, the server itself unless another one is named.
    ///
    /// # Errors
    /// As the call; a node that is not there is a refusal with 404.
    pub async fn drain(&self, node: Option<&str>) -> Result<(), Error> {
        let mut query = Query::new("/admin/drain");
        if let Some(node) = node {
            query.add("node", node);
        }
        self.call(&Call::post(query.finish()).repeatable()).await?;
        Ok(())
    }

    /// Has all nodes forget one that will never come back.
    ///
    /// # Errors
    /// As the call; a node that was never seen is a refusal with 404, one that is alive with 409.
    pub async fn remove_member(&self, node: &str) -> Result<(), Error> {
        let path = format!("/cluster/members/{}", escaped(node));
        self.call(&Call::delete(path).repeatable()).await?;
        Ok(())
    }
}
