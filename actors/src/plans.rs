//! Compiled plans, kept for the runs that come with the same text again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crane_core::plan::Finding;
use crane_core::tool::ToolCatalog;
use crane_core::{Json, Limits, Plan, limits};
use serde_json::Value;

/// A cache in two generations: what was not used during one filling of the younger is dropped.
#[derive(Debug, Default)]
pub(crate) struct PlanCache {
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Json, Entry>,
    old: HashMap<Json, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    plan: Arc<Plan>,
    /// Whether it was checked against this node's tools, or only compiled as found in the store.
    checked: bool,
}

impl PlanCache {
    /// The compiled form of a plan that comes from a user.
    pub(crate) fn check(
        &self,
        source: &Value,
        catalog: &dyn ToolCatalog,
        limits: &Limits,
    ) -> Result<Arc<Plan>, Vec<Finding>> {
        let text = Json::from_value(source);
        if let Some(entry) = self.get(&text).filter(|entry| entry.checked) {
            return Ok(entry.plan);
        }
        let plan = Arc::new(Plan::check(source, catalog, limits)?);
        self.put(text, &plan, true);
        Ok(plan)
    }

    /// The compiled form of a stored plan; `None` when it does not compile (the fold says why).
    pub(crate) fn load(&self, source: &Json) -> Option<Arc<Plan>> {
        if let Some(entry) = self.get(source) {
            return Some(entry.plan);
        }
        let plan = Arc::new(Plan::load(source).ok()?);
        self.put(source.clone(), &plan, false);
        Some(plan)
    }

    fn get(&self, source: &Json) -> Option<Entry> {
        let mut generations = self.lock();
        if let Some(entry) = generations.young.get(source) {
            return Some(entry.clone());
        }
        let (source, entry) = generations.old.remove_entry(source)?;
        generations.insert(source, entry.clone());
        Some(entry)
    }

    fn put(&self, source: Json, plan: &Arc<Plan>, checked: bool) {
        let plan = plan.clone();
        self.lock().insert(source, Entry { plan, checked });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Generations> {
        self.generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn insert(&mut self, source: Json, entry: Entry) {
        if self.young.len() >= limits::PLAN_CACHE / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(source, entry);
    }
}
