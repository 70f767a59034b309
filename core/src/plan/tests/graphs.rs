//! The drawings, character by character.

use super::*;

#[test]
fn a_plan_is_drawn_for_mermaid() {
    let plan = check(&order_total()).unwrap();
    assert_eq!(
        graph::mermaid(&plan),
        "flowchart TD\n\
         \x20   s0[\"gross<br/>calculator\"]\n\
         \x20   s1[\"shipping<br/>http\"]\n\
         \x20   s2[\"total<br/>calculator\"]\n\
         \x20   s0 --> s2\n"
    );
}

#[test]
fn a_plan_is_drawn_for_graphviz() {
    let plan = check(&order_total()).unwrap();
    assert_eq!(
        graph::dot(&plan),
        "digraph plan {\n\
         \x20   rankdir=TB;\n\
         \x20   node [shape=box];\n\
         \x20   \"gross\" [label=\"gross\\ncalculator\"];\n\
         \x20   \"shipping\" [label=\"shipping\\nhttp\"];\n\
         \x20   \"total\" [label=\"total\\ncalculator\"];\n\
         \x20   \"gross\" -> \"total\";\n\
         }\n"
    );
}

#[test]
fn a_plan_is_drawn_for_a_terminal() {
    let plan = check(&order_total()).unwrap();
    assert_eq!(
        graph::text(&plan),
        "order-total: 3 steps in 2 layers\n\
         1  gross     calculator\n\
         \x20  shipping  http\n\
         2  total     calculator  after gross  when steps.gross.output > 0\n"
    );
}

#[test]
fn a_tool_of_any_name_does_not_break_a_drawing() {
    // Such a name only comes from a stored plan, whose tools are not looked up.
    let source = json!({"steps": [{"id": "end", "tool": "a\"]\\;<b>"}]});
    let plan = Plan::load(&Json::from_value(&source)).unwrap();
    let mermaid = graph::mermaid(&plan);
    assert!(
        mermaid.contains("s0[\"end<br/>a#34;#93;#92;#59;#60;b#62;\"]"),
        "{mermaid}"
    );
    let dot = graph::dot(&plan);
    assert!(dot.contains("[label=\"end\\na\\\"]\\\\;<b>\"]"), "{dot}");
    assert!(graph::text(&plan).starts_with("plan: 1 step in 1 layer\n"));
}

#[test]
fn long_lists_of_dependencies_are_cut() {
    let ids: Vec<String> = (0..12).map(|number| format!("s{number}")).collect();
    let mut steps: Vec<Value> = ids
        .iter()
        .map(|id| json!({"id": id, "tool": "echo"}))
        .collect();
    steps.push(json!({"id": "last", "tool": "echo", "depends_on": ids}));
    let plan = check(&json!({"steps": steps})).unwrap();
    assert!(graph::text(&plan).ends_with("after s0, s1, s2, s3, s4, s5, s6, s7 and 4 more\n"));
}
