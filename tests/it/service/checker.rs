//! What must hold for clients in the end, as sentences about what does not.

use std::collections::HashMap;

use serde_json::Value;

use super::history::{History, check_history};

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
