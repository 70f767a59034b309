//! The planner that needs no model: keywords, in linear time, without backtracking.
//!
//! ```text
//!   prompt ──lower case──> tokens ──"and", "then", punctuation──> segments
//!      segments ──how does each begin?──> commands ──> steps ──> plan
//! ```
//!
//! | command | forms |
//! |---|---|
//! | calculate | `calculate\|compute\|evaluate\|math\|solve\|what is` EXPR; bare arithmetic (`5 plus 3`) |
//! | add | `add\|create (a) todo\|task (to\|for\|:\|saying)` TEXT; `add` TEXT `as a todo` |
//! | add several | `add tasks: X, Y and Z` |
//! | list | `list\|show\|get\|display (me) (all) (my\|the) todos\|tasks` |
//! | get, complete, delete | `get\|complete\|finish\|mark done\|delete\|remove todo\|task` ID |
//!
//! **Where a prompt is cut.** At "and", "then" and punctuation; but the text of a todo is only cut
//! where what follows is beyond doubt a command of its own:
//!
//! | prompt | steps |
//! |---|---|
//! | `add a todo to buy milk and bread` | add "buy milk and bread" |
//! | `add a todo to buy milk and list my todos` | add "buy milk"; list |
//! | `add a todo to study and solve math problems` | add "study and solve math problems" |
//! | `add a todo to study and solve 2 + 2` | add "study"; calculate 2 + 2 |
//! | `add a todo to cook and finish task force` | add "cook and finish task force" (no digit: no id) |
//! | `add a todo to call mom, 555-1234` | add "call mom, 555-1234" |
//! | `add tasks: x, y and z` | add "x"; add "y"; add "z" |
//! | `add a todo "eat and list todos"` | add "eat and list todos" (quoted) |
//! | `list todos and sing` | refused: "sing" is no command |
//!
//! Pure steps are independent; steps on the todo store depend each on the one before.

mod arithmetic;
mod command;
mod cursor;
mod segments;
mod tokens;

use crane_actors::planner::Planner;
use crane_core::limits::{CALCULATOR_CHARS, PROMPT_CHARS};
use futures_util::future::{BoxFuture, FutureExt, ready};
use serde_json::{Value, json};

use super::PlanError;
use crate::{calculator, todo_store};
use command::Command;

/// The planner of this module.
#[derive(Clone, Copy, Debug, Default)]
pub struct RulesPlanner;

impl Planner for RulesPlanner {
    fn plan(&self, prompt: &str) -> BoxFuture<'static, Result<Value, String>> {
        ready(plan(prompt).map_err(|error| error.to_string())).boxed()
    }

    fn is_local(&self) -> bool {
        true
    }

    fn kind(&self) -> &'static str {
        "rules"
    }
}

/// The plan of a prompt: steps `step_1`, `step_2` ..., in the order of the prompt.
///
/// # Errors
/// [`PlanError`] names what was not understood.
///
/// ```
/// let plan = crane_tools::planner::rules::plan("Calculate (10 + 5) * 2").unwrap();
/// assert_eq!(plan["steps"][0]["tool"], "calculator");
/// assert_eq!(plan["steps"][0]["input"]["expression"], "(10 + 5) * 2");
/// ```
pub fn plan(prompt: &str) -> Result<Value, PlanError> {
    if prompt.chars().nth(PROMPT_CHARS).is_some() {
        return Err(PlanError::TooLong);
    }
    let prompt = prompt.trim();
    if prompt.is_empty() {
        return Err(PlanError::Empty);
    }
    let text = prompt.to_lowercase();
    let commands = segments::commands(&text)?;
    if commands.is_empty() {
        return Err(PlanError::NotUnderstood(excerpt(&text)));
    }
    let mut steps = Vec::with_capacity(commands.len());
    let mut last_on_todos = None;
    for (index, command) in commands.iter().enumerate() {
        let id = format!("step_{}", index + 1);
        let mut depends_on = Vec::new();
        if command.is_on_todos() {
            depends_on.extend(last_on_todos.replace(id.clone()));
        }
        let (tool, input) = call(command)?;
        steps.push(json!({
            "id": id,
            "tool": tool,
            "input": input,
            "depends_on": depends_on,
            "reasoning": reasoning(command),
        }));
    }
    Ok(json!({ "final_goal": prompt, "steps": steps }))
}

/// The tool that carries a command out, and its input.
fn call(command: &Command) -> Result<(&'static str, Value), PlanError> {
    let on_todo = |action: &str, id: &str| {
        let input = json!({ "action": action, "todo_id": literal(id) });
        (todo_store::NAME, input)
    };
    Ok(match command {
        Command::Calculate(expression) => {
            if expression.chars().nth(CALCULATOR_CHARS).is_some() {
                return Err(PlanError::ExpressionTooLong);
            }
            let input = json!({ "expression": literal(expression) });
            (calculator::NAME, input)
        }
        Command::Add(text) => {
            let input = json!({ "action": "add", "text": literal(text) });
            (todo_store::NAME, input)
        }
        Command::List => (todo_store::NAME, json!({ "action": "list" })),
        Command::Get(id) => on_todo("get", id),
        Command::Complete(id) => on_todo("complete", id),
        Command::Delete(id) => on_todo("delete", id),
    })
}

fn reasoning(command: &Command) -> String {
    match command {
        Command::Calculate(expression) => {
            format!("The prompt asks for the value of {}", excerpt(expression))
        }
        Command::Add(text) => format!("The prompt asks to add the todo \"{}\"", excerpt(text)),
        Command::List => "The prompt asks for the list of todos".to_owned(),
        Command::Get(id) => format!("The prompt asks for the todo {}", excerpt(id)),
        Command::Complete(id) => format!("The prompt asks to complete the todo {}", excerpt(id)),
        Command::Delete(id) => format!("The prompt asks to delete the todo {}", excerpt(id)),
    }
}

/// The text as a template that gives exactly this text: a prompt is no place for templates.
fn literal(text: &str) -> String {
    text.replace("${", "$${")
}

/// The beginning of a text, for messages.
fn excerpt(text: &str) -> String {
    const CHARS: usize = 60;
    let text = text.trim();
    match text.char_indices().nth(CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
