//! The machine: what it must have, commands, chance, and one test at a time.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::programs;

/// Longest time that anything may take which is bound to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Programs that are needed, beside PostgreSQL.
const PROGRAMS: [&str; 3] = ["ip", "iptables", "setpriv"];

/// Five nodes are enough for the machine.
static TURN: Mutex<()> = Mutex::new(());

/// The right to run a test now; `None`, and "skipped" is printed, where that is impossible.
pub(crate) fn turn() -> Option<MutexGuard<'static, ()>> {
    let missing = missing();
    if let Some(missing) = missing {
        let required = std::env::var("CRANE_REQUIRE_ALL").is_ok_and(|value| value == "1");
        assert!(!required, "{missing}, and CRANE_REQUIRE_ALL=1 is set");
        println!("skipped: {missing}");
        return None;
    }
    // A test that failed has cleaned up all the same.
    Some(TURN.lock().unwrap_or_else(PoisonError::into_inner))
}

fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("namespaces need root".to_owned());
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let has = |name: &&str| std::env::split_paths(&paths).any(|path| path.join(name).is_file());
    let program = PROGRAMS.iter().find(|name| !has(name));
    let program = program.map(|name| format!("{name} is missing"));
    program.or_else(|| {
        programs::installed()
            .is_none()
            .then(|| "PostgreSQL is missing".to_owned())
    })
}

/// The program under test.
pub(crate) fn crane() -> PathBuf {
    match std::env::var_os("CRANE_BIN") {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(env!("CARGO_BIN_EXE_crane")),
    }
}

/// Runs a command to its end; what it printed.
#[track_caller]
pub(crate) fn run(program: impl AsRef<Path>, arguments: &[&str]) -> String {
    let program = program.as_ref();
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    assert!(
        output.status.success(),
        "{} {arguments:?}: {}",
        program.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The same where nobody minds that it fails.
pub(crate) fn try_run(program: &str, arguments: &[&str]) {
    let _ = Command::new(program).args(arguments).output();
}

/// Waits until something holds that the system or another process brings about.
#[track_caller]
pub(crate) fn until(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < patience, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// How many rounds of everything: what CRANE_SOAK_ROUNDS says, or one.
pub(crate) fn rounds() -> u32 {
    let asked = std::env::var("CRANE_SOAK_ROUNDS").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// A small generator (xorshift64*), so that choices can be repeated by their seed.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// From CRANE_SEED, or another one each time.
    pub(crate) fn from_env() -> Self {
        let seed = std::env::var("CRANE_SEED").ok();
        let seed = seed.and_then(|text| text.parse().ok()).unwrap_or_else(|| {
            let now = std::time::SystemTime::now();
            let since = now.duration_since(std::time::UNIX_EPOCH);
            since.map_or(1, |since| u64::from(since.subsec_nanos()) | 1)
        });
        println!("CRANE_SEED={seed}");
        Self(seed)
    }

    /// Another generator, for somebody who chooses by himself.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next() | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 31
    }

    /// Less than `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next()).unwrap_or(0) % bound
    }

    /// Any order of `0..count`.
    pub(crate) fn shuffled(&mut self, count: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            all.swap(last, self.below(last + 1));
        }
        all
    }
}
