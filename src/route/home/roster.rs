//! The members that this node has ever seen: each may hold a run that nobody else knows of. They are
//! a small file in the data directory, until an operator removes one.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crane_core::NodeName;
use serde::{Deserialize, Serialize};

/// The name of the file.
const FILE: &str = "members.json";

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    members: BTreeSet<NodeName>,
}

/// See the module. Clones share it.
#[derive(Clone, Debug)]
pub(in crate::route) struct Roster(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// `None` for a node that keeps nothing.
    file: Option<PathBuf>,
    /// What the file holds.
    members: Mutex<BTreeSet<NodeName>>,
    /// Taken by who writes.
    writing: Mutex<()>,
}

impl Roster {
    /// Reads the file in the data directory `data`, if there is one.
    ///
    /// # Errors
    /// A file that cannot be read, or holds something else.
    pub(in crate::route) fn open(data: Option<&Path>) -> io::Result<Self> {
        let file = data.map(|data| data.join(FILE));
        let content = match &file {
            Some(file) => read(file)?,
            None => Content::default(),
        };
        Ok(Self(Arc::new(Shared {
            file,
            members: Mutex::new(content.members),
            writing: Mutex::new(()),
        })))
    }

    /// All of them, in order.
    pub(in crate::route) fn all(&self) -> BTreeSet<NodeName> {
        self.lock().clone()
    }

    /// Adds those that are new, durably: when this returns well, they are never forgotten.
    pub(in crate::route) async fn add(&self, seen: Vec<NodeName>) -> io::Result<()> {
        let is_new = {
            let members = self.lock();
            seen.iter().any(|node| !members.contains(node))
        };
        if !is_new {
            return Ok(());
        }
        self.change(move |members| members.extend(seen)).await
    }

    /// Forgets one, durably; gives whether it was there.
    pub(in crate::route) async fn remove(&self, node: NodeName) -> io::Result<bool> {
        if !self.lock().contains(&node) {
            return Ok(false);
        }
        self.change(move |members| {
            members.remove(&node);
        })
        .await?;
        Ok(true)
    }

    async fn change(
        &self,
        change: impl FnOnce(&mut BTreeSet<NodeName>) + Send + 'static,
    ) -> io::Result<()> {
        let roster = self.clone();
        let changed = tokio::task::spawn_blocking(move || {
            let writing = roster.0.writing.lock();
            let _writing = writing.unwrap_or_else(PoisonError::into_inner);
            let mut members = roster.all();
            change(&mut members);
            if let Some(file) = &roster.0.file {
                write(file, &members)?;
            }
            *roster.lock() = members;
            Ok(())
        });
        changed.await.map_err(io::Error::other)?
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<NodeName>> {
        let members = self.0.members.lock();
        members.unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(file: &Path) -> io::Result<Content> {
    let bytes = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Content::default()),
        Err(error) => return Err(error),
    };
    serde_json::from_slice(&bytes).map_err(|error| {
        let path = file.display();
        io::Error::other(format!(
            "{path} is not readable ({error}); it names the members of the cluster that may hold \
             runs: write it again as {{\"members\":[\"a\",\"b\"]}}"
        ))
    })
}

/// The file is the old one or the new one, whenever the power goes.
fn write(file: &Path, members: &BTreeSet<NodeName>) -> io::Result<()> {
    let content = Content {
        members: members.clone(),
    };
    let next = file.with_extension("json.next");
    let mut written = File::create(&next)?;
    written.write_all(&serde_json::to_vec(&content)?)?;
    written.write_all(b"\n")?;
    written.sync_all()?;
    drop(written);
    fs::rename(&next, file)?;
    match file.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(all: &[&str]) -> Vec<NodeName> {
        all.iter().map(|name| NodeName::new(*name)).collect()
    }

    #[tokio::test]
    async fn members_are_remembered_over_restarts_until_one_is_removed() {
        let data = tempfile::tempdir().unwrap();
        let roster = Roster::open(Some(data.path())).unwrap();
        assert!(roster.all().is_empty());
        roster.add(names(&["b", "a"])).await.unwrap();
        roster.add(names(&["b"])).await.unwrap();
        let roster = Roster::open(Some(data.path())).unwrap();
        assert_eq!(Vec::from_iter(roster.all()), names(&["a", "b"]));
        assert!(roster.remove(NodeName::new("a")).await.unwrap());
        assert!(!roster.remove(NodeName::new("a")).await.unwrap());
        let roster = Roster::open(Some(data.path())).unwrap();
        assert_eq!(Vec::from_iter(roster.all()), names(&["b"]));
    }

    #[tokio::test]
    async fn a_member_that_cannot_be_written_down_is_not_counted_as_seen() {
        let data = tempfile::tempdir().unwrap();
        let roster = Roster::open(Some(&data.path().join("missing"))).unwrap();
        assert!(roster.add(names(&["a"])).await.is_err());
        assert!(roster.all().is_empty());
    }

    #[test]
    fn a_damaged_file_is_an_error_that_says_what_to_do() {
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join(FILE), "{\"members\":").unwrap();
        let error = Roster::open(Some(data.path())).unwrap_err().to_string();
        assert!(error.contains("members.json"), "{error}");
        assert!(error.contains("write it again"), "{error}");
    }
}
