//! The catalog: every run of a store, live or ended, in memory, with its summary and the place of
//! its record in history.
//!
//! ```text
//!   ids:    hash table of slot numbers             RunId -> slot
//!   slots:  pages of 64-byte rows                  summary, place, labels
//!   all:    chunks of slot numbers in list order   each chunk counts its runs by status
//!   labels: the same kind of chunks, per label     (key, value) -> runs that carry it
//! ```
//!
//! A list skips whole chunks by their counts, so that totals are exact and a page deep inside a
//! million runs costs a few thousand additions. A change of status changes two counters and moves
//! nothing. Only a filter with several labels looks at single runs: at those of its rarest label.
//!
//! What never lives here: locks (the store has one around it), files, events.

mod labels;
mod order;
mod slots;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use crane_core::event::Labels;
use crane_core::{RunId, RunStatus};
use hashbrown::HashTable;

use crate::history::Place;
use crate::{Filter, Listing, Page, Summary, Unfinished};
use labels::LabelIndex;
use order::{Mask, Order};
use slots::{Row, SlotId, Slots};

/// The hash table is divided, so that growing one part never holds up a writer for long.
const PARTS: usize = 64;

/// What the catalog knows of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its summary.
    pub summary: Summary,
    /// Where its record in history lies; `None` while it is live or not yet written there.
    pub place: Option<Place>,
}

/// All runs of a store.
pub struct Catalog {
    ids: Vec<HashTable<SlotId>>,
    hasher: RandomState,
    slots: Slots,
    all: Order,
    labels: LabelIndex,
}

impl Default for Catalog {
    fn default() -> Self {
        Self {
            ids: (0..PARTS).map(|_| HashTable::new()).collect(),
            hasher: RandomState::new(),
            slots: Slots::default(),
            all: Order::default(),
            labels: LabelIndex::default(),
        }
    }
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalog")
            .field("runs", &self.len())
            .finish_non_exhaustive()
    }
}

impl Catalog {
    /// Number of runs.
    pub fn len(&self) -> usize {
        self.all.count(Mask::ANY)
    }

    /// Whether there is no run.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Inserts or updates a run whose events are not in history (any more). Labels are taken when
    /// the run is new and ignored after that, since they never change.
    pub fn live(&mut self, run: RunId, summary: &Summary, labels: Option<&Labels>) {
        self.put(run, summary, labels, None);
    }

    /// Notes that the run's record is at `place` in history; inserts a run that is not known yet,
    /// without labels (for those use [`Catalog::insert_ended`]).
    pub fn ended(&mut self, run: RunId, summary: &Summary, place: Place) {
        self.put(run, summary, None, Some(place));
    }

    /// As [`Catalog::ended`], with labels for a run that is not known yet: for reading history.
    pub fn insert_ended(
        &mut self,
        run: RunId,
        summary: &Summary,
        labels: Option<&Labels>,
        place: Place,
    ) {
        self.put(run, summary, labels, Some(place));
    }

    /// What is known of a run.
    pub fn get(&self, run: RunId) -> Option<Entry> {
        let row = self.slots.row(self.find(run)?);
        Some(Entry {
            summary: row.summary(),
            place: row.place,
        })
    }

    /// The labels of a run; empty when it has none or is unknown.
    pub fn labels(&self, run: RunId) -> Labels {
        self.find(run)
            .map(|slot| self.labels.of(self.slots.row(slot).labels))
            .unwrap_or_default()
    }

    /// Forgets a run; returns whether it was known.
    pub fn remove(&mut self, run: RunId) -> bool {
        let hash = self.hasher.hash_one(run);
        let slots = &self.slots;
        let found = self.ids[part(hash)].find_entry(hash, |slot| slots.row(*slot).run == run);
        let Ok(found) = found else {
            return false;
        };
        let slot = found.remove().0;
        self.unlink(slot);
        self.labels.drop_set(self.slots.row(slot).labels);
        self.slots.free(slot);
        true
    }

