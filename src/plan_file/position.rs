//! Where in a file something stands: a second, located reading, made only when there are findings.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::strict::{self, Key};

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// From 1.
    pub line: u64,
    /// From 1, in characters.
    pub column: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, ":{}:{}", self.line, self.column)
    }
}

/// The positions of everything in a document.
#[derive(Debug)]
pub(super) struct Positions(Option<Tree>);

impl Positions {
    /// Nothing is found in a text that the located reading does not understand (such as JSON
    /// that is indented with tabs): a finding without a line is still a finding.
    pub(super) fn of(text: &str) -> Self {
        let tree: Result<Spanned<Tree>, _> =
            serde_saphyr::from_str_with_options(text, strict::options());
        Self(tree.ok().map(|tree| tree.value))
    }

    /// Where `path` (such as `steps[2].input.url`) stands, or the deepest part of it that exists.
    pub(super) fn find(&self, path: &str) -> Option<Position> {
        let mut tree = self.0.as_ref()?;
        let mut rest = path;
        let mut found = None;
        while !rest.is_empty() {
            let Some((entry, left)) = tree.enter(rest) else {
                break;
            };
            found = Some(entry.position);
            tree = &entry.tree;
            rest = left.strip_prefix('.').unwrap_or(left);
        }
        found
    }
}

/// The shape of a document: what can be entered, without the values.
#[derive(Debug)]
enum Tree {
    Leaf,
    List(Vec<Entry>),
    Map(Vec<(String, Entry)>),
}

#[derive(Debug)]
struct Entry {
    position: Position,
    tree: Tree,
}

impl Tree {
    /// The entry that `path` starts with, and the rest of the path.
    fn enter<'p>(&self, path: &'p str) -> Option<(&Entry, &'p str)> {
        match self {
            Self::Leaf => None,
            Self::List(entries) => {
                let (index, rest) = path.strip_prefix('[')?.split_once(']')?;
                let entry = entries.get(index.parse::<usize>().ok()?)?;
                Some((entry, rest))
            }
            // A key may contain dots and brackets: the longest one that fits is meant.
            Self::Map(entries) => entries
                .iter()
                .filter_map(|(key, entry)| {
                    let rest = path.strip_prefix(key.as_str())?;
                    let ends = rest.is_empty() || rest.starts_with(['.', '[']);
                    ends.then_some((key.len(), entry, rest))
                })
                .max_by_key(|(length, _, _)| *length)
                .map(|(_, entry, rest)| (entry, rest)),
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_none<E: de::Error>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Tree>>()? {
            entries.push(Entry {
                position: position(&item.referenced),
                tree: item.value,
            });
        }
        Ok(Tree::List(entries))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = members.next_key::<Spanned<Key>>()? {
            let tree = members.next_value()?;
            let entry = Entry {
                position: position(&key.referenced),
                tree,
            };
            entries.push((key.value.0, entry));
        }
        Ok(Tree::Map(entries))
    }
}

fn position(location: &Location) -> Position {
    Position {
        line: location.line(),
        column: location.column(),
    }
}
