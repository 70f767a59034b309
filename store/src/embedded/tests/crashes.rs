//! Dying at every point, and what is left: compared with a model of what was acknowledged.
//!
//! ```text
//!   script on a store with faults ──> it dies ──> image of the disk ──> opened, compared, verified
//!                                                  a: the process died: all that was written is there
//!                                                  b: the power went: only what was synced is there
//! ```
//!
//! The negative control switches the journal's fdatasync off: then b must lose something.

mod model;
mod power;
mod script;

use std::fs;

use crane_core::{Epoch, RunStatus, Seq};

use super::kit::{ModelRun, TestClock, copy, epoch, memory_dir, tool_write, write};
use crate::RunStore;
use crate::embedded::EmbeddedStore;
use crate::faults::{Faults, Order, POINTS};
use crate::history::FAULT_POINTS;
use model::{Model, Random};
use script::{Plan, examine, fail, options, play, watch};

/// Rounds of random failures, unless `CRANE_FAILURE_ROUNDS` says otherwise.
const ROUNDS: u32 = 20;

/// Dies at each of the first passings of every point whose name begins with `prefix`.
async fn die_everywhere(prefix: &str, order: Order) {
    let points = POINTS.iter().chain(&FAULT_POINTS);
    let mut tried = 0;
    for point in points.filter(|point| point.starts_with(prefix)) {
        let needs_a_lost_sled = [
            "open.move_aside",
            "open.rebuild_rows",
            "open.rebuild_cursor",
        ];
        if needs_a_lost_sled.contains(point) {
            continue;
        }
        let passings: &[u32] = if order == Order::Crash { &[1, 4] } else { &[2] };
        for passing in passings.iter().copied() {
            let plan = Plan {
                point,
                passing,
                order,
                forever: false,
            };
            let mortal = point.contains("retire");
            let (fired, wrong) = fail(plan, 0, mortal).await;
            assert_eq!(wrong, Vec::<String>::new(), "{plan:?}");
            assert!(fired || passing > 1, "{plan:?} was never reached");
            tried += u32::from(fired);
        }
    }
    assert!(tried > 0, "no point begins with {prefix}");
}

macro_rules! die_at {
    ($($name:ident: $prefix:literal $order:ident),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $name() {
                die_everywhere($prefix, Order::$order).await;
            }
        )+
    };
}

die_at! {
    nothing_is_lost_by_a_crash_while_opening: "open." Crash,
    nothing_is_lost_by_a_crash_while_a_segment_is_made: "segment." Crash,
    nothing_is_lost_by_a_crash_while_appending: "journal." Crash,
    nothing_is_lost_by_a_crash_in_a_checkpoint: "checkpoint." Crash,
    nothing_is_lost_by_a_crash_in_an_export: "export." Crash,
    nothing_is_lost_by_a_crash_while_recycling: "recycle." Crash,
    nothing_is_lost_by_a_crash_while_writing_history: "history.append" Crash,
    nothing_is_lost_by_a_crash_while_making_history: "history.create" Crash,
    nothing_is_lost_by_a_crash_while_syncing_history: "history.sync" Crash,
    nothing_is_lost_by_a_crash_while_sealing_history: "history.seal" Crash,
    nothing_is_lost_by_a_crash_while_retention_works: "history.retire" Crash,
    nothing_is_lost_by_an_error_while_a_segment_is_made: "segment." Error,
    nothing_is_lost_by_an_error_while_appending: "journal." Error,
    nothing_is_lost_by_an_error_in_a_checkpoint: "checkpoint." Error,
    nothing_is_lost_by_an_error_in_an_export: "export." Error,
    nothing_is_lost_by_an_error_while_recycling: "recycle." Error,
    nothing_is_lost_by_an_error_while_writing_history: "history." Error,
}

/// A full disk stops nothing, except while history is being synced, where nobody knows what the
/// kernel still holds.
#[tokio::test]
async fn nothing_is_lost_and_nothing_stops_when_the_disk_is_full_for_a_moment() {
    for point in POINTS.iter().chain(&FAULT_POINTS) {
        if point.starts_with("open.") {
            continue;
        }
        // The first of these is passed while the store is opened.
        let in_open = point.starts_with("journal.") || point.starts_with("segment.");
        let plan = Plan {
            point,
            passing: 1 + u32::from(in_open),
            order: Order::NoSpace,
            forever: false,
        };
        let dir = memory_dir();
        let data = dir.path().join("data");
        let clock = TestClock::default();
        let watched = watch(&data, Some(plan));
        let mut model = Model {
            mortal: point.contains("retire"),
            ..Model::default()
        };
        let store = EmbeddedStore::open(options(&data, &clock, watched.faults)).unwrap();
        let lives = play(&store, &mut model, &clock, 0).await && store.close().await.is_ok();
        let no_disk = ["journal.synced", "journal.applied"].contains(point);
        let may_stop = no_disk || point.starts_with("history.") || point.contains("history_sync");
        assert!(lives || may_stop, "{point} has stopped the store");
        assert!(
            *watched.fired.lock().unwrap() > 0,
            "{point} was never reached"
        );
        drop(store);
        let wrong = examine(&data, &model, &clock).await;
        assert_eq!(wrong, Vec::<String>::new(), "{point}");
    }
}

