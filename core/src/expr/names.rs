//! Which names an expression uses, and whether each of them exists.
//!
//! ```text
//!   "steps.a.output.n > input.min"  ──words──>  names  ──>  [steps.a.output.n, input.min]
//! ```

use crate::ids::{StepId, StepIndex};
use crate::plan::findings::nearest;

use super::arguments;
use super::path::{Path, Root, Segment, StepName};
use super::scan::{Token, words};

/// Filters that an expression may use: those of the engine, all of them pure.
pub(super) const FILTERS: &[&str] = &[
    "abs",
    "attr",
    "batch",
    "bool",
    "capitalize",
    "chain",
    "count",
    "d",
    "default",
    "dictsort",
    "first",
    "float",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "lines",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "select",
    "selectattr",
    "slice",
    "sort",
    "split",
    "string",
    "sum",
    "title",
    "tojson",
    "trim",
    "unique",
    "upper",
    "zip",
];

/// Tests (`x is ...`) that an expression may use.
pub(super) const TESTS: &[&str] = &[
    "boolean",
    "defined",
    "divisibleby",
    "endingwith",
    "eq",
    "equalto",
    "escaped",
    "even",
    "false",
    "filter",
    "float",
    "ge",
    "greaterthan",
    "gt",
    "in",
    "int",
    "integer",
    "iterable",
    "le",
    "lessthan",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "safe",
    "sameas",
    "sequence",
    "startingwith",
    "string",
    "test",
    "true",
    "undefined",
    "upper",
];

/// Functions that an expression may call.
pub(super) const FUNCTIONS: &[&str] = &["dict", "range"];

/// Names that an expression may begin with.
const ROOTS: &[&str] = &["input", "run", "steps"];

/// Words that are part of the language.
const KEYWORDS: &[&str] = &[
    "and", "else", "false", "False", "if", "in", "is", "none", "None", "not", "or", "true", "True",
];

/// The steps that an expression may name.
pub(crate) trait StepIds {
    /// The place of the step `id` in its plan.
    fn find(&self, id: &str) -> Option<StepIndex>;

    /// `; did you mean "..."?`, when an id is near `wrong`.
    fn nearest(&self, wrong: &str) -> String;
}

/// A path that an expression refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    /// The path, as far as it is static.
    pub(crate) path: Path,
    /// The step is named by a subscript, and such a reference implies no dependency.
    pub(crate) computed: bool,
}

/// The names of an expression.
#[derive(Debug, Default)]
pub(super) struct Names<'s> {
    /// What it refers to, in the order of the text.
    pub(super) references: Vec<Reference>,
    /// It refers to `steps` by something that is known only when it runs.
    pub(super) dynamic: bool,
    /// The whole expression is one path (the only reference).
    pub(super) plain: bool,
    /// The free names.
    pub(super) free: Vec<&'s str>,
    /// What is wrong with them.
    pub(super) problems: Vec<String>,
}

/// Reads the names of `source`.
pub(super) fn names<'s>(source: &'s str, steps: &dyn StepIds) -> Names<'s> {
    let tokens = words(source);
    let mut names = Names::default();
    names.problems.extend(arguments::problems(&tokens));
    for (at, token) in tokens.iter().enumerate() {
        let Token::Word(word) = *token else { continue };
        match role(&tokens, at) {
            Role::Attribute => {}
            Role::Filter => check_word(&mut names, "filter", word, &tokens, at, FILTERS),
            Role::Test => check_word(&mut names, "test", word, &tokens, at, TESTS),
            Role::Name if KEYWORDS.contains(&word) => {}
            Role::Name => {
                names.free.push(word);
                let way = Way::read(&tokens, at + 1);
                read_name(&mut names, word, &way, steps);
                names.plain = at == 0 && way.end == tokens.len();
            }
        }
    }
    names.plain &= names.references.len() == 1 && names.problems.is_empty() && !names.dynamic;
    names
}

/// What a word is, judged by its neighbors.
pub(super) enum Role {
    /// Behind a dot, or the name of an argument.
    Attribute,
    /// Behind a `|`.
    Filter,
    /// Behind `is` or `is not`.
    Test,
    /// A keyword or a free name.
    Name,
}

