//! Guards against expressions that describe far more than they are charged for.
//!
//! The engine charges for the items that an operation makes, not for what they hold. Lists that hold
//! the same list again and again are cheap to make, and take for ever to compare, to sort or to
//! print: `([[[1]*999]*999]*99) == ([[[1]*999]*999]*99)` ran 53 s within its cost limit, and one
//! more level would be hours. So every value that becomes a part of another one, leaves a filter or
//! a pair of brackets, or is the product of a `*`, is weighed first, with all that it holds:
//!
//! ```text
//!   [[1]*999] == x|map('f', y)   ──rewrite──>   [([(1)|__guard]*999)|__guard] == x|map('f',(y)|__guard)|__guard
//!   list[1:]                     ──rewrite──>   list.__slice(1,none,none)          (see slices)
//! ```
//!
//! The weight is paid in fuel. Here is what a value weighs; where the guards stand is the business of
//! `rewrite`.

mod frame;
mod rewrite;
#[cfg(test)]
mod tests;

pub(super) use rewrite::rewrite;

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, State};

/// The filter that weighs a value and gives it back.
pub(super) const FILTER: &str = "__guard";

/// Values that one unit of fuel pays for.
const VALUES_PER_FUEL: u64 = 4;
/// Bytes of text that count as one value.
const TEXT_BYTES: u64 = 64;

/// The filter [`FILTER`]: pays for the value and all that it holds.
pub(super) fn charge(state: &State<'_, '_>, value: &Value) -> Result<Value, Error> {
    let mut open = vec![value.clone()];
    let mut seen = 1;
    while let Some(next) = open.pop() {
        match next.kind() {
            ValueKind::String => {
                let bytes = next.as_str().unwrap_or_default().len() as u64;
                pay(state, &mut seen, bytes / TEXT_BYTES)?;
            }
            ValueKind::Seq | ValueKind::Iterable => {
                for item in next.try_iter()? {
                    pay(state, &mut seen, 1)?;
                    open.push(item);
                }
            }
            ValueKind::Map => {
                for key in next.try_iter()? {
                    pay(state, &mut seen, 2)?;
                    open.push(next.get_item(&key)?);
                    open.push(key);
                }
            }
            _ => {}
        }
    }
    Ok(value.clone())
}

/// Pays for `weight` more values after `seen` ones.
fn pay(state: &State<'_, '_>, seen: &mut u64, weight: u64) -> Result<(), Error> {
    let before = *seen / VALUES_PER_FUEL;
    *seen += weight;
    match *seen / VALUES_PER_FUEL - before {
        0 => Ok(()),
        fuel => state.consume_fuel(fuel),
    }
}
