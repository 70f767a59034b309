//! What must hold for clients in the end, as sentences about what does not.

use std::collections::HashMap;

use serde_json::Value;

use super::wire::History;

/// What clients saw of a node.
#[derive(Default)]
pub(super) struct Observed {
    /// What was submitted, by the name that the client has for it (label `name` of the run): the id
    /// that it was told.
    pub(super) told: HashMap<String, String>,
    /// All runs of the node.
    pub(super) listed: Vec<Value>,
    /// What readers of a stream have, by the id of the run.
    pub(super) histories: Vec<(String, History)>,
    /// Answers that should not have been.
    pub(super) unexpected: Vec<String>,
}

/// All that is wrong.
pub(super) fn check(seen: &Observed) -> Vec<String> {
    let mut wrong = seen.unexpected.clone();
    let mut runs: HashMap<&str, Vec<&Value>> = HashMap::new();
    let mut by_id: HashMap<&str, &Value> = HashMap::new();
    for run in &seen.listed {
        let name = run["labels"]["name"].as_str().unwrap_or_default();
        runs.entry(name).or_default().push(run);
        let id = run["run_id"].as_str().unwrap_or_default();
        if by_id.insert(id, run).is_some() {
            wrong.push(format!("run {id} is listed twice"));
        }
        if run["completed_at"].is_null() {
            wrong.push(format!("run {id} has not ended: {}", run["status"]));
        }
    }
    for (name, id) in &seen.told {
        match runs.remove(name.as_str()).as_deref() {
            None => wrong.push(format!("{name} was acknowledged and is gone")),
            Some([only]) if only["run_id"] == **id => {}
            Some([only]) => wrong.push(format!("{name} is not {id} but {}", only["run_id"])),
            Some(twins) => wrong.push(format!("{name} has {} runs", twins.len())),
        }
    }
    for name in runs.keys() {
        wrong.push(format!("a run {name:?} was never acknowledged"));
    }
    for (id, history) in &seen.histories {
        let last = by_id.get(id.as_str()).and_then(|run| run["seq"].as_u64());
        if let Err(why) = check_history(history, last) {
            wrong.push(format!("the events of {id}: {why}"));
        }
    }
    wrong
}

/// Whether a reader has every event once, in order, up to that which ends the run.
pub(super) fn check_history(history: &History, last: Option<u64>) -> Result<(), String> {
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
