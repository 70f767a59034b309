//! Expressions that want to cost much: bounded in time, memory and stack, whatever they are.
//!
//! Each runs on a thread with the 2 MiB stack of a runtime's worker.
#![allow(
    clippy::disallowed_methods,
    reason = "these tests are about the time that really passes"
)]

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

/// Far more than any takes (most a few ms, the worst half a second in a debug build on a busy
/// machine), and far less than what they took without guards (minutes).
const PATIENCE: Duration = Duration::from_secs(10);

/// Compiles and evaluates `source` as a template and as a condition. An overflow of the stack aborts
/// the test, a result past its limit fails it.
fn survive(source: &str) {
    let source = source.to_owned();
    let run = move || {
        let before = Instant::now();
        let input = json!({"big": vec![0; 50_000], "text": "x".repeat(300_000), "n": 3});
        let facts = Facts {
            input: Json::from_value(&input),
        };
        let scope = Scope::new(&facts);
        let value = json!(format!("${{{source}}}"));
        if let Ok(template) = compile(&value)
            && let Ok(json) = template.resolve_json(&scope)
        {
            assert!(json.size() <= crate::limits::RESOLVED_BYTES, "{source}");
        }
        let mut findings = Findings::default();
        let condition = Compiler::new(&Ids).condition(
            &value,
            &Place::ROOT,
            &mut Uses::default(),
            &mut findings,
        );
        // Any answer will do.
        let _ = condition.map(|condition| condition.test(&scope));
        assert!(
            before.elapsed() < PATIENCE,
            "{source}: {:?}",
            before.elapsed()
        );
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(run);
    thread.unwrap().join().unwrap();
}

#[test]
fn deep_and_long_sources_do_not_overflow_the_stack() {
    let most = crate::limits::EXPRESSION_BYTES;
    for (open, middle, close) in [
        ("(", "1", ")"),
        ("[", "", "]"),
        ("{1:", "1", "}"),
        ("-", "1", ""),
        ("not ", "true", ""),
        ("1+", "1", ""),
        ("1*", "1", ""),
        ("2**", "2", ""),
        ("1~", "1", ""),
        ("1<", "1", ""),
        ("1 if 1 else ", "1", ""),
        ("1 and ", "1", ""),
        ("[1]*9+", "[1]", ""),
        ("range(", "1", ")"),
        ("[", "1", "][0]"),
        ("1", "", "|abs"),
        ("[]", "", "|list"),
        ("1", "", " is odd"),
        ("input", "", ".n"),
        ("input", "", "[0]"),
        ("input.big", "", "[:]"),
        ("input.big", "", "[1:]"),
        ("[1]", "", "*1"),
        ("input", "", "()"),
        ("'a'", "", "'b'"),
        ("dict(a=", "1", ")"),
    ] {
        for bytes in [most, most / 2, most / 4, 60] {
            let unit = open.len() + close.len();
            let times = (bytes - middle.len()) / unit.max(1);
            survive(&format!(
                "{}{middle}{}",
                open.repeat(times),
                close.repeat(times)
            ));
            // Prefixes and suffixes that stand once, with the other repeated.
            let times = (bytes - open.len()) / close.len().max(1);
            survive(&format!("{open}{}", close.repeat(times)));
        }
    }
    for operator in [
        "+", "-", "*", "/", "%", "~", "<", "|", ".", ",", ":", "=", "!", "'", "\\", "$",
    ] {
        survive(&operator.repeat(most));
    }
}

#[test]
fn large_values_are_refused_before_they_exist() {
    for source in [
        "'a'*1000000000",
        "'a'*100000000",
        "['a'*1000000]*1000",
        "[1]*1000000000",
        "range(1000000000)",
        "range(0, 1000000000, 100000)",
        "range(10000)|map('string')|join(input.text)",
        "input.text ~ input.text ~ input.text ~ input.text ~ input.text ~ input.text ~ input.text ~ input.text ~ input.text",
        "[input.text]*8",
        "[input.text]*1000",
        "input.text|replace('x', input.text)",
        "input.text|replace('', input.text)",
        "('\\n'*30000)|indent(30000)",
        "'%100000000d'|format(1)",
        "'%.100000000f'|format(1)",
        "1.5|round(300000000)",
        "[1]|tojson(indent=1000000000)",
        "input.big|batch(1000000000, 1)|list",
        "input.big|slice(100000000)|list",
        "input.big|map('batch', 1000000, 0)|list",
        "9**9**9**9**9",
        "2.0**99999999999",
    ] {
        survive(source);
    }
}

#[test]
fn work_that_the_engine_does_not_charge_for_is_guarded() {
    for source in [
        "([([1]*9000)[8999:]]*9000)|map('list')|list|length",
        "([([1]*9000)[::8999]]*9000)|map('list')|list|length",
        "(([1]*9000)[8999:]*9000)|list|length",
        "([input.big[49999:]]*1000)|map('list')|list|length",
        "([input.big+[1]]*1000)|map(attribute=99)|list|length",
        "([input.big+[1]]*1000)|map('attr', 50000)|list|length",
        "([input.text]*1000)|map('attr', 299999)|list|length",
        "range(300)|sort(attribute='a,'*30000)|length",
        "([[[1]*999]*999]*99) == ([[[1]*999]*999]*99)",
        "[[[1]*999]*999]*99 == [[[1]*999]*999]*99",
        "[[[1]*999]*999]*99 in [[[[1]*999]*999]*99]",
        "[[[1]*999]*999]*99 ~ ''",
        "[[[[1]*999]*999]*99, [[[1]*999]*999]*99]|sort|length",
        "([[[1]*999]*999]*99)|string|length",
        "([[[1]*999]*999]*99)|tojson|length",
        "([[[1]*999]*999]*99)|unique|list",
        "'%s'|format([[[1]*999]*999]*99)|length",
        "{([[[1]*999]*999]*99): 1, ([[[1]*999]*999]*99): 2}|length",
        "input[[[[1]*999]*999]*99]|default(1)",
        "[[[1]*999]*999]*99 is eq([[[1]*999]*999]*99)",
        "[[[1]*999]*999]*99 is in [[[[1]*999]*999]*99]",
        "([input.text]*3000)|sort|length",
        "([input.text]*3000)|unique|list|length",
        "([input.text]*3000)|min",
        "([input.big]*3000)|max",
        "input.big*9999 == input.big*9999",
        "[input.big]*9999 == [input.big]*9999",
        "range(9999)|select('in', input.big)|list|length",
        "range(99)|map(attribute='x', default=range(99)|map(attribute='x', default=range(99)|map(attribute='x', default=range(99)|list)))|string|length",
        "[0]|batch(99, [0]|batch(99, [0]|batch(99, [0]|batch(99, 1)|list)|list)|list)|string|length",
        "dict(a=[[1]*999]*999, b=dict(a=[[1]*999]*999)) == dict(a=[[1]*999]*999, b=dict(a=[[1]*999]*999))",
        "[[input.big]*99]|map('first')|map('sum')|sum",
    ] {
        survive(source);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_text_makes_the_compiler_panic(source in "\\PC{0,80}") {
        // Any answer will do.
        let _ = compile(&json!(format!("${{{source}}}")));
        let _ = compile(&json!(source));
    }

    #[test]
    fn no_sequence_of_words_makes_it_panic_or_hang(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "input", ".n", ".big", "steps", ".a", ".output", "[", "]", "(", ")", "{", "}", ":", ",",
                "1", "'x'", "0.5", "+", "-", "*", "**", "/", "%", "~", "|", "length", "map", "list", "is",
                "odd", "in", "not", "and", "or", "if", "else", "==", "<", "=", "range", "attribute", "none",
            ]),
            0..24,
        )
    ) {
        let source = words.join(" ");
        let facts = facts();
        if let Ok(template) = compile(&json!(format!("${{{source}}}"))) {
            let _ = template.resolve_json(&Scope::new(&facts));
        }
    }
}
