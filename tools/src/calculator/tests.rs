//! The calculator against a table, against trees evaluated directly, and against noise.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::tests::takes_less_than;

#[track_caller]
fn gives(expression: &str, value: f64) {
    assert_eq!(evaluate(expression), Ok(value), "{expression}");
}

#[track_caller]
fn syntax(expression: &str, at: usize) {
    match evaluate(expression) {
        Err(CalculatorError::Syntax { position, .. }) => assert_eq!(position, at, "{expression}"),
        other => panic!("{expression}: {other:?}"),
    }
}

#[test]
fn the_usual_precedence_holds() {
    for (expression, value) in [
        ("(10 + 5) * 2", 30.0),
        ("1 + 2 * 3", 7.0),
        ("(1 + 2) * 3", 9.0),
        ("10 - 4 - 3", 3.0),
        ("100 / 10 / 5", 2.0),
        ("2 * 3 + 4 * 5", 26.0),
        ("2 ** 3 ** 2", 512.0),
        ("(2 ** 3) ** 2", 64.0),
        ("2 * 3 ** 2", 18.0),
        ("-2 ** 2", -4.0),
        ("(-2) ** 2", 4.0),
        ("2 ** -1", 0.5),
        ("2 ** -1 ** 2", 0.5),
        ("2 ** -1 * 4", 2.0),
        ("-2 * -3", 6.0),
        ("- - 3", 3.0),
        ("--3", 3.0),
        ("+3 - +2", 1.0),
        ("1 - -1", 2.0),
        ("7", 7.0),
        (" \t7\n", 7.0),
        ("((((7))))", 7.0),
        ("1.5 + .5", 2.0),
        ("5. + 1", 6.0),
        ("1e3", 1000.0),
        ("1E-2", 0.01),
        ("2.5e+2", 250.0),
        ("0.1 + 0.2", 0.1 + 0.2),
        ("10/4", 2.5),
        ("0 ** 0", 1.0),
        ("9 ** 0.5", 3.0),
        ("1 / 3", 1.0 / 3.0),
    ] {
        gives(expression, value);
    }
}

#[test]
fn a_result_is_never_minus_zero() {
    for expression in ["-0", "0 * -1", "-0.0", "0 / -5"] {
        assert!(
            evaluate(expression).unwrap().is_sign_positive(),
            "{expression}"
        );
    }
}

#[test]
fn mistakes_in_the_text_name_their_position() {
    for (expression, position) in [
        ("1 +", 4),
        ("1 + * 2", 5),
        ("(1 + 2", 7),
        ("1 + 2)", 6),
        ("1 2", 3),
        ("()", 2),
        (".", 1),
        ("1 $ 2", 3),
        ("1,000", 2),
        ("2 ^ 3", 3),
        ("10 % 3", 4),
        ("10 // 3", 5),
        ("1.2.3", 4),
        ("é + 1 )", 7),
        ("1 / 0 +", 8),
        ("** 2", 1),
    ] {
        if expression.starts_with('é') {
            assert!(matches!(
                evaluate(expression),
                Err(CalculatorError::UnknownName(_))
            ));
        } else {
            syntax(expression, position);
        }
    }
}

#[test]
fn names_are_refused_and_named() {
    for (expression, name) in [
        ("foo", "foo"),
        ("1 + bar_2", "bar_2"),
        ("__import__('os')", "__import__"),
        ("2x", "x"),
        ("1e", "e"),
        ("1e+", "e"),
        ("sqrt(4)", "sqrt"),
        ("nan", "nan"),
        ("inf", "inf"),
        ("ünder + 1", "ünder"),
    ] {
        assert_eq!(
            evaluate(expression),
            Err(CalculatorError::UnknownName(name.to_owned())),
            "{expression}"
        );
    }
}

#[test]
fn arithmetic_without_a_result_is_an_error() {
    use CalculatorError::{DivisionByZero, NotFinite};
    for (expression, error) in [
        ("1 / 0", DivisionByZero),
        ("1 / (2 - 2)", DivisionByZero),
        ("0 / 0", DivisionByZero),
        ("1 / -0", DivisionByZero),
        ("0 ** -1", DivisionByZero),
        ("1 / 0 * 1e999", DivisionByZero),
        ("(-8) ** 0.5", NotFinite),
        ("10 ** 400", NotFinite),
        ("1e999", NotFinite),
        ("1e308 * 10", NotFinite),
        ("1 / (1e308 * 10)", NotFinite),
        ("9 ** 9 ** 9 ** 9", NotFinite),
    ] {
        assert_eq!(evaluate(expression), Err(error), "{expression}");
    }
}

#[test]
fn empty_and_too_long_expressions_are_refused() {
    assert_eq!(evaluate(""), Err(CalculatorError::Empty));
    assert_eq!(evaluate(" \t\n"), Err(CalculatorError::Empty));
    gives(&format!("{}1", "0".repeat(199)), 1.0);
    assert_eq!(evaluate(&"1".repeat(201)), Err(CalculatorError::TooLong));
    // The limit counts characters, not bytes.
    assert!(matches!(
        evaluate(&"é".repeat(200)),
        Err(CalculatorError::UnknownName(_))
    ));
}

