//! kill -9 at random instants, again and again.

use std::time::Duration;

use super::{Notes, Random, Task, checker, kill, rounds, spawn_child};

/// Rounds by default; CI asks for more.
const ROUNDS: u32 = 8;

/// Kills a loaded node `rounds` times, lets it finish, and says what is wrong then.
fn soak(rounds: u32, sabotage: Option<&str>) -> Vec<String> {
    let notes = Notes::new();
    let data = notes.path("data");
    let mut random = Random::from_env();
    for generation in 0..rounds {
        let child = spawn_child(&data, &notes, generation, Task::Load, sabotage);
        // Not a wait for anything: the instant of the kill, from the middle of recovery to the
        // middle of full load.
        std::thread::sleep(Duration::from_millis(5 + random.below(400)));
        kill(child);
    }
    let finished = spawn_child(&data, &notes, rounds, Task::Finish, sabotage)
        .wait()
        .expect("the child is reaped");
    let mut wrong = checker::check(&data, &notes);
    if !finished.success() {
        wrong.push(format!("the last process did not finish: {finished}"));
    }
    println!(
        "{rounds} kills, {} runs, {} effects, {} findings",
        notes.lines("accepted").len(),
        notes.lines("effects").len(),
        wrong.len()
    );
    wrong
}

#[test]
fn nothing_accepted_is_lost_and_nothing_finished_runs_again() {
    let wrong = soak(rounds(ROUNDS), None);
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn the_checker_goes_red_without_a_journal() {
    let wrong = soak(4, Some("journal.write=skip"));
    assert!(
        !wrong.is_empty(),
        "a journal that writes nothing was not noticed"
    );
}
