//! A crash at each point of every operation, with and without a power failure.

use std::sync::Mutex;

use super::*;

/// Stops at the hit with this number, from 0; counts and names all of them.
#[derive(Default)]
struct Fuse {
    left: Option<usize>,
    met: Vec<&'static str>,
}

impl Fuse {
    fn lasting(hits: usize) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            left: Some(hits),
            met: Vec::new(),
        }))
    }
}

fn fused(fuse: &Arc<Mutex<Fuse>>) -> FaultHook {
    let fuse = Arc::clone(fuse);
    Arc::new(move |point| {
        let mut fuse = fuse.lock().unwrap();
        fuse.met.push(point);
        match &mut fuse.left {
            Some(0) => Err(std::io::Error::other("injected")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    })
}

/// What was done so far.
#[derive(Default)]
struct Log {
    /// Records whose append returned.
    written: Vec<FinishedRun>,
    /// How many of them were known to be durable.
    durable: usize,
    /// Runs that retention has reported as removed.
    removed: Vec<RunId>,
    /// Whether retention was under way.
    retiring: bool,
}

fn small(fuse: &Arc<Mutex<Fuse>>) -> HistoryOptions {
    let mut options = options(1_000);
    options.retention.bytes = 2_500;
    options.faults = Some(fused(fuse));
    options
}

/// Appends, syncs, seals and retires; stops at the first error.
fn work(history: &mut History, log: &mut Log) -> Result<(), Error> {
    let mut places = BTreeMap::new();
    for number in 1..=14_u8 {
        let run = finished(number, 1, 250);
        let place = history.append(&view(&run))?;
        // A new segment begins only when the one before is durable.
        if places
            .values()
            .last()
            .is_some_and(|last: &Place| last.segment < place.segment)
        {
            log.durable = log.written.len();
        }
        places.insert(run.run, place);
        log.written.push(run);
        if number % 4 == 0 {
            history.sync()?;
            log.durable = log.written.len();
        }
        if number % 5 == 0 {
            log.retiring = true;
            let removed = history.retire(seconds(2_000), |_, _| Standing::Current)?;
            log.removed.extend(removed);
            log.retiring = false;
        }
    }
    Ok(())
}

/// What the machine loses when its power fails: all that was never synced, or some of it.
fn lose_power(dir: &Path, history: &History, keep_end: bool) {
    let Some((id, durable)) = history.active_durable() else {
        return;
    };
    let path = file(dir, id);
    let mut bytes = fs::read(&path).unwrap();
    let durable = (durable as usize).min(bytes.len());
    if keep_end {
        let middle = durable + (bytes.len() - durable) / 2;
        bytes[durable..middle].fill(0);
    } else {
        bytes.truncate(durable);
    }
    fs::write(&path, bytes).unwrap();
}

/// All that was durable is there, nothing is there that was not written, and work goes on.
fn check(dir: &Path, log: &Log, point: &str) {
    let (mut history, entries) = open(dir, options(1_000)).unwrap();
    for run in &log.written[..log.durable] {
        // Retention that was under way may or may not have come to a run.
        if log.removed.contains(&run.run) || (log.retiring && !entries.contains_key(&run.run)) {
            continue;
        }
        let entry = entries.get(&run.run);
        let entry = entry.unwrap_or_else(|| panic!("{point}: run {} is lost", run.run));
        assert_eq!(
            history.reader().read(entry.place).unwrap().as_ref(),
            Some(run),
            "{point}"
        );
    }
    let expected: BTreeMap<_, _> = (1..=14)
        .map(|n| finished(n, 1, 250))
        .map(|r| (r.run, r))
        .collect();
    for (run, entry) in &entries {
        let read = history.reader().read(entry.place).unwrap();
        assert_eq!(read.as_ref(), expected.get(run), "{point}");
    }
    for run in &log.removed {
        assert!(!entries.contains_key(run), "{point}: {run} is back");
    }
    let next = finished(99, 1, 600);
    history.append(&view(&next)).unwrap();
    history.sync().unwrap();
    drop(history);
    let (history, entries) = open(dir, options(1_000)).unwrap();
    let entry = &entries[&next.run];
    assert_eq!(
        history.reader().read(entry.place).unwrap(),
        Some(next),
        "{point}"
    );
    assert_eq!(verify(dir, |_| ()).unwrap(), [], "{point}");
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Power {
    Stays,
    Fails,
    FailsAndWritesOutOfOrder,
}

#[test]
fn nothing_durable_is_lost_by_a_crash_at_any_point() {
    let mut met = Vec::new();
    for power in [Power::Stays, Power::Fails, Power::FailsAndWritesOutOfOrder] {
        let mut hit = 0;
        loop {
            let dir = TempDir::new().unwrap();
            let fuse = Fuse::lasting(hit);
            let (mut history, _) = open(dir.path(), small(&fuse)).unwrap();
            let mut log = Log::default();
            let crashed = work(&mut history, &mut log).is_err();
            match power {
                Power::Stays => {}
                Power::Fails => lose_power(dir.path(), &history, false),
                Power::FailsAndWritesOutOfOrder => lose_power(dir.path(), &history, true),
            }
            drop(history);
            let point = fuse.lock().unwrap().met.last().copied().unwrap_or("none");
            check(dir.path(), &log, &format!("{power:?}, {point}, hit {hit}"));
            if !crashed {
                assert!(!log.removed.is_empty());
                met.extend(fuse.lock().unwrap().met.iter().copied());
                break;
            }
            hit += 1;
        }
        assert!(hit > 40, "only {hit} points were met");
    }
    for point in FAULT_POINTS {
        assert!(met.contains(&point), "{point} is never met");
    }
    for point in met {
        assert!(FAULT_POINTS.contains(&point), "{point} is not listed");
    }
}

#[test]
fn a_record_that_was_not_synced_is_lost_with_the_power() {
    // The control of the test above: the loss it simulates is real.
    let dir = TempDir::new().unwrap();
    let (mut history, _) = open(dir.path(), options(10_000)).unwrap();
    history.append(&view(&finished(1, 1, 100))).unwrap();
    history.sync().unwrap();
    history.append(&view(&finished(2, 1, 100))).unwrap();
    lose_power(dir.path(), &history, false);
    drop(history);
    let (history, entries) = open(dir.path(), options(10_000)).unwrap();
    assert_holds(&history, &entries, &[finished(1, 1, 100)]);
}

#[test]
fn after_an_error_at_any_point_the_same_history_goes_on() {
    let mut hit = 0;
    loop {
        let dir = TempDir::new().unwrap();
        let fuse = Fuse::lasting(hit);
        let mut options = options(1_000);
        options.faults = Some(fused(&fuse));
        let (mut history, _) = open(dir.path(), options.clone()).unwrap();
        let runs: Vec<_> = (1..=14).map(|number| finished(number, 1, 250)).collect();
        let mut failed = false;
        let mut retry = |result: Result<(), Error>| {
            // The disk was full for a moment.
            failed |= result.is_err();
            fuse.lock().unwrap().left = None;
            result.is_err()
        };
        for (number, run) in runs.iter().enumerate() {
            if number == 0 {
                fuse.lock().unwrap().left = Some(hit);
            }
            let result = history.append(&view(run)).map(|_| ());
            if result.is_err() && retry(result) {
                // A shorter one in between must not leave a trace of the longer behind it.
                history.append(&view(&finished(77, 1, 3))).unwrap();
                history.append(&view(run)).unwrap();
            }
            if number % 4 == 0 {
                let result = history.sync();
                if result.is_err() && retry(result) {
                    history.sync().unwrap();
                }
            }
        }
        drop(history);
        let (history, mut entries) = open(dir.path(), options).unwrap();
        entries.remove(&finished(77, 1, 3).run);
        assert_holds(&history, &entries, &runs);
        assert_eq!(verify(dir.path(), |_| ()).unwrap(), []);
        if !failed {
            break;
        }
        hit += 1;
    }
    assert!(hit > 30, "only {hit} points were met");
}
