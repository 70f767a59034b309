//! Where guards stand, what they stop, and that they change no meaning.
#![allow(clippy::unwrap_used)]

use super::super::engine::ENGINE;
use super::*;

#[test]
fn guards_stand_behind_parts_filters_brackets_and_products() {
    for (source, wanted) in [
        ("input.a.b > 0 and not x.y", "input.a.b > 0 and not x.y"),
        ("a * b", "a * b"),
        ("[a]", "[(a)#]"),
        ("[1, 'x', -1]", "[1, 'x', (-1)#]"),
        ("(a + b).c", "((a + b)#).c"),
        ("a|f", "a|f#"),
        ("a|f|g(1, x=b).c", "a|f#|g(1, x=(b)#)#.c"),
        ("a * b == c*d*e", "(a * b)# == (c*d*e)#"),
        ("a == b*c", "a == (b*c)#"),
        ("a ** b == -c * d - e", "a ** b == (-c * d)# - e"),
        ("not a*2 and b", "not (a*2)# and b"),
        ("{'k': a, 'l': 2}", "{'k': (a)#, 'l': 2}"),
        ("x is in [a, 1]", "x is in [(a)#, 1]"),
        ("x is not eq(b) or y[c]", "x is not eq((b)#) or y[(c)#]"),
        ("a if b*c else d", "a if (b*c)# else d"),
        ("a[1:2]", "a.__slice(1,2,none)"),
        ("a[:]", "a.__slice(none,none,none)"),
        ("a[::-1].b", "a.__slice(none,none,(-1)#).b"),
        (
            "a[ x[1:] : {'k': [2]}['k'] ]",
            "a.__slice((x.__slice(1,none,none))#,({'k': ([2])#}['k'])#,none)",
        ),
        ("'a:[1:2]' ~ b['c:d']", "'a:[1:2]' ~ b['c:d']"),
        ("f(x)[1:](2)", "f((x)#).__slice(1,none,none)(2)"),
        ("a.1[0]", "a.1[0]"),
        ("range(3)", "range(3)"),
    ] {
        let wanted = wanted.replace('#', &format!("|{FILTER}"));
        assert_eq!(rewrite(source), wanted);
    }
}

#[test]
fn what_the_engine_lets_pass_is_stopped_by_the_guards() {
    let source = "([[1]*999]*2000) == ([[1]*999]*2000)";
    let unguarded = ENGINE.compile_expression(source).unwrap();
    assert!(unguarded.eval(()).unwrap().is_true());
    let guarded = rewrite(source);
    let guarded = ENGINE.compile_expression(&guarded).unwrap();
    assert_eq!(
        guarded.eval(()).unwrap_err().kind(),
        minijinja::ErrorKind::OutOfFuel
    );
}

#[test]
fn a_guarded_expression_means_the_same() {
    for source in [
        "1 + 2 * 3 - 4 // 2 ** 2 % 5",
        "-2 * -3 + - 4 * (1 + 1)",
        "[1, 2, [3, {'a': (4, 5)}]][2][1].a",
        "not 2 * 3 == 6 or 'a' * 3 == 'aaa'",
        "'x' ~ 2 * 3 ~ [1]*2",
        "1 in [1] * 3 and 2 not in [1, 3]",
        "range(2, 2 * 5)|map('string')|join(', ')|upper",
        "[{'a': 1}, {'a': 2}]|sum(attribute='a') * 2",
        "(1, 2, 3)[1:][0] if [] is sequence else 'n'",
        "[3, 1, 2]|sort|list|first + 1",
        "dict(a=1, b=2 * 2).b * 2",
        "{1 * 2: 'x'}[2]",
        "5 is odd and 4 is divisibleby(2) and 3 is in [3]",
        "'a' 'b' * 2",
        "[1, 2, 3][::-1]|list == [3, 2, 1]",
        "true and not false or none is none",
        "missing|default(1) * 2",
        "(missing)|default('x')",
        "1 if false",
        "[1,2]|batch(3, 0)|list",
        "3 - -2 - (1)",
    ] {
        let plain = ENGINE.compile_expression(source).unwrap().eval(()).unwrap();
        let guarded = rewrite(source);
        let guarded = ENGINE.compile_expression(&guarded).unwrap();
        assert_eq!(
            format!("{:?}", guarded.eval(()).unwrap()),
            format!("{plain:?}"),
            "{source}"
        );
    }
}
