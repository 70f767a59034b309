//! Arithmetic in words and signs, translated into what the calculator reads.
//!
//! What is known is translated, everything else stays as it is, so that the calculator can name it
//! in its error. White space is kept: `(10 + 5) * 2` comes out as it went in.

/// A text, read as arithmetic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arithmetic {
    /// The translation.
    pub(super) expression: String,
    /// Whether everything in it is known, and something is a number.
    pub(super) is_pure: bool,
    /// Whether it holds an operator.
    pub(super) has_operator: bool,
    /// Whether it holds an operator that is a word, or stands apart: not the one of `555-1234`.
    pub(super) has_clear_operator: bool,
}

/// Phrases that are operators; a phrase that another one begins with comes after it.
const PHRASES: [(&[&str], &str); 15] = [
    (&["plus"], "+"),
    (&["added", "to"], "+"),
    (&["minus"], "-"),
    (&["negative"], "-"),
    (&["times"], "*"),
    (&["multiplied", "by"], "*"),
    (&["divided", "by"], "/"),
    (&["over"], "/"),
    (&["raised", "to", "the", "power", "of"], "**"),
    (&["raised", "to", "the", "power"], "**"),
    (&["raised", "to"], "**"),
    (&["to", "the", "power", "of"], "**"),
    (&["to", "the", "power"], "**"),
    (&["squared"], "** 2"),
    (&["cubed"], "** 3"),
];

const UNITS: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];

const TENS: [&str; 8] = [
    "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
];

const SCALES: [(&str, u64); 3] = [
    ("billion", 1_000_000_000),
    ("million", 1_000_000),
    ("thousand", 1_000),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Number,
    Operator,
    Open,
    Close,
    Word,
    Other,
}

/// A piece of the text, with the white space in front of it.
#[derive(Clone, Copy, Debug)]
struct Piece<'a> {
    space: &'a str,
    text: &'a str,
    kind: Kind,
}

/// Reads the text, in linear time.
pub(super) fn read(text: &str) -> Arithmetic {
    let mut pieces = cut(text.trim());
    if pieces.last().is_some_and(|piece| piece.text == "=") {
        pieces.pop();
    }
    let mut output = Arithmetic {
        expression: String::with_capacity(text.len()),
        is_pure: true,
        has_operator: false,
        has_clear_operator: false,
    };
    let mut has_number = false;
    let mut at = 0;
    while let Some(piece) = pieces.get(at) {
        output.expression.push_str(piece.space);
        let rest = &pieces[at..];
        if let Some((number, length)) = number(rest) {
            output.expression.push_str(&number.to_string());
            has_number = true;
            at += length;
            continue;
        }
        if let Some((operator, length)) = phrase(rest, at.checked_sub(1).map(|i| pieces[i].kind)) {
            output.expression.push_str(operator);
            output.has_operator = true;
            output.has_clear_operator = true;
            at += length;
            continue;
        }
        match piece.kind {
            Kind::Number => has_number = true,
            Kind::Operator => {
                output.has_operator = true;
                let apart = !piece.space.is_empty()
                    && rest.get(1).is_some_and(|next| !next.space.is_empty());
                output.has_clear_operator |= apart;
            }
            Kind::Open | Kind::Close => {}
            Kind::Word | Kind::Other => output.is_pure = false,
        }
        output.expression.push_str(sign(piece.text));
        at += 1;
    }
    output.is_pure &= has_number;
    output
}

/// The calculator's spelling of an operator.
fn sign(text: &str) -> &str {
    match text {
        "^" => "**",
        "×" => "*",
        "÷" => "/",
        "−" | "–" => "-",
        _ => text,
    }
}

fn cut(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    loop {
        let trimmed = rest.trim_start();
        let space = &rest[..rest.len() - trimmed.len()];
        let Some(first) = trimmed.chars().next() else {
            return pieces;
        };
        let (kind, length) = match first {
            '(' => (Kind::Open, 1),
            ')' => (Kind::Close, 1),
            '*' if trimmed.starts_with("**") => (Kind::Operator, 2),
            '+' | '-' | '*' | '/' | '^' | '×' | '÷' | '−' | '–' => {
                (Kind::Operator, first.len_utf8())
            }
            '0'..='9' | '.' => {
                number_length(trimmed).map_or((Kind::Other, 1), |length| (Kind::Number, length))
            }
            c if c.is_alphabetic() => {
                let length = trimmed
                    .find(|c: char| !c.is_alphabetic())
                    .unwrap_or(trimmed.len());
                (Kind::Word, length)
            }
            _ => (Kind::Other, first.len_utf8()),
        };
        pieces.push(Piece {
            space,
            text: &trimmed[..length],
            kind,
        });
        rest = &trimmed[length..];
    }
}

/// The length of the number that the text begins with, if it does.
fn number_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let digits = |from: usize| {
        let rest = bytes.get(from..).unwrap_or_default();
        rest.iter().take_while(|b| b.is_ascii_digit()).count()
    };
    let whole = digits(0);
    let mut end = whole;
    if bytes.get(end) == Some(&b'.') {
        end += 1 + digits(end + 1);
        if whole == 0 && end == 1 {
            return None;
        }
    }
    if bytes.get(end) == Some(&b'e') {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(end + 1 + sign);
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    Some(end)
}