    /// A page of the runs that match `filter`, ordered by (created_at, run_id) descending, and how
    /// many match in all.
    pub fn list(&self, filter: &Filter, page: Page) -> Listing {
        let mask = Mask::of(&filter.statuses);
        let Some(mut wanted) = self.labels.ids(&filter.labels) else {
            return Listing::default();
        };
        // The rarest label is walked, the others are looked up run by run.
        wanted.sort_by_key(|label| self.labels.order(*label).count(mask));
        let order = wanted
            .first()
            .map_or(&self.all, |label| self.labels.order(*label));
        let runs = |slots: Vec<SlotId>| {
            slots
                .into_iter()
                .map(|slot| self.slots.row(slot))
                .map(|row| (row.run, row.summary()))
                .collect()
        };
        if wanted.len() <= 1 {
            return Listing {
                total: order.count(mask),
                runs: runs(order.page(&self.slots, mask, page)),
            };
        }
        let mut total = 0;
        let mut hits = Vec::new();
        for slot in order.descending(&self.slots, mask) {
            if !self
                .labels
                .has_all(self.slots.row(slot).labels, &wanted[1..])
            {
                continue;
            }
            if total >= page.offset && hits.len() < page.limit {
                hits.push(slot);
            }
            total += 1;
        }
        Listing {
            total,
            runs: runs(hits),
        }
    }

    /// Number of runs by status; every status is present.
    pub fn counts(&self) -> BTreeMap<RunStatus, usize> {
        RunStatus::ALL
            .into_iter()
            .map(|status| (status, self.all.count(Mask::of(&[status]))))
            .collect()
    }

    /// Every run that has not ended, oldest first.
    pub fn unfinished(&self) -> Vec<Unfinished> {
        let mut all: Vec<Unfinished> = self
            .all
            .descending(&self.slots, Mask::UNFINISHED)
            .map(|slot| self.slots.row(slot))
            .map(|row| Unfinished {
                run: row.run,
                summary: row.summary(),
            })
            .collect();
        all.reverse();
        all
    }

    /// Bytes the catalog holds, estimated from its capacities (allocator overhead not counted).
    pub fn memory(&self) -> usize {
        let ids: usize = self.ids.iter().map(HashTable::allocation_size).sum();
        ids + self.slots.memory() + self.all.memory() + self.labels.memory()
    }

    fn find(&self, run: RunId) -> Option<SlotId> {
        let hash = self.hasher.hash_one(run);
        self.ids[part(hash)]
            .find(hash, |slot| self.slots.row(*slot).run == run)
            .copied()
    }

    fn put(
        &mut self,
        run: RunId,
        summary: &Summary,
        labels: Option<&Labels>,
        place: Option<Place>,
    ) {
        let Some(slot) = self.find(run) else {
            self.insert(run, summary, labels, place);
            return;
        };
        let row = self.slots.row_mut(slot);
        row.place = place;
        let before = row.status;
        if row.created_at == summary.created_at {
            row.update(summary);
            if before != summary.status {
                self.recount(slot, before, summary.status);
            }
            return;
        }
        // Never seen from a correct writer; the order must hold all the same.
        self.unlink(slot);
        self.slots.row_mut(slot).update(summary);
        self.link(slot);
    }

    fn insert(
        &mut self,
        run: RunId,
        summary: &Summary,
        labels: Option<&Labels>,
        place: Option<Place>,
    ) {
        let labels = labels.and_then(|labels| self.labels.new_set(labels));
        let slot = self.slots.insert(Row::new(run, summary, labels, place));
        let hash = self.hasher.hash_one(run);
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.ids[part(hash)]
            .insert_unique(hash, slot, |slot| hasher.hash_one(slots.row(*slot).run));
        self.link(slot);
    }

    /// Adds a slot to the orders it belongs to.
    fn link(&mut self, slot: SlotId) {
        self.all.insert(&self.slots, slot);
        let set = self.slots.row(slot).labels;
        self.labels
            .each_order(set, |order| order.insert(&self.slots, slot));
    }

    /// Takes a slot out of the orders it belongs to.
    fn unlink(&mut self, slot: SlotId) {
        self.all.remove(&self.slots, slot);
        let set = self.slots.row(slot).labels;
        self.labels
            .each_order(set, |order| order.remove(&self.slots, slot));
    }

    fn recount(&mut self, slot: SlotId, before: RunStatus, after: RunStatus) {
        self.all.recount(&self.slots, slot, before, after);
        let set = self.slots.row(slot).labels;
        self.labels
            .each_order(set, |order| order.recount(&self.slots, slot, before, after));
    }
}

/// Which part of the hash table a hash belongs to: bits that the table itself uses last.
fn part(hash: u64) -> usize {
    (hash >> 48) as usize % PARTS
}

#[cfg(test)]
mod tests;
