//! Finding the `${...}` in a text.

use super::expression::too_long;
use crate::limits;

/// A piece of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'s> {
    /// Text that stays as it is.
    Literal(&'s str),
    /// What stands between `${` and its `}`.
    Expression(&'s str),
}

/// The pieces of `text`. `$${` gives the literal `${`.
pub(super) fn split(text: &str) -> Result<Vec<Part<'_>>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            push_literal(&mut parts, before);
            push_literal(&mut parts, &from[..2]);
            rest = &from[2..];
            continue;
        }
        push_literal(&mut parts, before);
        let inside = &from[2..];
        let end = end_of(inside)?;
        parts.push(Part::Expression(&inside[..end]));
        rest = &inside[end + 1..];
    }
    push_literal(&mut parts, rest);
    Ok(parts)
}

fn push_literal<'s>(parts: &mut Vec<Part<'s>>, text: &'s str) {
    if !text.is_empty() {
        parts.push(Part::Literal(text));
    }
}

/// Where the `}` is that ends the expression at the start of `text`: the first one outside strings
/// and brackets.
fn end_of(text: &str) -> Result<usize, String> {
    let mut open: Vec<u8> = Vec::new();
    let mut quote = None;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        if at > limits::EXPRESSION_BYTES {
            return Err(too_long());
        }
        if escaped {
            escaped = false;
            continue;
        }
        match (quote, byte) {
            (Some(_), b'\\') => escaped = true,
            (Some(end), _) if byte == end => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'(' | b'[' | b'{') => open.push(byte),
            (None, b'}') if open.is_empty() => return Ok(at),
            (None, b')' | b']' | b'}') => {
                let partner = if byte == b')' { b'(' } else { byte - 2 };
                if open.pop() != Some(partner) {
                    return Err(format!(
                        "the brackets of the expression do not match at \"{}\"",
                        char::from(byte)
                    ));
                }
            }
            (None, _) => {}
        }
    }
    Err("\"${\" without its \"}\": close it, or write \"$${\" for the text itself".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Part::{Expression, Literal};
    use super::*;

    #[test]
    fn expressions_end_at_their_brace() {
        assert_eq!(split("${a}").unwrap(), [Expression("a")]);
        assert_eq!(
            split("x ${ {'k': '}'}['k'] } y${b}").unwrap(),
            [
                Literal("x "),
                Expression(" {'k': '}'}['k'] "),
                Literal(" y"),
                Expression("b")
            ]
        );
        assert_eq!(split(r#"${"\"}"}"#).unwrap(), [Expression(r#""\"}""#)]);
        assert_eq!(split("").unwrap(), []);
        assert_eq!(split("${}").unwrap(), [Expression("")]);
    }

    #[test]
    fn a_doubled_dollar_is_a_literal() {
        assert_eq!(split("$${a}").unwrap(), [Literal("${"), Literal("a}")]);
        assert_eq!(
            split("$$${a} $ {b} $").unwrap(),
            [Literal("$"), Literal("${"), Literal("a} $ {b} $")]
        );
    }

    #[test]
    fn open_long_and_crossed_expressions_are_refused() {
        assert!(split("${a").unwrap_err().contains("without its"));
        assert!(split("${'a}").unwrap_err().contains("without its"));
        assert!(split("${(a]}").unwrap_err().contains("do not match"));
        assert!(split("${(a}").unwrap_err().contains("do not match"));
        let long = format!("${{{}}}", "a".repeat(limits::EXPRESSION_BYTES + 1));
        assert!(split(&long).unwrap_err().contains("longer than 512"));
        let longest = format!("${{{}}}", "a".repeat(limits::EXPRESSION_BYTES));
        assert_eq!(split(&longest).unwrap().len(), 1);
    }
}