/// Random plans on random scripts: a few here, many where a variable asks for them.
#[tokio::test]
async fn nothing_is_lost_by_random_failures() {
    #[allow(
        clippy::disallowed_methods,
        reason = "a test that is asked to run long"
    )]
    let asked = std::env::var("CRANE_FAILURE_ROUNDS");
    let rounds = asked.map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let points: Vec<&'static str> = POINTS.iter().chain(&FAULT_POINTS).copied().collect();
    let mut random = Random(0xC4A4E);
    let mut fired = 0;
    for round in 0..rounds {
        let at = usize::try_from(random.below(points.len() as u64)).unwrap();
        let passing = u32::try_from(random.below(40)).unwrap() + 1;
        let order = [Order::Crash, Order::Error][usize::try_from(random.below(2)).unwrap()];
        let plan = Plan {
            point: points[at],
            passing,
            order,
            forever: false,
        };
        let seed = random.below(1 << 20);
        let (reached, wrong) = fail(plan, seed, random.below(3) == 0).await;
        assert_eq!(
            wrong,
            Vec::<String>::new(),
            "round {round}, seed {seed}: {plan:?}"
        );
        fired += u32::from(reached);
    }
    assert!(fired > 0, "in {rounds} rounds no failure was reached");
}

#[tokio::test]
async fn nothing_is_lost_by_a_crash_while_a_lost_sled_is_rebuilt() {
    let dir = memory_dir();
    let data = dir.path().join("data");
    let clock = TestClock::default();
    let mut model = Model::default();
    let store = EmbeddedStore::open(options(&data, &clock, Faults::default())).unwrap();
    assert!(play(&store, &mut model, &clock, 0).await);
    drop(store);
    fs::remove_dir_all(data.join("snapshots")).unwrap();
    for point in [
        "open.move_aside",
        "open.rebuild_rows",
        "open.rebuild_cursor",
        "open.boot",
    ] {
        let image = dir.path().join(point);
        copy(&data, &image);
        let plan = Plan {
            point,
            passing: 1,
            order: Order::Crash,
            forever: false,
        };
        let watched = watch(&image, Some(plan));
        let error = EmbeddedStore::open(options(&image, &clock, watched.faults)).unwrap_err();
        assert!(
            error.to_string().contains("made to die"),
            "{point}: {error}"
        );
        let copied = dir.path().join(format!("{point}-again"));
        copy(&image, &copied);
        let wrong = examine(&copied, &model, &clock).await;
        assert_eq!(wrong, Vec::<String>::new(), "{point}");
    }
}

/// The control of all tests above: without the fdatasync, a power loss must be noticed.
#[tokio::test]
async fn a_journal_that_does_not_sync_is_noticed() {
    for point in ["journal.sync", "journal.write"] {
        let plan = Plan {
            point,
            passing: 5,
            order: Order::Skip,
            forever: true,
        };
        let dir = memory_dir();
        let data = dir.path().join("data");
        let clock = TestClock::default();
        let watched = watch(&data, Some(plan));
        let mut model = Model::default();
        let store = EmbeddedStore::open(options(&data, &clock, watched.faults)).unwrap();
        let epoch = epoch(&store).await;
        for number in 0..10 {
            let mut run = ModelRun::new(number);
            let outcome = write(&store, run.next(epoch, 10, false)).await;
            assert!(model.note(run, outcome));
        }
        drop(store);
        let image = dir.path().join("image");
        copy(&data, &image);
        watched.synced.lock().unwrap().cut_power(&data, &image);
        let wrong = examine(&image, &model, &clock).await;
        assert_eq!(wrong.len(), 7, "of ten runs three were synced: {wrong:?}");
    }
}

#[tokio::test]
async fn the_model_notices_a_lost_append_a_lost_run_and_a_lost_row() {
    let dir = memory_dir();
    let clock = TestClock::default();
    let store = EmbeddedStore::open(options(dir.path(), &clock, Faults::default())).unwrap();
    let mut model = Model::default();
    assert!(play(&store, &mut model, &clock, 0).await);
    assert_eq!(model.compare(&store).await, Vec::<String>::new());
    let ended = model
        .runs
        .values()
        .filter(|run| run.summary.status == RunStatus::Completed);
    assert!(
        ended.count() > 3 && model.tools.len() > 3,
        "the script does too little"
    );
    let run = model.runs.values_mut().next().unwrap();
    run.next(Epoch(0), 10, false);
    assert_eq!(model.compare(&store).await.len(), 1);
    assert!(model.runs.pop_first().unwrap().1.summary.seq > Seq(0));
    assert_eq!(model.compare(&store).await.len(), 1);
    model.tools.push(tool_write(77_777, None));
    assert_eq!(model.compare(&store).await.len(), 2);
}
