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

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crane_core::{Epoch, RunStatus, Seq, ShardId};

use super::kit::{
    ModelRun, TestClock, assert_holds, copy, epoch, memory_dir, tight, tool_write, write,
    write_tool,
};
use crate::RunStore;
use crate::embedded::{EmbeddedStore, Options, verify};
use crate::faults::{Faults, Order, POINTS};
use crate::history::FAULT_POINTS;
use model::{Model, Random, is_alive};
use power::Synced;

/// Steps of the script; enough for every point to be passed several times.
const STEPS: u64 = 220;

/// A plan to fail: what to order at which passing of which point.
#[derive(Clone, Copy, Debug)]
struct Plan {
    point: &'static str,
    passing: u32,
    order: Order,
    /// Order it from then on at each passing.
    forever: bool,
}

struct Watched {
    faults: Faults,
    synced: Arc<Mutex<Synced>>,
    fired: Arc<Mutex<u32>>,
}

fn watch(dir: &Path, plan: Option<Plan>) -> Watched {
    let synced = Arc::new(Mutex::new(Synced::default()));
    let fired = Arc::new(Mutex::new(0));
    let (dir, watching, counting) = (dir.to_owned(), Arc::clone(&synced), Arc::clone(&fired));
    let passed = Mutex::new((0, false));
    let faults = Faults::new(move |point| {
        let mut passed = passed.lock().unwrap();
        let mut order = Order::Continue;
        if let Some(plan) = plan
            && plan.point == point
        {
            passed.0 += 1;
            if passed.0 == plan.passing || plan.forever && passed.0 > plan.passing {
                *counting.lock().unwrap() += 1;
                order = plan.order;
            }
        }
        // A sync that was left out has put nothing on disk.
        passed.1 |= point == "journal.sync" && order == Order::Skip;
        let unsynced = point == "journal.synced" && passed.1;
        if !unsynced {
            watching.lock().unwrap().watch(&dir, point);
        }
        order
    });
    Watched {
        faults,
        synced,
        fired,
    }
}

fn options(dir: &Path, clock: &TestClock, faults: Faults) -> Options {
    let mut options = Options::new(dir, clock.as_clock());
    tight(&mut options);
    options.faults = faults;
    options
}

/// Runs the script until it is over or the store has died; returns whether it lives.
async fn play(store: &EmbeddedStore, model: &mut Model, clock: &TestClock, from: u64) -> bool {
    let Ok(fences) = store.acquire(vec![ShardId(0)]).await else {
        return false;
    };
    let epoch = fences[0].epoch;
    let mut random = Random(from + 1);
    for step in from..from + STEPS {
        let lives = match random.below(20) {
            0 => {
                let write = tool_write(step, Some(super::kit::run_id(step)));
                let outcome = write_tool(store, write.clone()).await;
                model.note_tool(write, &outcome)
            }
            1 | 2 => is_alive(&store.checkpoint().await),
            3 if step > from + STEPS / 2 && model.mortal => {
                clock.advance(Duration::from_secs(30 * 24 * 3600));
                is_alive(&store.checkpoint().await)
            }
            _ => {
                let mut run = model.pick(&mut random, step);
                if random.below(8) == 0 {
                    store.passivate(run.run);
                }
                let ends = random.below(4) == 0;
                let payload = usize::try_from(random.below(400)).unwrap();
                let append = run.next(epoch, payload, ends);
                let outcome = write(store, append).await;
                model.note(run, outcome)
            }
        };
        if !lives {
            return false;
        }
    }
    true
}

/// Opens an image of a disk, compares it with the model, goes on with it, verifies it.
async fn examine(image: &Path, model: &Model, clock: &TestClock) -> Vec<String> {
    let store = match EmbeddedStore::open(options(image, clock, Faults::default())) {
        Ok(store) => store,
        Err(error) => return vec![format!("it does not open: {error}")],
    };
    let mut wrong = model.compare(&store).await;
    let epoch = epoch(&store).await;
    let mut more = ModelRun::new(99_999);
    for _ in 0..4 {
        write(&store, more.next(epoch, 900, false)).await.unwrap();
    }
    store.checkpoint().await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let findings = verify(image).unwrap().findings;
    wrong.extend(findings.iter().map(|finding| format!("{finding:?}")));
    let again = EmbeddedStore::open(options(image, clock, Faults::default())).unwrap();
    assert_holds(again.load(more.run).await.unwrap(), &more);
    wrong
}

/// Plays the script against a store that fails as planned. Returns whether the point was passed
/// that often, and what is wrong afterwards.
async fn fail(plan: Plan, seed: u64, mortal: bool) -> (bool, Vec<String>) {
    let dir = memory_dir();
    let data = dir.path().join("data");
    let clock = TestClock::default();
    let watched = watch(&data, Some(plan));
    let mut model = Model {
        mortal,
        ..Model::default()
    };
    if let Ok(store) = EmbeddedStore::open(options(&data, &clock, watched.faults.clone()))
        && play(&store, &mut model, &clock, seed).await
    {
        // A failure on the way out is as good as any.
        let _ = store.close().await;
    }
    let fired = *watched.fired.lock().unwrap() > 0;
    let mut wrong = Vec::new();
    for power in [true, false] {
        let image = dir.path().join(format!("image-{power}"));
        copy(&data, &image);
        if power {
            watched.synced.lock().unwrap().cut_power(&data, &image);
        }
        let found = examine(&image, &model, &clock).await;
        wrong.extend(
            found
                .into_iter()
                .map(|what| format!("power cut {power}: {what}")),
        );
    }
    (fired, wrong)
}

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

/// Random plans on random scripts; run it long with `--run-ignored all` after a change here.
#[tokio::test]
#[ignore = "takes minutes"]
async fn nothing_is_lost_by_random_failures() {
    let points: Vec<&'static str> = POINTS.iter().chain(&FAULT_POINTS).copied().collect();
    let mut random = Random(0xC4A4E);
    for round in 0..500 {
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
        let (_, wrong) = fail(plan, seed, random.below(3) == 0).await;
        assert_eq!(
            wrong,
            Vec::<String>::new(),
            "round {round}, seed {seed}: {plan:?}"
        );
    }
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
