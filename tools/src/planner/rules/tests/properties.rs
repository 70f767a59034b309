//! What holds for every prompt: against noise, hostile prompts and the check of plans.

use std::sync::LazyLock;
use std::time::Duration;

use crane_core::expr::{Scope, ScopeSource};
use crane_core::{Json, Limits, Plan, RunId, StepIndex, StepStatus};
use proptest::prelude::*;

use super::*;
use crate::tests::{Catalog, takes_less_than};

/// A run of which nothing is known.
struct Nothing(Json);

impl ScopeSource for Nothing {
    fn run_id(&self) -> RunId {
        RunId::from_bytes([0; 16])
    }

    fn input(&self) -> &Json {
        &self.0
    }

    fn step_status(&self, _: StepIndex) -> StepStatus {
        StepStatus::Pending
    }

    fn step_output(&self, _: StepIndex) -> Option<&Json> {
        None
    }
}

/// The inputs of the steps as the tools will get them; fails where the plan is refused.
fn resolved(plan: &Value) -> Vec<Value> {
    static CATALOG: LazyLock<Catalog> = LazyLock::new(Catalog::new);
    let plan = Plan::check(plan, &*CATALOG, &Limits::default()).unwrap();
    let nothing = Nothing(Json::from_trusted("{}"));
    let scope = Scope::new(&nothing);
    let inputs = plan
        .steps
        .iter()
        .map(|step| step.input.resolve(&scope).unwrap());
    inputs.collect()
}

#[test]
fn what_looks_like_a_template_arrives_as_it_was_written() {
    for text in [
        "${input.x}",
        "$${x}",
        "$$${x}",
        "${",
        "a ${ b",
        "$",
        "$ {",
        "${run.id}$${",
    ] {
        let plan = plan(&format!("add a todo to say {text}")).unwrap();
        let inputs = resolved(&plan);
        assert_eq!(inputs[0]["text"], format!("say {text}"));
    }
}

#[test]
fn the_largest_prompts_make_plans_that_are_accepted() {
    for prompt in [
        // Two characters in lower case.
        format!("add a todo to {}", "İ".repeat(1_986)),
        "1+1,".to_owned() + &" 1+1,".repeat(399),
        "add tasks: ".to_owned() + &"x, ".repeat(663),
    ] {
        let plan = plan(&prompt).unwrap();
        assert_eq!(
            resolved(&plan).len(),
            plan["steps"].as_array().unwrap().len()
        );
    }
}

#[test]
fn hostile_prompts_take_less_than_100_milliseconds() {
    let fill = |unit: &str| unit.repeat(2_000 / unit.chars().count());
    for prompt in [
        fill("and "),
        fill("and then "),
        fill("("),
        fill("(1+"),
        fill("\""),
        fill("\"a "),
        fill("a\"b \""),
        fill("“"),
        fill("add "),
        fill("add and "),
        fill("add x and "),
        fill("as a todo and "),
        fill("add as a todo "),
        fill("add a todo to "),
        fill("add a todo to x and "),
        fill("add tasks: "),
        fill("x, "),
        fill("list todos and "),
        fill("calculate "),
        fill("what is "),
        fill("twenty "),
        fill("one hundred thousand "),
        fill("raised to the "),
        fill("please "),
        fill("can you "),
        fill("mark "),
        fill("1e"),
        fill("."),
        fill(". "),
        fill("${"),
        fill("İ"),
        fill("ß\n"),
        format!("add a todo to {}", fill("x and add y ")),
        format!("add {} as a todo", fill("x and "))
            .chars()
            .skip(20)
            .collect(),
    ] {
        let prompt: String = prompt.chars().take(2_000).collect();
        let quick = takes_less_than(Duration::from_millis(100), || drop(plan(&prompt)));
        assert!(quick, "{prompt:.40}");
    }
}

/// Words that prompts are made of, in any order.
fn babble() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "add",
        "create",
        "a",
        "todo",
        "task",
        "todos",
        "tasks",
        ":",
        "to",
        "as",
        "and",
        "then",
        ",",
        ".",
        "list",
        "show",
        "my",
        "get",
        "complete",
        "mark",
        "done",
        "delete",
        "calculate",
        "what",
        "is",
        "5",
        "plus",
        "+",
        "twenty",
        "-",
        "hundred",
        "(",
        ")",
        "\"",
        "'",
        "please",
        "x1",
        "milk",
        "\n",
        "?",
        "#",
        "${x}",
        "squared",
        "${run.id}",
        "$",
        "the",
        "result",
        "of",
    ]);
    let glue = prop::sample::select(vec![" ", " ", " ", "", "  "]);
    prop::collection::vec((word, glue), 0..60).prop_map(|words| {
        words
            .into_iter()
            .flat_map(|(word, glue)| [word, glue])
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_prompt_gives_a_plan_or_an_error(noise in "\\PC{0,200}", babble in babble()) {
        for prompt in [noise, babble] {
            let Ok(plan) = plan(&prompt) else {
                continue;
            };
            let steps = plan["steps"].as_array().unwrap();
            prop_assert!(!steps.is_empty());
            for (index, step) in steps.iter().enumerate() {
                prop_assert_eq!(&step["id"], &json!(format!("step_{}", index + 1)));
                for dependency in step["depends_on"].as_array().unwrap() {
                    let earlier = steps[..index].iter().any(|step| step["id"] == *dependency);
                    prop_assert!(earlier);
                }
            }
            for input in resolved(&plan) {
                if let Some(text) = input["text"].as_str() {
                    prop_assert!(!text.trim().is_empty());
                }
                // Whatever is said of a run in a prompt stays text.
                let text = input.to_string();
                prop_assert!(!text.contains("00000000-0000"), "{}", text);
            }
        }
    }
}
