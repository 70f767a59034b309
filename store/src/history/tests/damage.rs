//! Torn ends, flipped bits, damaged indexes, lost files.

use super::*;

/// Three segments, the first two sealed, and the runs in them.
fn three_segments(dir: &Path) -> Vec<FinishedRun> {
    let (mut history, _) = open(dir, options(1_000)).unwrap();
    let runs: Vec<_> = (1..=8).map(|number| finished(number, 1, 200)).collect();
    for run in &runs {
        history.append(&view(run)).unwrap();
    }
    history.sync().unwrap();
    assert!(file(dir, 3).exists() && !file(dir, 4).exists());
    runs
}

#[track_caller]
fn assert_corrupt<T>(result: Result<T, Error>, path: &Path, at: u64) {
    match result.map(|_| ()) {
        Err(Error::Corrupt { file, offset, .. }) => {
            assert_eq!((file, offset), (path.display().to_string(), at));
        }
        other => panic!("expected damage at {at}, got {other:?}"),
    }
}

/// Opens after the last segment was changed to `bytes`, writes on, and opens again.
#[track_caller]
fn goes_on_with(dir: &Path, bytes: &[u8], expected: &[FinishedRun]) {
    fs::write(file(dir, 1), bytes).unwrap();
    let (mut history, entries) = open(dir, options(10_000)).unwrap();
    assert_holds(&history, &entries, expected);
    let next = finished(99, 1, 33);
    history.append(&view(&next)).unwrap();
    drop(history);
    let (history, entries) = open(dir, options(10_000)).unwrap();
    let all: Vec<_> = expected.iter().cloned().chain([next]).collect();
    assert_holds(&history, &entries, &all);
}

#[test]
fn a_tail_torn_at_any_byte_of_the_last_record_is_cut_off() {
    let dir = TempDir::new().unwrap();
    let runs = [finished(1, 1, 50), finished(2, 1, 60), finished(3, 1, 70)];
    let (mut history, _) = open(dir.path(), options(10_000)).unwrap();
    history.append(&view(&runs[0])).unwrap();
    history.sync().unwrap();
    history.append(&view(&runs[1])).unwrap();
    let last = history.append(&view(&runs[2])).unwrap().offset as usize;
    drop(history);
    let whole = fs::read(file(dir.path(), 1)).unwrap();
    goes_on_with(dir.path(), &whole, &runs);
    for cut in last..whole.len() {
        goes_on_with(dir.path(), &whole[..cut], &runs[..2]);
        // The file had grown already, but the rest of it was never written.
        let mut zeros = whole[..cut].to_vec();
        zeros.resize(whole.len() + 100, 0);
        if zeros[..whole.len()] != whole {
            goes_on_with(dir.path(), &zeros, &runs[..2]);
        }
        let mut garbage = whole.clone();
        garbage[cut] ^= 0x40;
        goes_on_with(dir.path(), &garbage, &runs[..2]);
    }
}

#[test]
fn records_that_were_never_synced_may_be_torn_in_any_order() {
    let dir = TempDir::new().unwrap();
    let runs = [finished(1, 1, 50), finished(2, 1, 60), finished(3, 1, 70)];
    let (mut history, _) = open(dir.path(), options(10_000)).unwrap();
    history.append(&view(&runs[0])).unwrap();
    history.sync().unwrap();
    let second = history.append(&view(&runs[1])).unwrap().offset as usize;
    history.append(&view(&runs[2])).unwrap();
    drop(history);
    // The third record reached the disk and the second did not.
    let mut bytes = fs::read(file(dir.path(), 1)).unwrap();
    bytes[second..second + 40].fill(0);
    goes_on_with(dir.path(), &bytes, &runs[..1]);
}

#[test]
fn damage_in_what_was_synced_is_no_torn_tail() {
    let dir = TempDir::new().unwrap();
    let (mut history, _) = open(dir.path(), options(10_000)).unwrap();
    let first = history.append(&view(&finished(1, 1, 50))).unwrap().offset;
    let second = history.append(&view(&finished(2, 1, 50))).unwrap().offset;
    history.sync().unwrap();
    drop(history);
    let path = file(dir.path(), 1);
    let whole = fs::read(&path).unwrap();
    for (from, upto) in [
        (first, second),
        (second, u32::try_from(whole.len()).unwrap() - 16),
    ] {
        for at in from..upto {
            let mut bytes = whole.clone();
            bytes[at as usize] ^= 1;
            fs::write(&path, &bytes).unwrap();
            assert_corrupt(open(dir.path(), options(10_000)), &path, from.into());
            let found = verify(dir.path(), |_| ()).unwrap();
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].offset, u64::from(from));
        }
    }
}

#[test]
fn a_flipped_bit_in_a_sealed_record_is_reported_with_file_and_offset_when_it_is_read() {
    let dir = TempDir::new().unwrap();
    three_segments(dir.path());
    let path = file(dir.path(), 1);
    let whole = fs::read(&path).unwrap();
    let (_, entries) = open(dir.path(), options(1_000)).unwrap();
    let entry = &entries[&finished(2, 1, 0).run];
    let next = &entries[&finished(3, 1, 0).run];
    for at in entry.place.offset..next.place.offset {
        let mut bytes = whole.clone();
        bytes[at as usize] ^= 0x10;
        fs::write(&path, &bytes).unwrap();
        // Opening reads the index alone.
        let (history, _) = open(dir.path(), options(1_000)).unwrap();
        assert_corrupt(
            history.reader().read(entry.place),
            &path,
            entry.place.offset.into(),
        );
        let found = verify(dir.path(), |_| ()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].offset, u64::from(entry.place.offset));
    }
}

