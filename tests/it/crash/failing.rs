//! A journal that fails ends the process; a restart recovers.

use super::child::STORE_FAILED;
use super::{Notes, Task, checker, spawn_child};

/// Lets the journal of a loaded node fail at `point`, then starts it again without that.
#[track_caller]
fn ends_and_recovers(point: &str) {
    let notes = Notes::new();
    let data = notes.path("data");
    let sabotage = format!("{point}=error");
    let ended = spawn_child(&data, &notes, 0, Task::Load, Some(&sabotage))
        .wait()
        .expect("the child is reaped");
    assert_eq!(ended.code(), Some(STORE_FAILED));
    let finished = spawn_child(&data, &notes, 1, Task::Finish, None)
        .wait()
        .expect("the child is reaped");
    assert!(finished.success(), "{finished}");
    assert_eq!(checker::check(&data, &notes), Vec::<String>::new());
}

#[test]
fn a_journal_that_cannot_sync_ends_the_process_and_a_restart_recovers() {
    ends_and_recovers("journal.sync");
}

#[test]
fn a_journal_that_cannot_write_ends_the_process_and_a_restart_recovers() {
    ends_and_recovers("journal.write");
}
