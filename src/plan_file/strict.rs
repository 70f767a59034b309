//! YAML and JSON with the same strictness: text keys, each once, one document, bounded expansion.

use std::cell::Cell;
use std::fmt;

use crane_core::limits;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{Error, MessageFormatter, UserMessageFormatter};

use super::Position;

/// Nodes of a document; a plan of 10,000 steps has about 200,000.
const NODES: usize = 2_000_000;
/// Nodes that aliases may repeat.
const REPEATED_NODES: usize = 200_000;

/// Why a text is no document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{detail}", position.map(|p| format!("line {}, column {}: ", p.line, p.column)).unwrap_or_default())]
pub struct Refused {
    /// Where, if known.
    pub position: Option<Position>,
    /// What is wrong.
    pub detail: String,
}

impl Refused {
    pub(super) fn new(detail: impl Into<String>) -> Self {
        Self {
            position: None,
            detail: detail.into(),
        }
    }
}

/// Reads JSON; its texts may be `limit` bytes in all.
pub(super) fn json(text: &str, limit: usize) -> Result<Value, Refused> {
    let left = Cell::new(limit);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Build::new(&left)
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| {
            let position = Position {
                line: error.line() as u64,
                column: error.column() as u64,
            };
            // The position is told apart from the message.
            let detail = error.to_string();
            let end = detail.rfind(" at line ").unwrap_or(detail.len());
            Refused {
                position: Some(position),
                detail: detail[..end].to_owned(),
            }
        })
}

/// Reads one YAML document; its texts may be `limit` bytes in all, aliases expanded.
pub(super) fn yaml(text: &str, limit: usize) -> Result<Value, Refused> {
    let left = Cell::new(limit);
    serde_saphyr::with_deserializer_from_str_with_options(text, options(), |deserializer| {
        Build::new(&left).deserialize(deserializer)
    })
    .map_err(|error| {
        let error = error.without_snippet();
        Refused {
            position: error.location().map(|location| Position {
                line: location.line(),
                column: location.column(),
            }),
            detail: explain(error),
        }
    })
}

pub(super) fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: NODES,
            max_events: 2 * NODES,
            max_depth: limits::JSON_DEPTH,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: REPEATED_NODES,
        },
        // `on: x` and `country: no` are text, as in YAML 1.2.
        strict_booleans: true,
        with_snippet: false,
    }
}

/// The library's message, in our words where its own would puzzle the reader of a plan.
fn explain(error: &Error) -> String {
    match error {
        Error::AliasError { error, .. } => explain(error),
        Error::MultipleDocuments { .. } => {
            "holds several documents; put each plan in a file of its own".to_owned()
        }
        Error::DuplicateMappingKey { key: Some(key), .. } => twice(key),
        Error::UnknownAnchor { .. } => {
            "the alias (*name) has no anchor (&name) before it; mend its name".to_owned()
        }
        Error::AliasReplayLimitExceeded { .. } => {
            format!("aliases (*name) expand to more than {REPEATED_NODES} nodes; repeat less")
        }
        Error::Budget {
            breach: BudgetBreach::Depth { .. },
            ..
        } => too_deep(),
        other => match UserMessageFormatter.format_message(other).as_ref() {
            "recursion limit exceeded" => too_deep(),
            message => message.to_owned(),
        },
    }
}

fn twice(key: &str) -> String {
    format!("the key {key:?} occurs twice; keep one of them")
}

fn too_deep() -> String {
    format!(
        "nested deeper than {} levels; flatten it",
        limits::JSON_DEPTH
    )
}

/// Builds a value.
#[derive(Clone, Copy)]
struct Build<'a> {
    /// Bytes of text it may still take.
    left: &'a Cell<usize>,
    /// Levels it may still go down; every level takes stack.
    levels: usize,
}

impl<'a> Build<'a> {
    fn new(left: &'a Cell<usize>) -> Self {
        Self {
            left,
            levels: limits::JSON_DEPTH,
        }
    }

    fn below<E: de::Error>(self) -> Result<Self, E> {
        match self.levels.checked_sub(1) {
            Some(levels) => Ok(Self { levels, ..self }),
            None => Err(E::custom(too_deep())),
        }
    }

    fn text<E: de::Error>(self, text: String) -> Result<String, E> {
        match self.left.get().checked_sub(text.len()) {
            Some(left) => {
                self.left.set(left);
                Ok(text)
            }
            None => Err(E::custom(
                "aliases (*name) expand to more than the limit of a request; repeat less",
            )),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Build<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Build<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON has as well")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom(format!("{value} is not a number that JSON has")))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        self.text(value.to_owned()).map(Value::String)
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        self.text(value).map(Value::String)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(below)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut map = Map::new();
        while let Some(Key(key)) = members.next_key()? {
            let key = self.text(key)?;
            let value = members.next_value_seed(below)?;
            if map.contains_key(&key) {
                return Err(de::Error::custom(twice(&key)));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// A key that is text.
pub(super) struct Key(pub(super) String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KeyVisitor).map(Self)
    }
}

struct KeyVisitor;

impl KeyVisitor {
    fn refuse<E: de::Error>(key: impl fmt::Display) -> E {
        E::custom(format!("the key {key} is not text; put it in quotes"))
    }
}

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key that is text")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<String, E> {
        Ok(key.to_owned())
    }

    fn visit_string<E: de::Error>(self, key: String) -> Result<String, E> {
        Ok(key)
    }

    fn visit_bool<E: de::Error>(self, key: bool) -> Result<String, E> {
        Err(Self::refuse(key))
    }

    fn visit_i64<E: de::Error>(self, key: i64) -> Result<String, E> {
        Err(Self::refuse(key))
    }

    fn visit_u64<E: de::Error>(self, key: u64) -> Result<String, E> {
        Err(Self::refuse(key))
    }

    fn visit_f64<E: de::Error>(self, key: f64) -> Result<String, E> {
        Err(Self::refuse(key))
    }

    fn visit_unit<E: de::Error>(self) -> Result<String, E> {
        Err(Self::refuse("null"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<String, A::Error> {
        Err(Self::refuse("[..]"))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<String, A::Error> {
        Err(Self::refuse("{..}"))
    }
}
