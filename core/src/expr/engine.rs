//! The expression engine: minijinja with strict names, a cost limit and pure functions only.
//!
//! An expression cannot reach a file, a clock, a random number, another template or the memory of
//! the process; its source is at most [`limits::EXPRESSION_BYTES`] long before the parser sees it.

use std::sync::LazyLock;

use minijinja::value::Value;
use minijinja::{Environment, Error, ErrorKind, State, UndefinedBehavior};

use super::guard;
use super::slices;
use super::write::{WriteError, Writer};
use crate::limits;

/// The engine that all expressions share.
pub(super) static ENGINE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_fuel(Some(limits::EXPRESSION_FUEL));
    engine.remove_global("debug");
    engine.remove_global("namespace");
    for html in ["safe", "escape", "e", "pprint"] {
        engine.remove_filter(html);
    }
    engine.add_filter("tojson", tojson);
    engine.add_filter(guard::FILTER, guard::charge);
    engine.add_function("range", range);
    engine.set_unknown_method_callback(slices::call);
    engine
});

/// `range(stop)`, `range(start, stop)`, `range(start, stop, step)` as a list. The engine's own
/// gives a lazy value, which can be walked again and again without paying fuel for it.
fn range(
    state: &State<'_, '_>,
    first: i64,
    second: Option<i64>,
    step: Option<i64>,
) -> Result<Value, Error> {
    let (start, stop) = second.map_or((0, first), |stop| (first, stop));
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(invalid("range() cannot have a step of 0".to_owned()));
    }
    let span = if step > 0 {
        i128::from(stop) - i128::from(start)
    } else {
        i128::from(start) - i128::from(stop)
    };
    let width = i128::from(step).abs();
    let items = (span.max(0) + width - 1) / width;
    let items = usize::try_from(items)
        .ok()
        .filter(|items| *items <= limits::RANGE_ITEMS)
        .ok_or_else(|| {
            invalid(format!(
                "range() of {items} items is too long (limit {})",
                limits::RANGE_ITEMS
            ))
        })?;
    state.consume_fuel(items as u64)?;
    let mut next = i128::from(start);
    let list = (0..items).map(|_| {
        let item = next;
        next += i128::from(step);
        // Every item lies between start and stop, both of which are i64.
        Value::from(i64::try_from(item).unwrap_or(i64::MAX))
    });
    Ok(Value::from(list.collect::<Vec<_>>()))
}

/// `tojson`: the JSON text of a value. The engine's own can be asked for an indent of gigabytes.
fn tojson(value: &Value) -> Result<String, Error> {
    let mut writer = Writer::default();
    match writer.value(value, 0) {
        Ok(()) => Ok(writer.into_text()),
        Err(WriteError::Undefined) => Err(Error::from(ErrorKind::UndefinedError)),
        Err(WriteError::TooLarge | WriteError::TooDeep) => Err(Error::from(ErrorKind::OutOfFuel)),
        Err(WriteError::Invalid(message)) => Err(invalid(message)),
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::names::{FILTERS, FUNCTIONS, TESTS};
    use super::*;

    fn eval(source: &str) -> Result<Value, Error> {
        ENGINE.compile_expression(source)?.eval(())
    }

    #[test]
    fn every_listed_filter_and_test_exists_in_the_engine() {
        for filter in FILTERS {
            let result = ENGINE.empty_state().apply_filter(filter, &[]);
            let unknown = result.is_err_and(|error| error.kind() == ErrorKind::UnknownFilter);
            assert!(!unknown, "filter {filter}");
        }
        for test in TESTS {
            let result = ENGINE.empty_state().perform_test(test, &[]);
            let unknown = result.is_err_and(|error| error.kind() == ErrorKind::UnknownTest);
            assert!(!unknown, "test {test}");
        }
        let result = ENGINE.empty_state().apply_filter("nonsense", &[]);
        assert_eq!(result.unwrap_err().kind(), ErrorKind::UnknownFilter);
    }

    #[test]
    fn the_engine_has_exactly_the_listed_functions() {
        let mut globals: Vec<_> = ENGINE.globals().map(|(name, _)| name.to_owned()).collect();
        globals.sort();
        assert_eq!(globals, FUNCTIONS);
    }

    #[test]
    fn range_is_a_list_of_bounded_length() {
        assert_eq!(eval("range(3)").unwrap().to_string(), "[0, 1, 2]");
        assert_eq!(eval("range(2, 4)").unwrap().to_string(), "[2, 3]");
        assert_eq!(eval("range(0, 5, 2)").unwrap().to_string(), "[0, 2, 4]");
        assert_eq!(eval("range(5, 0, -2)").unwrap().to_string(), "[5, 3, 1]");
        assert_eq!(eval("range(0)").unwrap().to_string(), "[]");
        assert_eq!(eval("range(5, 0)").unwrap().to_string(), "[]");
        assert!(eval("range(1, 2, 0)").is_err());
        assert!(eval("range(1000000000)").is_err());
        assert!(eval("range(-9223372036854775807, 9223372036854775807)").is_err());
        let extremes = "range(9223372036854775806, 9223372036854775807, 9223372036854775807)";
        assert_eq!(eval(extremes).unwrap().to_string(), "[9223372036854775806]");
    }

    #[test]
    fn numbers_behave_as_documented() {
        for (source, result) in [
            ("41 * 7", "287"),
            ("30.0 + 13", "43.0"),
            ("10 / 4", "2.5"),
            ("10 / 5", "2.0"),
            ("7 // 2", "3"),
            ("-7 % 3", "2"),
            ("2 ** 10", "1024"),
        ] {
            assert_eq!(eval(source).unwrap().to_string(), result, "{source}");
        }
        assert!(eval("1 / 0").is_err());
    }
}
