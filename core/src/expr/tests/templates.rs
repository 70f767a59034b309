//! What templates resolve to.

use super::*;

#[test]
fn a_lone_expression_keeps_the_type_of_its_value() {
    gives(json!("${input.price}"), json!(41));
    gives(json!("${ input.rate }"), json!(1.2));
    gives(json!("${input.flag}"), json!(true));
    gives(json!("${input.none}"), json!(null));
    gives(json!("${input.list}"), json!([1, 2, 3]));
    gives(json!("${input.big}"), json!(u64::MAX));
    gives(json!("${steps.c.output}"), json!(287));
    gives(json!("${steps.a.output.n}"), json!(30.0));
    gives(json!("${steps['my-id'].output}"), json!("out"));
    gives(
        json!("${run.id}"),
        json!(RunId::from_time(1, [7; 10]).to_string()),
    );
    gives(
        json!("${run}"),
        json!({"id": RunId::from_time(1, [7; 10]).to_string()}),
    );
    gives(json!("${steps.skipped}"), json!({"status": "skipped"}));
    gives(
        json!("${steps.c}"),
        json!({"status": "completed", "output": 287}),
    );
}

#[test]
fn inside_text_values_are_rendered() {
    gives(json!("${input.price} * ${input.quantity}"), json!("41 * 7"));
    gives(json!("<${input.text}>"), json!("<plain>"));
    gives(json!("<${steps.a.output.text}>"), json!("<hé\"y>"));
    gives(
        json!("<${input.list} ${input.none} ${input.flag}>"),
        json!("<[1,2,3] null true>"),
    );
    gives(json!("n=${steps.a.output.n}"), json!("n=30.0"));
    gives(json!("${steps.a.output.n + 13}!"), json!("43.0!"));
    gives(json!("${input.list[1:]}!"), json!("[2,3]!"));
    gives(json!("${steps.a.output.text ~ '\n'}\""), json!("hé\"y\n\""));
    gives(
        json!("${steps.skipped.status} ${run.id}"),
        json!(format!("skipped {}", RunId::from_time(1, [7; 10]))),
    );
}

#[test]
fn literals_stay_as_they_are() {
    gives(
        json!({"a": [1, 2.5, null, true, "x\"\\\n"], "b": {}}),
        json!({"a": [1, 2.5, null, true, "x\"\\\n"], "b": {}}),
    );
    gives(
        json!("$${input.price} costs $5"),
        json!("${input.price} costs $5"),
    );
    gives(json!({"$${k}": "$${v}"}), json!({"${k}": "${v}"}));
    let template = compile(&json!({"a": 1})).unwrap();
    assert!(template.literal().is_some());
    assert!(
        compile(&json!(["${input.price}"]))
            .unwrap()
            .literal()
            .is_none()
    );
}

#[test]
fn templates_stand_anywhere_in_a_value() {
    gives(
        json!({"x": ["${input.price}", {"y": "${steps.a.output.items[0].id}"}], "z": "a"}),
        json!({"x": [41, {"y": 7}], "z": "a"}),
    );
}

#[test]
fn numbers_behave_as_documented() {
    gives(json!("${input.price * input.quantity}"), json!(287));
    gives(json!("${30.0 + 13}"), json!(43.0));
    gives(json!("${steps.c.output / 7}"), json!(41.0));
    gives(json!("${steps.c.output // 10}"), json!(28));
    gives(json!("${input.big}"), json!(18_446_744_073_709_551_615_u64));
    fails("${2 ** 100}", "does not fit 64 bits");
    fails("${1e308 * 10}", "not finite");
    fails("${1 / 0}", "unable to calculate 1 / 0");
}

#[test]
fn filters_and_conditionals_work() {
    gives(json!("${input.list | length}"), json!(3));
    gives(json!("${steps.skipped.output | default(0)}"), json!(0));
    gives(json!("${input.missing | default('x')}"), json!("x"));
    gives(
        json!("${steps.a.output['items'] | map(attribute='id') | list}"),
        json!([7, 8]),
    );
    gives(
        json!("${'big' if input.price > 40 else 'small'}"),
        json!("big"),
    );
    gives(
        json!("${{'k': input.price, 'l': [1, '}']}}"),
        json!({"k": 41, "l": [1, "}"]}),
    );
    gives(json!("${range(3)}"), json!([0, 1, 2]));
    gives(
        json!("${input.nested | tojson}"),
        json!("{\"a\":{\"b\":[\"x\",{\"c\":-5}]}}"),
    );
    gives(json!("${dict(a=1) | items | list}"), json!([["a", 1]]));
}
