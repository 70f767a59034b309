//! A script for a store that fails as planned, and the examination of what is left.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crane_core::ShardId;

use super::super::kit::{
    ModelRun, TestClock, assert_holds, copy, epoch, memory_dir, run_id, tight, tool_write, write,
    write_tool,
};
use super::model::{Model, Random, is_alive};
use super::power::Synced;
use crate::RunStore;
use crate::embedded::{EmbeddedStore, Options, verify};
use crate::faults::{Faults, Order};

/// Steps of the script; enough for every point to be passed several times.
const STEPS: u64 = 220;

/// A plan to fail: what to order at which passing of which point.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) point: &'static str,
    pub(super) passing: u32,
    pub(super) order: Order,
    /// Order it from then on at each passing.
    pub(super) forever: bool,
}

pub(super) struct Watched {
    pub(super) faults: Faults,
    pub(super) synced: Arc<Mutex<Synced>>,
    pub(super) fired: Arc<Mutex<u32>>,
}

pub(super) fn watch(dir: &Path, plan: Option<Plan>) -> Watched {
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

pub(super) fn options(dir: &Path, clock: &TestClock, faults: Faults) -> Options {
    let mut options = Options::new(dir, clock.as_clock());
    tight(&mut options);
    options.faults = faults;
    options
}

/// Runs the script until it is over or the store has died; returns whether it lives.
pub(super) async fn play(
    store: &EmbeddedStore,
    model: &mut Model,
    clock: &TestClock,
    from: u64,
) -> bool {
    let Ok(fences) = store.acquire(vec![ShardId(0)]).await else {
        return false;
    };
    let epoch = fences[0].epoch;
    let mut random = Random(from + 1);
    for step in from..from + STEPS {
        let lives = match random.below(20) {
            0 => {
                let write = tool_write(step, Some(run_id(step)));
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
pub(super) async fn examine(image: &Path, model: &Model, clock: &TestClock) -> Vec<String> {
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
pub(super) async fn fail(plan: Plan, seed: u64, mortal: bool) -> (bool, Vec<String>) {
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
