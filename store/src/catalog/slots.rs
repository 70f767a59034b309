//! Rows of the catalog, in pages of fixed size: growing never moves a row, and a row is one cache
//! line.

use crane_core::{Round, RunId, RunStatus, Seq, Timestamp};

use super::labels::SetId;
use crate::Summary;
use crate::history::Place;

/// Number of a row; reused after its run was removed.
pub(super) type SlotId = u32;

/// Rows of one page.
const PAGE: usize = 4096;

/// Stands for "no time" in a row.
const NEVER: Timestamp = Timestamp(i64::MIN);

/// A run, packed.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) run: RunId,
    pub(super) created_at: Timestamp,
    completed_at: Timestamp,
    wake_at: Timestamp,
    /// Saturating: a run's bytes are limited far below this many events.
    seq: u32,
    round: u32,
    pub(super) place: Option<Place>,
    pub(super) labels: Option<SetId>,
    pub(super) status: RunStatus,
}

const _: () = assert!(size_of::<Row>() == 64, "a row is one cache line");

impl Row {
    pub(super) fn new(
        run: RunId,
        summary: &Summary,
        labels: Option<SetId>,
        place: Option<Place>,
    ) -> Self {
        let mut row = Self {
            run,
            created_at: summary.created_at,
            completed_at: NEVER,
            wake_at: NEVER,
            seq: 0,
            round: 0,
            place,
            labels,
            status: summary.status,
        };
        row.update(summary);
        row
    }

    pub(super) fn update(&mut self, summary: &Summary) {
        self.created_at = summary.created_at;
        self.completed_at = summary.completed_at.unwrap_or(NEVER);
        self.wake_at = summary.wake_at.unwrap_or(NEVER);
        self.seq = u32::try_from(summary.seq.0).unwrap_or(u32::MAX);
        self.round = summary.round.0;
        self.status = summary.status;
    }

    pub(super) fn summary(&self) -> Summary {
        Summary {
            seq: Seq(u64::from(self.seq)),
            status: self.status,
            round: Round(self.round),
            created_at: self.created_at,
            completed_at: Some(self.completed_at).filter(|at| *at != NEVER),
            wake_at: Some(self.wake_at).filter(|at| *at != NEVER),
        }
    }

    /// What the list is ordered by, ascending.
    pub(super) fn key(&self) -> (Timestamp, RunId) {
        (self.created_at, self.run)
    }
}

/// All rows.
#[derive(Debug, Default)]
pub(super) struct Slots {
    pages: Vec<Vec<Row>>,
    free: Vec<SlotId>,
}

impl Slots {
    pub(super) fn row(&self, slot: SlotId) -> &Row {
        &self.pages[slot as usize / PAGE][slot as usize % PAGE]
    }

    pub(super) fn row_mut(&mut self, slot: SlotId) -> &mut Row {
        &mut self.pages[slot as usize / PAGE][slot as usize % PAGE]
    }

    pub(super) fn insert(&mut self, row: Row) -> SlotId {
        if let Some(slot) = self.free.pop() {
            *self.row_mut(slot) = row;
            return slot;
        }
        if self.pages.last().is_none_or(|page| page.len() == PAGE) {
            self.pages.push(Vec::with_capacity(PAGE));
        }
        let pages = self.pages.len();
        let page = &mut self.pages[pages - 1];
        page.push(row);
        SlotId::try_from((pages - 1) * PAGE + page.len() - 1).unwrap_or(SlotId::MAX)
    }

    pub(super) fn free(&mut self, slot: SlotId) {
        self.free.push(slot);
    }

    pub(super) fn memory(&self) -> usize {
        self.pages.len() * PAGE * size_of::<Row>() + self.free.capacity() * size_of::<SlotId>()
    }
}
