//! Runs in list order, in chunks that count their runs by status.
//!
//! New runs nearly always come last, so chunks fill up completely; a run in the middle splits a
//! full chunk in halves.

use std::iter;

use crane_core::RunStatus;

use super::slots::{SlotId, Slots};
use crate::Page;

/// Most runs of a chunk.
const CHUNK: usize = 1024;

const STATUSES: usize = RunStatus::ALL.len();

/// A set of statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mask(u8);

impl Mask {
    pub(super) const ANY: Self = Self((1 << STATUSES) - 1);
    pub(super) const UNFINISHED: Self = Self(
        1 << RunStatus::Pending as u8
            | 1 << RunStatus::Running as u8
            | 1 << RunStatus::Waiting as u8,
    );

    /// These statuses; none means any.
    pub(super) fn of(statuses: &[RunStatus]) -> Self {
        if statuses.is_empty() {
            return Self::ANY;
        }
        Self(
            statuses
                .iter()
                .fold(0, |mask, status| mask | 1 << *status as u8),
        )
    }

    fn has(self, status: RunStatus) -> bool {
        self.0 & 1 << status as u8 != 0
    }

    fn sum<N: Copy + Into<usize>>(self, counts: &[N; STATUSES]) -> usize {
        RunStatus::ALL
            .into_iter()
            .filter(|status| self.has(*status))
            .map(|status| counts[status as usize].into())
            .sum()
    }
}

/// Runs in ascending order of (created_at, run_id).
#[derive(Debug, Default)]
pub(super) struct Order {
    /// None is empty.
    chunks: Vec<Chunk>,
    counts: [usize; STATUSES],
}

#[derive(Debug)]
struct Chunk {
    slots: Vec<SlotId>,
    counts: [u16; STATUSES],
}

impl Chunk {
    fn new(slots: Vec<SlotId>, rows: &Slots) -> Self {
        let mut counts = [0; STATUSES];
        for slot in &slots {
            counts[rows.row(*slot).status as usize] += 1;
        }
        Self { slots, counts }
    }
}

impl Order {
    pub(super) fn count(&self, mask: Mask) -> usize {
        mask.sum(&self.counts)
    }

    pub(super) fn insert(&mut self, rows: &Slots, slot: SlotId) {
        let row = rows.row(slot);
        self.counts[row.status as usize] += 1;
        let last = self.chunks.last().and_then(|chunk| chunk.slots.last());
        let is_last = last.is_none_or(|last| rows.row(*last).key() < row.key());
        let full = |chunk: &Chunk| chunk.slots.len() == CHUNK;
        if is_last && self.chunks.last().is_none_or(full) {
            self.chunks.push(Chunk::new(vec![slot], rows));
            return;
        }
        let mut at = self.chunk_of(rows, slot);
        if full(&self.chunks[at]) {
            let upper = self.chunks[at].slots.split_off(CHUNK / 2);
            let lower = std::mem::take(&mut self.chunks[at].slots);
            self.chunks[at] = Chunk::new(lower, rows);
            self.chunks.insert(at + 1, Chunk::new(upper, rows));
            at = self.chunk_of(rows, slot);
        }
        let chunk = &mut self.chunks[at];
        let position = chunk
            .slots
            .partition_point(|other| rows.row(*other).key() < row.key());
        chunk.slots.insert(position, slot);
        chunk.counts[row.status as usize] += 1;
    }

    /// Removes a run; its row must be as it was when it was counted last.
    pub(super) fn remove(&mut self, rows: &Slots, slot: SlotId) {
        let row = rows.row(slot);
        let at = self.chunk_of(rows, slot);
        let Some(chunk) = self.chunks.get_mut(at) else {
            return;
        };
        let found = chunk
            .slots
            .binary_search_by(|other| rows.row(*other).key().cmp(&row.key()));
        if let Ok(position) = found {
            chunk.slots.remove(position);
            chunk.counts[row.status as usize] -= 1;
            self.counts[row.status as usize] -= 1;
        }
        if chunk.slots.is_empty() {
            self.chunks.remove(at);
        }
    }

    /// Counts a run of this order under another status.
    pub(super) fn recount(
        &mut self,
        rows: &Slots,
        slot: SlotId,
        before: RunStatus,
        after: RunStatus,
    ) {
        let at = self.chunk_of(rows, slot);
        let chunk = &mut self.chunks[at];
        chunk.counts[before as usize] -= 1;
        chunk.counts[after as usize] += 1;
        self.counts[before as usize] -= 1;
        self.counts[after as usize] += 1;
    }

    /// A page of the runs whose status is in `mask`, newest first.
    pub(super) fn page(&self, rows: &Slots, mask: Mask, page: Page) -> Vec<SlotId> {
        let mut skip = page.offset;
        let mut chunks = self.chunks.iter().rev();
        let first = chunks.find(|chunk| {
            let hits = mask.sum(&chunk.counts);
            let found = hits > skip;
            skip -= if found { 0 } else { hits };
            found
        });
        iter::chain(first, chunks)
            .flat_map(|chunk| chunk.descending(rows, mask))
            .skip(skip)
            .take(page.limit)
            .collect()
    }

    /// The runs whose status is in `mask`, newest first.
    pub(super) fn descending<'a>(
        &'a self,
        rows: &'a Slots,
        mask: Mask,
    ) -> impl Iterator<Item = SlotId> + 'a {
        self.chunks
            .iter()
            .rev()
            .flat_map(move |chunk| chunk.descending(rows, mask))
    }

    pub(super) fn memory(&self) -> usize {
        let slots: usize = self.chunks.iter().map(|chunk| chunk.slots.capacity()).sum();
        slots * size_of::<SlotId>() + self.chunks.capacity() * size_of::<Chunk>()
    }

    /// The chunk that holds a run, or would: the last one that does not begin behind it.
    fn chunk_of(&self, rows: &Slots, slot: SlotId) -> usize {
        let key = rows.row(slot).key();
        // Nearly always the last one: the newest runs are those that change.
        let behind = |chunk: &Chunk| {
            chunk
                .slots
                .first()
                .is_none_or(|first| rows.row(*first).key() <= key)
        };
        if self.chunks.last().is_some_and(behind) {
            return self.chunks.len() - 1;
        }
        self.chunks.partition_point(behind).saturating_sub(1)
    }
}

impl Chunk {
    fn descending<'a>(&'a self, rows: &'a Slots, mask: Mask) -> impl Iterator<Item = SlotId> + 'a {
        let none = mask.sum(&self.counts) == 0;
        let slots = if none { &[][..] } else { &self.slots[..] };
        slots
            .iter()
            .rev()
            .copied()
            .filter(move |slot| mask.has(rows.row(*slot).status))
    }
}
