//! Tells the program which commit it was built from, as `CRANE_COMMIT`.
//!
//! A build outside a checkout (an archive, a container without `.git`) takes the environment
//! variable `CRANE_COMMIT`, or says `unknown`; it never fails.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=CRANE_COMMIT");
    let given =
        std::env::var_os("CRANE_COMMIT").map(|commit| commit.to_string_lossy().into_owned());
    let commit = given
        .filter(|commit| {
            commit
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-')
        })
        .filter(|commit| !commit.is_empty())
        .or_else(commit_of_checkout)
        .unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=CRANE_COMMIT={commit}");
}

/// The commit that is checked out.
fn commit_of_checkout() -> Option<String> {
    // An archive unpacked inside some other repository is not that repository.
    let top = git(&["rev-parse", "--show-toplevel"])?;
    let here = env!("CARGO_MANIFEST_DIR");
    if Path::new(&top).canonicalize().ok()? != Path::new(here).canonicalize().ok()? {
        return None;
    }
    // Both are written when the checkout moves to another commit. A file that does not exist would
    // make every build run this again.
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", file])
            && Path::new(&path).exists()
        {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}
