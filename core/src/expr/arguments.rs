//! Arguments that must be literals, because the engine does work for them that it does not charge:
//! it follows the path of an `attribute` for every item, however long the path is, and sorts by as
//! many keys as the path has commas. The names of filters and tests that are given as text are
//! checked like those that are written.

use crate::plan::findings::nearest;

use super::names::{FILTERS, Role, TESTS, role};
use super::scan::Token;

/// Longest path of an attribute, in bytes.
const PATH_BYTES: usize = 100;
/// Largest index as an attribute.
const PATH_INDEX: usize = 99;

/// Filters that take the name of another filter or a test, or a path, as their first argument. They
/// cannot be named by text themselves.
const NAMING: &[&str] = &[
    "groupby",
    "map",
    "reject",
    "rejectattr",
    "select",
    "selectattr",
];

/// What is wrong with the arguments of the calls in an expression.
pub(super) fn problems(tokens: &[Token<'_>]) -> Vec<String> {
    let mut problems = Vec::new();
    for at in 0..tokens.len() {
        let rest = &tokens[at..];
        match *rest {
            [Token::Mark(b'(' | b','), Token::Mark(b'*'), ..] => problems
                .push("arguments cannot be spread with * or **: write them one by one".to_owned()),
            [Token::Word("attribute"), Token::Mark(b'='), ref value @ ..]
                if matches!(role(tokens, at), Role::Attribute) =>
            {
                problems.extend(path_problem(value));
            }
            [Token::Word(filter), Token::Mark(b'('), ref arguments @ ..]
                if matches!(role(tokens, at), Role::Filter) =>
            {
                problems.extend(first_problem(filter, arguments));
            }
            _ => {}
        }
    }
    problems
}

/// What is wrong with the path that `value` begins with.
fn path_problem(value: &[Token<'_>]) -> Option<String> {
    let short = match value.first() {
        Some(Token::Text(Some(path))) => path.len() <= PATH_BYTES,
        Some(Token::Index(index)) => *index <= PATH_INDEX,
        _ => false,
    };
    (!short || !ends(value)).then(|| {
        format!(
            "an attribute must be a text of at most {PATH_BYTES} bytes in quotes, or a number up to {PATH_INDEX}, as in map(attribute='id')"
        )
    })
}

/// Whether the argument that `value` begins with is its first word alone.
fn ends(value: &[Token<'_>]) -> bool {
    matches!(value.get(1), Some(Token::Mark(b',' | b')')))
}

/// What is wrong with the first argument of a filter that takes a name.
fn first_problem(filter: &str, arguments: &[Token<'_>]) -> Option<String> {
    if !NAMING.contains(&filter) {
        return None;
    }
    match arguments {
        [Token::Mark(b')'), ..] | [Token::Word(_), Token::Mark(b'='), ..] => return None,
        _ if matches!(filter, "groupby" | "rejectattr" | "selectattr") => {
            return path_problem(arguments);
        }
        _ => {}
    }
    let (kind, known) = if filter == "map" {
        ("filter", FILTERS)
    } else {
        ("test", TESTS)
    };
    match arguments.first() {
        Some(Token::Text(Some(name))) if ends(arguments) => {
            let allowed = known.contains(name) && !NAMING.contains(name);
            (!allowed).then(|| {
                let hint = nearest(name, known.iter().copied());
                format!("{filter}() cannot use the {kind} \"{name}\"{hint}")
            })
        }
        _ => Some(format!(
            "{filter}() takes the name of a {kind} in quotes, as in {filter}('{}')",
            if filter == "map" { "upper" } else { "odd" }
        )),
    }
}
