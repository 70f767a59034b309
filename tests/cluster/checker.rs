//! What must hold in the end, as sentences about what does not.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::effects::Effect;
use crate::fleet::Fleet;
use crate::history::check_history;
use crate::load::Observed;
use crate::system;
use crate::wire::TOKEN;

/// Longest time from an effect to the commit of its completion, on a machine that has much to do.
const COMMIT: Duration = Duration::from_secs(3);
/// How late a node that goes on may be to notice that it was cut off: what had passed the check of
/// its lease before is on its way.
const NOTICE: Duration = Duration::from_secs(1);

/// A time in which nodes may have done what was not journaled.
#[derive(Clone, Debug)]
pub(crate) struct Disturbance {
    pub(crate) what: String,
    pub(crate) nodes: Vec<Ipv4Addr>,
    pub(crate) from: Instant,
    pub(crate) to: Instant,
}

impl Disturbance {
    fn explains(&self, effect: &Effect) -> bool {
        let from = self.from.checked_sub(COMMIT).unwrap_or(self.from);
        let within = effect.at >= from && effect.at <= self.to + NOTICE;
        within && self.nodes.contains(&effect.node)
    }
}

/// What was done, and how much of it twice.
#[derive(Default)]
pub(crate) struct Tally {
    effects: usize,
    keys: usize,
    /// Effects beside the one that was journaled, by what explains them.
    explained: BTreeMap<String, usize>,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (effects, keys) = (self.effects, self.keys);
        write!(
            f,
            "{effects} effects of {keys} steps, explained: {:?}",
            self.explained
        )
    }
}

/// All that is wrong with a cluster that is at rest.
pub(crate) fn check(
    fleet: &Fleet,
    seen: &Observed,
    disturbances: &[Disturbance],
) -> (Vec<String>, Tally) {
    let mut wrong = seen.unexpected.clone();
    stored(fleet, &mut wrong);
    runs(seen, &mut wrong);
    let last: HashMap<&str, u64> = seen.listed.iter().filter_map(seq_of).collect();
    for (id, history) in &seen.histories {
        if let Err(why) = check_history(history, last.get(&**id).copied()) {
            wrong.push(format!("the stream of {id}: {why}"));
        }
    }
    let completed = completed(&seen.events, &mut wrong);
    let tally = effects(&seen.effects, &completed, disturbances, &mut wrong);
    (wrong, tally)
}

fn seq_of(run: &Value) -> Option<(&str, u64)> {
    Some((run["run_id"].as_str()?, run["seq"].as_u64()?))
}

/// What `crane check` finds in the database, and at any node.
fn stored(fleet: &Fleet, wrong: &mut Vec<String>) {
    let url = fleet.database.url();
    let server = format!("http://{}", fleet.any_ready().api());
    for place in [["--store", &*url], ["--server", &*server]] {
        wrong.extend(findings(fleet, &place));
    }
}

/// What `crane check` finds in a place.
pub(crate) fn findings(fleet: &Fleet, place: &[&str]) -> Vec<String> {
    let mut command = fleet.network.client(&system::crane());
    let output = command
        .args(["check", "-o", "json"])
        .args(place)
        .env("CRANE_TOKEN", TOKEN)
        .output()
        .unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    match told["findings"].as_array() {
        Some(found) => found
            .iter()
            .map(|finding| format!("{}: {finding}", place[0]))
            .collect(),
        None => vec![format!("crane check {place:?}: {output:?}")],
    }
}

/// Each acknowledged submission is one run, and all runs have come to their end.
fn runs(seen: &Observed, wrong: &mut Vec<String>) {
    let mut by_name: HashMap<&str, Vec<&Value>> = HashMap::new();
    let mut ids = BTreeSet::new();
    for run in &seen.listed {
        let name = run["labels"]["name"].as_str().unwrap_or_default();
        by_name.entry(name).or_default().push(run);
        let id = run["run_id"].as_str().unwrap_or_default();
        if !ids.insert(id) {
            wrong.push(format!("run {id} is listed twice"));
        }
        if run["status"] != "completed" {
            let (status, error) = (&run["status"], &run["error"]);
            wrong.push(format!("run {id} is {status}, error {error}"));
        }
    }
    for (name, id) in &seen.told {
        match by_name.remove(&**name).as_deref() {
            None => wrong.push(format!("{name} was acknowledged as {id} and is gone")),
            Some([only]) if only["run_id"] == **id => {}
            Some(others) => wrong.push(format!("{name} is not run {id} alone: {others:?}")),
        }
    }
    for name in by_name.keys() {
        wrong.push(format!("a run {name:?} was never acknowledged"));
    }
}

