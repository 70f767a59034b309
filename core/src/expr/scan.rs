//! The words of an expression, as far as its names must be known before it runs.
//!
//! minijinja lists the free names of an expression by itself, but neither those behind a subscript
//! (`steps['a']`) nor those of a sliced value (`steps.a.output[:2]`). A dependency that is missed
//! is a race, so the names are read off the words instead: the language has no binders inside an
//! expression, therefore a word is a free name exactly when nothing before or after it makes it an
//! attribute, a filter, a test, a keyword or the name of an argument. What the engine lists is
//! compared afterwards; see [`super::expression`].

use std::ops::Range;

/// A word of an expression.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token<'s> {
    /// A name or keyword.
    Word(&'s str),
    /// A string literal; `None` when it holds escapes and so is not its own value.
    Text(Option<&'s str>),
    /// An integer that is written in decimal digits alone.
    Index(usize),
    /// Any other number.
    Number,
    /// A byte of punctuation, or the first one of `==`, `!=`, `<=`, `>=`, `**` and `//`.
    Mark(u8),
    /// The second byte of an operator of two.
    Tail,
}

/// The words of `source`, see [`places`].
pub(super) fn words(source: &str) -> Vec<Token<'_>> {
    places(source).0
}

/// The words of `source`, and where each of them begins and ends. Bytes that belong to no word of the
/// language come out as marks; the engine's parser refuses them.
pub(super) fn places(source: &str) -> (Vec<Token<'_>>, Vec<Range<usize>>) {
    let bytes = source.as_bytes();
    let mut tokens = Vec::new();
    let mut places = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        let rest = &source.as_bytes()[at..];
        at += match byte {
            _ if byte.is_ascii_whitespace() => 1,
            _ if !byte.is_ascii() => other(source, at, &mut tokens),
            b'"' | b'\'' => text(source, at, &mut tokens),
            b'0'..=b'9' => number(source, at, &mut tokens),
            _ if byte == b'_' || byte.is_ascii_alphabetic() => {
                let length = word_length(rest);
                tokens.push(Token::Word(&source[at..at + length]));
                length
            }
            _ => {
                tokens.push(Token::Mark(byte));
                let pair = rest.get(..2);
                if matches!(pair, Some(b"==" | b"!=" | b"<=" | b">=" | b"**" | b"//")) {
                    tokens.push(Token::Tail);
                    2
                } else {
                    1
                }
            }
        };
        // An operator of two bytes is one place and an empty one.
        places.extend(
            (places.len()..tokens.len())
                .scan(start, |start, _| Some(std::mem::replace(start, at)..at)),
        );
    }
    (tokens, places)
}

/// Reads the character at `at`, which is no word of the language, and gives its length. The engine
/// passes over spaces of any kind in some places; so a space is no word here either.
fn other(source: &str, at: usize, tokens: &mut Vec<Token<'_>>) -> usize {
    let character = source.get(at..).and_then(|rest| rest.chars().next());
    if !character.is_some_and(char::is_whitespace) {
        tokens.push(Token::Mark(source.as_bytes()[at]));
    }
    character.map_or(1, char::len_utf8)
}

/// Length of the word at the start of `rest`; 0 when there is none.
fn word_length(rest: &[u8]) -> usize {
    if rest.first().is_none_or(u8::is_ascii_digit) {
        return 0;
    }
    rest.iter()
        .take_while(|byte| **byte == b'_' || byte.is_ascii_alphanumeric())
        .count()
}

/// Reads the string literal at `at` and gives its length with both quotes.
fn text<'s>(source: &'s str, at: usize, tokens: &mut Vec<Token<'s>>) -> usize {
    let bytes = &source.as_bytes()[at..];
    let quote = bytes[0];
    let mut escapes = false;
    let mut end = 1;
    while end < bytes.len() && bytes[end] != quote {
        let escape = bytes[end] == b'\\';
        escapes |= escape;
        end += if escape { 2 } else { 1 };
    }
    let end = end.min(bytes.len());
    // Quotes and backslashes are ASCII, so both ends are at characters unless a backslash escapes
    // the first byte of a longer character; then the literal has escapes and is not looked into.
    let literal = if escapes {
        None
    } else {
        source.get(at + 1..at + end)
    };
    tokens.push(Token::Text(literal));
    // A literal that is never closed ends with the source; the engine's parser refuses it.
    (end + 1).min(bytes.len())
}

/// Reads the number at `at` as the engine's lexer does and gives its length.
fn number<'s>(source: &'s str, at: usize, tokens: &mut Vec<Token<'s>>) -> usize {
    let rest = &source.as_bytes()[at..];
    let after_dot = at > 0 && source.as_bytes()[at - 1] == b'.';
    let radix = matches!(
        rest.get(..2),
        Some([b'0', b'b' | b'B' | b'o' | b'O' | b'x' | b'X'])
    );
    let mut length = if radix { 2 } else { 0 };
    let (mut fraction, mut exponent, mut signed) = (false, false, false);
    while let Some(&byte) = rest.get(length) {
        match byte {
            b'0'..=b'9' => signed |= exponent,
            b'_' => {}
            b'a'..=b'f' | b'A'..=b'F' if radix && matches!(rest[1], b'x' | b'X') => {}
            b'.' if !radix && !fraction && !exponent && !after_dot => {
                let digits_follow = matches!(rest.get(length + 1), Some(b'e' | b'E'))
                    && matches!(rest.get(length + 2), Some(b'+' | b'-' | b'0'..=b'9'));
                if !digits_follow && word_length(&rest[length + 1..]) > 0 {
                    break;
                }
                fraction = true;
            }
            b'e' | b'E' if !radix && !exponent => exponent = true,
            b'+' | b'-' if exponent && !signed => signed = true,
            _ => break,
        }
        length += 1;
    }
    let plain = source[at..at + length].parse();
    tokens.push(plain.map_or(Token::Number, Token::Index));
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_numbers_texts_and_marks_are_told_apart() {
        assert_eq!(
            words("steps['a'].x|f==1.5e3+0x1f - \"q\\\"\".b[7]"),
            [
                Token::Word("steps"),
                Token::Mark(b'['),
                Token::Text(Some("a")),
                Token::Mark(b']'),
                Token::Mark(b'.'),
                Token::Word("x"),
                Token::Mark(b'|'),
                Token::Word("f"),
                Token::Mark(b'='),
                Token::Tail,
                Token::Number,
                Token::Mark(b'+'),
                Token::Number,
                Token::Mark(b'-'),
                Token::Text(None),
                Token::Mark(b'.'),
                Token::Word("b"),
                Token::Mark(b'['),
                Token::Index(7),
                Token::Mark(b']'),
            ]
        );
    }

    #[test]
    fn a_number_before_a_name_ends_at_the_dot() {
        assert_eq!(
            words("a.1.b 1.real"),
            [
                Token::Word("a"),
                Token::Mark(b'.'),
                Token::Index(1),
                Token::Mark(b'.'),
                Token::Word("b"),
                Token::Index(1),
                Token::Mark(b'.'),
                Token::Word("real"),
            ]
        );
    }

    #[test]
    fn an_open_text_at_the_end_is_one_word() {
        assert_eq!(words("'abc"), [Token::Text(Some("abc"))]);
        assert_eq!(words("'abc\\"), [Token::Text(None)]);
        assert_eq!(words("'\\ü"), [Token::Text(None)]);
    }
}
