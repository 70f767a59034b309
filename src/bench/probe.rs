//! What the machine itself does: the figures without which a throughput says little.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

/// Appends that are timed.
const APPENDS: usize = 1_000;
/// Bytes of each.
const BYTES: usize = 4_096;
/// The file they go to.
const FILE: &str = "fdatasync-probe";

/// The median time of an append of 4 KiB with `fdatasync` to a pre-written file in `directory`,
/// out of 1,000.
///
/// # Errors
/// When the file cannot be made or written.
pub fn fdatasync(directory: &Path) -> io::Result<Duration> {
    let path = directory.join(FILE);
    let measured = appends(&path);
    fs::remove_file(&path)?;
    let mut times = measured?;
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

fn appends(path: &Path) -> io::Result<Vec<Duration>> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    // Written once before, as a journal's segments are: the size of the file does not change.
    file.write_all_at(&vec![0; APPENDS * BYTES], 0)?;
    file.sync_all()?;
    (0..APPENDS).map(|number| append(&file, number)).collect()
}

fn append(file: &File, number: usize) -> io::Result<Duration> {
    let start = Instant::now();
    file.write_all_at(&[0x5a; BYTES], (number * BYTES) as u64)?;
    file.sync_data()?;
    Ok(start.elapsed())
}

/// Memory of this process that is in use, in bytes; `None` where the system does not tell.
pub fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_measures_something_and_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        assert!(fdatasync(directory.path()).unwrap() > Duration::ZERO);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn this_process_uses_some_memory() {
        assert!(resident_bytes().unwrap() > 1 << 20);
    }
}
