//! What conditions give, and what is no condition.

use super::*;

fn condition(value: &Value) -> Result<Condition, Vec<String>> {
    let mut findings = Findings::default();
    let condition =
        Compiler::new(&Ids).condition(value, &Place::ROOT, &mut Uses::default(), &mut findings);
    let list = findings.into_list();
    condition.ok_or_else(|| list.into_iter().map(|finding| finding.message).collect())
}

fn test(value: Value) -> Result<bool, ExprError> {
    let facts = facts();
    condition(&value).unwrap().test(&Scope::new(&facts))
}

#[test]
fn a_condition_is_an_expression_bare_or_in_braces_or_a_boolean() {
    for (written, holds) in [
        (json!("input.price > 40"), true),
        (json!("${input.price > 41}"), false),
        (json!(" ${ input.flag } "), true),
        (json!("input.flag"), true),
        (json!("steps.a.output.yes"), true),
        (json!("steps.skipped.status == 'skipped'"), true),
        (json!("steps['my-id'].output == 'out' and not false"), true),
        (json!("steps.skipped.output | default(false)"), false),
        (json!("{'a': '}'}['a'] == '}'"), true),
        (json!(true), true),
        (json!(false), false),
    ] {
        assert_eq!(test(written.clone()), Ok(holds), "{written}");
    }
}

#[test]
fn a_condition_must_give_a_boolean() {
    for (written, got) in [
        ("input.price", "a number"),
        ("input.price + 1", "a number"),
        ("input.text", "a text"),
        ("'yes'", "a text"),
        ("run.id", "a text"),
        ("steps.a.status", "a text"),
        ("input.text[0]", "a text"),
        ("input.none", "null"),
        ("none", "null"),
        ("input.list", "an array"),
        ("[1]", "an array"),
        ("input.nested", "an object"),
        ("{}", "an object"),
    ] {
        let error = test(json!(written)).unwrap_err();
        let wanted = ExprError::NotBoolean {
            expression: written.into(),
            got: got.into(),
        };
        assert_eq!(error, wanted);
        assert!(error.to_string().contains("must give true or false"));
    }
}

#[test]
fn an_undefined_condition_is_an_error() {
    for written in [
        "input.missing",
        "steps.skipped.output",
        "input.missing > 1",
        "1 if false",
    ] {
        let error = test(json!(written)).unwrap_err();
        assert!(matches!(error, ExprError::Undefined { .. }), "{error}");
    }
}

#[test]
fn what_is_no_condition_is_refused() {
    for written in [
        json!(1),
        json!(null),
        json!([]),
        json!(""),
        json!("${}"),
        json!("${input.flag} and ${input.flag}"),
        json!("input.flag and"),
        json!("price > 1"),
    ] {
        assert!(condition(&written).is_err(), "{written}");
    }
}

#[test]
fn the_source_of_a_condition_is_kept_without_braces() {
    assert_eq!(
        condition(&json!("${ input.flag }")).unwrap().source(),
        "input.flag"
    );
    assert_eq!(condition(&json!(false)).unwrap().source(), "false");
}
