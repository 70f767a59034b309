//! How a segment of a prompt begins, and so what it asks for.

use super::super::PlanError;
use super::arithmetic::{self, Arithmetic};
use super::cursor::Cursor;
use super::excerpt;
use super::tokens::Token;

/// One thing a prompt asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Calculate(String),
    Add(String),
    List,
    Get(String),
    Complete(String),
    Delete(String),
}

impl Command {
    /// Whether it reads or changes the todos.
    pub(super) fn is_on_todos(&self) -> bool {
        match self {
            Self::Calculate(_) => false,
            Self::Add(_) | Self::List | Self::Get(_) | Self::Complete(_) | Self::Delete(_) => true,
        }
    }
}

/// How a segment begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// A whole command. `sure` when it is one beyond doubt, even behind the text of a todo.
    Whole { command: Command, sure: bool },
    /// Arithmetic without a verb.
    Bare(Arithmetic),
    /// One todo, whose text begins so many tokens into the segment and may go on over the
    /// following segments.
    AddOne(usize),
    /// Several todos, whose first begins so many tokens into the segment.
    AddSeveral(usize),
    /// A todo whose text begins so many tokens into the segment, if "as a todo" follows.
    AddAs(usize),
    /// Nothing but "please", "thanks", "finally": no command, and no mistake either.
    Nothing,
    /// A command that lacks something.
    Lacking(PlanError),
    /// No command.
    Unknown,
}

const FILLERS: [&str; 7] = ["please", "also", "finally", "next", "first", "now", "just"];
const TODO: [&str; 3] = ["todo", "task", "to-do"];
const TODOS: [&str; 3] = ["todos", "tasks", "to-dos"];
const DONE: [&str; 4] = ["done", "complete", "completed", "finished"];
const MINE: [&str; 3] = ["my", "the", "our"];

