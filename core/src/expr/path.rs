//! Plain paths such as `steps.a.output.items[0].id`, followed through JSON text.
//!
//! Most expressions are nothing but a path. Such a one never reaches the expression engine: the
//! text is walked up to the place that is asked for and that piece of it is handed on, without
//! building a value. The result is the one that the engine gives (a property test holds it).

use std::fmt;

use crate::ids::{StepId, StepIndex};

/// A step as an expression names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StepName {
    /// Its place in the plan.
    pub(crate) index: StepIndex,
    /// Its id.
    pub(crate) id: StepId,
}

impl fmt::Display for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.id.as_str().contains('-') {
            write!(f, "steps['{}']", self.id)
        } else {
            write!(f, "steps.{}", self.id)
        }
    }
}

/// Where a path begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    /// `input`
    Input,
    /// `run`
    Run,
    /// `run.id`
    RunId,
    /// `steps.X`
    Step(StepName),
    /// `steps.X.status`
    Status(StepName),
    /// `steps.X.output`
    Output(StepName),
}

impl Root {
    /// The step that the path is about.
    pub(crate) fn step(&self) -> Option<&StepName> {
        match self {
            Self::Step(step) | Self::Status(step) | Self::Output(step) => Some(step),
            Self::Input | Self::Run | Self::RunId => None,
        }
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input => f.write_str("input"),
            Self::Run => f.write_str("run"),
            Self::RunId => f.write_str("run.id"),
            Self::Step(step) => step.fmt(f),
            Self::Status(step) => write!(f, "{step}.status"),
            Self::Output(step) => write!(f, "{step}.output"),
        }
    }
}

/// One step of a path into a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// `.name` or `['name']`
    Key(Box<str>),
    /// `[0]`
    Index(usize),
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, ".{key}"),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// A root and the way from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    /// Where it begins.
    pub(crate) root: Root,
    /// The way from there.
    pub(crate) segments: Box<[Segment]>,
}

impl Path {
    /// The path as it is written, without what follows the first `depth` segments.
    pub(crate) fn prefix(&self, depth: usize) -> String {
        let mut text = self.root.to_string();
        for segment in self.segments.iter().take(depth) {
            text.push_str(&segment.to_string());
        }
        text
    }
}

/// What a path leads to in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found<'j> {
    /// This part of the document's text.
    Text(&'j str),
    /// One character of a string, as the engine's `text[0]` gives it.
    Character(char),
    /// Nothing: the path ends before its segment of this position (from 0).
    Nothing(usize),
}

/// Follows `segments` through the JSON text `document`.
pub(super) fn follow<'j>(document: &'j str, segments: &[Segment]) -> Found<'j> {
    let mut text = document.trim_ascii();
    for (position, segment) in segments.iter().enumerate() {
        let next = match (segment, text.as_bytes().first()) {
            (Segment::Key(key), Some(b'{')) => member(text, key),
            (Segment::Index(index), Some(b'[')) => element(text, *index),
            (Segment::Index(index), Some(b'"')) => {
                return character(text, *index, segments, position);
            }
            _ => None,
        };
        match next {
            Some(found) => text = found,
            None => return Found::Nothing(position),
        }
    }
    Found::Text(text)
}

/// The character `index` of the JSON string `text`, if nothing but further `[0]`s follow.
fn character<'j>(text: &'j str, index: usize, segments: &[Segment], position: usize) -> Found<'j> {
    let decoded: String = serde_json::from_str(text).unwrap_or_default();
    let Some(character) = decoded.chars().nth(index) else {
        return Found::Nothing(position);
    };
    let rest = &segments[position + 1..];
    match rest.iter().position(|next| *next != Segment::Index(0)) {
        Some(other) => Found::Nothing(position + 1 + other),
        None => Found::Character(character),
    }
}

/// The value of `key` in the JSON object `text`; of a repeated key the last one, as parsers do.
fn member<'j>(text: &'j str, key: &str) -> Option<&'j str> {
    let mut found = None;
    let mut cursor = Cursor { text, at: 1 };
    while let Some(b'"') = cursor.peek() {
        let name = cursor.value()?;
        cursor.expect(b':')?;
        let value = cursor.value()?;
        if is_key(name, key) {
            found = Some(value);
        }
        if cursor.expect(b',').is_none() {
            break;
        }
    }
    found
}

/// Whether the JSON string `name` is `key`.
fn is_key(name: &str, key: &str) -> bool {
    let inner = &name[1..name.len() - 1];
    if inner.as_bytes().contains(&b'\\') {
        serde_json::from_str::<String>(name).is_ok_and(|name| name == key)
    } else {
        inner == key
    }
}

