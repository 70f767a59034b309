//! What the history holds, reports and retires. Damage and crashes are in the modules below.

#![allow(clippy::unwrap_used)]

mod crash;
mod damage;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crane_core::{Round, RunStatus, Seq, Timestamp};
use tempfile::TempDir;

use super::*;

/// A finished run made of its number; `round` tells records of the same run apart.
fn finished(number: u8, round: u32, payload: usize) -> FinishedRun {
    let seconds = i64::from(number) + i64::from(round) * 1_000;
    let labels = [("number".to_owned(), number.to_string())].into();
    FinishedRun {
        run: RunId::from_bytes([number; 16]),
        summary: Summary {
            seq: Seq(u64::from(round) * 2),
            status: RunStatus::Failed,
            round: Round(round),
            created_at: Timestamp(i64::from(number)),
            completed_at: Some(Timestamp(seconds * 1_000_000)),
            wake_at: None,
        },
        labels: if number.is_multiple_of(2) {
            labels
        } else {
            Labels::new()
        },
        events: Encoded {
            count: round * 2,
            bytes: (0..payload)
                .map(|at| number ^ at.to_le_bytes()[0])
                .collect(),
        },
    }
}

fn view(run: &FinishedRun) -> Finished<'_> {
    Finished {
        run: run.run,
        summary: &run.summary,
        labels: &run.labels,
        events: &run.events,
    }
}

fn options(segment_bytes: u32) -> HistoryOptions {
    HistoryOptions {
        segment_bytes,
        ..HistoryOptions::default()
    }
}

/// The newest entry of each run.
type Entries = BTreeMap<RunId, HistoryEntry>;

fn open(dir: &Path, options: HistoryOptions) -> Result<(History, Entries), Error> {
    let mut entries = Entries::new();
    let history = History::open(dir, options, |entry| {
        entries.insert(entry.run, entry);
    })?;
    Ok((history, entries))
}

fn file(dir: &Path, segment: u32) -> PathBuf {
    segment::path(dir, NonZeroU32::new(segment).unwrap())
}

/// The history holds exactly these runs.
#[track_caller]
fn assert_holds(history: &History, entries: &Entries, runs: &[FinishedRun]) {
    assert_eq!(entries.len(), runs.len(), "{:?}", entries.keys());
    for run in runs {
        let entry = &entries[&run.run];
        assert_eq!((&entry.summary, &entry.labels), (&run.summary, &run.labels));
        let read = history.reader().read(entry.place).unwrap();
        assert_eq!(read.as_ref(), Some(run));
    }
}

fn seconds(seconds: i64) -> Timestamp {
    Timestamp(seconds * 1_000_000)
}

#[test]
fn runs_are_read_at_once_and_after_each_reopen() {
    let dir = TempDir::new().unwrap();
    let mut written = Vec::new();
    for round in 0..4 {
        let (mut history, entries) = open(dir.path(), options(4_000)).unwrap();
        assert_holds(&history, &entries, &written);
        for number in 0..10 {
            let run = finished(round * 10 + number, 1, usize::from(number) * 97);
            let place = history.append(&view(&run)).unwrap();
            assert_eq!(history.reader().read(place).unwrap().as_ref(), Some(&run));
            written.push(run);
        }
        let size: u64 = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum();
        assert_eq!(history.bytes(), size);
        assert_eq!(history.oldest(), Some(seconds(1_000)));
    }
    assert!(file(dir.path(), 3).exists());
    assert_eq!(verify(dir.path(), |_| ()).unwrap(), []);
    let mut met = Vec::new();
    verify(dir.path(), |run| met.push(run)).unwrap();
    assert_eq!(met, written);
}

#[test]
fn many_runs_of_one_call_spread_over_segments_and_have_their_places_in_order() {
    let dir = TempDir::new().unwrap();
    let runs: Vec<_> = (0..100).map(|number| finished(number, 1, 3_000)).collect();
    let views: Vec<_> = runs.iter().map(view).collect();
    let (mut history, _) = open(dir.path(), options(50_000)).unwrap();
    let places = history.append_all(&views).unwrap();
    assert!(places.is_sorted());
    assert!(places[99].segment.get() > 5);
    for (place, run) in places.iter().zip(&runs) {
        assert_eq!(history.reader().read(*place).unwrap().as_ref(), Some(run));
    }
    assert_eq!(history.append_all(&[]).unwrap(), []);
    drop(history);
    let (history, entries) = open(dir.path(), options(50_000)).unwrap();
    assert_holds(&history, &entries, &runs);
}

#[test]
fn a_run_larger_than_a_segment_gets_one_of_its_own() {
    let dir = TempDir::new().unwrap();
    let (mut history, _) = open(dir.path(), options(1_000)).unwrap();
    let runs = [
        finished(1, 1, 10),
        finished(2, 1, 50_000),
        finished(3, 1, 10),
    ];
    let places = runs
        .each_ref()
        .map(|run| history.append(&view(run)).unwrap());
    assert_eq!(places.map(|place| place.segment.get()), [1, 2, 3]);
    drop(history);
    let (history, entries) = open(dir.path(), options(1_000)).unwrap();
    assert_holds(&history, &entries, &runs);
}

#[test]
fn a_later_record_of_a_run_supersedes_the_earlier() {
    let dir = TempDir::new().unwrap();
    let (mut history, _) = open(dir.path(), options(2_000)).unwrap();
    for round in 1..20 {
        history.append(&view(&finished(7, round, 300))).unwrap();
    }
    drop(history);
    let (history, entries) = open(dir.path(), options(2_000)).unwrap();
    assert_holds(&history, &entries, &[finished(7, 19, 300)]);
}

