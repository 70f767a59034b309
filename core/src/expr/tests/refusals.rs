//! Expressions that are refused when they are compiled, and errors that say what is wrong.

use super::super::expression::Expression;
use super::*;

#[test]
fn names_that_do_not_exist_are_refused() {
    refused("${price}", "unknown name \"price\"");
    refused("${inputs.price}", "did you mean \"input\"?");
    refused("${step.a.output}", "did you mean \"steps\"?");
    refused("x ${now()} y", "unknown name \"now\"");
}

#[test]
fn steps_and_their_fields_must_exist() {
    refused("${steps.nothing.output}", "unknown step \"nothing\"");
    refused("${steps['nothing'].output}", "unknown step \"nothing\"");
    refused(
        "${steps.my-id.output}",
        "an id with a dash is written steps['my-id']",
    );
    refused("${steps.a.result}", "a step has output and status");
    refused("${steps.a[0]}", "a step has output and status");
    refused("${steps[0].output}", "named by their id");
    refused("${run.name}", "only run.id is known");
}

#[test]
fn filters_and_tests_must_exist() {
    refused(
        "${input.list | lenght}",
        "unknown filter \"lenght\"; did you mean \"length\"?",
    );
    refused(
        "${input.list | map('uper')}",
        "map() cannot use the filter \"uper\"",
    );
    refused(
        "${input.list is defind}",
        "unknown test \"defind\"; did you mean \"defined\"?",
    );
    refused("${input.list is not evn}", "unknown test \"evn\"");
    refused(
        "${input.list | select('evn')}",
        "the test \"evn\"; did you mean \"even\"?",
    );
    refused("${input.list | length.x}", "unknown filter \"length\"");
}

#[test]
fn arguments_that_are_not_charged_for_must_be_literals() {
    refused(
        "${input.list | map(attribute=input.text)}",
        "an attribute must be a text",
    );
    refused(
        "${input.list | sort(attribute='a,' * 9)}",
        "an attribute must be a text",
    );
    refused(
        "${input.list | map(attribute=100)}",
        "an attribute must be a text",
    );
    refused(
        "${input.list | groupby(input.text)}",
        "an attribute must be a text",
    );
    refused(
        "${input.list | map(input.text)}",
        "takes the name of a filter in quotes",
    );
    refused(
        "${input.list | map('map', 'upper')}",
        "cannot use the filter \"map\"",
    );
    refused("${input.list | map(*input.list)}", "cannot be spread");
    refused("${dict(**input)}", "cannot be spread");
}

#[test]
fn syntax_errors_are_refused_with_the_expression() {
    refused("${1 +}", "`1 +` is not an expression");
    refused("${input.}", "is not an expression");
    refused("${input[}", "do not match");
    refused("${'a}", "without its \"}\"");
    refused("${ }", "the expression is empty");
    refused("${a }} b}", "");
    refused(
        &format!("${{{}}}", "1+".repeat(300)),
        "longer than 512 bytes",
    );
    let longest = format!("${{'{}'}}", "x".repeat(510));
    gives(json!(longest), json!("x".repeat(510)));
}

#[test]
fn what_the_engine_stops_reading_at_is_refused() {
    for source in [
        "'''",
        "'a' ? input.x",
        "input.text == 'a' $",
        "'a' 1__",
        "'a' 'b' \\",
        "\"a\" '",
        "input.list[0] == 'a' 'b' §",
    ] {
        let problems = Expression::compile(source, &Ids).unwrap_err();
        assert!(problems[0].contains("is not an expression"), "{problems:?}");
    }
    gives(json!("${'a' 'b'}"), json!("ab"));
    gives(json!("${('a', \"b\")[1] ~ 'c'}"), json!("bc"));
}

#[test]
fn keys_hold_no_templates() {
    let problems = compile(&json!({"${input.text}": 1})).unwrap_err();
    assert!(problems[0].contains("a key cannot hold"), "{problems:?}");
}

#[test]
fn errors_say_what_is_undefined() {
    fails(
        "${input.missing}",
        "`input.missing`: input.missing is undefined",
    );
    fails("${input.a.b.c}", "input.a is undefined");
    fails("${input.nested.a.x.y + 1}", "input.nested.a.x is undefined");
    fails(
        "${steps.skipped.output}",
        "steps.skipped.output (step is skipped) is undefined",
    );
    fails(
        "n=${steps.skipped.output.n + 1}",
        "steps.skipped.output (step is skipped) is undefined",
    );
    fails("${input.list[7]}", "input.list[7] is undefined");
    fails(
        "${steps['my-id'].output.x}",
        "steps['my-id'].output.x is undefined",
    );
    fails("${input.missing[1:]}", "input.missing is undefined");
    fails("${1 if false}", "a value is undefined");
    fails("${[input.missing]}", "input.missing is undefined");
    fails("${input.missing | tojson}", "input.missing is undefined");
}

#[test]
fn errors_say_what_failed() {
    fails("${input.text / 2}", "unsupported types");
    fails("${input.none.x}", "input.none.x is undefined");
    fails("${input.list.nothing()}", "no method named nothing");
    fails("${{1: 2}}", "is not text");
    fails("${range}", "cannot be the result");
    fails("${range(20000)}", "range() of 20000 items is too long");
}

#[test]
fn limits_are_told_from_mistakes() {
    let error = |source: &str| resolve(&json!(source)).unwrap_err();
    assert!(error("${'a' * 99999999}").is_limit());
    assert!(!error("${input.missing}").is_limit());
    assert!(!error("${1 / 0}").is_limit());
}

#[test]
fn computed_references_reach_the_visible_steps() {
    gives(
        json!("${steps[input.text[:0] ~ 'a'].output.n}"),
        json!(30.0),
    );
    gives(json!("${steps | length}"), json!(STEPS.len()));
    gives(
        json!("${steps['a' ~ ''].status ~ steps.a.status}"),
        json!("completedcompleted"),
    );
    fails("${steps['no' ~ 'ne'].output}", "a value is undefined");
    // Without any visible step there is nothing to reach.
    let mut findings = Findings::default();
    let template = Compiler::new(&Ids).template(
        &json!("${steps['' ~ 'a'].output}"),
        &Place::ROOT,
        &mut Uses::default(),
        &mut findings,
    );
    let facts = facts();
    assert!(template.resolve(&Scope::new(&facts)).is_err());
}
