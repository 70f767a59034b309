//! Drawings of a plan: Mermaid, Graphviz, and text for a terminal. None of them says how a run is
//! going; they show what waits for what.

use std::fmt::Write as _;

use super::{Plan, Step};
use crate::ids::StepIndex;

/// A Mermaid flowchart. Nodes are numbered, since an id such as `end` is a word of Mermaid's.
pub fn mermaid(plan: &Plan) -> String {
    let mut text = String::from("flowchart TD\n");
    for (position, step) in plan.steps.iter().enumerate() {
        let tool = step.tool.as_str();
        line(
            &mut text,
            &format!(
                "    s{position}[\"{}<br/>{}\"]",
                step.id,
                mermaid_text(tool)
            ),
        );
    }
    for (position, step) in plan.steps.iter().enumerate() {
        for dependency in &step.depends_on {
            line(&mut text, &format!("    s{dependency} --> s{position}"));
        }
    }
    text
}

/// Mermaid writes the characters that mean something to it as `#name;`.
fn mermaid_text(text: &str) -> String {
    let mut safe = String::new();
    for character in text.chars() {
        match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | ' ' | '_' | '-' | '.' | ':' => {
                safe.push(character);
            }
            other => {
                // Writing to a String cannot fail.
                let _ = write!(safe, "#{};", u32::from(other));
            }
        }
    }
    safe
}

/// A Graphviz digraph.
pub fn dot(plan: &Plan) -> String {
    let mut text = String::from("digraph plan {\n    rankdir=TB;\n    node [shape=box];\n");
    for step in &plan.steps {
        let tool = step
            .tool
            .as_str()
            .replace('\\', "\\\\")
            .replace('"', "\\\"");
        line(
            &mut text,
            &format!("    \"{id}\" [label=\"{id}\\n{tool}\"];", id = step.id),
        );
    }
    for step in &plan.steps {
        for dependency in &step.depends_on {
            let before = &plan.steps[dependency.position()].id;
            line(&mut text, &format!("    \"{before}\" -> \"{}\";", step.id));
        }
    }
    text.push_str("}\n");
    text
}

/// Text for a terminal: the layers from top to bottom, each step with its tool and with what it
/// waits for.
pub fn text(plan: &Plan) -> String {
    let layers = plan.layers();
    let name = plan.name.as_deref().unwrap_or("plan");
    let mut text = String::new();
    line(
        &mut text,
        &format!(
            "{name}: {} in {}",
            count(plan.steps.len(), "step"),
            count(layers.len(), "layer")
        ),
    );
    let number_width = layers.len().to_string().len();
    let width = |of: fn(&Step) -> usize| plan.steps.iter().map(of).max().unwrap_or(0);
    let id_width = width(|step| step.id.as_str().chars().count());
    let tool_width = width(|step| step.tool.as_str().chars().count());
    for (number, layer) in layers.iter().enumerate() {
        for (place, step) in layer.iter().enumerate() {
            let number = if place == 0 {
                (number + 1).to_string()
            } else {
                String::new()
            };
            let step = &plan.steps[step.position()];
            let row = format!(
                "{number:>number_width$}  {:id_width$}  {:tool_width$}  {}",
                step.id.as_str(),
                step.tool.as_str(),
                notes(plan, step)
            );
            line(&mut text, row.trim_end());
        }
    }
    text
}

/// What a step waits for and when it runs.
fn notes(plan: &Plan, step: &Step) -> String {
    let mut notes = Vec::new();
    if !step.depends_on.is_empty() {
        let name = |step: &StepIndex| plan.steps[step.position()].id.as_str();
        let names = step.depends_on.iter().take(NAMES).map(name);
        let mut names = names.collect::<Vec<_>>().join(", ");
        if step.depends_on.len() > NAMES {
            let _ = write!(names, " and {} more", step.depends_on.len() - NAMES);
        }
        notes.push(format!("after {names}"));
    }
    if let Some(when) = &step.when {
        notes.push(format!("when {}", when.source()));
    }
    notes.join("  ")
}

/// Dependencies of one step that are named in the text.
const NAMES: usize = 8;

fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}
