//! The planner against a table of prompts.
#![allow(clippy::unwrap_used)]

mod properties;

use super::*;

/// A plan in short: `=EXPR` calculates, `+TEXT` adds, `?` lists, `?ID` gets, `!ID` completes,
/// `-ID` deletes.
fn short(plan: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    plan["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| {
            let input = &step["input"];
            if step["tool"] == "calculator" {
                return format!("={}", text(&input["expression"]));
            }
            assert_eq!(step["tool"], "todo_store");
            match input["action"].as_str().unwrap() {
                "add" => format!("+{}", text(&input["text"])),
                "list" => "?".to_owned(),
                "get" => format!("?{}", text(&input["todo_id"])),
                "complete" => format!("!{}", text(&input["todo_id"])),
                "delete" => format!("-{}", text(&input["todo_id"])),
                other => panic!("{other}"),
            }
        })
        .collect()
}

#[track_caller]
fn understood(table: &[(&str, &[&str])]) {
    for (prompt, steps) in table {
        match plan(prompt) {
            Ok(plan) => assert_eq!(short(&plan), *steps, "{prompt}"),
            Err(error) => panic!("{prompt}: {error}"),
        }
    }
}

#[test]
fn calculations() {
    understood(&[
        ("calculate (10 + 5) * 2", &["=(10 + 5) * 2"]),
        ("Calculate 2+2", &["=2+2"]),
        ("COMPUTE 7 * 6", &["=7 * 6"]),
        ("evaluate 2 ** 10", &["=2 ** 10"]),
        ("math 1 - 1", &["=1 - 1"]),
        ("math: 1 - 1", &["=1 - 1"]),
        ("solve 9/3", &["=9/3"]),
        ("what is 5 + 3?", &["=5 + 3"]),
        ("What's 5 + 3", &["=5 + 3"]),
        ("what is 5 plus 3", &["=5 + 3"]),
        ("what is 42", &["=42"]),
        ("calculate the result of 5 + 3", &["=5 + 3"]),
        ("5 plus 3", &["=5 + 3"]),
        ("10 divided by 4", &["=10 / 4"]),
        ("6 multiplied by 7", &["=6 * 7"]),
        ("6 times 7", &["=6 * 7"]),
        ("2 to the power of 8", &["=2 ** 8"]),
        ("100 minus 1", &["=100 - 1"]),
        ("10 over 2", &["=10 / 2"]),
        ("2 + 2", &["=2 + 2"]),
        ("(1+2)*3", &["=(1+2)*3"]),
        ("-5 + 3", &["=-5 + 3"]),
        ("please calculate 1 + 1", &["=1 + 1"]),
        ("could you please calculate 1 + 1, thanks", &["=1 + 1"]),
        ("calculate 1 + 1.", &["=1 + 1"]),
        ("calculate 1.5 * 2.", &["=1.5 * 2"]),
        ("calculate 10 / 0", &["=10 / 0"]),
        ("calculate foo", &["=foo"]),
        ("five plus twenty-one", &["=5 + 21"]),
        ("calculate 5 + 3 and 2 * 4", &["=5 + 3", "=2 * 4"]),
        (
            "calculate 5 + 3 then calculate 1 + 1",
            &["=5 + 3", "=1 + 1"],
        ),
        (
            "calculate 5 + 3, and then compute 1 + 1",
            &["=5 + 3", "=1 + 1"],
        ),
        ("calculate 5 + 3\ncalculate 1 + 1", &["=5 + 3", "=1 + 1"]),
    ]);
}

