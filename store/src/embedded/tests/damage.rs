//! Torn tails, flipped bits, stale segments, a lost sled.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crane_core::Epoch;

use super::kit::{ModelRun, assert_holds, copy, epoch, labelled, open, tight_options, write};
use crate::embedded::frame::Builder;
use crate::embedded::snapshots::{Batch, Snapshots};
use crate::embedded::{EmbeddedStore, export, record, scan, segments, verify};
use crate::{Error, RunStore};

/// Where each frame of a journal begins and ends.
fn frames(journal: &Path) -> Vec<(u32, u64, u64)> {
    let ids = segments::list(journal).unwrap();
    let mut frames = Vec::new();
    let found = scan::scan(journal, &ids, None, |segment, offset, frame| {
        frames.push((segment, offset, offset + frame.size as u64));
        Ok(())
    });
    assert_eq!(found.unwrap().damage, None);
    frames
}

/// A store in one segment with `count` runs of one frame each, not closed.
async fn one_segment(dir: &Path, count: u64) -> Vec<ModelRun> {
    let mut options = tight_options(dir);
    options.segment_bytes = 64 << 10;
    let store = EmbeddedStore::open(options).unwrap();
    let epoch = epoch(&store).await;
    let mut runs: Vec<ModelRun> = (0..count).map(ModelRun::new).collect();
    for run in &mut runs {
        write(&store, run.next(epoch, 30, false)).await.unwrap();
    }
    runs
}

fn overwrite(path: &Path, offset: u64, bytes: &[u8]) {
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(bytes, offset).unwrap();
}

fn flip(path: &Path, offset: u64) {
    let mut byte = [0];
    let file = File::options().read(true).write(true).open(path).unwrap();
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
}

#[tokio::test]
async fn a_tail_torn_at_any_byte_ends_the_journal_at_the_frame_before() {
    let dir = tempfile::tempdir().unwrap();
    one_segment(dir.path(), 6).await;
    let journal = dir.path().join("journal");
    let frames = frames(&journal);
    let path = segments::path(&journal, 1);
    let whole = fs::read(&path).unwrap();
    let (_, _, end) = *frames.last().unwrap();
    let (_, from, _) = frames[frames.len() - 3];
    for noise in [0x00, 0xA5] {
        for cut in (from..end).rev() {
            let mut torn = whole.clone();
            for byte in &mut torn[usize::try_from(cut).unwrap()..usize::try_from(end).unwrap()] {
                *byte = noise;
            }
            fs::write(&path, &torn).unwrap();
            let found = scan::scan(&journal, &[1], Some(1), |_, _, _| Ok(())).unwrap();
            // The last byte of a frame may happen to be what it was replaced by.
            let same = torn == whole;
            let wanted = frames
                .iter()
                .rev()
                .find(|frame| frame.2 <= cut || same)
                .unwrap();
            let end = found.end.unwrap().1;
            assert_eq!(
                (found.damage, end),
                (None, wanted.2),
                "torn at {cut} with {noise}"
            );
        }
    }
}

#[tokio::test]
async fn a_store_with_a_torn_tail_opens_and_goes_on_in_its_place() {
    let original = tempfile::tempdir().unwrap();
    let runs = one_segment(original.path(), 6).await;
    let all = frames(&original.path().join("journal"));
    let (segment, from, end) = *all.last().unwrap();
    for cut in [from, from + 1, from + 25, from + 26, from + 60, end - 1] {
        let dir = tempfile::tempdir().unwrap();
        copy(original.path(), dir.path());
        let path = segments::path(&dir.path().join("journal"), segment);
        overwrite(&path, cut, &vec![0; usize::try_from(end - cut).unwrap()]);
        let (torn, whole) = runs.split_last().unwrap();
        for round in 0..2 {
            let store = open(dir.path());
            for run in whole {
                assert_holds(store.load(run.run).await.unwrap(), run);
            }
            let mut again = ModelRun::new(5);
            if round == 0 {
                assert_eq!(store.load(torn.run).await.unwrap(), None, "cut at {cut}");
                let append = again.next(epoch(&store).await, 5, false);
                write(&store, append).await.unwrap();
            } else {
                again.next(Epoch(0), 5, false);
                assert_holds(store.load(again.run).await.unwrap(), &again);
            }
        }
        assert_eq!(verify(dir.path()).unwrap().findings, []);
    }
}

