//! Members of the objects that a plan is written in, read one by one; what is wrong with one is a
//! finding at its place.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::duration::parse_duration;
use super::findings::{Findings, Place, nearest};
use crate::json::kind;

/// Reports every member of `fields` that is not known.
pub(super) fn unknown_fields(
    fields: &Map<String, Value>,
    known: &[&str],
    place: &Place<'_>,
    findings: &mut Findings,
) {
    for key in fields.keys().filter(|key| !known.contains(&key.as_str())) {
        if findings.is_full() {
            findings.add_unlisted();
            continue;
        }
        let hint = nearest(key, known.iter().copied());
        let shown: String = key.chars().take(64).collect();
        findings.add(
            &place.key(key),
            format!(
                "unknown field \"{shown}\"{hint} (known are {})",
                known.join(", ")
            ),
        );
    }
}

/// An optional text of bounded length; `null` counts as absent.
pub(super) fn short_text(
    fields: &Map<String, Value>,
    key: &str,
    limit: usize,
    place: &Place<'_>,
    findings: &mut Findings,
) -> Option<Arc<str>> {
    match fields.get(key)? {
        Value::Null => None,
        Value::String(text) => {
            let length = text.chars().count();
            if length > limit {
                findings.add(
                    &place.key(key),
                    format!("is {length} characters long: the limit is {limit}"),
                );
            }
            Some(text.as_str().into())
        }
        other => {
            findings.add(&place.key(key), must_be("a text", other));
            None
        }
    }
}

/// An optional object.
pub(super) fn object(
    fields: &Map<String, Value>,
    key: &str,
    place: &Place<'_>,
    findings: &mut Findings,
) -> Value {
    match fields.get(key) {
        None => Value::Object(Map::new()),
        Some(Value::Object(members)) => Value::Object(members.clone()),
        Some(other) => {
            findings.add(&place.key(key), must_be("an object", other));
            Value::Object(Map::new())
        }
    }
}

/// `must be X, and is Y`
pub(super) fn must_be(wanted: &str, got: &Value) -> String {
    format!("must be {wanted}, and is {}", kind(got))
}

/// An optional duration.
pub(super) fn duration(
    fields: &Map<String, Value>,
    key: &str,
    place: &Place<'_>,
    findings: &mut Findings,
) -> Option<Duration> {
    let problem = match fields.get(key)? {
        Value::String(text) => match parse_duration(text) {
            Ok(duration) => return Some(duration),
            Err(problem) => problem,
        },
        other => must_be("a duration such as \"5s\"", other),
    };
    findings.add(&place.key(key), problem);
    None
}
