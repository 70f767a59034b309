//! What must hold after any number of crashes, as sentences about what does not.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use crane_core::event::Event;
use crane_core::plan::Delivery;
use crane_core::{Record, Run, RunId};
use crane_store::embedded::EmbeddedStore;
use crane_store::{RunStore, codec};

use super::Notes;
use super::child::{accepted, store_options};

/// Effects by idempotency key: the generations of the processes that made them.
type Effects = HashMap<String, Vec<u32>>;

/// Everything that is wrong with the data directory, given what was acknowledged.
pub(crate) fn check(data: &Path, notes: &Notes) -> Vec<String> {
    let mut wrong: Vec<String> = match crane_store::embedded::verify(data) {
        Ok(report) => report.findings.iter().map(|f| format!("{f:?}")).collect(),
        Err(error) => vec![format!("verify: {error}")],
    };
    let store = match EmbeddedStore::open(store_options(data)) {
        Ok(store) => Arc::new(store),
        Err(error) => {
            wrong.push(format!("the store does not open: {error}"));
            return wrong;
        }
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let effects = effects(notes);
    let mut todos = 0;
    for id in accepted(&notes.path("")) {
        let image = runtime.block_on(store.load(id));
        let Ok(Some(image)) = image else {
            wrong.push(format!("accepted run {id} is gone: {image:?}"));
            continue;
        };
        let records = codec::decode(&image.events).expect("events decode");
        let run = Run::fold(id, &records, |_| None).expect("events fold");
        check_run(&run, &records, &effects, &mut wrong);
        todos += records
            .iter()
            .filter(|record| is_todo_added(&run, record))
            .count();
    }
    check_todos(&runtime, store.as_ref(), todos, &mut wrong);
    runtime.block_on(store.close()).expect("the store closes");
    wrong
}

fn effects(notes: &Notes) -> Effects {
    let mut effects = Effects::new();
    for line in notes.lines("effects") {
        if let Some((key, generation)) = line.split_once(' ') {
            let generation = generation.parse().expect("a generation");
            effects.entry(key.to_owned()).or_default().push(generation);
        }
    }
    effects
}

fn check_run(run: &Run, records: &[Record], effects: &Effects, wrong: &mut Vec<String>) {
    let id = run.id;
    if !run.status().is_ended() {
        wrong.push(format!("run {id} has not ended: {}", run.status().as_str()));
    }
    for (place, record) in records.iter().enumerate() {
        if record.seq.0 != place as u64 + 1 {
            wrong.push(format!("run {id} has a gap before event {}", record.seq));
        }
    }
    let terminal = records.iter().filter(|r| r.event.is_terminal()).count();
    if terminal != 1 {
        wrong.push(format!("run {id} has {terminal} terminal events"));
    }
    for record in records {
        if let Event::StepCompleted { step, output, .. } = &record.event {
            let step = &run.plan.as_ref().expect("a plan").steps[step.position()];
            if step.tool.as_str() == "effect" {
                let generation = output.to_value()["generation"].as_u64();
                let key = format!("{id}/{}/{}", step.id, run.round);
                check_effect(&key, generation, effects.get(&key), wrong);
            }
        }
    }
    check_at_most_once(run, effects, wrong);
}

/// A completed step: its effect was made by the process whose completion is journaled, exactly
/// once; earlier processes may have made it once each (they were killed before they could journal
/// it), later ones never.
fn check_effect(
    key: &str,
    generation: Option<u64>,
    made_by: Option<&Vec<u32>>,
    wrong: &mut Vec<String>,
) {
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    for maker in made_by.into_iter().flatten() {
        *counts.entry(u64::from(*maker)).or_default() += 1;
    }
    let Some(generation) = generation else {
        wrong.push(format!("{key} is completed without a generation"));
        return;
    };
    if counts.get(&generation) != Some(&1) {
        wrong.push(format!(
            "{key} is completed by {generation}, effects: {counts:?}"
        ));
    }
    for (maker, count) in &counts {
        if *maker > generation {
            wrong.push(format!(
                "{key} ran again after it was completed: {counts:?}"
            ));
        } else if *count > 1 {
            wrong.push(format!("{key} was repeated without a kill: {counts:?}"));
        }
    }
}

fn check_at_most_once(run: &Run, effects: &Effects, wrong: &mut Vec<String>) {
    for step in &run.plan.as_ref().expect("a plan").steps {
        let key = format!("{}/{}/{}", run.id, step.id, run.round);
        let made = effects.get(&key).map_or(0, Vec::len);
        if step.delivery == Delivery::AtMostOnce && made > 1 {
            wrong.push(format!("{key} is at most once and was made {made} times"));
        }
    }
}

fn is_todo_added(run: &Run, record: &Record) -> bool {
    let Event::StepCompleted { step, .. } = &record.event else {
        return false;
    };
    run.plan
        .as_ref()
        .is_some_and(|plan| plan.steps[step.position()].tool.as_str() == "todo_store")
}

/// As many todos as completed steps that add one, and no text twice.
fn check_todos(
    runtime: &tokio::runtime::Runtime,
    store: &EmbeddedStore,
    completed: usize,
    wrong: &mut Vec<String>,
) {
    let rows = runtime
        .block_on(store.tool_rows("todo_store"))
        .expect("rows read");
    let mut texts: Vec<String> = rows
        .iter()
        .filter_map(|(_, row)| Some(row.to_value()["text"].as_str()?.to_owned()))
        .collect();
    let all = texts.len();
    texts.sort_unstable();
    texts.dedup();
    if texts.len() != all {
        wrong.push(format!("{} todos were added twice", all - texts.len()));
    }
    if all < completed {
        wrong.push(format!(
            "{completed} todos were acknowledged, {all} are stored"
        ));
    }
}

/// Accepted runs that are not stored, and runs that had ended and have not: for images of a disk
/// whose power was cut, where runs need not have ended.
pub(crate) fn lost(data: &Path, accepted: &[RunId], ended: &[RunId]) -> Vec<String> {
    let store = match EmbeddedStore::open(store_options(data)) {
        Ok(store) => Arc::new(store),
        Err(error) => return vec![format!("the store does not open: {error}")],
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut wrong = Vec::new();
    let summary = |id: RunId| runtime.block_on(store.summary(id)).expect("readable");
    for id in accepted {
        if summary(*id).is_none() {
            wrong.push(format!("accepted run {id} is gone"));
        }
    }
    for id in ended {
        if summary(*id).is_none_or(|summary| !summary.status.is_ended()) {
            wrong.push(format!("run {id} had ended and has not"));
        }
    }
    runtime.block_on(store.close()).expect("the store closes");
    wrong
}
