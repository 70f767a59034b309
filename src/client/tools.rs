//! Tools of a server, and its metrics.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Client;
use super::call::Call;
use super::error::Error;
use super::query::escaped;

impl Client {
    /// The tools, by name.
    ///
    /// # Errors
    /// As the call.
    pub async fn tools(&self) -> Result<Vec<Box<RawValue>>, Error> {
        let answer = self.call(&Call::get("/tools")).await?;
        self.read(&answer)
    }

    /// A tool.
    ///
    /// # Errors
    /// As the call; a tool that is not there is a refusal with 404.
    pub async fn tool(&self, name: &str) -> Result<Box<RawValue>, Error> {
        let answer = self.call(&Call::get(path(name, ""))).await?;
        self.read(&answer)
    }

    /// Calls a tool once, outside any run. It is not repeated when the answer is lost.
    ///
    /// # Errors
    /// As [`Client::tool`].
    pub async fn try_tool(&self, name: &str, input: &Value) -> Result<Box<RawValue>, Error> {
        let body = self.json(input)?;
        let call = Call::post(path(name, "/test")).body(body);
        let answer = self.call(&call).await?;
        self.read(&answer)
    }

    /// Forces a tool's breaker `open` or `closed`, or gives it back to its own rules (`auto`).
    ///
    /// # Errors
    /// As [`Client::tool`].
    pub async fn force_breaker(&self, name: &str, state: &str) -> Result<(), Error> {
        let body = self.json(&json!({ "state": state }))?;
        let call = Call::post(path(name, "/breaker")).body(body).repeatable();
        self.call(&call).await?;
        Ok(())
    }

    /// A metric without labels by its name; `None` when the server has none of that name.
    ///
    /// # Errors
    /// As the call.
    pub async fn metric(&self, name: &str) -> Result<Option<f64>, Error> {
        let answer = self.call(&Call::metrics()).await?;
        let text = String::from_utf8_lossy(&answer.body);
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        Ok(text.lines().find_map(value))
    }
}

fn path(name: &str, rest: &str) -> String {
    format!("/tools/{}{rest}", escaped(name))
}
