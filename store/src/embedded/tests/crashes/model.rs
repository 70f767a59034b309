//! What a store must hold after what was acknowledged.

use std::collections::BTreeMap;

use crane_core::{Json, RunId};

use crate::embedded::EmbeddedStore;
use crate::embedded::tests::kit::ModelRun;
use crate::{Error, Filter, Page, RunStore, ToolWrite};

/// What was acknowledged, and what may or may not have become durable.
#[derive(Default)]
pub(super) struct Model {
    pub(super) runs: BTreeMap<RunId, ModelRun>,
    pub(super) tools: Vec<ToolWrite>,
    pub(super) pending: Option<ModelRun>,
    pub(super) pending_tool: Option<ToolWrite>,
    /// Runs that retention may have removed.
    pub(super) mortal: bool,
}

/// Numbers that look random and are the same each time (splitmix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// Anything but a stop is survivable: a full disk, say, is waited for.
pub(super) fn is_alive(outcome: &Result<(), Error>) -> bool {
    !matches!(outcome, Err(Error::Fatal(_)))
}

impl Model {
    /// A run to go on with: a new one, or one of the last, also when it has ended.
    pub(super) fn pick(&self, random: &mut Random, step: u64) -> ModelRun {
        let back = random.below(12);
        let known = self.runs.values().rev().nth(usize::try_from(back).unwrap());
        match known {
            // Retention may have removed it.
            Some(run) if !(self.mortal && run.summary.status.is_ended()) => run.clone(),
            Some(_) | None => ModelRun::new(step),
        }
    }

    pub(super) fn note(&mut self, run: ModelRun, outcome: Result<(), Error>) -> bool {
        match outcome {
            Ok(()) => {
                self.runs.insert(run.run, run);
                true
            }
            Err(error) if !is_alive(&Err(error.clone())) => {
                self.pending = Some(run);
                false
            }
            // A full disk has no space for new runs; `compare` holds that nothing of it is stored.
            Err(Error::DiskReserve { .. }) if !self.runs.contains_key(&run.run) => true,
            Err(error) => panic!("run {}: {error}", run.run),
        }
    }

    pub(super) fn note_tool(&mut self, write: ToolWrite, outcome: &Result<(), Error>) -> bool {
        match outcome {
            Ok(()) => self.tools.push(write),
            Err(_) => self.pending_tool = Some(write),
        }
        is_alive(outcome)
    }

    /// Everything that is wrong with an opened store.
    pub(super) async fn compare(&self, store: &EmbeddedStore) -> Vec<String> {
        let mut wrong = Vec::new();
        for run in self.runs.values() {
            let image = store.load(run.run).await;
            let Ok(image) = image else {
                wrong.push(format!("run {} cannot be read: {image:?}", run.run));
                continue;
            };
            let pending = self.pending.as_ref().filter(|p| p.run == run.run);
            let may_have_ended = run.summary.status.is_ended()
                || pending.is_some_and(|pending| pending.summary.status.is_ended());
            match image {
                None if self.mortal && may_have_ended => {}
                None => wrong.push(format!("run {} is lost", run.run)),
                Some(image) => {
                    let is = |model: &ModelRun| {
                        image.summary == model.summary && image.events == model.events
                    };
                    if !is(run) && !pending.is_some_and(is) {
                        wrong.push(format!(
                            "run {} is at {:?} and was acknowledged at {:?}",
                            run.run, image.summary, run.summary
                        ));
                    }
                }
            }
        }
        let expected = self.rows(None);
        let rows: BTreeMap<String, Json> =
            store.tool_rows("todo").await.unwrap().into_iter().collect();
        if rows != expected && rows != self.rows(self.pending_tool.as_ref()) {
            wrong.push(format!("tool rows {rows:?} instead of {expected:?}"));
        }
        let page = Page {
            offset: 0,
            limit: 10_000,
        };
        let listed = store.list(Filter::default(), page).await.unwrap();
        let strangers = listed.runs.iter().filter(|(run, _)| {
            let is_pending = self.pending.as_ref().is_some_and(|p| p.run == *run);
            !self.runs.contains_key(run) && !is_pending
        });
        wrong.extend(strangers.map(|(run, _)| format!("run {run} was never written")));
        wrong
    }

    pub(super) fn rows(&self, pending: Option<&ToolWrite>) -> BTreeMap<String, Json> {
        let mut rows = BTreeMap::new();
        for write in self.tools.iter().chain(pending) {
            for (row, value) in &write.rows {
                match value {
                    Some(value) => rows.insert(row.clone(), value.clone()),
                    None => rows.remove(row),
                };
            }
        }
        rows
    }
}
