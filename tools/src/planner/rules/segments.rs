//! Where one command of a prompt ends and the next begins.

use std::ops::Range;

use super::super::PlanError;
use super::command::{self, Command, Start};
use super::tokens::{self, Token};

/// The tokens between two separators.
#[derive(Debug)]
struct Segment {
    tokens: Range<usize>,
    /// Whether "and" or "then" stands in front of it, not only punctuation.
    after_word: bool,
    start: Start,
    /// Whether it is a command of its own even behind the text of a todo.
    cuts: bool,
}

/// Everything the prompt (in lower case) asks for, in order.
pub(super) fn commands(text: &str) -> Result<Vec<Command>, PlanError> {
    let tokens = tokens::cut(text);
    let mut prompt = Prompt {
        text,
        segments: cut(text, &tokens),
        tokens,
        commands: Vec::new(),
    };
    prompt.find_cuts();
    let mut at = 0;
    while at < prompt.segments.len() {
        at = prompt.read(at)?;
    }
    Ok(prompt.commands)
}

fn cut(text: &str, tokens: &[Token<'_>]) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut begin = 0;
    let mut after_word = false;
    for at in 0..=tokens.len() {
        let separator = tokens.get(at).map_or(Some(false), separates);
        let Some(is_word) = separator else {
            continue;
        };
        if begin < at {
            segments.push(Segment {
                start: command::start(text, &tokens[begin..at]),
                tokens: begin..at,
                after_word,
                cuts: false,
            });
            after_word = false;
        }
        after_word |= is_word;
        begin = at + 1;
    }
    segments
}

/// Whether the token separates segments; `Some(true)` for a word that does.
fn separates(token: &Token<'_>) -> Option<bool> {
    match token.text {
        _ if token.quoted => None,
        "and" | "then" => Some(true),
        "," | ";" | "." | "!" | "?" | "\n" => Some(false),
        _ => None,
    }
}

struct Prompt<'a> {
    text: &'a str,
    tokens: Vec<Token<'a>>,
    segments: Vec<Segment>,
    commands: Vec<Command>,
}

impl Prompt<'_> {
    /// Goes from right to left, because "add milk and bread as a todo" shows only at its end that
    /// it is a command.
    fn find_cuts(&mut self) {
        let mut closing_follows = false;
        for segment in self.segments.iter_mut().rev() {
            let tokens = &self.tokens[segment.tokens.clone()];
            closing_follows |= command::closing(tokens).is_some();
            segment.cuts = match &segment.start {
                Start::Whole { sure, .. } => *sure,
                Start::Bare(arithmetic) => segment.after_word && arithmetic.has_clear_operator,
                Start::AddOne(text) | Start::AddSeveral(text) => *text < tokens.len(),
                Start::AddAs(_) => closing_follows,
                Start::Nothing | Start::Lacking(_) | Start::Unknown => false,
            };
            closing_follows &= !segment.cuts;
        }
    }

    /// Reads the command that begins at a segment, and tells where the next one begins.
    fn read(&mut self, at: usize) -> Result<usize, PlanError> {
        let segment = &self.segments[at];
        let tokens = segment.tokens.clone();
        match segment.start.clone() {
            Start::Whole { command, .. } => self.commands.push(command),
            Start::Bare(arithmetic) => {
                self.commands
                    .push(Command::Calculate(arithmetic.expression));
            }
            Start::AddOne(text) => {
                let next = self.next_cut(at);
                let end = self.segments[next - 1].tokens.end;
                self.add(tokens.start + text..end)?;
                return Ok(next);
            }
            Start::AddSeveral(text) => {
                let next = self.next_cut(at);
                return self.add_several(at, tokens.start + text, next);
            }
            Start::AddAs(text) => return self.add_as(at, tokens.start + text),
            Start::Nothing => {}
            Start::Lacking(error) => return Err(error),
            Start::Unknown => return Err(self.unknown(at)),
        }
        Ok(at + 1)
    }

    /// The next segment behind this one that is a command of its own.
    fn next_cut(&self, at: usize) -> usize {
        let behind = &self.segments[at + 1..];
        at + 1 + behind.iter().take_while(|segment| !segment.cuts).count()
    }

    fn add_several(&mut self, at: usize, text: usize, next: usize) -> Result<usize, PlanError> {
        let before = self.commands.len();
        for index in at..next {
            let mut item = self.segments[index].tokens.clone();
            item.start = item.start.max(text);
            if !item.is_empty() {
                self.add(item)?;
            }
        }
        if self.commands.len() == before {
            return Err(PlanError::MissingText);
        }
        Ok(next)
    }

    /// `add TEXT as a todo`: the text goes on until the closing words.
    fn add_as(&mut self, at: usize, text: usize) -> Result<usize, PlanError> {
        for index in at..self.next_cut(at) {
            let tokens = self.segments[index].tokens.clone();
            let Some((closing, several)) = command::closing(&self.tokens[tokens.clone()]) else {
                continue;
            };
            let end = tokens.start + closing;
            if !several {
                self.add(text..end.max(text))?;
                return Ok(index + 1);
            }
            self.segments[index].tokens.end = end;
            return self.add_several(at, text, index + 1);
        }
        Err(self.unknown(at))
    }

    fn add(&mut self, tokens: Range<usize>) -> Result<(), PlanError> {
        let mut end = tokens.end;
        let mut tokens = command::without_thanks(&self.tokens[tokens]);
        // The mark of a list.
        if let [first, rest @ ..] = tokens
            && matches!(first.text, "-" | "*" | "•")
        {
            tokens = rest;
        }
        let mut slice = command::slice(self.text, tokens);
        // "why?" keeps its mark, "milk." does not.
        if let Some(last) = tokens.last() {
            let mut stop = last.end;
            while let Some(mark) = self.tokens.get(end)
                && mark.start == stop
                && matches!(mark.text, "!" | "?")
            {
                stop = mark.end;
                end += 1;
            }
            slice = &self.text[tokens[0].start..stop];
        }
        let text = command::unquoted(slice);
        if text.is_empty() {
            return Err(PlanError::MissingText);
        }
        self.commands.push(Command::Add(text.to_owned()));
        Ok(())
    }

    fn unknown(&self, at: usize) -> PlanError {
        command::unknown(self.text, &self.tokens[self.segments[at].tokens.clone()])
    }
}