/// By key: the number of the effect whose completion is journaled.
fn completed(events: &[(String, Vec<Value>)], wrong: &mut Vec<String>) -> HashMap<String, usize> {
    let mut completed = HashMap::new();
    for (id, events) in events {
        for event in events
            .iter()
            .filter(|event| event["type"] == "step_completed")
        {
            let effect = event["data"]["output"]["json"]["effect"].as_u64();
            let Some(effect) = effect.and_then(|effect| usize::try_from(effect).ok()) else {
                continue;
            };
            let step = event["step"].as_str().unwrap_or_default();
            let key = format!("{id}/{step}/{}", event["round"]);
            if completed.insert(key.clone(), effect).is_some() {
                wrong.push(format!("{key} is completed twice"));
            }
        }
    }
    completed
}

/// Each effect is the one whose completion is journaled, or a disturbance explains it.
fn effects(
    effects: &[Effect],
    completed: &HashMap<String, usize>,
    disturbances: &[Disturbance],
    wrong: &mut Vec<String>,
) -> Tally {
    let mut tally = Tally {
        effects: effects.len(),
        ..Tally::default()
    };
    let mut keys = BTreeSet::new();
    for (number, effect) in effects.iter().enumerate() {
        keys.insert(&*effect.key);
        if completed.get(&effect.key) == Some(&number) {
            continue;
        }
        let (key, node) = (&effect.key, effect.node);
        match disturbances.iter().find(|one| one.explains(effect)) {
            Some(one) => *tally.explained.entry(one.what.clone()).or_default() += 1,
            None => wrong.push(format!(
                "{key} was done by {node} and is not what was journaled ({:?}); nothing explains it",
                completed.get(key).and_then(|number| effects.get(*number)).map(|other| other.node)
            )),
        }
    }
    for (key, number) in completed {
        if effects.get(*number).is_none_or(|effect| effect.key != *key) {
            wrong.push(format!(
                "{key} is completed by effect {number}, which is another's"
            ));
        }
    }
    tally.keys = keys.len();
    tally
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::History;

    const NODE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    fn made(keys: &[&str], at: Instant) -> Vec<Effect> {
        let effect = |key: &&str| Effect {
            key: (*key).to_owned(),
            node: NODE,
            at,
        };
        keys.iter().map(effect).collect()
    }

    #[track_caller]
    fn found(keys: &[&str], completed: &[(&str, usize)], disturbed: Option<Duration>) -> usize {
        let now = Instant::now();
        let completed = completed
            .iter()
            .map(|(key, n)| ((*key).to_owned(), *n))
            .collect();
        let disturbances: Vec<Disturbance> = disturbed
            .map(|after| Disturbance {
                what: "kill".to_owned(),
                nodes: vec![NODE],
                from: now + after,
                to: now + after,
            })
            .into_iter()
            .collect();
        let mut wrong = Vec::new();
        effects(&made(keys, now), &completed, &disturbances, &mut wrong);
        wrong.len()
    }

    #[test]
    fn effects_done_twice_are_found_unless_a_disturbance_explains_them() {
        let once = [("a/s/1", 0), ("b/s/1", 1)];
        assert_eq!(found(&["a/s/1", "b/s/1"], &once, None), 0);
        assert_eq!(found(&["a/s/1", "b/s/1", "a/s/1"], &once, None), 1);
        let soon = Some(Duration::from_millis(100));
        assert_eq!(found(&["a/s/1", "b/s/1", "a/s/1"], &once, soon), 0);
        let much_later = Some(Duration::from_secs(60));
        assert_eq!(found(&["a/s/1", "b/s/1", "a/s/1"], &once, much_later), 1);
    }

    #[test]
    fn effects_that_nobody_journaled_and_journaled_ones_that_nobody_did_are_found() {
        assert_eq!(found(&["a/s/1"], &[], None), 1);
        assert_eq!(found(&[], &[("a/s/1", 0)], None), 1);
        assert_eq!(found(&["b/s/1"], &[("a/s/1", 0)], None), 2);
    }

    #[test]
    fn streams_with_gaps_or_without_an_end_are_found() {
        let whole: History = ["run_accepted", "run_started", "run_completed"]
            .iter()
            .zip(1..)
            .map(|(event, seq)| (seq, (*event).to_owned()))
            .collect();
        assert_eq!(check_history(&whole, Some(3)), Ok(()));
        assert!(check_history(&whole, Some(4)).is_err());
        assert!(check_history(&whole[..2].to_vec(), Some(3)).is_err());
        assert!(check_history(&whole[1..].to_vec(), Some(3)).is_err());
    }
}
