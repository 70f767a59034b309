//! Values as JSON text, within bounds: what an expression gives may be lazy, and far larger than
//! the fuel that it took to describe it.

use minijinja::value::{Value, ValueKind};
use serde_json::Number;

use super::path;
use crate::limits;

/// Why a value did not become JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WriteError {
    /// The text passed the limit of its writer.
    TooLarge,
    /// The value nests deeper than [`limits::JSON_DEPTH`].
    TooDeep,
    /// The value, or a part of it, is undefined.
    Undefined,
    /// There is no JSON for it.
    Invalid(String),
}

/// Growing JSON text that never passes its limit.
#[derive(Debug)]
pub(super) struct Writer {
    text: String,
    limit: usize,
}

impl Default for Writer {
    /// A writer of at most [`limits::RESOLVED_BYTES`].
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl Writer {
    /// A writer for about `bytes` of text, and at most [`limits::RESOLVED_BYTES`].
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self {
            text: String::with_capacity(bytes),
            limit: limits::RESOLVED_BYTES,
        }
    }

    /// A writer for text of a plan, whose size has its own limit.
    pub(super) fn unlimited() -> Self {
        Self {
            limit: usize::MAX,
            ..Self::default()
        }
    }

    /// The text.
    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// Adds text that is already JSON (or a part of it).
    pub(super) fn raw(&mut self, text: &str) -> Result<(), WriteError> {
        if self.text.len() + text.len() > self.limit {
            return Err(WriteError::TooLarge);
        }
        self.text.push_str(text);
        Ok(())
    }

    /// Adds a whole JSON document that stands `depth` levels deep in the result.
    pub(super) fn document(&mut self, text: &str, depth: usize) -> Result<(), WriteError> {
        if depth + path::depth(text) > limits::JSON_DEPTH {
            return Err(WriteError::TooDeep);
        }
        self.raw(text)
    }

    /// Adds the inside of a JSON string whose content is `text`.
    pub(super) fn escaped(&mut self, text: &str) -> Result<(), WriteError> {
        let mut start = 0;
        for (at, byte) in text.bytes().enumerate() {
            let escape = match byte {
                b'"' => "\\\"",
                b'\\' => "\\\\",
                b'\n' => "\\n",
                b'\r' => "\\r",
                b'\t' => "\\t",
                0x08 => "\\b",
                0x0c => "\\f",
                0..=0x1f => {
                    self.raw(&text[start..at])?;
                    self.raw(&format!("\\u{byte:04x}"))?;
                    start = at + 1;
                    continue;
                }
                _ => continue,
            };
            self.raw(&text[start..at])?;
            self.raw(escape)?;
            start = at + 1;
        }
        self.raw(&text[start..])
    }

    /// Adds a JSON string.
    pub(super) fn string(&mut self, text: &str) -> Result<(), WriteError> {
        self.raw("\"")?;
        self.escaped(text)?;
        self.raw("\"")
    }

    /// Adds a value that stands `depth` levels deep in the result.
    pub(super) fn value(&mut self, value: &Value, depth: usize) -> Result<(), WriteError> {
        match value.kind() {
            ValueKind::Undefined => Err(WriteError::Undefined),
            ValueKind::None => self.raw("null"),
            ValueKind::Bool => self.raw(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.number(value),
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => self.list(value, depth + 1),
            ValueKind::Map => self.map(value, depth + 1),
            ValueKind::Invalid => Err(WriteError::Invalid(value.to_string())),
            other => Err(WriteError::Invalid(format!(
                "a value of kind {other} cannot be the result"
            ))),
        }
    }

    fn number(&mut self, value: &Value) -> Result<(), WriteError> {
        let number = if value.is_integer() {
            // Larger integers would come back as floats from every JSON reader.
            i64::try_from(value.clone())
                .map(Number::from)
                .or_else(|_| u64::try_from(value.clone()).map(Number::from))
                .map_err(|_| {
                    WriteError::Invalid(format!("the integer {value} does not fit 64 bits"))
                })?
        } else {
            let float = f64::try_from(value.clone())
                .map_err(|error| WriteError::Invalid(error.to_string()))?;
            Number::from_f64(float).ok_or_else(|| {
                WriteError::Invalid(format!("the result is {float}, which is not finite"))
            })?
        };
        self.raw(&number.to_string())
    }

    fn list(&mut self, value: &Value, depth: usize) -> Result<(), WriteError> {
        if depth > limits::JSON_DEPTH {
            return Err(WriteError::TooDeep);
        }
        let items = value
            .try_iter()
            .map_err(|error| WriteError::Invalid(error.to_string()))?;
        let mut separator = "[";
        for item in items {
            self.raw(separator)?;
            separator = ",";
            self.value(&item, depth)?;
        }
        self.raw(if separator == "[" { "[]" } else { "]" })
    }

    fn map(&mut self, value: &Value, depth: usize) -> Result<(), WriteError> {
        if depth > limits::JSON_DEPTH {
            return Err(WriteError::TooDeep);
        }
        let keys = value
            .try_iter()
            .map_err(|error| WriteError::Invalid(error.to_string()))?;
        let mut separator = "{";
        for key in keys {
            let Some(name) = key.as_str() else {
                return Err(WriteError::Invalid(format!(
                    "the key {key} of an object is not text: write it in quotes"
                )));
            };
            self.raw(separator)?;
            separator = ",";
            self.string(name)?;
            self.raw(":")?;
            let item = value
                .get_item(&key)
                .map_err(|error| WriteError::Invalid(error.to_string()))?;
            self.value(&item, depth)?;
        }
        self.raw(if separator == "{" { "{}" } else { "}" })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn text(value: &Value) -> Result<String, WriteError> {
        let mut writer = Writer::default();
        writer.value(value, 0).map(|()| writer.into_text())
    }

    #[test]
    fn text_is_escaped_as_json_readers_expect() {
        let all: String = (0..0x250).filter_map(char::from_u32).collect();
        let written = text(&Value::from(all.clone())).unwrap();
        assert_eq!(serde_json::from_str::<String>(&written).unwrap(), all);
        assert_eq!(written, serde_json::to_string(&all).unwrap());
    }

    #[test]
    fn numbers_keep_their_type() {
        assert_eq!(text(&Value::from(43.0)).unwrap(), "43.0");
        assert_eq!(text(&Value::from(287)).unwrap(), "287");
        assert_eq!(text(&Value::from(u64::MAX)).unwrap(), u64::MAX.to_string());
        assert!(text(&Value::from(f64::NAN)).is_err());
        assert!(text(&Value::from(f64::INFINITY)).is_err());
        assert!(text(&Value::from(1_u128 << 64)).is_err());
    }

    #[test]
    fn what_has_no_json_is_refused() {
        assert_eq!(text(&Value::UNDEFINED), Err(WriteError::Undefined));
        assert!(text(&Value::from_bytes(vec![1])).is_err());
        assert!(text(&Value::from_pairs([(Value::from(1), Value::from(2))])).is_err());
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let nest =
            |levels: usize| (0..levels).fold(Value::from(1), |inner, _| Value::from(vec![inner]));
        assert!(text(&nest(limits::JSON_DEPTH)).is_ok());
        assert_eq!(
            text(&nest(limits::JSON_DEPTH + 1)),
            Err(WriteError::TooDeep)
        );
        let wide = (0..8).fold(Value::from("x"), |inner, _| Value::from(vec![inner; 100]));
        assert_eq!(text(&wide), Err(WriteError::TooLarge));
    }
}
