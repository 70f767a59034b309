//! Stored plans, large plans and arbitrary ones.
#![allow(
    clippy::disallowed_methods,
    reason = "some of these tests are about the time that really passes"
)]

use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::json::Json;

#[test]
fn a_stored_plan_loads_whatever_became_of_its_tools_and_limits() {
    let source = json!({"steps": [
        {"id": "a", "tool": "gone", "retry": {"max_attempts": 5000}, "input": {"x": "${input.x}"}}
    ]});
    let text = Json::from_value(&source);
    let plan = Plan::load(&text).unwrap();
    assert_eq!(plan.source, text);
    assert_eq!(plan.steps[0].tool.as_str(), "gone");
    assert_eq!(plan.steps[0].retry.max_attempts, 5000);
    assert!(check(&source).is_err());
}

#[test]
fn a_plan_is_the_same_checked_and_loaded() {
    let checked = check(&order_total()).unwrap();
    let loaded = Plan::load(&checked.source).unwrap();
    assert_eq!(
        format!("{:?}", checked.steps),
        format!("{:?}", loaded.steps)
    );
    assert_eq!(
        format!("{:?}", checked.output),
        format!("{:?}", loaded.output)
    );
    assert_eq!(checked.source, loaded.source);
}

#[test]
fn text_that_is_no_plan_does_not_load() {
    for text in ["", "{", "null", "[]", "{}", "{\"steps\":[]}", "\"steps\""] {
        assert!(Plan::load(&Json::from_trusted(text)).is_err(), "{text}");
    }
}

fn chain(steps: usize) -> Value {
    let step = |number: usize| match number {
        0 => json!({"id": "s0", "tool": "echo", "input": {"n": 0}}),
        _ => json!({
            "id": format!("s{number}"),
            "tool": "calculator",
            "input": {"expression": format!("${{steps.s{}.output}} + {number}", number - 1)}
        }),
    };
    json!({"steps": (0..steps).map(step).collect::<Vec<_>>()})
}

fn fan(steps: usize) -> Value {
    let mut list = vec![json!({"id": "first", "tool": "echo"})];
    list.extend((1..steps - 1).map(|number| {
        json!({
            "id": format!("s{number}"),
            "tool": "echo",
            "input": {"n": "${steps.first.output.n * 2}"},
            "when": "steps.first.status == 'completed'"
        })
    }));
    let ids: Vec<String> = (1..steps - 1).map(|number| format!("s{number}")).collect();
    list.push(json!({"id": "last", "tool": "echo", "depends_on": ids}));
    json!({"steps": list})
}

/// The time that a check takes, the least of three.
fn time_of(source: &Value) -> f64 {
    let time = |_| {
        let before = Instant::now();
        check(source).unwrap();
        before.elapsed().as_secs_f64()
    };
    (0..3).map(time).fold(f64::INFINITY, f64::min)
}

#[test]
fn the_largest_plans_are_checked_in_linear_time() {
    for shape in [chain as fn(usize) -> Value, fan] {
        let (small, large) = (time_of(&shape(1_000)), time_of(&shape(10_000)));
        assert!(large < 3.0, "{large} s");
        // Ten times the steps: quadratic would be a hundred times the time.
        assert!(large < small.max(0.002) * 40.0, "{small} s and {large} s");
    }
}

#[test]
fn a_long_chain_has_a_layer_a_step_and_a_fan_has_three() {
    assert_eq!(check(&chain(10_000)).unwrap().layers().len(), 10_000);
    let plan = check(&fan(10_000)).unwrap();
    let layers = plan.layers();
    assert_eq!(
        layers.iter().map(Vec::len).collect::<Vec<_>>(),
        [1, 9_998, 1]
    );
    let last = plan.steps.last().unwrap();
    assert_eq!(last.depends_on.len(), 9_998);
}

#[test]
fn a_plan_in_which_everything_is_wrong_is_refused_quickly() {
    let steps: Vec<Value> = (0..10_000)
        .map(|number| {
            json!({
                "id": format!("step {number}"), "tool": format!("tool{number}"), "timout": "x",
                "depends_on": [format!("s{number}")],
                "input": {"a": format!("${{steps.x{number}.output}}"), "b": "${nothing | nothing}"}
            })
        })
        .collect();
    let before = Instant::now();
    let findings = check(&json!({"steps": steps})).unwrap_err();
    assert!(before.elapsed().as_secs_f64() < 10.0);
    assert_eq!(findings.len(), crate::limits::FINDINGS + 1);
    let last = findings.last().unwrap();
    assert!(last.message.contains("more findings are not listed"));
}

/// Any JSON, with words of plans in it so that some of it gets far.
fn anything() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "a",
        "b",
        "c",
        "my-id",
        "",
        "1a",
        "echo",
        "calculator",
        "http",
        "choosy",
        "5s",
        "0s",
        "1x",
        "at_most_once",
        "continue",
        "${steps.a.output}",
        "${steps['a'].output}",
        "${steps.c.status}",
        "${input.x | default(1)}",
        "${",
        "${}",
        "$${",
        "${1/0}",
        "steps.b.output > 1",
        "true",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3..200_i64).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    let key = prop_oneof![
        8 => prop::sample::select([check::FIELDS, step::FIELDS, retry::FIELDS].concat()).prop_map(str::to_owned),
        1 => "\\PC{0,5}",
    ];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..8)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

/// A plan that is right in its outline, with anything in its fields.
fn almost_a_plan() -> impl Strategy<Value = Value> {
    let step = (
        prop::sample::select(vec!["a", "b", "c", "my-id"]),
        anything(),
        anything(),
    );
    prop::collection::vec(step, 1..5).prop_map(|steps| {
        let step = |(id, fields, input): (&str, Value, Value)| {
            let mut step = json!({"id": id, "tool": "http", "input": {"url": input}});
            for (key, value) in fields.as_object().into_iter().flatten() {
                step[key] = value.clone();
            }
            step
        };
        json!({"steps": steps.into_iter().map(step).collect::<Vec<_>>()})
    })
}

#[test]
fn a_text_that_is_never_closed_is_refused_wherever_it_begins() {
    // The engine itself reads three quotes as an empty text.
    for source in [
        "'''", "'", "\"", "'a' + '", "'\\", "x|map('", "input['", "(('",
    ] {
        let plan = json!({"steps": [
            {"id": "a", "tool": "http", "input": {"url": "http://localhost"}, "when": source},
        ]});
        let findings = check(&plan).expect_err(source);
        assert_eq!(findings[0].path, "steps[0].when", "{source}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_json_makes_the_check_panic(source in prop_oneof![anything(), almost_a_plan()]) {
        match check(&source) {
            // What is accepted can be stored and loaded, and runs in some order.
            Ok(plan) => {
                let loaded = Plan::load(&plan.source).unwrap();
                let layers: usize = loaded.layers().iter().map(Vec::len).sum();
                prop_assert_eq!(layers, plan.steps.len());
            }
            Err(findings) => {
                prop_assert!(!findings.is_empty());
                for finding in findings {
                    prop_assert!(!finding.path.is_empty() && !finding.message.is_empty());
                }
            }
        }
        let _ = Plan::load(&Json::from_value(&source));
    }
}
