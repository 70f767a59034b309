//! The effective configuration, with the origin of each value.

use serde_json::{Map, Value, json};

use super::origin::Origin;
use super::reader::Setting;

/// As a file that would give the same, with origins as comments.
pub(super) fn text(settings: &[Setting]) -> String {
    let lines: Vec<(&str, String, &Origin)> = settings
        .iter()
        .map(|setting| {
            let (section, key) = split(&setting.name);
            let line = match &setting.value {
                Value::Null => format!("# {key} is not set"),
                value => format!("{key} = {}", written(value)),
            };
            (section, line, &setting.origin)
        })
        .collect();
    let width = lines.iter().map(|(_, line, _)| line.chars().count());
    // One long list must not push all comments off the screen.
    let width = width.filter(|width| *width <= 40).max().unwrap_or(0);
    let mut text = String::new();
    let mut open = "";
    for (section, line, origin) in &lines {
        if *section != open {
            let gap = if open.is_empty() { "" } else { "\n" };
            text.push_str(&format!("{gap}[{section}]\n"));
            open = section;
        }
        text.push_str(&format!("{line:width$}  # {origin}\n"));
    }
    text
}

/// By section and key.
pub(super) fn json(settings: &[Setting]) -> Value {
    let mut root = Map::new();
    for setting in settings {
        let (section, key) = split(&setting.name);
        let mut table = &mut root;
        for name in section.split('.') {
            let inner = table.entry(name).or_insert_with(|| json!({}));
            let Value::Object(inner) = inner else {
                return Value::Null;
            };
            table = inner;
        }
        let origin = setting.origin.to_string();
        table.insert(
            key.to_owned(),
            json!({"value": setting.value, "origin": origin}),
        );
    }
    Value::Object(root)
}

fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('.').unwrap_or(("", name))
}

/// Texts, numbers, booleans and lists of them are written in TOML as in JSON.
fn written(value: &Value) -> String {
    match value {
        Value::Array(members) => {
            let members: Vec<String> = members.iter().map(Value::to_string).collect();
            format!("[{}]", members.join(", "))
        }
        other => other.to_string(),
    }
}