#[test]
fn a_damaged_index_is_rebuilt_to_the_same_bytes() {
    let dir = TempDir::new().unwrap();
    let runs = three_segments(dir.path());
    let path = file(dir.path(), 1);
    let whole = fs::read(&path).unwrap();
    let (_, entries) = open(dir.path(), options(1_000)).unwrap();
    let runs_end = {
        let trailer = &whole[whole.len() - 4..];
        frame::read_u32(trailer) as usize
    };
    let rebuild = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let (history, again) = open(dir.path(), options(1_000)).unwrap();
        assert_eq!(again, entries);
        assert_holds(&history, &again, &runs);
        let size = u64::try_from(whole.len()).unwrap();
        assert_eq!(history.sealed_sizes()[0], size);
    };
    for at in runs_end..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x04;
        rebuild(&bytes);
        let rebuilt = fs::read(&path).unwrap();
        // All but what was known to be on disk when the frames were written.
        assert_eq!(rebuilt.len(), whole.len());
        assert_eq!(rebuilt[..runs_end], whole[..runs_end]);
        rebuild(&rebuilt);
        assert_eq!(fs::read(&path).unwrap(), rebuilt);
    }
    for length in runs_end + 4..whole.len() {
        rebuild(&whole[..length]);
    }
}

#[test]
fn a_sealed_segment_with_damaged_index_and_damaged_record_is_refused() {
    let dir = TempDir::new().unwrap();
    three_segments(dir.path());
    let path = file(dir.path(), 1);
    let whole = fs::read(&path).unwrap();
    let (_, entries) = open(dir.path(), options(1_000)).unwrap();
    let offset = entries[&finished(2, 1, 0).run].place.offset;
    let last = whole.len() - 1;
    let mut bytes = whole.clone();
    bytes[last] ^= 1;
    bytes[offset as usize + 30] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert_corrupt(open(dir.path(), options(1_000)), &path, offset.into());
    // A segment that others follow cannot have ended early by a crash.
    fs::write(&path, &whole[..offset as usize]).unwrap();
    assert_corrupt(open(dir.path(), options(1_000)), &path, offset.into());
    fs::write(&path, &whole[..offset as usize + 9]).unwrap();
    assert_corrupt(open(dir.path(), options(1_000)), &path, offset.into());
}

#[test]
fn a_missing_segment_is_reported_by_name() {
    let dir = TempDir::new().unwrap();
    three_segments(dir.path());
    fs::remove_file(file(dir.path(), 2)).unwrap();
    assert_corrupt(open(dir.path(), options(1_000)), &file(dir.path(), 2), 0);
    assert_eq!(verify(dir.path(), |_| ()).unwrap().len(), 1);
}

#[test]
fn a_frame_inside_a_payload_is_never_taken_for_one() {
    let dir = TempDir::new().unwrap();
    let inner = finished(5, 1, 10);
    let (mut history, _) = open(dir.path(), options(10_000)).unwrap();
    history.append(&view(&finished(1, 1, 300))).unwrap();
    history.sync().unwrap();
    history.append(&view(&inner)).unwrap();
    history.sync().unwrap();
    let bytes = fs::read(file(dir.path(), 1)).unwrap();
    let mut hostile = finished(6, 1, 0);
    hostile.events.bytes = bytes;
    let place = history.append(&view(&hostile)).unwrap();
    drop(history);
    let whole = fs::read(file(dir.path(), 1)).unwrap();
    for cut in [1, 20, 100] {
        fs::write(file(dir.path(), 1), &whole[..whole.len() - cut]).unwrap();
        let (history, entries) = open(dir.path(), options(10_000)).unwrap();
        assert_holds(&history, &entries, &[finished(1, 1, 300), inner.clone()]);
        assert_eq!(history.bytes(), u64::from(place.offset));
    }
}

#[test]
fn a_payload_full_of_false_starts_is_searched_in_linear_time() {
    let mut bytes = Vec::new();
    for _ in 0..20_000 {
        // A header that claims 64 KiB, and that the first bytes were once on disk.
        bytes.extend_from_slice(b"CH\x01\x01\0\0\x01\0____\x10\0\0\0");
    }
    let mut budget = 16 * bytes.len();
    assert_eq!(frame::search(&bytes, NonZeroU32::MIN, 0, &mut budget), None);
    assert_eq!(budget, 0, "the search has given up");
    let mut endless = usize::MAX;
    assert_eq!(
        frame::search(&bytes, NonZeroU32::MIN, 0, &mut endless),
        None
    );
    assert!(
        usize::MAX - endless > 1_000 * bytes.len(),
        "the bound is needed"
    );
}

#[test]
fn a_frame_of_an_unknown_version_is_refused_by_name() {
    let dir = TempDir::new().unwrap();
    let place = Place {
        segment: NonZeroU32::MIN,
        offset: 0,
    };
    let mut bytes = Vec::new();
    frame::put(&mut bytes, place, frame::Kind::Mark, 0, |_| ());
    frame::set_version(&mut bytes, place, 9);
    fs::write(file(dir.path(), 1), &bytes).unwrap();
    let error = open(dir.path(), options(1_000)).map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Schema { version: 9, .. }), "{error}");
}
