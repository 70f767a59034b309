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
/// out of 1,000. The time in which this thread could have run and no core was free does not count:
/// it says something of the other programs here, and nothing of the disk.
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
    let waited = waited_for_core();
    let start = Instant::now();
    file.write_all_at(&[0x5a; BYTES], (number * BYTES) as u64)?;
    file.sync_data()?;
    let took = start.elapsed();
    Ok(took.saturating_sub(waited_for_core().saturating_sub(waited)))
}

/// How long this thread has waited for a core so far, while it could have run; zero where the system
/// does not tell.
fn waited_for_core() -> Duration {
    // Nanoseconds on a core, nanoseconds waiting for one, number of turns.
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let waited = stat.split_whitespace().nth(1);
    let waited = waited.and_then(|waited| waited.parse().ok());
    Duration::from_nanos(waited.unwrap_or_default())
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
