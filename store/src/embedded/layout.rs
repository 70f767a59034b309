//! The directory of an embedded store: its parts, its lock and its format.
//!
//! ```text
//!   LOCK         flock, with the holder's pid inside
//!   FORMAT       version of everything beside it
//!   journal/     00000001.segment ...
//!   snapshots/   sled
//!   export/      <cursor>.export
//!   history/     segments of ended runs
//! ```
//!
//! Whatever creates, renames or removes a file here syncs its directory afterwards: without that a
//! power loss may undo the change while later ones survive.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::Error;
use crate::faults::Faults;

/// Version of the directory; a directory with another one is refused.
const FORMAT: &str = "crane store 1\n";
/// The file that says it.
const FORMAT_FILE: &str = "FORMAT";

/// How long a lock is asked for before its holder counts as alive.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
/// Pause between two questions.
const LOCK_RETRY: Duration = Duration::from_millis(5);

/// Turns a system error into a store error that says what was being done.
pub(crate) trait At<T> {
    /// `what` is a verb phrase such as "cannot write"; the path follows it.
    fn at(self, what: &str, path: &Path) -> Result<T, Error>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, what: &str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::Io {
            context: format!("{what} {}", path.display()),
            source: Arc::new(plain(source)),
        })
    }
}

/// What the system said, where sled has put a place of its own source before it.
fn plain(error: io::Error) -> io::Error {
    let text = error.to_string();
    let Some((_, said)) = text
        .rsplit_once(" -> ")
        .filter(|_| text.starts_with("sled:"))
    else {
        return error;
    };
    let code = said.rsplit_once("(os error ").and_then(|(_, code)| {
        let code = code.strip_suffix(')')?;
        code.parse().ok()
    });
    match code {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), said.to_owned()),
    }
}

/// Whether `error` means that the disk (or a quota) is full: waiting may help.
pub(crate) fn is_no_space(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. }
        if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
}

/// Makes creations, renames and removals in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), Error> {
    File::open(dir)
        .and_then(|file| file.sync_all())
        .at("cannot sync directory", dir)
}

/// Whether a store was ever opened in `dir`.
pub fn is_store(dir: &Path) -> bool {
    dir.join(FORMAT_FILE).is_file()
}

/// The directory of a store, locked for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Layout {
    root: PathBuf,
    lock: File,
}

impl Layout {
    /// Creates what is missing, takes the lock, and checks the format.
    pub(crate) fn open(root: &Path, faults: &Faults) -> Result<Self, Error> {
        fs::create_dir_all(root).at("cannot create", root)?;
        let lock = lock(root)?;
        check_format(root, faults)?;
        for part in ["journal", "snapshots", "export", "history"] {
            let path = root.join(part);
            if !path.is_dir() {
                fs::create_dir(&path).at("cannot create", &path)?;
            }
        }
        sync_dir(root)?;
        if let Some(parent) = root.parent().filter(|p| !p.as_os_str().is_empty()) {
            sync_dir(parent)?;
        }
        Ok(Self {
            root: root.to_owned(),
            lock,
        })
    }

    /// Takes the lock of an existing store without writing anything but the pid, for reading.
    pub(crate) fn inspect(root: &Path) -> Result<Self, Error> {
        let path = root.join(FORMAT_FILE);
        let format = fs::read_to_string(&path).at("cannot read", &path)?;
        expect_format(&path, &format)?;
        Ok(Self {
            root: root.to_owned(),
            lock: lock(root)?,
        })
    }

    /// The whole directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Directory of the journal's segments.
    pub(crate) fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// Directory of sled.
    pub(crate) fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    /// Directory of exports.
    pub(crate) fn export(&self) -> PathBuf {
        self.root.join("export")
    }

    /// Directory of history segments.
    pub(crate) fn history(&self) -> PathBuf {
        self.root.join("history")
    }
}

impl Drop for Layout {
    /// Gives the lock back by word. Closing the file alone is not enough: a process that another
    /// thread starts at this moment has a copy of every descriptor until it executes its program
    /// (close-on-exec works no earlier), and the lock lives as long as the last copy; 57 ms of that
    /// were measured on a busy machine.
    fn drop(&mut self) {
        // What cannot be unlocked is unlocked by the end of the process.
        let _ = self.lock.unlock();
    }
}

/// Takes the lock of the directory. A process that was killed a moment ago holds its lock until its
/// last system call has returned, and may be in the middle of a sync (or of starting a process, see
/// the drop of [`Layout`]); so a lock is asked for again for a while before the directory counts as
/// in use.
#[allow(
    clippy::disallowed_methods,
    reason = "the wait is for another process; there is no runtime on this thread"
)]
fn lock(root: &Path) -> Result<File, Error> {
    let path = root.join("LOCK");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .at("cannot open", &path)?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_PATIENCE => {
                thread::sleep(LOCK_RETRY);
            }
            Err(TryLockError::WouldBlock) => return Err(in_use(root, &mut file)),
            Err(TryLockError::Error(source)) => return Err(source).at("cannot lock", &path),
        }
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .at("cannot write", &path)?;
    Ok(file)
}

fn in_use(root: &Path, file: &mut File) -> Error {
    let mut pid = String::new();
    // Only a courtesy in the message: the holder may be writing it at this moment.
    let _ = file.read_to_string(&mut pid);
    let holder = match pid.trim() {
        "" => String::new(),
        pid => format!(" (pid {pid})"),
    };
    Error::InUse {
        path: root.display().to_string(),
        holder,
    }
}

fn check_format(root: &Path, faults: &Faults) -> Result<(), Error> {
    let path = root.join(FORMAT_FILE);
    match fs::read_to_string(&path) {
        Ok(found) => expect_format(&path, &found),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Renamed into place, so that a crash never leaves half a version.
            let fresh = root.join("FORMAT.new");
            File::create(&fresh)
                .and_then(|mut file| {
                    file.write_all(FORMAT.as_bytes())?;
                    file.sync_all()
                })
                .at("cannot write", &fresh)?;
            faults.pass("open.format").at("cannot rename", &fresh)?;
            fs::rename(&fresh, &path).at("cannot rename", &fresh)?;
            sync_dir(root)
        }
        Err(error) => Err(error).at("cannot read", &path),
    }
}

fn expect_format(path: &Path, found: &str) -> Result<(), Error> {
    if found == FORMAT {
        return Ok(());
    }
    Err(Error::Corrupt {
        file: path.display().to_string(),
        offset: 0,
        detail: format!(
            "it says {:?} and this program reads {:?}; use the version of crane that wrote it",
            found.trim(),
            FORMAT.trim()
        ),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_copy_of_the_descriptor_in_a_starting_process_does_not_keep_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::open(dir.path(), &Faults::default()).unwrap();
        let copy = layout.lock.try_clone().unwrap();
        drop(layout);
        drop(Layout::inspect(dir.path()).unwrap());
        drop(copy);
    }

    #[test]
    fn what_the_system_said_is_told_without_places_in_the_source_of_sled() {
        let wrapped =
            io::Error::other("sled:/a/b/heap.rs:792 -> Too many open files (os error 24)");
        let told = plain(wrapped);
        assert_eq!(told.raw_os_error(), Some(24));
        let wrapped = io::Error::new(io::ErrorKind::InvalidData, "sled:/a/heap.rs:7 -> bad crc");
        let told = plain(wrapped);
        assert_eq!(
            (told.kind(), told.to_string().as_str()),
            (io::ErrorKind::InvalidData, "bad crc")
        );
        assert_eq!(plain(io::Error::other("x -> y")).to_string(), "x -> y");
    }
}