/// The element `index` of the JSON array `text`.
fn element(text: &str, index: usize) -> Option<&str> {
    let mut cursor = Cursor { text, at: 1 };
    for _ in 0..index {
        cursor.value()?;
        cursor.expect(b',')?;
    }
    cursor.value()
}

/// A place in JSON text that is moved from value to value.
struct Cursor<'j> {
    text: &'j str,
    at: usize,
}

impl<'j> Cursor<'j> {
    /// The next byte that is not a space.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    /// Moves past `byte` when it is next.
    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Moves past the value that is next and gives its text.
    fn value(&mut self) -> Option<&'j str> {
        let first = self.peek()?;
        let start = self.at;
        match first {
            b'"' => self.string()?,
            b'{' | b'[' => self.container()?,
            b',' | b':' | b'}' | b']' => return None,
            _ => self.scalar(),
        }
        self.text.get(start..self.at)
    }

    /// Moves past the string that begins here.
    fn string(&mut self) -> Option<()> {
        let bytes = self.text.as_bytes();
        self.at += 1;
        loop {
            match bytes.get(self.at)? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Some(())
    }

    /// Moves past the object or array that begins here.
    fn container(&mut self) -> Option<()> {
        let bytes = self.text.as_bytes();
        let mut depth = 0_usize;
        loop {
            match bytes.get(self.at)? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// Moves past the number or word that begins here.
    fn scalar(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest
            .iter()
            .take_while(|byte| !matches!(byte, b',' | b'}' | b']') && !byte.is_ascii_whitespace())
            .count();
    }
}

/// How deep the JSON text `text` nests: 0 for a scalar, 1 for `[]`.
pub(super) fn depth(text: &str) -> usize {
    let bytes = text.as_bytes();
    if !matches!(bytes.first(), Some(b'{' | b'[')) {
        return 0;
    }
    let mut cursor = Cursor { text, at: 0 };
    let (mut depth, mut deepest) = (0_usize, 0);
    while let Some(byte) = bytes.get(cursor.at) {
        match byte {
            b'"' => {
                if cursor.string().is_none() {
                    break;
                }
                continue;
            }
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        cursor.at += 1;
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Segment {
        Segment::Key(name.into())
    }

    #[test]
    fn a_path_is_followed_through_objects_and_arrays() {
        let document = r#" {"a\"": 0, "b" : [ {"c":"x]\\"} , {"c": [1 , 2]} ], "b2": null} "#;
        let at = |segments: &[Segment]| follow(document, segments);
        assert_eq!(at(&[key("a\"")]), Found::Text("0"));
        assert_eq!(
            at(&[key("b"), Segment::Index(0), key("c")]),
            Found::Text(r#""x]\\""#)
        );
        assert_eq!(
            at(&[key("b"), Segment::Index(1), key("c"), Segment::Index(1)]),
            Found::Text("2")
        );
        assert_eq!(at(&[key("b2")]), Found::Text("null"));
        assert_eq!(at(&[key("b2"), key("x"), key("y")]), Found::Nothing(1));
        assert_eq!(at(&[key("b"), Segment::Index(2)]), Found::Nothing(1));
        assert_eq!(at(&[key("b"), key("0")]), Found::Nothing(1));
        assert_eq!(at(&[Segment::Index(0)]), Found::Nothing(0));
    }

    #[test]
    fn of_a_repeated_key_the_last_one_counts() {
        assert_eq!(follow(r#"{"a":1,"a":2}"#, &[key("a")]), Found::Text("2"));
    }

    #[test]
    fn an_index_into_a_text_is_a_character() {
        let text = r#""h\u00e9!""#;
        assert_eq!(follow(text, &[Segment::Index(1)]), Found::Character('é'));
        assert_eq!(follow(text, &[Segment::Index(3)]), Found::Nothing(0));
        let twice = [Segment::Index(1), Segment::Index(0)];
        assert_eq!(follow(text, &twice), Found::Character('é'));
        let beyond = [Segment::Index(1), Segment::Index(1)];
        assert_eq!(follow(text, &beyond), Found::Nothing(1));
    }

    #[test]
    fn text_that_is_not_json_leads_nowhere_without_a_panic() {
        for broken in [
            "",
            "{",
            "{\"a\"",
            "{\"a\":",
            "[1,",
            "\"\\",
            "{\"a\":}",
            "]",
            "{\"a\":\"\\",
        ] {
            for segments in [[key("a")], [Segment::Index(1)]] {
                assert!(matches!(follow(broken, &segments), Found::Nothing(0)));
            }
            depth(broken);
        }
    }

    #[test]
    fn depth_counts_containers_and_not_the_brackets_of_texts() {
        assert_eq!(depth("1"), 0);
        assert_eq!(depth("[]"), 1);
        assert_eq!(depth(r#"{"a":[{"b":"[[["}],"c":{}}"#), 3);
    }
}
