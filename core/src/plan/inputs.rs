//! The input of a step against the JSON Schema of its tool, as far as it is known before a run.
//!
//! A literal input is given to the schema as a whole. Where templates stand in it, an answer about
//! the whole could be the template's doing (`oneOf`, `if`, `enum` ... look at the template's text),
//! so only this is reported:
//!
//! * what holds whatever the templates give: a missing required member, a member that is not
//!   allowed, a literal of the wrong type or outside its `enum`, reached by `properties` and
//!   `items` alone;
//! * everything about a member without templates, unless a condition above it may look at one.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::findings::{Findings, Place, nearest};
use crate::expr::{Template, is_templated};
use crate::ids::ToolName;
use crate::json::kind;
use crate::tool::ToolCatalog;

/// Schema words under which a member's own schema may depend on another member.
const CONDITIONS: &[&str] = &[
    "$ref",
    "$dynamicRef",
    "allOf",
    "anyOf",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "if",
    "not",
    "oneOf",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];

/// Checks `input`, compiled as `template`, against the schema of `tool`.
pub(super) fn check(
    tool: &ToolName,
    input: &Value,
    template: &Template,
    catalog: &dyn ToolCatalog,
    place: &Place<'_>,
    findings: &mut Findings,
) {
    let tool = tool.as_str();
    let Some(literal) = template.literal() else {
        if let Some(spec) = catalog.spec(tool) {
            let misses = catalog.check_input(tool, input);
            let misses = Misses { list: &misses };
            check_known(
                &spec.input_schema,
                input,
                Some(&misses),
                "",
                place,
                findings,
            );
        }
        return;
    };
    // A literal with `$${` in it reads differently from what is written.
    let unescaped = is_templated(literal.as_str()).then(|| literal.to_value());
    let input = unescaped.as_ref().unwrap_or(input);
    for (pointer, message) in catalog.check_input(tool, input) {
        findings.add_at(|| path_of(place, &pointer, input), message);
    }
}

/// Bytes of `value` as JSON text.
pub(super) fn size(value: &Value) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Counting cannot fail, and a value always serializes.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

/// What the schema says of the input as it is written.
struct Misses<'a> {
    list: &'a [(String, String)],
}

impl Misses<'_> {
    /// Those at or below `pointer`.
    fn below<'m>(&'m self, pointer: &'m str) -> impl Iterator<Item = &'m (String, String)> {
        self.list.iter().filter(move |(at, _)| {
            at.strip_prefix(pointer)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

/// Whether a template stands anywhere in `value`.
fn holds_template(value: &Value) -> bool {
    match value {
        Value::String(text) => is_templated(text),
        Value::Array(items) => items.iter().any(holds_template),
        Value::Object(members) => members.values().any(holds_template),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Checks a value that is at `pointer` in the input. `misses` is there as long as no condition above
/// may look at a template.
fn check_known(
    schema: &Value,
    value: &Value,
    misses: Option<&Misses<'_>>,
    pointer: &str,
    place: &Place<'_>,
    findings: &mut Findings,
) {
    if findings.is_full() {
        return;
    }
    if !holds_template(value) {
        if let Some(misses) = misses {
            for (at, message) in misses.below(pointer) {
                let rest = &at[pointer.len()..];
                findings.add_at(|| path_of(place, rest, value), message.clone());
            }
            return;
        }
        check_literal(schema, value, place, findings);
    }
    let Some(schema) = schema.as_object() else {
        return;
    };
    let misses = misses.filter(|_| !CONDITIONS.iter().any(|word| schema.contains_key(*word)));
    match value {
        Value::Object(members) => {
            check_type(schema, value, place, findings);
            check_members(schema, members, misses, pointer, place, findings);
        }
        Value::Array(items) => {
            check_type(schema, value, place, findings);
            // `contains` and the like look at other items, `prefixItems` at some of them.
            let Some(each) = schema
                .get("items")
                .filter(|_| !schema.contains_key("prefixItems"))
            else {
                return;
            };
            for (index, item) in items.iter().enumerate() {
                let pointer = format!("{pointer}/{index}");
                check_known(each, item, misses, &pointer, &place.index(index), findings);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn check_members(
    schema: &Map<String, Value>,
    members: &Map<String, Value>,
    misses: Option<&Misses<'_>>,
    pointer: &str,
    place: &Place<'_>,
    findings: &mut Findings,
) {
    let required = schema.get("required").and_then(Value::as_array);
    for name in required.into_iter().flatten().filter_map(Value::as_str) {
        if !members.contains_key(name) {
            findings.add(place, format!("\"{name}\" is a required property"));
        }
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    let closed = schema.get("additionalProperties") == Some(&Value::Bool(false))
        && !schema.contains_key("patternProperties");
    for (key, member) in members {
        let place = place.key(key);
        match properties.and_then(|properties| properties.get(key)) {
            Some(schema) => {
                let key = key.replace('~', "~0").replace('/', "~1");
                let pointer = format!("{pointer}/{key}");
                check_known(schema, member, misses, &pointer, &place, findings);
            }
            None if closed => {
                let known = properties.into_iter().flat_map(|known| known.keys());
                let hint = nearest(key, known.map(String::as_str));
                findings.add(&place, format!("\"{key}\" is not a known property{hint}"));
            }
            None => {}
        }
    }
}

/// What a literal that conditions keep from the whole schema still has to be.
fn check_literal(schema: &Value, value: &Value, place: &Place<'_>, findings: &mut Findings) {
    let Some(schema) = schema.as_object() else {
        return;
    };
    if !matches!(value, Value::Object(_) | Value::Array(_)) {
        check_type(schema, value, place, findings);
    }
    if let Some(choices) = schema.get("enum").and_then(Value::as_array)
        && !choices.contains(value)
    {
        let shown: Vec<String> = choices.iter().map(Value::to_string).collect();
        findings.add(place, format!("must be one of {}", shown.join(", ")));
    }
}

fn check_type(
    schema: &Map<String, Value>,
    value: &Value,
    place: &Place<'_>,
    findings: &mut Findings,
) {
    let types: Vec<&str> = match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => return,
    };
    let fits = types.iter().any(|name| match *name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "number" => value.is_number(),
        "integer" => {
            value.is_i64()
                || value.is_u64()
                || value.as_f64().is_some_and(|float| float.fract() == 0.0)
        }
        "string" => value.is_string(),
        _ => true,
    });
    if !fits {
        findings.add(
            place,
            format!(
                "must be of type {}, and is {}",
                types.join(" or "),
                kind(value)
            ),
        );
    }
}

/// The path of what a JSON pointer below `place` leads to in `value`.
fn path_of(place: &Place<'_>, pointer: &str, value: &Value) -> String {
    let mut path = place.to_string();
    let mut at = Some(value);
    for token in pointer.split('/').skip(1) {
        let key = token.replace("~1", "/").replace("~0", "~");
        match at {
            Some(Value::Array(items)) => {
                // Writing to a String cannot fail.
                let _ = write!(path, "[{key}]");
                at = key.parse::<usize>().ok().and_then(|index| items.get(index));
            }
            _ => {
                let member = Place::ROOT.key(&key).to_string();
                let dot = if member.starts_with('[') { "" } else { "." };
                path.push_str(dot);
                path.push_str(&member);
                at = at.and_then(|value| value.get(&key));
            }
        }
    }
    path
}