#[test]
fn todos_are_added() {
    understood(&[
        ("add a todo to buy milk", &["+buy milk"]),
        ("Add a TODO to Buy MILK", &["+buy milk"]),
        ("add todo buy milk", &["+buy milk"]),
        ("create a task to buy milk", &["+buy milk"]),
        ("create task: buy milk", &["+buy milk"]),
        ("add a todo: buy milk", &["+buy milk"]),
        ("add todo:buy milk", &["+buy milk"]),
        ("add a todo for the weekly report", &["+the weekly report"]),
        ("add a todo saying buy milk", &["+buy milk"]),
        ("add a todo saying 'buy milk'", &["+buy milk"]),
        (
            "add a todo \"buy milk and list todos\"",
            &["+buy milk and list todos"],
        ),
        ("add buy milk as a todo", &["+buy milk"]),
        ("add buy milk and bread as a todo", &["+buy milk and bread"]),
        ("add \"buy milk\" as a task", &["+buy milk"]),
        ("add milk to my todo list", &["+milk"]),
        ("please add a todo to buy milk", &["+buy milk"]),
        ("add a todo to buy milk please.", &["+buy milk"]),
        ("add a new task to don't panic", &["+don't panic"]),
        ("add a todo to ask: why?", &["+ask: why?"]),
        ("add tasks: x, y and z", &["+x", "+y", "+z"]),
        (
            "add tasks: Buy Milk, call mom, and rest",
            &["+buy milk", "+call mom", "+rest"],
        ),
        ("create todos: a and b", &["+a", "+b"]),
        ("add 3 tasks: a, b, c", &["+a", "+b", "+c"]),
        ("add the following tasks:\n- a\n- b", &["+a", "+b"]),
        ("add milk and bread as todos", &["+milk", "+bread"]),
        (
            "add a todo to schreibe über straßen",
            &["+schreibe über straßen"],
        ),
    ]);
}

#[test]
fn todos_are_read_and_changed() {
    understood(&[
        ("list todos", &["?"]),
        ("list my todos", &["?"]),
        ("show me all my tasks", &["?"]),
        ("get the todos", &["?"]),
        ("display all tasks", &["?"]),
        ("Show my todo list!", &["?"]),
        ("get todo abc-123", &["?abc-123"]),
        ("show task 17", &["?17"]),
        ("complete todo abc-123", &["!abc-123"]),
        ("finish task 17", &["!17"]),
        ("complete the task 17 please", &["!17"]),
        ("mark done todo 17", &["!17"]),
        ("mark todo 17 as done", &["!17"]),
        ("mark task 17 complete", &["!17"]),
        ("delete todo 17", &["-17"]),
        ("remove task #17.", &["-17"]),
        ("delete todo with id 17", &["-17"]),
        (
            "complete todo 0199AB3C-0000-7000-8000-000000000001",
            &["!0199ab3c-0000-7000-8000-000000000001"],
        ),
    ]);
}

#[test]
fn a_prompt_is_cut_where_commands_begin_and_nowhere_else() {
    understood(&[
        ("add a todo to buy milk and bread", &["+buy milk and bread"]),
        (
            "add a todo to buy milk and list my todos",
            &["+buy milk", "?"],
        ),
        ("add a todo to buy milk, list my todos", &["+buy milk", "?"]),
        (
            "add a todo to buy milk. List my todos.",
            &["+buy milk", "?"],
        ),
        ("add a todo to cook then eat", &["+cook then eat"]),
        ("add a todo to cook and then list todos", &["+cook", "?"]),
        (
            "add a todo to study and solve math problems",
            &["+study and solve math problems"],
        ),
        ("add a todo to study and solve 2 + 2", &["+study", "=2 + 2"]),
        ("add a todo to study and 2 plus 2", &["+study", "=2 + 2"]),
        ("add a todo to call mom, 555-1234", &["+call mom, 555-1234"]),
        (
            "add a todo to call mom and 555-1234",
            &["+call mom and 555-1234"],
        ),
        (
            "add a todo to cook and finish task force",
            &["+cook and finish task force"],
        ),
        ("add a todo to cook and finish task 12", &["+cook", "!12"]),
        ("add a todo to show and tell", &["+show and tell"]),
        ("add a todo to a and add a todo to b", &["+a", "+b"]),
        (
            "add a todo to a and add b and c as a todo",
            &["+a", "+b and c"],
        ),
        ("add tasks: a, b and list todos", &["+a", "+b", "?"]),
        (
            "calculate 5 + 3 and add a todo to buy milk",
            &["=5 + 3", "+buy milk"],
        ),
        ("calculate 5 + 3 and complete todo abc", &["=5 + 3", "!abc"]),
        ("list todos and calculate foo", &["?", "=foo"]),
        (
            "Add a todo to rest, then list my todos and calculate 3 times 4",
            &["+rest", "?", "=3 * 4"],
        ),
        ("and then list todos and", &["?"]),
        (
            "First, calculate 1 + 1, then, finally, list todos, please",
            &["=1 + 1", "?"],
        ),
    ]);
}

