//! Values given with `--input` that a plan does not seem to know: a slip in a name would let the plan's
//! own value stand without a word.

use serde_json::{Map, Value};

/// The names in `given` that the plan, as it is written, neither declares nor uses. A plan without
/// `input` declares nothing, so that nothing can be missing there.
pub(super) fn unknown<'v>(plan: &Value, given: &'v Value) -> Vec<&'v str> {
    let Some(declared) = plan.get("input").and_then(Value::as_object) else {
        return Vec::new();
    };
    let mut texts = Vec::new();
    for member in ["steps", "output"] {
        collect(plan.get(member).unwrap_or(&Value::Null), &mut texts);
    }
    let is_used = |name: &str| texts.iter().any(|text| uses(text, name));
    let names = given.as_object().into_iter().flat_map(Map::keys);
    names
        .map(String::as_str)
        .filter(|name| !declared.contains_key(*name) && !is_used(name))
        .collect()
}

fn collect<'v>(value: &'v Value, texts: &mut Vec<&'v str>) {
    match value {
        Value::String(text) => texts.push(text),
        Value::Array(members) => members.iter().for_each(|member| collect(member, texts)),
        Value::Object(members) => members.values().for_each(|member| collect(member, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Whether a text may use the input called `name`: it has that word, or takes the input in a way that
/// only its evaluation tells (`${input | tojson}`, `${input[name]}`).
fn uses(text: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let has_name = text.match_indices(name).any(|(at, _)| {
        !text[..at].ends_with(is_word) && !text[at + name.len()..].starts_with(is_word)
    });
    let takes_all = text.match_indices("input").any(|(at, word)| {
        let rest = text[at + word.len()..].trim_start();
        let by_name = rest.starts_with('.') || rest.starts_with("['") || rest.starts_with("[\"");
        !text[..at].ends_with(|c| is_word(c) || c == '.') && !rest.starts_with(is_word) && !by_name
    });
    has_name || takes_all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn is_unknown(plan: &Value, name: &str) -> bool {
        !unknown(plan, &json!({ name: 1 })).is_empty()
    }

    #[test]
    fn a_name_is_unknown_when_the_plan_neither_declares_nor_uses_it() {
        let plan = json!({
            "input": { "price": 41 },
            "steps": [
                { "id": "a", "tool": "echo", "input": { "v": ["${input.tax * 2}", "foo-bar"] } },
                { "id": "b", "tool": "echo", "when": "input['left'] > 0", "input": {} },
            ],
            "output": "${input.right}",
        });
        for known in ["price", "tax", "left", "right"] {
            assert!(!is_unknown(&plan, known), "{known}");
        }
        for slip in ["prise", "pric", "foo", "steps"] {
            assert!(is_unknown(&plan, slip), "{slip}");
        }
        assert_eq!(unknown(&plan, &json!({"x": 1, "tax": 2})), ["x"]);
    }

    #[test]
    fn what_only_the_evaluation_tells_is_not_guessed_at() {
        for whole in [
            "${input | tojson}",
            "${input[steps.a.output]}",
            "${ input }",
        ] {
            let plan = json!({ "input": {}, "steps": [], "output": whole });
            assert!(!is_unknown(&plan, "x"), "{whole}");
        }
        let plan = json!({ "input": {}, "steps": [], "output": "${steps.a.input_size}" });
        assert!(is_unknown(&plan, "x"));
        assert!(
            !is_unknown(&json!({ "steps": [] }), "x"),
            "nothing is declared"
        );
    }
}
