//! Collecting what is wrong with a plan: where each thing is, and names that are near a wrong one.

use std::fmt;

use super::Finding;
use crate::limits;

/// A place in a plan, as a chain up to its root. It lives on the stack and becomes text only when
/// something is wrong there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    parent: Option<&'a Place<'a>>,
    segment: Segment<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Segment<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

impl Place<'static> {
    /// The plan itself; written `plan` when the finding is about the whole.
    pub(crate) const ROOT: Self = Self {
        parent: None,
        segment: Segment::Root,
    };
}

impl<'a> Place<'a> {
    /// The member `key` of this place.
    pub(crate) fn key(&'a self, key: &'a str) -> Self {
        Self {
            parent: Some(self),
            segment: Segment::Key(key),
        }
    }

    /// The element `index` of this place.
    pub(crate) fn index(&'a self, index: usize) -> Self {
        Self {
            parent: Some(self),
            segment: Segment::Index(index),
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = match self.parent {
            None => return Ok(()),
            Some(parent) => {
                parent.write(f)?;
                parent.parent.is_none()
            }
        };
        match self.segment {
            Segment::Root => Ok(()),
            Segment::Index(index) => write!(f, "[{index}]"),
            Segment::Key(key) if !is_word(key) => write!(f, "[{key:?}]"),
            Segment::Key(key) if first => f.write_str(key),
            Segment::Key(key) => write!(f, ".{key}"),
        }
    }
}

/// Whether `key` can be written behind a dot.
fn is_word(key: &str) -> bool {
    !key.is_empty()
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.parent.is_none() {
            return f.write_str("plan");
        }
        self.write(f)
    }
}

/// What was found so far.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    list: Vec<Finding>,
    unlisted: usize,
}

impl Findings {
    /// Notes that something is wrong at `place`. Past [`limits::FINDINGS`] it is only counted, so
    /// that a plan in which everything is wrong cannot ask for gigabytes of answers.
    pub(crate) fn add(&mut self, place: &Place<'_>, message: impl Into<String>) {
        self.add_at(|| place.to_string(), message);
    }

    /// The same for a place that was written down before.
    pub(crate) fn add_at(&mut self, path: impl FnOnce() -> String, message: impl Into<String>) {
        if self.list.len() < limits::FINDINGS {
            self.list.push(Finding {
                path: path(),
                message: message.into(),
            });
        } else {
            self.unlisted += 1;
        }
    }

    /// Counts something that is wrong without saying what; for when the list is full.
    pub(crate) fn add_unlisted(&mut self) {
        self.unlisted += 1;
    }

    /// Whether further findings are not listed, so that no more words need to be made.
    pub(crate) fn is_full(&self) -> bool {
        self.list.len() >= limits::FINDINGS
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.list.len() + self.unlisted
    }

    /// All of them.
    pub(crate) fn into_list(mut self) -> Vec<Finding> {
        if self.unlisted > 0 {
            self.list.push(Finding {
                path: Place::ROOT.to_string(),
                message: format!("{} more findings are not listed", self.unlisted),
            });
        }
        self.list
    }
}

/// `; did you mean "..."?` with the known name that is nearest to `wrong`, or nothing when none is
/// near. Near means that at most a third of its letters are wrong.
pub(crate) fn nearest<'n>(wrong: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    let wrong: Vec<char> = wrong.chars().take(NAME_CHARS + 1).collect();
    if wrong.len() > NAME_CHARS {
        return String::new();
    }
    let allowed = (wrong.len() / 3).max(1);
    let best = known
        .into_iter()
        .filter(|name| name.len().abs_diff(wrong.len()) <= allowed)
        .take(NAMES_COMPARED)
        .map(|name| (distance(&wrong, name), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance);
    best.map_or_else(String::new, |(_, name)| {
        format!("; did you mean \"{name}\"?")
    })
}

/// Names longer than this are not compared.
const NAME_CHARS: usize = 40;
/// No more names than this are compared with a wrong one.
const NAMES_COMPARED: usize = 200;

/// How many letters are wrong, missing, too many, or swapped with their neighbor (optimal string
/// alignment distance, three rows of the matrix at a time), case ignored.
fn distance(wrong: &[char], name: &str) -> usize {
    let name: Vec<char> = name.chars().collect();
    let same = |a: char, b: char| a.eq_ignore_ascii_case(&b);
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=wrong.len()).collect();
    for (line, letter) in name.iter().enumerate() {
        let mut row = vec![line + 1];
        for (column, other) in wrong.iter().enumerate() {
            let mut cost = (above[column] + usize::from(!same(*letter, *other)))
                .min(above[column + 1] + 1)
                .min(row[column] + 1);
            let swapped = line > 0
                && column > 0
                && same(*letter, wrong[column - 1])
                && same(name[line - 1], *other);
            if swapped {
                cost = cost.min(before[column - 1] + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[wrong.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_written_as_a_path() {
        let steps = Place::ROOT.key("steps");
        let step = steps.index(2);
        let input = step.key("input");
        assert_eq!(Place::ROOT.to_string(), "plan");
        assert_eq!(input.key("url").to_string(), "steps[2].input.url");
        assert_eq!(input.key("a b").to_string(), "steps[2].input[\"a b\"]");
    }

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        let known = ["calculator", "echo", "http"];
        assert_eq!(
            nearest("calculater", known),
            "; did you mean \"calculator\"?"
        );
        assert_eq!(nearest("HTTP", known), "; did you mean \"http\"?");
        assert_eq!(nearest("eco", known), "; did you mean \"echo\"?");
        assert_eq!(nearest("hpttp", known), "; did you mean \"http\"?");
        assert_eq!(nearest("ehco", known), "; did you mean \"echo\"?");
        assert_eq!(nearest("todo", known), "");
        assert_eq!(nearest(&"x".repeat(1000), known), "");
    }

    #[test]
    fn findings_past_the_limit_are_counted() {
        let mut findings = Findings::default();
        for _ in 0..limits::FINDINGS + 7 {
            findings.add(&Place::ROOT, "wrong");
        }
        assert!(findings.is_full());
        let list = findings.into_list();
        assert_eq!(list.len(), limits::FINDINGS + 1);
        assert_eq!(
            list.last().map(|last| last.message.as_str()),
            Some("7 more findings are not listed")
        );
    }
}
