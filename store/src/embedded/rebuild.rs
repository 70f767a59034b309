//! Opening sled, and living without it when it does not open.
//!
//! A directory that does not open, whose rows fail their checksums, or that is empty although there
//! is a journal, is moved aside as `snapshots.broken-<n>` and built anew from the last verified
//! export. The journal from the export's cursor on, which is kept for this, then brings every run
//! up to date. Nothing is lost; it is loud all the same.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::export::{self, Export};
use super::layout::{At, Layout, sync_dir};
use super::scan::free_name;
use super::snapshots::{Contents, Cursor, Snapshots};
use super::{Options, segments};
use crate::Error;
use crate::metrics::Trouble;

/// What was found in sled.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) snapshots: Snapshots,
    pub(crate) contents: Contents,
    pub(crate) export: Option<Export>,
}

/// Opens sled and reads what is in it; `has_journal` says that the store is not a fresh one.
pub(crate) fn load(layout: &Layout, options: &Options, has_journal: bool) -> Result<Loaded, Error> {
    let export = export::latest(&layout.export())?;
    let reason = match open(&layout.snapshots()) {
        Ok((snapshots, contents)) if contents.cursor.is_some() => {
            return Ok(Loaded {
                snapshots,
                contents,
                export,
            });
        }
        Ok((snapshots, contents)) if !has_journal && contents.runs.is_empty() => {
            return fresh(snapshots, contents, export);
        }
        Ok(_) => "it has no cursor, although there is a journal".to_owned(),
        // A newer version is no damage, and a full or failing disk is not cured by a rebuild.
        Err(error) if !is_damage(&error) => return Err(error),
        Err(error) => error.to_string(),
    };
    let aside = move_aside(layout, options)?;
    crate::metrics::error(Trouble::SnapshotsRebuilt);
    tracing::error!(reason, aside = %aside.display(), export = ?export.as_ref().map(|e| &e.path),
        "the snapshots are lost; they are rebuilt from the last export and the journal");
    build(layout, options, export)
}

/// Whether a rebuild would cure `error`.
fn is_damage(error: &Error) -> bool {
    match error {
        Error::Corrupt { .. } => true,
        // What the system refuses (rights, space, memory, files that may be open, a failing disk) is no
        // damage, but that a file is missing.
        Error::Io { source, .. } => match source.raw_os_error() {
            Some(_) => source.kind() == ErrorKind::NotFound,
            None => !matches!(
                source.kind(),
                ErrorKind::PermissionDenied
                    | ErrorKind::ReadOnlyFilesystem
                    | ErrorKind::StorageFull
                    | ErrorKind::QuotaExceeded
                    | ErrorKind::OutOfMemory
            ),
        },
        Error::Schema { .. }
        | Error::Limit { .. }
        | Error::Fenced { .. }
        | Error::Conflict { .. }
        | Error::DiskReserve { .. }
        | Error::InUse { .. }
        | Error::Unavailable(_)
        | Error::Database { .. }
        | Error::Unsuitable(_)
        | Error::LeaseLost { .. }
        | Error::Fatal(_) => false,
    }
}

fn open(dir: &Path) -> Result<(Snapshots, Contents), Error> {
    let snapshots = Snapshots::open(dir)?;
    let contents = snapshots.contents()?;
    Ok((snapshots, contents))
}

/// A new store: its cursor is durable before its journal has a file, so that a journal beside a
/// sled without a cursor always means a loss.
fn fresh(
    snapshots: Snapshots,
    mut contents: Contents,
    export: Option<Export>,
) -> Result<Loaded, Error> {
    snapshots.set_cursor(Cursor::START)?;
    snapshots.flush()?;
    contents.cursor = Some(Cursor::START);
    Ok(Loaded {
        snapshots,
        contents,
        export,
    })
}

fn move_aside(layout: &Layout, options: &Options) -> Result<PathBuf, Error> {
    let dir = layout.snapshots();
    options
        .faults
        .pass("open.move_aside")
        .at("cannot rename", &dir)?;
    let aside = free_name(&dir, "broken");
    fs::rename(&dir, &aside).at("cannot rename", &dir)?;
    fs::create_dir(&dir).at("cannot create", &dir)?;
    sync_dir(layout.root())?;
    Ok(aside)
}

fn build(layout: &Layout, options: &Options, export: Option<Export>) -> Result<Loaded, Error> {
    let snapshots = Snapshots::open(&layout.snapshots())?;
    let mut cursor = Cursor::START;
    if let Some(export) = &export {
        match export::rebuild(&export.path, &snapshots, &options.faults) {
            Ok(()) => {}
            Err(error @ Error::Corrupt { .. }) if options.accept_corruption => {
                crate::metrics::error(Trouble::CorruptionAccepted);
                tracing::error!(%error, "the export is damaged; its runs are dropped, as was asked for");
            }
            Err(error) => return Err(error),
        }
        cursor = export.cursor;
    }
    let journal = layout.journal();
    let first = segments::list(&journal)?.first().copied();
    if first.is_some_and(|first| first > cursor.segment) {
        let error = Error::Corrupt {
            file: segments::path(&journal, cursor.segment)
                .display()
                .to_string(),
            offset: 0,
            detail: "the snapshots are lost, and the segment from which to rebuild them is missing"
                .to_owned(),
        };
        return Err(error);
    }
    // What the journal must reach is unknown without the lost cursor.
    cursor.reaches = cursor.lsn;
    let dir = layout.snapshots();
    options
        .faults
        .pass("open.rebuild_cursor")
        .at("cannot rebuild", &dir)?;
    snapshots.set_cursor(cursor)?;
    snapshots.flush()?;
    let contents = snapshots.contents()?;
    Ok(Loaded {
        snapshots,
        contents,
        export,
    })
}