/// What the word at `at` is.
pub(super) fn role(tokens: &[Token<'_>], at: usize) -> Role {
    let before = |back: usize| at.checked_sub(back).and_then(|at| tokens.get(at)).copied();
    let is_keyword = |back: usize| {
        before(back) == Some(Token::Word("is")) && before(back + 1) != Some(Token::Mark(b'.'))
    };
    match before(1) {
        Some(Token::Mark(b'.')) => Role::Attribute,
        Some(Token::Mark(b'|')) => Role::Filter,
        Some(Token::Word("is")) if is_keyword(1) && tokens[at] != Token::Word("not") => Role::Test,
        Some(Token::Word("not")) if is_keyword(2) => Role::Test,
        // `=` that is not the first half of `==`: the name of an argument.
        Some(Token::Mark(b'(' | b','))
            if tokens.get(at + 1) == Some(&Token::Mark(b'='))
                && tokens.get(at + 2) != Some(&Token::Tail) =>
        {
            Role::Attribute
        }
        _ => Role::Name,
    }
}

fn check_word(
    names: &mut Names<'_>,
    kind: &str,
    word: &str,
    tokens: &[Token<'_>],
    at: usize,
    known: &[&str],
) {
    if tokens.get(at + 1) == Some(&Token::Mark(b'.')) || !known.contains(&word) {
        let hint = nearest(word, known.iter().copied());
        names
            .problems
            .push(format!("unknown {kind} \"{word}\"{hint}"));
    }
}

/// The static way that follows a name: `.a`, `['a']`, `[0]`.
struct Way {
    segments: Vec<Segment>,
    /// The first segment is a subscript.
    subscript: bool,
    /// A `-` and a name follow the way, as in `steps.my-id`.
    dashed: bool,
    /// Position of the token behind the way.
    end: usize,
}

impl Way {
    fn read(tokens: &[Token<'_>], mut at: usize) -> Self {
        let mut segments = Vec::new();
        let start = at;
        loop {
            let next = tokens.get(at..).unwrap_or_default();
            let (segment, length) = match *next {
                [Token::Mark(b'.'), Token::Word(name), ..] => (Segment::Key(name.into()), 2),
                [Token::Mark(b'.'), Token::Index(index), ..] => (Segment::Index(index), 2),
                [
                    Token::Mark(b'['),
                    Token::Text(Some(name)),
                    Token::Mark(b']'),
                    ..,
                ] => (Segment::Key(name.into()), 3),
                [
                    Token::Mark(b'['),
                    Token::Index(index),
                    Token::Mark(b']'),
                    ..,
                ] => (Segment::Index(index), 3),
                _ => break,
            };
            segments.push(segment);
            at += length;
        }
        let follows = |back: usize| tokens.get(at + back);
        // `input.x.method(...)`: what is called is no part of the data.
        if follows(0) == Some(&Token::Mark(b'(')) {
            segments.pop();
        }
        Self {
            subscript: tokens.get(start) == Some(&Token::Mark(b'[')),
            dashed: follows(0) == Some(&Token::Mark(b'-'))
                && matches!(follows(1), Some(Token::Word(_) | Token::Index(_))),
            segments,
            end: at,
        }
    }
}

fn read_name(names: &mut Names<'_>, word: &str, way: &Way, steps: &dyn StepIds) {
    let path = match word {
        "input" => Some((Root::Input, 0)),
        "run" => read_run(names, way),
        "steps" => read_step(names, way, steps),
        _ if FUNCTIONS.contains(&word) && way.segments.is_empty() => None,
        _ => {
            let hint = nearest(word, ROOTS.iter().copied());
            names.problems.push(format!(
                "unknown name \"{word}\"{hint} (known are input, steps.ID.output, steps.ID.status and run.id; a text needs quotes)"
            ));
            None
        }
    };
    if let Some((root, used)) = path {
        let segments = way.segments[used..].into();
        names.references.push(Reference {
            path: Path { root, segments },
            computed: word == "steps" && way.subscript,
        });
    }
}

fn read_run(names: &mut Names<'_>, way: &Way) -> Option<(Root, usize)> {
    match way.segments.first() {
        None => Some((Root::Run, 0)),
        Some(Segment::Key(key)) if &**key == "id" => Some((Root::RunId, 1)),
        Some(other) => {
            names.problems.push(format!(
                "\"run{other}\" does not exist: of the run only run.id is known"
            ));
            None
        }
    }
}

fn read_step(names: &mut Names<'_>, way: &Way, steps: &dyn StepIds) -> Option<(Root, usize)> {
    let id = match way.segments.first() {
        None => {
            names.dynamic = true;
            return None;
        }
        Some(Segment::Index(index)) => {
            names.problems.push(format!(
                "steps[{index}] does not exist: steps are named by their id, as in steps.ID.output"
            ));
            return None;
        }
        Some(Segment::Key(id)) => &**id,
    };
    let Some(index) = steps.find(id) else {
        let hint = if way.dashed && !way.subscript {
            " (an id with a dash is written steps['my-id'])".to_owned()
        } else {
            steps.nearest(id)
        };
        names.problems.push(format!("unknown step \"{id}\"{hint}"));
        return None;
    };
    let step = StepName {
        index,
        id: StepId::new(id),
    };
    match way.segments.get(1) {
        None => Some((Root::Step(step), 1)),
        Some(Segment::Key(key)) if &**key == "output" => Some((Root::Output(step), 2)),
        Some(Segment::Key(key)) if &**key == "status" => Some((Root::Status(step), 2)),
        Some(other) => {
            names.problems.push(format!(
                "\"{step}{other}\" does not exist: a step has output and status"
            ));
            None
        }
    }
}
