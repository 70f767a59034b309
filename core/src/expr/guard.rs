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
//! The weight is paid in fuel. What is added is postfix or inside of brackets, so that the
//! expression means the same; only expressions that the engine accepted get here.

use std::ops::Range;

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, State};

use super::names::{Role, role};
use super::scan::{Token, places};
use super::slices;

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

/// `source` with guards, and with its slices as calls.
pub(super) fn rewrite(source: &str) -> String {
    let (tokens, places) = places(source);
    let mut rewriter = Rewriter {
        source,
        tokens: &tokens,
        places: &places,
        output: String::with_capacity(source.len() * 2),
        open: vec![Frame::new(Kind::Whole, 0, 0)],
        after_value: false,
    };
    for at in 0..tokens.len() {
        rewriter.token(at);
    }
    rewriter.end_element();
    rewriter.output
}

/// What a bracket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// No bracket: the expression itself.
    Whole,
    /// `(a)`, `(a, b)`, `[a, b]`, `{a: b}`
    Literal,
    /// `f(a)` or `x is t(a)`
    Call,
    /// `x|f(a)`
    Filter,
    /// `x[a]`, or `x[a:b]`
    Subscript,
}

/// An open bracket.
struct Frame {
    kind: Kind,
    /// Where the bracket is in the output.
    start: usize,
    /// Where its current element begins in the output.
    element: usize,
    /// Words of that element.
    words: usize,
    /// Where the current product (operands of `*`, `/` and the like) begins in the output.
    product: usize,
    /// The current product has a `*`.
    multiplies: bool,
    /// Colons of a subscript: ends of its parts in the output.
    colons: Vec<usize>,
}

impl Frame {
    fn new(kind: Kind, start: usize, element: usize) -> Self {
        Self {
            kind,
            start,
            element,
            words: 0,
            product: element,
            multiplies: false,
            colons: Vec::new(),
        }
    }
}

struct Rewriter<'s> {
    source: &'s str,
    tokens: &'s [Token<'s>],
    places: &'s [Range<usize>],
    output: String,
    /// The open brackets; the first is the expression itself.
    open: Vec<Frame>,
    /// The last word ended a value, so that an operator or a postfix follows.
    after_value: bool,
}

