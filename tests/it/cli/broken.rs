//! A disk that refuses a write under the program: it ends with a code of its own, and a restart
//! recovers.
//!
//! The kernel refuses the writes for real: the process may not write files of any size from some
//! moment on (`RLIMIT_FSIZE`). The signal that comes with it is ignored from the start, as a service
//! manager would do it; without that it ends the process before the write can fail.

use std::process::Command;

use rustix::process::{Resource, Rlimit, prlimit};

use super::{answer, held_plan, starts};
use crate::program::{Home, Running, Server};

/// Starts the program with the signal for files that are too large ignored.
fn start_deaf(home: &Home, line: &str) -> Running {
    let program = home.command(line.split_whitespace());
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(program.get_program())
        .args(program.get_args());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    if let Some(directory) = program.get_current_dir() {
        shell.current_dir(directory);
    }
    Running::spawn(shell)
}

#[test]
fn a_journal_that_cannot_write_ends_the_program_with_70_and_a_restart_recovers() {
    let (home, server) = (Home::new(), Server::start());
    let plan = held_plan(&home, &server);
    let running = start_deaf(&home, &format!("run {plan}"));
    let request = server.request();
    let nothing = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    prlimit(Some(running.pid()), Resource::Fsize, nothing).unwrap();
    answer(request);
    let ended = running.end();
    assert_eq!(ended.code, Some(70), "{ended:?}");
    assert!(ended.stdout.is_empty(), "{ended:?}");
    assert!(ended.stderr.contains("the store has failed"), "{ended:?}");
    assert!(ended.stderr.contains("File too large"), "{ended:?}");

    let resumed = home.start("run --resume");
    answer(server.request());
    let ended = resumed.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let id = home.crane("runs list -o ids").stdout.trim().to_owned();
    assert_eq!(starts(&home, &id, "add"), 1);
    assert_eq!(
        starts(&home, &id, "ask"),
        2,
        "its answer could not be recorded"
    );
}
