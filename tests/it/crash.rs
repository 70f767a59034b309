//! Killing, cutting the power, filling the disk.
//!
//! ```text
//!   test ── spawns ──> child (this binary again): a node that runs a mix of plans
//!    │ kill -9 / SIGSTOP                │ effects file, accepted file (written after the ack)
//!    └── checker <── what is stored ────┘
//! ```
//!
//! Each of these tests has a negative control: the same with the safety switched off must go red.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "these tests start processes and tasks of their own, are steered by variables, and say what they did"
)]

mod checker;
mod child;
mod disk;
mod failing;
mod power;
mod soak;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Files that a child and its test share; they live outside the disk under test.
pub(crate) struct Notes {
    dir: tempfile::TempDir,
}

impl Notes {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The lines of a file; a last line without its end was cut by a kill and does not count.
    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.path(name)).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect()
    }
}

/// What a child is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Submit runs until it is killed.
    Load,
    /// Submit nothing, wait until every accepted run has ended, exit.
    Finish,
}

/// Starts a child on `data`; `sabotage` names a fault point and what to do there (`skip`, `error`).
pub(crate) fn spawn_child(
    data: &Path,
    notes: &Notes,
    generation: u32,
    task: Task,
    sabotage: Option<&str>,
) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this test's own path"));
    command
        .args(["crash::child::child_process", "--exact", "--nocapture"])
        .env(child::DATA, data)
        .env(child::NOTES, notes.dir.path())
        .env(child::GENERATION, generation.to_string())
        .env(child::TASK, format!("{task:?}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    if let Some(sabotage) = sabotage {
        command.env(child::SABOTAGE, sabotage);
    }
    command.spawn().expect("the child starts")
}

/// Kills a child of this test and reaps it.
pub(crate) fn kill(mut child: Child) {
    child.kill().expect("kill -9 reaches the child");
    child.wait().expect("the child is reaped");
}

/// How many kills a soak makes: what CRANE_SOAK_ROUNDS says, or the test's own number.
pub(crate) fn rounds(default: u32) -> u32 {
    let asked = std::env::var("CRANE_SOAK_ROUNDS").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A small generator (xorshift64*), so that a failure can be repeated by its seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn from_env() -> Self {
        let seed = std::env::var("CRANE_SEED")
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| {
                let now = std::time::SystemTime::now();
                let since = now.duration_since(std::time::UNIX_EPOCH);
                since.map_or(1, |since| since.as_micros() as u64 | 1)
            });
        println!("CRANE_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}

/// Whether this test may run; as anything but root it is skipped, or fails when everything is
/// required.
pub(crate) fn is_root(what: &str) -> bool {
    let root = std::fs::metadata("/proc/self").is_ok_and(|meta| {
        use std::os::unix::fs::MetadataExt;
        meta.uid() == 0
    });
    if root {
        return true;
    }
    let required = std::env::var("CRANE_REQUIRE_ALL").is_ok_and(|value| value == "1");
    assert!(
        !required,
        "{what} needs root and CRANE_REQUIRE_ALL=1 is set"
    );
    println!("skipped: {what} needs root");
    false
}

/// Runs a system command to its end and fails with its output when it fails.
pub(crate) fn system(program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