#[test]
fn readers_read_while_the_history_is_written_and_retired() {
    let dir = TempDir::new().unwrap();
    let mut options = options(5_000);
    options.retention.bytes = 20_000;
    let (mut history, _) = open(dir.path(), options).unwrap();
    let (sender, places) = std::sync::mpsc::channel::<(Place, FinishedRun)>();
    let reader = history.reader();
    let reading = std::thread::spawn(move || {
        let mut gone = 0;
        let mut met: Vec<(Place, FinishedRun)> = Vec::new();
        for next in places {
            met.push(next);
            for (place, run) in met.iter().rev().take(30) {
                match reader.read(*place).unwrap() {
                    Some(read) => assert_eq!(&read, run),
                    None => gone += 1,
                }
            }
        }
        assert_eq!(reader.read(met[0].0).unwrap(), None);
        gone
    });
    for round in 1..10 {
        for number in 0..100 {
            let run = finished(number, round, 500);
            let place = history.append(&view(&run)).unwrap();
            sender.send((place, run)).unwrap();
        }
        history
            .retire(seconds(0), |_, _| Standing::Current)
            .unwrap();
    }
    drop(sender);
    reading.join().unwrap();
}

#[test]
fn segments_past_the_age_are_retired_by_their_newest_run() {
    let dir = TempDir::new().unwrap();
    let mut options = options(2_000);
    options.retention.age = Duration::from_secs(40);
    let (mut history, _) = open(dir.path(), options.clone()).unwrap();
    let mut first_segment = Vec::new();
    for number in 1..=12 {
        let run = finished(number, 0, 500);
        if history.append(&view(&run)).unwrap().segment.get() == 1 {
            first_segment.push(run.run);
        }
    }
    assert_eq!(first_segment.len(), 3);
    let retire = |history: &mut History, now| {
        let removed = history.retire(seconds(now), |_, _| Standing::Current);
        removed.unwrap()
    };
    assert_eq!(retire(&mut history, 3 + 40), []);
    assert_eq!(history.oldest(), Some(seconds(1)));
    assert_eq!(retire(&mut history, 3 + 41), first_segment);
    assert_eq!(history.oldest(), Some(seconds(4)));
    assert!(!file(dir.path(), 1).exists());
    drop(history);
    let (mut history, entries) = open(dir.path(), options).unwrap();
    assert_eq!(entries.len(), 9);
    // The last one is removed as well, once it is old: it is sealed for that.
    assert_eq!(retire(&mut history, 1_000).len(), 9);
    assert_eq!((history.bytes(), history.oldest()), (0, None));
    let run = finished(1, 1, 10);
    let place = history.append(&view(&run)).unwrap();
    assert_eq!(history.reader().read(place).unwrap(), Some(run));
}

#[test]
fn the_oldest_segments_are_retired_while_there_are_too_many_bytes() {
    let dir = TempDir::new().unwrap();
    let mut options = options(2_000);
    options.retention.bytes = 7_000;
    let (mut history, _) = open(dir.path(), options).unwrap();
    for number in 1..=30 {
        history.append(&view(&finished(number, 0, 500))).unwrap();
    }
    assert!(history.bytes() > 7_000);
    let removed = history
        .retire(seconds(31), |_, _| Standing::Current)
        .unwrap();
    assert!(history.bytes() <= 7_000 && history.bytes() > 4_000);
    let expected: Vec<_> = (1..=30).map(|n| finished(n, 0, 0).run).collect();
    assert_eq!(removed, expected[..removed.len()]);
}

#[test]
fn only_runs_whose_record_counts_are_reported_and_a_needed_record_keeps_its_segment() {
    let dir = TempDir::new().unwrap();
    let mut options = options(2_000);
    options.retention.bytes = 0;
    let (mut history, _) = open(dir.path(), options).unwrap();
    let mut places = BTreeMap::new();
    for run in [
        finished(1, 1, 900),
        finished(2, 1, 900),
        finished(3, 1, 900),
        finished(1, 2, 900),
    ] {
        places.insert(run.run, history.append(&view(&run)).unwrap());
    }
    history.append(&view(&finished(4, 1, 1_900))).unwrap();
    let (one, three) = (finished(1, 1, 0).run, finished(3, 1, 0).run);
    let standing = |run: RunId, place: Place| {
        if run == three {
            Standing::Needed
        } else if places[&run] == place {
            Standing::Current
        } else {
            Standing::Superseded
        }
    };
    let removed = history.retire(seconds(1_000), standing).unwrap();
    assert_eq!(removed, [finished(2, 1, 0).run]);
    assert!(file(dir.path(), 2).exists());
    let reader = history.reader();
    assert_eq!(
        reader.read(places[&one]).unwrap(),
        Some(finished(1, 2, 900))
    );
    assert_eq!(
        reader.read(places[&three]).unwrap(),
        Some(finished(3, 1, 900))
    );
}

#[test]
fn a_slow_node_seals_a_segment_that_spans_a_quarter_of_the_age() {
    let dir = TempDir::new().unwrap();
    let mut options = options(1 << 20);
    options.retention.age = Duration::from_secs(40);
    let (mut history, _) = open(dir.path(), options).unwrap();
    history.append(&view(&finished(1, 0, 10))).unwrap();
    history
        .retire(seconds(11), |_, _| Standing::Current)
        .unwrap();
    let place = history.append(&view(&finished(2, 0, 10))).unwrap();
    assert_eq!(place.segment.get(), 1);
    history
        .retire(seconds(12), |_, _| Standing::Current)
        .unwrap();
    let place = history.append(&view(&finished(3, 0, 10))).unwrap();
    assert_eq!(place.segment.get(), 2);
}