#[test]
fn nesting_is_limited_but_not_for_parentheses_that_fit() {
    gives(&format!("{}1{}", "(".repeat(99), ")".repeat(99)), 1.0);
    assert!(matches!(
        evaluate(&format!("{}1", "-".repeat(199))),
        Err(CalculatorError::Syntax { .. })
    ));
    assert!(matches!(
        evaluate(&"(".repeat(200)),
        Err(CalculatorError::Syntax { .. })
    ));
}

#[test]
fn the_tool_returns_a_json_float_and_blames_the_caller() {
    let output = call(json!({"expression": "(10 + 5) * 2"})).unwrap();
    assert_eq!(output.to_string(), "30.0");
    let error = call(json!({"expression": "1 / 0"})).unwrap_err();
    assert_eq!(error, ToolError::invalid_input("division by zero"));
    assert_eq!(
        call(json!({"expression": 3})).unwrap_err().kind,
        crane_core::tool::ErrorKind::InvalidInput
    );
}

#[derive(Clone, Debug)]
enum Tree {
    Number(f64),
    Minus(Box<Tree>),
    Binary(char, Box<Tree>, Box<Tree>),
}

impl Tree {
    /// With parentheses only where precedence needs them.
    fn text(&self) -> String {
        match self {
            Self::Number(number) => format!("{number}"),
            Self::Minus(inner) => format!("-{}", inner.wrapped(3, true)),
            Self::Binary(operator, left, right) => {
                let level = self.level();
                let right_associative = *operator == '^';
                let left = left.wrapped(level, !right_associative);
                let right = right.wrapped(level, right_associative);
                match operator {
                    '^' => format!("{left} ** {right}"),
                    _ => format!("{left} {operator} {right}"),
                }
            }
        }
    }

    fn level(&self) -> u8 {
        match self {
            Self::Number(_) => 5,
            Self::Minus(_) => 3,
            Self::Binary('^', ..) => 4,
            Self::Binary('*' | '/', ..) => 2,
            Self::Binary(..) => 1,
        }
    }

    fn wrapped(&self, level: u8, equal_is_bare: bool) -> String {
        let bare = self.level() > level || (equal_is_bare && self.level() == level);
        if bare {
            self.text()
        } else {
            format!("({})", self.text())
        }
    }

    /// `None` where any part has no finite value.
    fn value(&self) -> Option<f64> {
        let value = match self {
            Self::Number(number) => *number,
            Self::Minus(inner) => -inner.value()?,
            Self::Binary(operator, left, right) => {
                let (left, right) = (left.value()?, right.value()?);
                match operator {
                    '+' => left + right,
                    '-' => left - right,
                    '*' => left * right,
                    '/' => left / right,
                    _ => left.powf(right),
                }
            }
        };
        value.is_finite().then_some(value)
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    let number = (0_u32..2_000).prop_map(|n| Tree::Number(f64::from(n) / 8.0));
    number.prop_recursive(4, 12, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|tree| Tree::Minus(Box::new(tree))),
            (
                prop::sample::select(vec!['+', '-', '*', '/', '^']),
                inner.clone(),
                inner
            )
                .prop_map(|(operator, left, right)| Tree::Binary(
                    operator,
                    Box::new(left),
                    Box::new(right)
                )),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_expression_has_the_value_of_its_tree(tree in tree()) {
        let text = tree.text();
        prop_assume!(text.chars().count() <= CALCULATOR_CHARS);
        let result = evaluate(&text);
        match tree.value() {
            Some(value) => prop_assert_eq!(result, Ok(value + 0.0), "{}", text),
            None => prop_assert!(
                matches!(result, Err(CalculatorError::DivisionByZero | CalculatorError::NotFinite)),
                "{}: {:?}", text, result
            ),
        }
    }

    #[test]
    fn noise_neither_panics_nor_takes_long(text in "\\PC{0,300}", near in "[-0-9+*/(). e]{0,200}") {
        for text in [text, near] {
            let quick = takes_less_than(Duration::from_millis(1), || drop(evaluate(&text)));
            prop_assert!(quick, "{}", text);
        }
    }
}

#[test]
fn hostile_expressions_take_less_than_a_millisecond() {
    for expression in [
        "(".repeat(200),
        "-".repeat(200),
        "1+".repeat(100),
        "2**".repeat(66),
        format!("{}1{}", "(".repeat(99), ")".repeat(99)),
        "9".repeat(200),
        "x".repeat(200),
        " ".repeat(1_000_000),
    ] {
        let quick = takes_less_than(Duration::from_millis(1), || drop(evaluate(&expression)));
        assert!(quick, "{expression:.20}");
    }
}
