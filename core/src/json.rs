//! JSON as it is stored and handed on: text that was checked once and is shared, not copied.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// A JSON document as its text. Cloning is a reference count.
///
/// Payloads stay text between the tool that made them and the expression or reader that needs a
/// value: the journal stores bytes, and most outputs are never looked into.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Json(Arc<str>);

impl Json {
    /// The text of `value`.
    pub fn from_value(value: &Value) -> Self {
        // Not by `Display`, which is slower. A value has no way to fail to be written.
        match serde_json::to_string(value) {
            Ok(text) => Self(text.into()),
            Err(_) => Self::null(),
        }
    }

    /// Wraps text that is known to be JSON, such as text read back from the store.
    pub fn from_trusted(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// `null`.
    pub fn null() -> Self {
        Self(Arc::from("null"))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Length of the text in bytes.
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// A hash of the text (XXH3, 128 bits) that tells requests apart; not for adversaries.
    pub fn fingerprint(&self) -> u128 {
        xxhash_rust::xxh3::xxh3_128(self.0.as_bytes())
    }

    /// The value; text that does not parse (only possible through [`Json::from_trusted`]) is a
    /// string holding that text.
    pub fn to_value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or_else(|_| Value::String(self.0.to_string()))
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&Value> for Json {
    fn from(value: &Value) -> Self {
        Self::from_value(value)
    }
}

impl Serialize for Json {
    /// The text as it is, after a check that it is JSON: no value is built.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serde_json::from_str::<&RawValue>(&self.0) {
            Ok(raw) => raw.serialize(serializer),
            Err(_) => serializer.serialize_str(&self.0),
        }
    }
}

/// What kind of value it is, with an article.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn json_is_serialized_as_its_own_text() {
        let json = Json::from_trusted("[1.50, {\"a\":30.0}]");
        assert_eq!(serde_json::to_string(&json).unwrap(), json.as_str());
        assert_eq!(serde_json::to_value(&json).unwrap(), json.to_value());
    }

    #[test]
    fn text_that_is_not_json_is_serialized_as_a_string() {
        let json = Json::from_trusted("{oops");
        assert_eq!(serde_json::to_string(&json).unwrap(), "\"{oops\"");
    }
}
