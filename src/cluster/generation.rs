//! Which life of the node this is, where no database counts them.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use crane_core::Generation;

/// The file in the data directory.
const FILE: &str = "generation";

/// The next generation, which is durable when this returns: the time, in milliseconds, or one more
/// than the last, if the clock has stepped back. So it grows even when the directory was lost.
///
/// # Errors
/// A file that cannot be written.
pub fn next(directory: &Path, now: u64) -> io::Result<Generation> {
    let path = directory.join(FILE);
    let last = match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().unwrap_or(0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0_u64,
        Err(error) => return Err(error),
    };
    let next = now.max(last.saturating_add(1));
    let fresh = directory.join(format!("{FILE}.new"));
    let mut file = File::create(&fresh)?;
    writeln!(file, "{next}")?;
    file.sync_all()?;
    fs::rename(&fresh, &path)?;
    File::open(directory)?.sync_all()?;
    Ok(Generation(next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_grows_whatever_the_clock_does() {
        let directory = tempfile::tempdir().unwrap();
        let next = |now| next(directory.path(), now).unwrap();
        assert_eq!(next(1_000), Generation(1_000));
        assert_eq!(next(2_000), Generation(2_000));
        assert_eq!(next(500), Generation(2_001));
        assert_eq!(next(500), Generation(2_002));
        fs::write(directory.path().join(FILE), "no number").unwrap();
        assert_eq!(next(3_000), Generation(3_000));
    }
}
