//! Dependencies, references and cycles.

use super::*;

#[test]
fn dependencies_are_checked() {
    for (wanted, path, message) in [
        (
            json!("a"),
            "",
            "must be an array of step ids, and is a text",
        ),
        (json!(["c"]), "[0]", "unknown step \"c\""),
        (
            json!(["a", 1]),
            "[1]",
            "must be the id of a step, and is a number",
        ),
        (json!(["a", "a"]), "[1]", "\"a\" is named twice"),
        (json!(["b"]), "[0]", "step \"b\" cannot wait for itself"),
    ] {
        let path = format!("steps[1].depends_on{path}");
        refused(second(json!({"depends_on": wanted})), &path, message);
    }
}

#[test]
fn references_are_checked_where_they_stand() {
    let refused = |input: Value, path: &str, message: &str| {
        refused(
            second(json!({"input": input})),
            &format!("steps[1].input.{path}"),
            message,
        );
    };
    refused(json!({"x": "${steps.c.output}"}), "x", "unknown step \"c\"");
    refused(
        json!({"x": [0, {"y": "${inptu.z}"}]}),
        "x[1].y",
        "did you mean \"input\"?",
    );
    refused(
        json!({"x": "${steps.b.output}"}),
        "x",
        "step \"b\" refers to itself",
    );
    refused(
        json!({"x": "${steps['b'].status}"}),
        "x",
        "step \"b\" refers to itself",
    );
    refused(
        json!({"x": "${steps['a'].output}"}),
        "x",
        "add \"a\" to depends_on",
    );
    refused(
        json!({"x": "${steps[input.which].output}"}),
        "x",
        "name in depends_on every step",
    );
    refused(
        json!({"x": "${steps | length}"}),
        "x",
        "known only at run time",
    );
    refused(json!({"x": "a ${b"}), "x", "without its \"}\"");
    refused(json!({"x": "${}"}), "x", "the expression is empty");
}

#[test]
fn cycles_are_named_in_order() {
    let step = |id: &str, wanted: &[&str]| json!({"id": id, "tool": "echo", "depends_on": wanted});
    refused(
        json!({"steps": [step("x", &[]), step("a", &["b"]), step("b", &["c"]), step("c", &["x", "a"])]}),
        "steps[1].depends_on",
        "in a cycle: a -> b -> c -> a",
    );
    let found = findings(&json!({"steps": [
        step("a", &["b"]),
        {"id": "b", "tool": "echo", "input": {"x": "${steps.a.output}"}},
        step("c", &["d", "a"]),
        step("d", &["c"])
    ]}));
    assert_eq!(found.len(), 2);
    assert!(found[0].message.contains("a -> b -> a"), "{found:?}");
    assert_eq!(found[1].path, "steps[2].depends_on");
    assert!(found[1].message.contains("c -> d -> c"), "{found:?}");
    let ring: Vec<Value> = (0..100)
        .map(|number| {
            step(
                &format!("s{number}"),
                &[&format!("s{}", (number + 1) % 100)],
            )
        })
        .collect();
    let found = findings(&json!({"steps": ring}));
    assert!(found[0].message.contains("s31 -> ... -> s0;"), "{found:?}");
}
