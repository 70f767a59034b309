//! A journal that fails ends the process; a restart recovers.

use super::child::STORE_FAILED;
use super::{Notes, Task, checker, spawn_child};

#[test]
fn a_journal_that_cannot_sync_ends_the_process_and_a_restart_recovers() {
    let notes = Notes::new();
    let data = notes.path("data");
    let ended = spawn_child(&data, &notes, 0, Task::Load, Some("journal.sync=error"))
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
fn a_journal_that_cannot_write_ends_the_process_and_a_restart_recovers() {
    let notes = Notes::new();
    let data = notes.path("data");
    let ended = spawn_child(&data, &notes, 0, Task::Load, Some("journal.write=error"))
        .wait()
        .expect("the child is reaped");
    assert_eq!(ended.code(), Some(STORE_FAILED));
    let finished = spawn_child(&data, &notes, 1, Task::Finish, None)
        .wait()
        .expect("the child is reaped");
    assert!(finished.success(), "{finished}");
    assert_eq!(checker::check(&data, &notes), Vec::<String>::new());
}
