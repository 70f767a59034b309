//! A prompt in lower case, cut into words, punctuation and quoted parts.

/// A piece of the prompt without white space inside, or a quoted part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    /// What stands there; a line break is "\n", a quoted part includes its quotes.
    pub(super) text: &'a str,
    /// Where it begins, in bytes.
    pub(super) start: usize,
    /// Where it ends, in bytes.
    pub(super) end: usize,
    /// Whether it is a quoted part.
    pub(super) quoted: bool,
}

/// Cuts the text, in linear time.
pub(super) fn cut(text: &str) -> Vec<Token<'_>> {
    let mut cutter = Cutter {
        text,
        at: 0,
        unclosed: [false; 2],
        tokens: Vec::with_capacity(text.len() / 4),
    };
    while cutter.next() {}
    cutter.tokens
}

struct Cutter<'a> {
    text: &'a str,
    at: usize,
    /// Which of the two kinds of quotes (straight, curly) are never closed from here on.
    unclosed: [bool; 2],
    tokens: Vec<Token<'a>>,
}

impl Cutter<'_> {
    fn next(&mut self) -> bool {
        let rest = &self.text[self.at..];
        let Some(first) = rest.chars().next() else {
            return false;
        };
        if first == '\n' {
            self.push(1, false);
        } else if first.is_whitespace() {
            self.at += first.len_utf8();
        } else if let Some(length) = self.quoted(first) {
            self.push(length, true);
        } else if ends_word(rest, first) {
            self.push(first.len_utf8(), false);
        } else {
            let length = rest
                .char_indices()
                .skip(1)
                .find(|(at, c)| c.is_whitespace() || ends_word(&rest[*at..], *c))
                .map_or(rest.len(), |(at, _)| at);
            self.push(length, false);
        }
        true
    }

    /// The length of the quoted part that begins here, if one does.
    fn quoted(&mut self, first: char) -> Option<usize> {
        let (kind, close) = match first {
            '"' => (0, '"'),
            '“' => (1, '”'),
            _ => return None,
        };
        if self.unclosed[kind] {
            return None;
        }
        let inside = first.len_utf8();
        let rest = &self.text[self.at + inside..];
        let end = rest
            .match_indices(close)
            .map(|(at, _)| at + close.len_utf8());
        // A quote inside a word (5" pipes) closes nothing.
        let closing = end
            .into_iter()
            .find(|end| !rest[*end..].starts_with(char::is_alphanumeric));
        self.unclosed[kind] = closing.is_none();
        closing.map(|end| inside + end)
    }

    fn push(&mut self, length: usize, quoted: bool) {
        let start = self.at;
        let end = start + length;
        self.tokens.push(Token {
            text: &self.text[start..end],
            start,
            end,
            quoted,
        });
        self.at = end;
    }
}

/// Whether `c`, with which `rest` begins, is punctuation and no part of a word: a colon always,
/// the others in front of white space (so "1.5" and "1,000" are words).
fn ends_word(rest: &str, c: char) -> bool {
    match c {
        ':' => true,
        ',' | ';' | '.' | '!' | '?' => {
            let next = rest[1..].chars().next();
            next.is_none_or(|n| n.is_whitespace() || matches!(n, ',' | ';' | '.' | '!' | '?' | '"'))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        cut(text).iter().map(|token| token.text).collect()
    }

    #[test]
    fn words_punctuation_and_quotes_are_told_apart() {
        assert_eq!(texts("add 1.5, x."), ["add", "1.5", ",", "x", "."]);
        assert_eq!(texts("todo:buy 1,000"), ["todo", ":", "buy", "1,000"]);
        assert_eq!(texts("a \"b and c\", d"), ["a", "\"b and c\"", ",", "d"]);
        assert_eq!(texts("a “b c” d"), ["a", "“b c”", "d"]);
        assert_eq!(texts("a \"b c"), ["a", "\"b", "c"]);
        assert_eq!(texts("why?! x"), ["why", "?", "!", "x"]);
        assert_eq!(texts("a\nb"), ["a", "\n", "b"]);
    }
}
