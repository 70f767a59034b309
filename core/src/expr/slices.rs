//! Slices (`list[1:3]`) that are paid for.
//!
//! The engine's own slice is lazy, and the items that it skips cost no fuel: walking a slice of one
//! item again and again is a way to compute for minutes within any cost limit
//! (`([([1]*9000)[8999:]]*9000)|map('list')|list|length`: 20 s). So [`super::guard`] turns a slice
//! into the call of the method that is here, which gives a list and charges for what it visits.

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

/// The method that slices become.
pub(super) const METHOD: &str = "__slice";

/// The engine's callback for methods that a value does not have: [`METHOD`], and no other.
pub(super) fn call(
    state: &mut State<'_, '_>,
    value: &Value,
    method: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    if method != METHOD {
        return Err(Error::from(ErrorKind::UnknownMethod));
    }
    let [start, stop, step] = arguments else {
        return Err(Error::from(ErrorKind::MissingArgument));
    };
    let (start, stop, step) = (number(start)?, number(stop)?, number(step)?.unwrap_or(1));
    if step == 0 {
        return Err(invalid("cannot slice by a step of 0".to_owned()));
    }
    match value.kind() {
        ValueKind::Undefined => Err(Error::from(ErrorKind::UndefinedError)),
        ValueKind::None => Ok(Value::from(Vec::<Value>::new())),
        ValueKind::String => {
            // The engine charges for the text itself.
            let text: Vec<char> = value.as_str().unwrap_or_default().chars().collect();
            let chosen = positions(start, stop, step, text.len());
            let chosen = chosen.filter_map(|position| text.get(position));
            Ok(Value::from(chosen.collect::<String>()))
        }
        ValueKind::Seq => {
            let chosen = positions(start, stop, step, value.len().unwrap_or(0));
            let mut items = Vec::new();
            for position in chosen {
                charge(state, items.len())?;
                items.push(value.get_item_by_index(position)?);
            }
            Ok(Value::from(items))
        }
        ValueKind::Iterable => {
            let mut all = Vec::new();
            for item in value.try_iter()? {
                charge(state, all.len())?;
                all.push(item);
            }
            let chosen = positions(start, stop, step, all.len());
            let items: Vec<Value> = chosen.filter_map(|at| all.get(at).cloned()).collect();
            Ok(Value::from(items))
        }
        other => Err(invalid(format!("a value of kind {other} cannot be sliced"))),
    }
}

/// Charges for the item after `visited` ones: one instruction for two of them, as the engine does.
fn charge(state: &State<'_, '_>, visited: usize) -> Result<(), Error> {
    state.consume_fuel(u64::from(visited.is_multiple_of(2)))
}

fn number(value: &Value) -> Result<Option<i64>, Error> {
    if value.is_none() {
        return Ok(None);
    }
    i64::try_from(value.clone()).map(Some)
}

/// The positions that a slice of `length` items names, with the rules of Python.
fn positions(
    start: Option<i64>,
    stop: Option<i64>,
    step: i64,
    length: usize,
) -> impl Iterator<Item = usize> {
    let length = i128::try_from(length).unwrap_or(i128::MAX);
    let step = i128::from(step);
    // The positions before the first and after the last item that can be a bound.
    let (low, high) = if step > 0 {
        (0, length)
    } else {
        (-1, length - 1)
    };
    let bound = |bound: Option<i64>, default: i128| {
        bound.map_or(default, |bound| {
            let bound = i128::from(bound);
            let from_front = if bound < 0 { bound + length } else { bound };
            from_front.clamp(low, high)
        })
    };
    let (first, last) = if step > 0 { (low, high) } else { (high, low) };
    let (mut at, stop) = (bound(start, first), bound(stop, last));
    std::iter::from_fn(move || {
        let more = if step > 0 { at < stop } else { at > stop };
        let position = usize::try_from(at).ok().filter(|_| more)?;
        at += step;
        Some(position)
    })
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::engine::ENGINE;
    use super::super::guard::rewrite;
    use super::*;

    #[test]
    fn slices_give_what_the_engine_gives() {
        let bounds = ["", "0", "1", "2", "4", "9", "-1", "-3", "-9"];
        let steps = ["", ":", ":1", ":2", ":-1", ":-2", ":9", ":-9"];
        for value in [
            "[1,2,3,4]",
            "'hélo'",
            "[]",
            "''",
            "([1]+[2,3])",
            "([1,2]*2)",
            "none",
        ] {
            for start in bounds {
                for stop in bounds {
                    for step in steps {
                        let source = format!("{value}[{start}:{stop}{step}]");
                        let theirs = eval(&source).unwrap();
                        let ours = eval(&rewrite(&source)).unwrap();
                        assert_eq!(ours.to_string(), theirs.to_string(), "{source}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_sliced_is_an_error() {
        for source in [
            "1[:]",
            "{}[:]",
            "'a'[::0]",
            "'a'['x':]",
            "missing[:]",
            "'a'.other(1)",
        ] {
            assert!(eval(&rewrite(source)).is_err(), "{source}");
        }
    }

    fn eval(source: &str) -> Result<Value, Error> {
        ENGINE.compile_expression(source)?.eval(())
    }
}
