//! Which runs carry which labels.
//!
//! Each label (a key with a value) has a number and an [`Order`] of its runs; each labelled run has
//! a set of such numbers. A label without runs is forgotten.

use std::hash::{BuildHasher, RandomState};

use crane_core::event::Labels;
use hashbrown::HashTable;

use super::order::{Mask, Order};

/// Number of a label; reused when no run carries it any more.
pub(super) type LabelId = u32;

/// Number of a run's set of labels, from 1 so that "none" costs no room.
pub(super) type SetId = std::num::NonZeroU32;

#[derive(Debug)]
struct Label {
    key: Box<str>,
    value: Box<str>,
    runs: Order,
}

/// All labels of all runs.
#[derive(Debug, Default)]
pub(super) struct LabelIndex {
    ids: HashTable<LabelId>,
    hasher: RandomState,
    labels: Vec<Label>,
    free_labels: Vec<LabelId>,
    /// Ascending numbers.
    sets: Vec<Box<[LabelId]>>,
    free_sets: Vec<SetId>,
}

impl LabelIndex {
    /// A set with these labels; `None` when there are none.
    pub(super) fn new_set(&mut self, labels: &Labels) -> Option<SetId> {
        if labels.is_empty() {
            return None;
        }
        let mut ids: Vec<LabelId> = labels
            .iter()
            .map(|(key, value)| self.find_or_add(key, value))
            .collect();
        ids.sort_unstable();
        let ids = ids.into_boxed_slice();
        if let Some(set) = self.free_sets.pop() {
            self.sets[index(set)] = ids;
            return Some(set);
        }
        self.sets.push(ids);
        SetId::new(u32::try_from(self.sets.len()).unwrap_or(u32::MAX))
    }

    /// Forgets a set, and the labels that no run carries any more.
    pub(super) fn drop_set(&mut self, set: Option<SetId>) {
        let Some(set) = set else { return };
        let ids = std::mem::take(&mut self.sets[index(set)]);
        self.free_sets.push(set);
        for id in ids {
            let label = &mut self.labels[id as usize];
            if label.runs.count(Mask::ANY) > 0 {
                continue;
            }
            let hash = self.hasher.hash_one((&*label.key, &*label.value));
            if let Ok(entry) = self.ids.find_entry(hash, |other| *other == id) {
                entry.remove();
            }
            *label = Label {
                key: Box::default(),
                value: Box::default(),
                runs: Order::default(),
            };
            self.free_labels.push(id);
        }
    }

    /// The labels of a set.
    pub(super) fn of(&self, set: Option<SetId>) -> Labels {
        self.set(set)
            .iter()
            .map(|id| &self.labels[*id as usize])
            .map(|label| (label.key.to_string(), label.value.to_string()))
            .collect()
    }

    /// The numbers of these labels, each once; `None` when no run carries one of them.
    pub(super) fn ids(&self, labels: &[(String, String)]) -> Option<Vec<LabelId>> {
        let mut ids = labels
            .iter()
            .map(|(key, value)| self.find(key, value))
            .collect::<Option<Vec<_>>>()?;
        ids.sort_unstable();
        ids.dedup();
        Some(ids)
    }

    /// The runs that carry a label.
    pub(super) fn order(&self, label: LabelId) -> &Order {
        &self.labels[label as usize].runs
    }

    /// Whether a set has all of these labels.
    pub(super) fn has_all(&self, set: Option<SetId>, wanted: &[LabelId]) -> bool {
        let set = self.set(set);
        wanted.iter().all(|label| set.binary_search(label).is_ok())
    }

    /// Calls `change` with the order of each label of a set.
    pub(super) fn each_order(&mut self, set: Option<SetId>, mut change: impl FnMut(&mut Order)) {
        let Some(set) = set else { return };
        for id in &self.sets[index(set)] {
            change(&mut self.labels[*id as usize].runs);
        }
    }

    pub(super) fn memory(&self) -> usize {
        let labels: usize = self
            .labels
            .iter()
            .map(|label| label.key.len() + label.value.len() + label.runs.memory())
            .sum();
        let sets: usize = self
            .sets
            .iter()
            .map(|set| set.len() * size_of::<LabelId>())
            .sum();
        labels
            + sets
            + self.labels.capacity() * size_of::<Label>()
            + self.sets.capacity() * size_of::<Box<[LabelId]>>()
            + self.ids.allocation_size()
    }

    fn set(&self, set: Option<SetId>) -> &[LabelId] {
        set.map_or(&[], |set| &self.sets[index(set)])
    }

    fn find(&self, key: &str, value: &str) -> Option<LabelId> {
        let hash = self.hasher.hash_one((key, value));
        let same = |id: &LabelId| {
            let label = &self.labels[*id as usize];
            *label.key == *key && *label.value == *value
        };
        self.ids.find(hash, same).copied()
    }

    fn find_or_add(&mut self, key: &str, value: &str) -> LabelId {
        if let Some(id) = self.find(key, value) {
            return id;
        }
        let label = Label {
            key: key.into(),
            value: value.into(),
            runs: Order::default(),
        };
        let id = if let Some(id) = self.free_labels.pop() {
            self.labels[id as usize] = label;
            id
        } else {
            self.labels.push(label);
            LabelId::try_from(self.labels.len() - 1).unwrap_or(LabelId::MAX)
        };
        let (labels, hasher) = (&self.labels, &self.hasher);
        self.ids
            .insert_unique(hasher.hash_one((key, value)), id, |id| {
                let label = &labels[*id as usize];
                hasher.hash_one((&*label.key, &*label.value))
            });
        id
    }
}

fn index(set: SetId) -> usize {
    set.get() as usize - 1
}