#[test]
fn other_prompts_are_refused_with_the_part_that_is_not_understood() {
    let understood_not = |part: &str| PlanError::NotUnderstood(part.to_owned());
    for (prompt, error) in [
        ("", PlanError::Empty),
        (" \t\n ", PlanError::Empty),
        ("hello", understood_not("hello")),
        (
            "What is the capital of France?",
            understood_not("what is the capital of france"),
        ),
        ("list todos and sing", understood_not("sing")),
        ("sing and list todos", understood_not("sing")),
        ("please", understood_not("please")),
        ("and and and", understood_not("and and and")),
        ("42", understood_not("42")),
        ("calculate", PlanError::MissingExpression),
        ("what is", PlanError::MissingExpression),
        ("add a todo", PlanError::MissingText),
        ("add a todo to", PlanError::MissingText),
        ("add as a todo", PlanError::MissingText),
        ("add tasks:", PlanError::MissingText),
        ("add milk", understood_not("add milk")),
        (
            "complete todo",
            PlanError::MissingId("complete todo".to_owned()),
        ),
        (
            "complete todo buy milk",
            PlanError::MissingId("complete todo".to_owned()),
        ),
        ("get todo", PlanError::MissingId("get todo".to_owned())),
        (
            "mark todo as done",
            PlanError::MissingId("mark done todo".to_owned()),
        ),
        ("delete all todos", understood_not("delete all todos")),
        (
            "list completed todos",
            understood_not("list completed todos"),
        ),
    ] {
        let result = plan(prompt);
        assert_eq!(result, Err(error.clone()), "{prompt}");
        assert!(error.to_string().starts_with("Could not parse prompt: "));
    }
}

#[test]
fn the_limits_of_prompts_and_expressions_are_kept() {
    assert!(plan(&format!("add a todo to {}", "x".repeat(1_986))).is_ok());
    assert_eq!(
        plan(&format!("add a todo to {}", "x".repeat(1_987))),
        Err(PlanError::TooLong)
    );
    assert!(plan(&format!("calculate {}", "1".repeat(200))).is_ok());
    assert_eq!(
        plan(&format!("calculate {}", "1".repeat(201))),
        Err(PlanError::ExpressionTooLong)
    );
}

#[test]
fn a_plan_has_the_form_of_a_plan_file() {
    let answer = RulesPlanner.plan(" Calculate 1 + 1 ").now_or_never();
    let plan = answer.expect("rules need no network").unwrap();
    assert_eq!(
        plan,
        json!({
            "final_goal": "Calculate 1 + 1",
            "steps": [{
                "id": "step_1",
                "tool": "calculator",
                "input": {"expression": "1 + 1"},
                "depends_on": [],
                "reasoning": "The prompt asks for the value of 1 + 1"
            }]
        })
    );
}

#[test]
fn only_steps_on_the_todos_wait_for_each_other() {
    let prompt = "add a todo to a, calculate 1 + 1, list todos, calculate 2 + 2, add a todo to b";
    let plan = plan(prompt).unwrap();
    let depends_on: Vec<_> = (0..5)
        .map(|i| plan["steps"][i]["depends_on"].clone())
        .collect();
    assert_eq!(
        depends_on,
        [
            json!([]),
            json!([]),
            json!(["step_1"]),
            json!([]),
            json!(["step_3"])
        ]
    );
}

#[test]
fn a_prompt_cannot_smuggle_a_template_in() {
    understood(&[
        ("add a todo to say ${input.x}", &["+say $${input.x}"]),
        ("add a todo to say $${x}", &["+say $$${x}"]),
        ("calculate ${input.x} + 1", &["=$${input.x} + 1"]),
        ("complete todo ${run.id}1", &["!$${run.id}1"]),
    ]);
}
