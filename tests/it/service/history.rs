//! What a reader of a stream has, and whether that is all.

/// The number and the type of each event, in the order of arrival.
pub(crate) type History = Vec<(u64, String)>;

/// Whether a reader has every event once, in order, up to that which ends the run.
pub(crate) fn check_history(history: &History, last: Option<u64>) -> Result<(), String> {
    for (place, (seq, event)) in (1..).zip(history) {
        if *seq != place {
            return Err(format!("{seq} ({event}) came in place of {place}"));
        }
        let ends = ["run_completed", "run_failed", "run_cancelled"].contains(&event.as_str());
        if ends != (place as usize == history.len()) {
            return Err(format!("{event} at {seq} of {}", history.len()));
        }
    }
    let length = history.len() as u64;
    match last {
        Some(last) if last == length && length > 0 => Ok(()),
        _ => Err(format!("{length} came, and the run has {last:?}")),
    }
}

#[test]
fn a_doctored_history_is_noticed() {
    let sound: History = [
        (1, "run_accepted"),
        (2, "run_started"),
        (3, "run_completed"),
    ]
    .map(|(seq, event)| (seq, event.to_owned()))
    .to_vec();
    assert_eq!(check_history(&sound, Some(3)), Ok(()));
    let doctored = |change: fn(&mut History)| {
        let mut history = sound.clone();
        change(&mut history);
        check_history(&history, Some(3))
    };
    for change in [
        |history: &mut History| drop(history.remove(0)),
        |history: &mut History| drop(history.remove(1)),
        |history: &mut History| drop(history.pop()),
        |history: &mut History| history.insert(1, history[1].clone()),
        |history: &mut History| history.swap(0, 1),
        |history: &mut History| history.clear(),
    ] {
        assert!(doctored(change).is_err(), "{:?}", doctored(change));
    }
    assert!(check_history(&sound, Some(4)).is_err());
    assert!(check_history(&sound, None).is_err());
}