#[tokio::test]
async fn a_flipped_bit_in_the_middle_is_refused_with_file_and_offset_and_can_be_accepted() {
    let original = tempfile::tempdir().unwrap();
    let runs = one_segment(original.path(), 5).await;
    let all = frames(&original.path().join("journal"));
    for (place, (segment, from, end)) in all.iter().enumerate().take(all.len() - 1) {
        for at in [*from, from + 5, from + 13, end - 1] {
            let dir = tempfile::tempdir().unwrap();
            copy(original.path(), dir.path());
            let path = segments::path(&dir.path().join("journal"), *segment);
            flip(&path, at);
            let error = EmbeddedStore::open(tight_options(dir.path())).unwrap_err();
            let Error::Corrupt { file, offset, .. } = &error else {
                panic!("{error}");
            };
            assert_eq!((file.as_str(), offset), (path.to_str().unwrap(), from));
            let report = verify(dir.path()).unwrap();
            assert_eq!(report.findings.len(), 1, "{report:?}");

            let mut options = tight_options(dir.path());
            options.accept_corruption = true;
            drop(EmbeddedStore::open(options).unwrap());
            // Once accepted, it is over.
            let store = open(dir.path());
            for (number, run) in runs.iter().enumerate() {
                // The first frame is that of the epoch.
                if number + 1 < place {
                    assert_holds(store.load(run.run).await.unwrap(), run);
                } else {
                    assert_eq!(store.load(run.run).await.unwrap(), None);
                }
            }
            let kept = fs::read_dir(dir.path().join("journal")).unwrap();
            let kept = kept.filter(|entry| {
                let name = entry.as_ref().unwrap().file_name();
                name.to_str().unwrap().contains("damaged")
            });
            assert_eq!(kept.count(), 1, "the damaged segment was not kept");
        }
    }
}

#[tokio::test]
async fn a_missing_segment_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = tight_options(dir.path());
    options.checkpoint_segments = 1_000;
    let store = EmbeddedStore::open(options).unwrap();
    let epoch = epoch(&store).await;
    for number in 0..60 {
        let append = ModelRun::new(number).next(epoch, 200, false);
        write(&store, append).await.unwrap();
    }
    drop(store);
    let missing = segments::path(&dir.path().join("journal"), 2);
    fs::remove_file(&missing).unwrap();
    let error = EmbeddedStore::open(tight_options(dir.path())).unwrap_err();
    assert!(
        matches!(&error, Error::Corrupt { file, .. } if *file == missing.to_str().unwrap()),
        "{error}"
    );
}

#[test]
fn the_old_frames_of_a_recycled_segment_are_neither_data_nor_damage() {
    let dir = tempfile::tempdir().unwrap();
    let frame = |segment, lsn| {
        let mut builder = Builder::default();
        builder.record(|out| record::put_boot(out, Epoch(lsn)));
        builder.finish(lsn, segment).to_vec()
    };
    // Segment 9 was segment 3: one new frame, shorter or longer than the old ones, then old ones
    // whose numbers are lower or (by a bug elsewhere) higher.
    let old: Vec<u8> = [frame(3, 5), frame(3, 6), frame(3, 900)].concat();
    let new = frame(9, 40);
    let mut bytes = vec![0; 4096];
    bytes[..old.len()].copy_from_slice(&old);
    bytes[..new.len()].copy_from_slice(&new);
    fs::write(segments::path(dir.path(), 9), &bytes).unwrap();
    let found = scan::scan(dir.path(), &[9], Some(40), |_, _, _| Ok(())).unwrap();
    assert_eq!(found.damage, None);
    assert_eq!(found.end, Some((9, new.len() as u64)));
    assert_eq!(found.next_lsn, Some(41));
    // The control: with its own id the same frame is proof of a loss.
    bytes[200..200 + new.len()].copy_from_slice(&frame(9, 42));
    fs::write(segments::path(dir.path(), 9), &bytes).unwrap();
    let found = scan::scan(dir.path(), &[9], Some(40), |_, _, _| Ok(())).unwrap();
    assert_eq!(
        found.damage.map(|damage| damage.offset),
        Some(new.len() as u64)
    );
}

/// Fills a store until its journal was recycled several times; some runs sleep, some end.
async fn recycled(dir: &Path) -> Vec<ModelRun> {
    let store = open(dir);
    let epoch = epoch(&store).await;
    let mut runs: Vec<ModelRun> = (0..40).map(ModelRun::new).collect();
    for round in 0..12 {
        for (number, run) in runs.iter_mut().enumerate() {
            if run.summary.status.is_ended() {
                continue;
            }
            let ends = round > 3 && number % 4 == round % 4 && number % 5 > 0;
            write(&store, run.next(epoch, 60, ends)).await.unwrap();
        }
        if round % 3 == 0 {
            store.checkpoint().await.unwrap();
        }
    }
    runs
}

