//! Exports: a copy of all rows of sled in one checksummed file, from which sled can be rebuilt.
//!
//! ```text
//!   magic 8 | cursor | (key block | row block)* | end u32::MAX | rows u64 | crc32c u32
//! ```
//!
//! The journal is kept from the cursor of the last verified export on, so that the loss of sled
//! costs time and nothing else. An export is written beside the previous one, synced, read back
//! and compared, and only then put in its place.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use super::frame::Fields;
use super::layout::{At, sync_dir};
use super::snapshots::{Batch, Cursor, Snapshots, is_cursor};
use crate::Error;
use crate::faults::Faults;

const MAGIC: &[u8; 8] = b"CRANEXP1";
/// In the place of a key's length: no more rows.
const END: u32 = u32::MAX;
/// Changes that a rebuild makes at a time.
const REBUILD_ROWS: usize = 512;
/// Bytes that a rebuild writes at a time.
const REBUILD_BYTES: usize = 8 << 20;

/// A verified export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Export {
    /// The journal is needed from here on.
    pub(crate) cursor: Cursor,
    /// Its file.
    pub(crate) path: PathBuf,
    /// Its bytes.
    pub(crate) bytes: u64,
}

/// Writes, verifies and installs an export of what `snapshots` holds at `cursor`.
pub(crate) fn write(
    dir: &Path,
    cursor: Cursor,
    snapshots: &Snapshots,
    faults: &Faults,
) -> Result<Export, Error> {
    let path = dir.join(format!("{:020}.export", cursor.lsn));
    let fresh = dir.join("unfinished.new");
    faults.pass("export.write").at("cannot write", &fresh)?;
    let rows = write_rows(&fresh, cursor, snapshots)?;
    faults.pass("export.sync").at("cannot sync", &fresh)?;
    File::open(&fresh)
        .and_then(|file| file.sync_all())
        .at("cannot sync", &fresh)?;
    faults.pass("export.verify").at("cannot read", &fresh)?;
    let mut found = 0;
    let bytes = read(&fresh, |_, _| {
        found += 1;
        Ok(())
    })?;
    if found != rows {
        return Err(damaged(
            &fresh,
            0,
            &format!("{found} rows instead of {rows}"),
        ));
    }
    faults.pass("export.rename").at("cannot rename", &fresh)?;
    fs::rename(&fresh, &path).at("cannot rename", &fresh)?;
    sync_dir(dir)?;
    faults.pass("export.renamed").at("cannot remove", dir)?;
    for old in list(dir)?.into_iter().filter(|old| *old != path) {
        faults.pass("export.remove_old").at("cannot remove", &old)?;
        fs::remove_file(&old).at("cannot remove", &old)?;
    }
    sync_dir(dir)?;
    Ok(Export {
        cursor,
        path,
        bytes,
    })
}

fn write_rows(path: &Path, cursor: Cursor, snapshots: &Snapshots) -> Result<u64, Error> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path).at("cannot create", path)?);
    let mut crc = 0;
    let mut rows = 0_u64;
    let mut piece = MAGIC.to_vec();
    cursor.put(&mut piece);
    let mut put = |piece: &[u8]| {
        crc = crc32c::crc32c_append(crc, piece);
        out.write_all(piece).at("cannot write", path)
    };
    put(&piece)?;
    snapshots.each(|key, row| {
        if is_cursor(key) {
            return Ok(());
        }
        rows += 1;
        piece.clear();
        for part in [key, row] {
            let length = u32::try_from(part.len()).unwrap_or(END);
            piece.extend_from_slice(&length.to_le_bytes());
            piece.extend_from_slice(part);
        }
        put(&piece)
    })?;
    piece.clear();
    piece.extend_from_slice(&END.to_le_bytes());
    piece.extend_from_slice(&rows.to_le_bytes());
    put(&piece)?;
    out.write_all(&crc.to_le_bytes()).at("cannot write", path)?;
    out.flush().at("cannot write", path)?;
    Ok(rows)
}

/// Checks the whole of an export, then hands its rows to `visit`; returns its bytes.
pub(crate) fn read(
    path: &Path,
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), Error>,
) -> Result<u64, Error> {
    let bytes = fs::read(path).at("cannot read", path)?;
    let (body, crc) = bytes
        .split_last_chunk::<4>()
        .ok_or_else(|| damaged(path, 0, "it is cut short"))?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
        return Err(damaged(path, 0, "its checksum is wrong"));
    }
    let mut fields = Fields(body);
    let short = || damaged(path, 0, "it is malformed");
    head(&mut fields).ok_or_else(short)?;
    let mut rows = 0;
    loop {
        let length = fields.u32().ok_or_else(short)?;
        if length == END {
            break;
        }
        let key = fields.bytes(length as usize).ok_or_else(short)?;
        let row = fields.block().ok_or_else(short)?;
        visit(key, row)?;
        rows += 1;
    }
    if fields.u64() != Some(rows) {
        return Err(short());
    }
    Ok(bytes.len() as u64)
}

/// Fills an empty sled with the rows of an export.
pub(crate) fn rebuild(path: &Path, snapshots: &Snapshots, faults: &Faults) -> Result<(), Error> {
    let mut batch = Batch::default();
    read(path, |key, row| {
        batch.put_raw(key, row);
        if batch.count < REBUILD_ROWS && batch.bytes < REBUILD_BYTES {
            return Ok(());
        }
        faults
            .pass("open.rebuild_rows")
            .at("cannot rebuild", path)?;
        snapshots.apply(std::mem::take(&mut batch))
    })?;
    faults
        .pass("open.rebuild_rows")
        .at("cannot rebuild", path)?;
    snapshots.apply(batch)?;
    snapshots.flush()
}

/// The newest export of a directory; removes what an interrupted one left behind.
pub(crate) fn latest(dir: &Path) -> Result<Option<Export>, Error> {
    let fresh = dir.join("unfinished.new");
    if fresh.exists() {
        fs::remove_file(&fresh).at("cannot remove", &fresh)?;
    }
    let Some(path) = list(dir)?.pop() else {
        return Ok(None);
    };
    // Only the head: an export was verified when it was made, and is again before it is used.
    let bytes = fs::metadata(&path).at("cannot read", &path)?.len();
    let mut start = vec![0; 64.min(usize::try_from(bytes).unwrap_or(64))];
    let file = File::open(&path).at("cannot open", &path)?;
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut start, 0).at("cannot read", &path)?;
    let cursor =
        head(&mut Fields(&start)).ok_or_else(|| damaged(&path, 0, "its head is malformed"))?;
    Ok(Some(Export {
        cursor,
        path,
        bytes,
    }))
}

/// The exports of a directory, oldest first.
pub(crate) fn list(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).at("cannot list", dir)? {
        let path = entry.at("cannot list", dir)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "export")
        {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

fn head(fields: &mut Fields<'_>) -> Option<Cursor> {
    if fields.bytes(MAGIC.len())? != MAGIC {
        return None;
    }
    Cursor::take(fields)
}

fn damaged(path: &Path, offset: u64, detail: &str) -> Error {
    Error::Corrupt {
        file: path.display().to_string(),
        offset,
        detail: detail.to_owned(),
    }
}