/// The operator that the pieces begin with, and of how many pieces it is made.
fn phrase(pieces: &[Piece<'_>], before: Option<Kind>) -> Option<(&'static str, usize)> {
    let first = pieces.first().filter(|piece| piece.kind == Kind::Word)?;
    // "3 x 4", but not the x of "x + 1".
    if first.text == "x" && matches!(before, Some(Kind::Number | Kind::Close)) {
        return Some(("*", 1));
    }
    PHRASES
        .iter()
        .find(|(words, _)| {
            pieces.len() >= words.len()
                && words
                    .iter()
                    .zip(pieces)
                    .all(|(word, piece)| *word == piece.text)
        })
        .map(|(words, operator)| (*operator, words.len()))
}

/// The number in words that the pieces begin with, and of how many pieces it is made.
fn number(pieces: &[Piece<'_>]) -> Option<(u64, usize)> {
    let mut total = 0;
    let mut read = 0;
    let mut limit = u64::MAX;
    while let Some((value, length)) = below_thousand(&pieces[read..]) {
        read += length;
        let scale = pieces.get(read).and_then(|piece| {
            SCALES
                .iter()
                .find(|(word, scale)| *word == piece.text && *scale < limit)
        });
        let Some((_, scale)) = scale else {
            total += value;
            break;
        };
        total += value * scale;
        limit = *scale;
        read += 1;
    }
    (read > 0).then_some((total, read))
}

fn below_thousand(pieces: &[Piece<'_>]) -> Option<(u64, usize)> {
    let (value, length) = below_hundred(pieces)?;
    if pieces
        .get(length)
        .is_none_or(|piece| piece.text != "hundred")
    {
        return Some((value, length));
    }
    let (rest, more) = below_hundred(&pieces[length + 1..]).unwrap_or((0, 0));
    Some((value * 100 + rest, length + 1 + more))
}

fn below_hundred(pieces: &[Piece<'_>]) -> Option<(u64, usize)> {
    let word = |at: usize, words: &[&str]| -> Option<u64> {
        let text = pieces.get(at)?.text;
        let found = words.iter().position(|word| *word == text)?;
        u64::try_from(found).ok()
    };
    let Some(tens) = word(0, &TENS) else {
        return Some((word(0, &UNITS)?, 1));
    };
    let tens = (tens + 2) * 10;
    let unit = |at: usize| word(at, &UNITS[..10]).filter(|unit| *unit > 0);
    let hyphen = pieces
        .get(1)
        .is_some_and(|p| p.text == "-" && p.space.is_empty())
        && pieces.get(2).is_some_and(|p| p.space.is_empty());
    if let Some(unit) = unit(1) {
        Some((tens + unit, 2))
    } else if let Some(unit) = unit(2).filter(|_| hyphen) {
        Some((tens + unit, 3))
    } else {
        Some((tens, 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_signs_and_signs_stay() {
        for (text, expression) in [
            ("(10 + 5) * 2", "(10 + 5) * 2"),
            ("5 plus 3", "5 + 3"),
            ("5 plus 3 times 2", "5 + 3 * 2"),
            ("10 minus 4", "10 - 4"),
            ("10 multiplied by 4", "10 * 4"),
            ("10 divided by 4", "10 / 4"),
            ("10 over 4", "10 / 4"),
            ("2 to the power of 8", "2 ** 8"),
            ("2 raised to the power of 8", "2 ** 8"),
            ("2 raised to 8", "2 ** 8"),
            ("5 squared plus 1", "5 ** 2 + 1"),
            ("2 cubed", "2 ** 3"),
            ("2^8", "2**8"),
            ("3 × 4 ÷ 2 − 1", "3 * 4 / 2 - 1"),
            ("3 x 4", "3 * 4"),
            ("3x4", "3*4"),
            ("five plus three", "5 + 3"),
            ("twenty-five minus thirty two", "25 - 32"),
            (
                "one hundred five times two thousand three hundred twelve",
                "105 * 2312",
            ),
            ("two million", "2000000"),
            ("negative five", "- 5"),
            ("(five plus 3) * -2", "(5 + 3) * -2"),
            ("5 + 3 =", "5 + 3"),
            ("1.5e3 + .5", "1.5e3 + .5"),
        ] {
            let read = read(text);
            assert_eq!(read.expression, expression, "{text}");
            assert!(read.is_pure, "{text}");
        }
    }

    #[test]
    fn what_is_unknown_stays_and_is_noticed() {
        for (text, expression) in [
            ("foo + 1", "foo + 1"),
            ("x + 1", "x + 1"),
            ("3 apples", "3 apples"),
            ("$5", "$5"),
            ("plus", "+"),
            ("", ""),
            (".", "."),
        ] {
            let read = read(text);
            assert_eq!(read.expression, expression, "{text}");
            assert!(!read.is_pure, "{text}");
        }
    }

    #[test]
    fn an_operator_between_digits_is_not_a_clear_one() {
        assert!(!read("555-1234").has_clear_operator);
        assert!(read("555-1234").has_operator);
        assert!(read("555 - 1234").has_clear_operator);
        assert!(read("555 minus 1234").has_clear_operator);
        assert!(!read("555").has_operator);
    }
}