/// How the segment begins; `text` is the prompt that the tokens were cut from.
pub(super) fn start(text: &str, segment: &[Token<'_>]) -> Start {
    let segment = without_thanks(segment);
    let mut cursor = Cursor::new(segment);
    skip_fillers(&mut cursor);
    if cursor.is_at_end() {
        return Start::Nothing;
    }
    let begin = cursor;
    if cursor.word(&["add", "create"]).is_some() {
        return add(cursor);
    }
    if let Some(verb) = cursor.word(&["list", "show", "get", "display"]) {
        return look(verb, cursor, text);
    }
    if let Some(verb) = cursor.word(&["complete", "finish", "delete", "remove"]) {
        cursor.word(&MINE);
        if cursor.word(&TODO).is_none() {
            return Start::Unknown;
        }
        return on_todo(verb, id(cursor, text));
    }
    if cursor.word(&["mark"]).is_some() {
        return mark(cursor, text);
    }
    if cursor
        .word(&["calculate", "compute", "evaluate", "math", "solve"])
        .is_some()
    {
        return calculate(cursor, text);
    }
    if cursor.phrase(&["what", "is"]) || cursor.word(&["what's", "what’s", "whats"]).is_some() {
        return match calculate(cursor, text) {
            // "what is love" is no calculation that went wrong.
            Start::Whole { sure: false, .. } if !is_arithmetic(cursor, text) => Start::Unknown,
            start => start,
        };
    }
    let arithmetic = arithmetic::read(slice(text, begin.rest()));
    if arithmetic.is_pure && arithmetic.has_operator {
        return Start::Bare(arithmetic);
    }
    Start::Unknown
}

/// Where the closing words of `add TEXT as a todo` begin, if the segment ends in them, and whether
/// they speak of several todos.
pub(super) fn closing(segment: &[Token<'_>]) -> Option<(usize, bool)> {
    const LONGEST: usize = 5;
    let segment = without_thanks(segment);
    let from = segment.len().saturating_sub(LONGEST);
    (from..segment.len()).find_map(|at| {
        let mut cursor = Cursor::new(&segment[at..]);
        let several = if cursor.word(&["as"]).is_some() {
            cursor.words(&["a", "an", "another", "new"]);
            if cursor.word(&TODO).is_some() {
                cursor.word(&["item"]);
                false
            } else {
                cursor.word(&TODOS)?;
                true
            }
        } else {
            cursor.word(&["to"])?;
            cursor.word(&MINE);
            if cursor.word(&TODOS).is_none() {
                cursor.word(&TODO)?;
                cursor.word(&["list"])?;
            } else {
                cursor.word(&["list"]);
            }
            false
        };
        cursor.is_at_end().then_some((at, several))
    })
}

/// The part of the prompt that the tokens cover.
pub(super) fn slice<'a>(text: &'a str, tokens: &[Token<'_>]) -> &'a str {
    match (tokens.first(), tokens.last()) {
        (Some(first), Some(last)) => &text[first.start..last.end],
        _ => "",
    }
}

/// The tokens without a "please" or "thanks" at their end.
pub(super) fn without_thanks<'t, 'a>(mut tokens: &'t [Token<'a>]) -> &'t [Token<'a>] {
    while let [rest @ .., last] = tokens
        && !last.quoted
        && matches!(last.text, "please" | "thanks")
    {
        tokens = rest;
    }
    tokens
}

fn skip_fillers(cursor: &mut Cursor<'_, '_>) {
    loop {
        let before = cursor.read();
        cursor.words(&FILLERS);
        for verb in ["can", "could", "would", "will"] {
            cursor.phrase(&[verb, "you"]);
        }
        if cursor.read() == before {
            return;
        }
    }
}

fn add(mut cursor: Cursor<'_, '_>) -> Start {
    let after_verb = cursor.read();
    cursor.words(&[
        "me",
        "a",
        "an",
        "another",
        "new",
        "the",
        "my",
        "these",
        "some",
        "following",
    ]);
    if let [count, noun, ..] = cursor.rest()
        && count.text.bytes().all(|b| b.is_ascii_digit())
        && TODOS.contains(&noun.text)
    {
        // "add 3 tasks: ..."; how many there are is counted, not believed.
        cursor.word(&[count.text]);
    }
    let several = if cursor.word(&TODO).is_some() {
        cursor.word(&["items"]).is_some() || {
            cursor.word(&["item"]);
            false
        }
    } else if cursor.word(&TODOS).is_some() {
        true
    } else {
        return Start::AddAs(after_verb);
    };
    if !cursor.phrase(&["that", "says"]) {
        cursor.word(&["to", "for", "saying", "called", "named", "titled"]);
    }
    cursor.word(&[":"]);
    if several {
        Start::AddSeveral(cursor.read())
    } else {
        Start::AddOne(cursor.read())
    }
}

/// `list`, `show`, `get` and `display`: all todos, or one.
fn look(verb: &str, mut cursor: Cursor<'_, '_>, text: &str) -> Start {
    cursor.words(&["me", "all", "of", "my", "the", "our"]);
    let list = Start::Whole {
        command: Command::List,
        sure: true,
    };
    if cursor.word(&TODOS).is_some() {
        cursor.word(&["list"]);
        return if cursor.is_at_end() {
            list
        } else {
            Start::Unknown
        };
    }
    if cursor.word(&TODO).is_none() {
        return Start::Unknown;
    }
    let mut lists = cursor;
    if lists.word(&["list", "lists", "items"]).is_some() && lists.is_at_end() {
        return list;
    }
    if verb == "list" {
        return Start::Unknown;
    }
    on_todo("get", id(cursor, text))
}

/// `mark done todo ID`, `mark todo ID as done`.
fn mark(mut cursor: Cursor<'_, '_>, text: &str) -> Start {
    let mut done_first = cursor;
    done_first.word(&["as"]);
    if done_first.word(&DONE).is_some() {
        done_first.word(&MINE);
        if done_first.word(&TODO).is_none() {
            return Start::Unknown;
        }
        return on_todo("mark done", id(done_first, text));
    }
    cursor.word(&MINE);
    if cursor.word(&TODO).is_none() {
        return Start::Unknown;
    }
    let rest = cursor.rest();
    let Some((_, rest)) = rest
        .split_last()
        .filter(|(last, _)| DONE.contains(&last.text))
    else {
        return Start::Unknown;
    };
    let rest = match rest.split_last() {
        Some((last, rest)) if last.text == "as" => rest,
        _ => rest,
    };
    on_todo("mark done", id(Cursor::new(rest), text))
}

/// What is left, as the id of a todo.
fn id(mut cursor: Cursor<'_, '_>, text: &str) -> Option<String> {
    cursor.words(&["with", "id", "number", ":", "#"]);
    let id = unquoted(slice(text, cursor.rest()));
    let id = id.strip_prefix('#').unwrap_or(id);
    let one = !id.is_empty() && !id.contains(char::is_whitespace);
    one.then(|| id.to_owned())
}

fn on_todo(verb: &str, id: Option<String>) -> Start {
    let Some(id) = id else {
        return Start::Lacking(PlanError::MissingId(format!("{verb} todo")));
    };
    // Ids are UUIDs: a word without a digit is more likely to be a part of a sentence.
    let sure = id.contains(|c: char| c.is_ascii_digit());
    let command = match verb {
        "get" => Command::Get(id),
        "delete" | "remove" => Command::Delete(id),
        _ => Command::Complete(id),
    };
    Start::Whole { command, sure }
}

fn calculate(mut cursor: Cursor<'_, '_>, text: &str) -> Start {
    skip_preamble(&mut cursor);
    if cursor.is_at_end() {
        return Start::Lacking(PlanError::MissingExpression);
    }
    let arithmetic = arithmetic::read(slice(text, cursor.rest()));
    Start::Whole {
        sure: arithmetic.is_pure && arithmetic.has_operator,
        command: Command::Calculate(arithmetic.expression),
    }
}

fn is_arithmetic(mut cursor: Cursor<'_, '_>, text: &str) -> bool {
    skip_preamble(&mut cursor);
    arithmetic::read(slice(text, cursor.rest())).is_pure
}

fn skip_preamble(cursor: &mut Cursor<'_, '_>) {
    cursor.word(&[":"]);
    for noun in ["result", "value", "answer"] {
        cursor.phrase(&["the", noun, "of"]);
    }
}

/// A todo's text: without the quotes around it.
pub(super) fn unquoted(text: &str) -> &str {
    let text = text.trim();
    for (open, close) in [('"', '"'), ('\'', '\''), ('“', '”'), ('‘', '’'), ('`', '`')] {
        if let Some(inside) = text
            .strip_prefix(open)
            .and_then(|text| text.strip_suffix(close))
            && !inside.contains([open, close])
        {
            return inside.trim();
        }
    }
    text
}

/// The error for a segment that is no command.
pub(super) fn unknown(text: &str, segment: &[Token<'_>]) -> PlanError {
    PlanError::NotUnderstood(excerpt(slice(text, segment)))
}
