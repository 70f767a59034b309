//! What a power loss may take from a disk.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::embedded::{frame, segments};

/// Follows which bytes are on disk for certain, by watching the points that follow a sync.
#[derive(Default)]
pub(super) struct Synced {
    pub(super) journal: Option<(u32, u64)>,
    pub(super) history: HashMap<PathBuf, u64>,
}

impl Synced {
    pub(super) fn watch(&mut self, dir: &Path, point: &str) {
        match point {
            "journal.synced" => self.journal = journal_end(&dir.join("journal")).or(self.journal),
            "history.sync.before_mark" | "history.seal.after_sync" => {
                for (path, size) in files(&dir.join("history")) {
                    self.history.insert(path, size);
                }
            }
            _ => {}
        }
    }

    /// Takes from the image what a power loss may take.
    pub(super) fn cut_power(&self, dir: &Path, image: &Path) {
        let journal = image.join("journal");
        let (last, end) = self.journal.unwrap_or((0, 0));
        for id in segments::list(&journal).unwrap_or_default() {
            let from = match id.cmp(&last) {
                std::cmp::Ordering::Less => continue,
                std::cmp::Ordering::Equal => end,
                std::cmp::Ordering::Greater => 0,
            };
            let path = segments::path(&journal, id);
            let file = File::options().write(true).open(&path).unwrap();
            let size = file.metadata().unwrap().len();
            let zeros = vec![0; usize::try_from(size - from).unwrap()];
            file.write_all_at(&zeros, from).unwrap();
        }
        for (path, size) in files(&image.join("history")) {
            let original = dir.join("history").join(path.file_name().unwrap());
            let synced = self.history.get(&original).copied().unwrap_or(0);
            if synced < size {
                let file = File::options().write(true).open(&path).unwrap();
                file.set_len(synced).unwrap();
            }
        }
    }
}

pub(super) fn files(dir: &Path) -> Vec<(PathBuf, u64)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?.len())))
        .collect()
}

/// Where the frames of the last segment in use end. Segments may be renamed meanwhile.
pub(super) fn journal_end(journal: &Path) -> Option<(u32, u64)> {
    let ids = segments::list(journal).ok()?;
    ids.into_iter().rev().find_map(|id| {
        let bytes = fs::read(segments::path(journal, id)).ok()?;
        let mut end = 0;
        while let Ok(frame) = frame::parse(&bytes[end..], id) {
            end += frame.size;
        }
        (end > 0).then_some((id, end as u64))
    })
}
