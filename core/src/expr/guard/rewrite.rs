//! Where the guards of an expression stand: one walk over its words, with a stack of open brackets.
//!
//! What is added is postfix or inside of brackets, so that the expression means the same; only
//! expressions that the engine accepted get here.

use std::ops::Range;

use super::super::names::{Role, role};
use super::super::scan::{Token, places};
use super::super::slices;
use super::FILTER;
use super::frame::{Frame, Kind};

/// `source` with guards, and with its slices as calls.
pub(in super::super) fn rewrite(source: &str) -> String {
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