impl Rewriter<'_> {
    fn token(&mut self, at: usize) {
        let end = at.checked_sub(1).map_or(0, |last| self.places[last].end);
        let place = self.places[at].clone();
        self.output.push_str(&self.source[end..place.start]);
        match self.tokens[at] {
            Token::Mark(bracket @ (b'(' | b'[' | b'{')) => return self.open(at, bracket),
            Token::Mark(b')' | b']' | b'}') => return self.close(&place),
            Token::Mark(b',') => return self.next_element(&place),
            Token::Mark(b':') => return self.colon(&place),
            Token::Mark(b'=') if !self.is_pair(at) => {
                // The name of an argument is no part of its value.
                self.copy(&place);
                return self.begin_element();
            }
            Token::Mark(b'*') if !self.is_pair(at) => {
                self.copy(&place);
                self.top().multiplies = true;
            }
            Token::Mark(b'+' | b'~' | b'<' | b'>' | b'=' | b'!') => self.separate(&place),
            Token::Mark(b'-') if self.after_value => self.separate(&place),
            // The second half of an operator was copied with the first.
            Token::Tail => return,
            Token::Mark(_) => self.copy(&place),
            Token::Word(word) => return self.word(at, word, &place),
            Token::Text(_) | Token::Index(_) | Token::Number => {
                self.copy(&place);
                self.top().words += 1;
                self.after_value = true;
                return;
            }
        }
        self.top().words += 1;
        self.after_value = false;
    }

    /// Whether the mark at `at` is the first half of an operator of two bytes.
    fn is_pair(&self, at: usize) -> bool {
        self.tokens.get(at + 1) == Some(&Token::Tail)
    }

    fn word(&mut self, at: usize, word: &str, place: &Range<usize>) {
        match role(self.tokens, at) {
            Role::Name if matches!(word, "and" | "or" | "not" | "in" | "if" | "else") => {
                self.separate(place);
                self.after_value = false;
            }
            Role::Name if word == "is" => {
                self.copy(place);
                self.after_value = false;
            }
            Role::Filter => {
                self.copy(place);
                let called = self.tokens.get(at + 1) == Some(&Token::Mark(b'('));
                if !called {
                    self.guard();
                }
                self.after_value = true;
            }
            // A list behind the name of a test is its argument, not a subscript.
            Role::Test => {
                self.copy(place);
                self.after_value = self.tokens.get(at + 1) == Some(&Token::Mark(b'('));
            }
            Role::Attribute | Role::Name => {
                self.copy(place);
                self.after_value = true;
            }
        }
        self.top().words += 1;
    }

    fn open(&mut self, at: usize, bracket: u8) {
        let before = at.checked_sub(1);
        let kind = match bracket {
            b'(' if self.after_value => {
                let filter = before.is_some_and(|before| {
                    matches!(self.tokens[before], Token::Word(_))
                        && matches!(role(self.tokens, before), Role::Filter)
                });
                if filter { Kind::Filter } else { Kind::Call }
            }
            b'[' if self.after_value => Kind::Subscript,
            _ => Kind::Literal,
        };
        let start = self.output.len();
        self.output.push(char::from(bracket));
        self.open.push(Frame::new(kind, start, start + 1));
        self.after_value = false;
    }

    fn close(&mut self, place: &Range<usize>) {
        self.end_element();
        self.copy(place);
        if self.open.len() > 1
            && let Some(closed) = self.open.pop()
        {
            match closed.kind {
                Kind::Subscript if !closed.colons.is_empty() => self.call_slice(&closed),
                Kind::Filter => self.guard(),
                Kind::Whole | Kind::Literal | Kind::Call | Kind::Subscript => {}
            }
        }
        self.top().words += 2;
        self.after_value = true;
    }

    fn next_element(&mut self, place: &Range<usize>) {
        self.end_element();
        self.copy(place);
        self.begin_element();
    }

    fn colon(&mut self, place: &Range<usize>) {
        self.next_element(place);
        let end = self.output.len();
        let top = self.top();
        if top.kind == Kind::Subscript {
            top.colons.push(end);
        }
    }

    /// Turns the subscript that was just closed into the call of a slice.
    fn call_slice(&mut self, closed: &Frame) {
        let mut arguments = Vec::with_capacity(3);
        let mut from = closed.start + 1;
        for colon in &closed.colons {
            arguments.push(self.output[from..colon - 1].trim().to_owned());
            from = *colon;
        }
        arguments.push(self.output[from..self.output.len() - 1].trim().to_owned());
        arguments.resize(3, String::new());
        for argument in &mut arguments {
            if argument.is_empty() {
                argument.push_str("none");
            }
        }
        self.output.truncate(closed.start);
        self.output.push('.');
        self.output.push_str(slices::METHOD);
        self.output.push('(');
        self.output.push_str(&arguments.join(","));
        self.output.push(')');
    }

    /// Ends the current product before an operator that binds less than `*`.
    fn separate(&mut self, place: &Range<usize>) {
        self.end_operand();
        self.copy(place);
        let end = self.output.len();
        self.top().product = end;
    }

    fn begin_element(&mut self) {
        let end = self.output.len();
        let top = self.top();
        top.element = end;
        top.product = end;
        top.multiplies = false;
        top.words = 0;
        self.after_value = false;
    }

    /// Guards the element that ends here, unless it is nothing or a literal of one word.
    fn end_element(&mut self) {
        self.end_product();
        let Some(frame) = self.open.last() else {
            return;
        };
        let element = frame.element;
        let text = self.output[element..].trim_ascii_start();
        let first = text.as_bytes().first();
        let literal = frame.words <= 1
            && first.is_none_or(|first| matches!(first, b'0'..=b'9' | b'"' | b'\''));
        if !literal && frame.kind != Kind::Whole {
            self.wrap(element);
        }
    }

    /// Guards the product that ends here, if it has a `*` and is not all of its element.
    fn end_product(&mut self) {
        let Some(frame) = self.open.last_mut() else {
            return;
        };
        let (element, product) = (frame.element, frame.product);
        if std::mem::take(&mut frame.multiplies) && element < product {
            self.wrap(product);
        }
    }

    /// The same before an operator, where it is never all of its element.
    fn end_operand(&mut self) {
        let Some(frame) = self.open.last_mut() else {
            return;
        };
        let product = frame.product;
        if std::mem::take(&mut frame.multiplies) {
            self.wrap(product);
        }
    }

    /// Puts what begins at `start` into brackets with a guard; spaces stay outside.
    fn wrap(&mut self, start: usize) {
        let text = &self.output[start..];
        let start = start + (text.len() - text.trim_ascii_start().len());
        let spaces = self.output.split_off(self.output.trim_ascii_end().len());
        self.output.insert(start, '(');
        self.output.push(')');
        self.guard();
        self.output.push_str(&spaces);
    }

    fn guard(&mut self) {
        self.output.push('|');
        self.output.push_str(FILTER);
    }

    fn copy(&mut self, place: &Range<usize>) {
        self.output.push_str(&self.source[place.clone()]);
    }

    fn top(&mut self) -> &mut Frame {
        if self.open.is_empty() {
            self.open.push(Frame::new(Kind::Whole, 0, 0));
        }
        let last = self.open.len() - 1;
        &mut self.open[last]
    }
}

#[cfg(test)]
mod tests {
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
}