async fn assert_all(dir: &Path, runs: &[ModelRun]) {
    let store = open(dir);
    for run in runs {
        assert_holds(store.load(run.run).await.unwrap(), run);
    }
    let labelled = labelled(&store, "team", "t0").await;
    let wanted = runs
        .iter()
        .filter(|run| run.labels.get("team").is_some_and(|t| t == "t0"));
    assert_eq!(labelled.len(), wanted.count());
    store.close().await.unwrap();
    assert_eq!(verify(dir).unwrap().findings, []);
}

#[tokio::test]
async fn a_recycled_journal_recovers_every_run() {
    let dir = tempfile::tempdir().unwrap();
    let runs = recycled(dir.path()).await;
    let first = segments::list(&dir.path().join("journal")).unwrap()[0];
    assert!(
        first > 5,
        "nothing was recycled: the journal begins with segment {first}"
    );
    assert_all(dir.path(), &runs).await;
}

#[tokio::test]
async fn a_lost_sled_is_rebuilt_from_export_and_journal() {
    let original = tempfile::tempdir().unwrap();
    let runs = recycled(original.path()).await;
    assert_eq!(
        export::list(&original.path().join("export")).unwrap().len(),
        1
    );
    let wrecks: [fn(&Path); 4] = [
        |sled| fs::remove_dir_all(sled).unwrap(),
        |sled| each_file(sled, |path| fs::write(path, b"").unwrap()),
        |sled| each_file(sled, |path| fs::write(path, vec![0x5A; 5_000]).unwrap()),
        spoil_a_row,
    ];
    for wreck in wrecks {
        let dir = tempfile::tempdir().unwrap();
        copy(original.path(), dir.path());
        wreck(&dir.path().join("snapshots"));
        assert_all(dir.path(), &runs).await;
        assert_all(dir.path(), &runs).await;
    }
}

#[tokio::test]
async fn a_lost_sled_is_rebuilt_from_the_journal_alone_before_the_first_export() {
    let dir = tempfile::tempdir().unwrap();
    let runs = one_segment(dir.path(), 8).await;
    assert_all(dir.path(), &runs).await;
    fs::remove_dir_all(dir.path().join("snapshots")).unwrap();
    assert_all(dir.path(), &runs).await;
    assert!(dir.path().join("snapshots.broken-1").exists());
}

#[tokio::test]
async fn a_damaged_export_is_refused_when_it_is_needed_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let runs = recycled(dir.path()).await;
    let path = export::list(&dir.path().join("export")).unwrap().remove(0);
    flip(&path, 100);
    let report = verify(dir.path()).unwrap();
    assert_eq!(report.findings.len(), 1, "{report:?}");
    let store = open(dir.path());
    assert_holds(store.load(runs[0].run).await.unwrap(), &runs[0]);
    drop(store);
    fs::remove_dir_all(dir.path().join("snapshots")).unwrap();
    let error = EmbeddedStore::open(tight_options(dir.path())).unwrap_err();
    assert!(
        matches!(&error, Error::Corrupt { file, .. } if *file == path.to_str().unwrap()),
        "{error}"
    );
}

#[tokio::test]
async fn a_verification_finds_a_damaged_snapshot_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    recycled(dir.path()).await;
    assert_eq!(verify(dir.path()).unwrap().findings, []);
    spoil_a_row(&dir.path().join("snapshots"));
    for _ in 0..2 {
        let report = verify(dir.path()).unwrap();
        assert!(report.findings[0].detail.contains("checksum"), "{report:?}");
        // Without its snapshot, what the journal has of the run has no beginning.
        assert!(report.findings.len() <= 2, "{report:?}");
    }
    let _open = open(dir.path());
    assert!(matches!(verify(dir.path()), Err(Error::InUse { .. })));
}

fn each_file(dir: &Path, act: fn(&Path)) {
    let paths = |dir: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    for path in paths(dir) {
        if path.is_dir() {
            each_file(&path, act);
        } else {
            act(&path);
        }
    }
}

/// Damages one row so that sled itself notices nothing.
fn spoil_a_row(sled: &Path) {
    let snapshots = Snapshots::open(sled).unwrap();
    let mut rows = Vec::new();
    snapshots
        .each(|key, row| {
            rows.push((key.to_vec(), row.to_vec()));
            Ok(())
        })
        .unwrap();
    let (key, mut row) = rows.into_iter().find(|(key, _)| key[0] == b'r').unwrap();
    *row.last_mut().unwrap() ^= 1;
    let mut batch = Batch::default();
    batch.put_raw(&key, &row);
    snapshots.apply(batch).unwrap();
    snapshots.flush().unwrap();
}
