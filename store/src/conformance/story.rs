//! Runs made up for the suite: their events, and what a store should say of them.

use std::sync::Arc;

use crane_core::event::{Accepted, FailureReason, Labels};
use crane_core::{
    Attempt, Epoch, Event, Json, Record, Round, RunId, RunStatus, Seq, StepIndex, Timestamp,
};

use crate::{Append, Encoded, Fence, RunImage, Summary, codec};

/// A reproducible source of numbers (splitmix64, Steele et al. 2014).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap_or(0)
    }
}

/// A run as its writer knows it.
#[derive(Clone)]
pub(super) struct Story {
    pub(super) run: RunId,
    pub(super) labels: Labels,
    status: RunStatus,
    round: Round,
    created_at: Timestamp,
    completed_at: Option<Timestamp>,
    wake_at: Option<Timestamp>,
    records: Vec<Record>,
    /// How many records were put into batches.
    told: usize,
}

impl Story {
    /// A run with its first event; `number` makes its id.
    pub(super) fn new(number: u64, created_at: Timestamp, labels: Labels) -> Self {
        let mut random = [0; 10];
        random[2..].copy_from_slice(&Random(number).next().to_be_bytes());
        let mut story = Self {
            run: RunId::from_time(created_at.as_millis(), random),
            labels: labels.clone(),
            status: RunStatus::Pending,
            round: Round(1),
            created_at,
            completed_at: None,
            wake_at: None,
            records: Vec::new(),
            told: 0,
        };
        story.add(Event::RunAccepted(Box::new(Accepted {
            prompt: Some("calculate 1 + 1".into()),
            plan: None,
            input: Json::from_trusted("{}"),
            labels,
            request_hash: None,
            trace_id: None,
        })));
        story
    }

    /// A run without labels.
    pub(super) fn plain(number: u64) -> Self {
        let created_at = Timestamp(1_700_000_000_000_000 + i64::try_from(number).unwrap_or(0));
        Self::new(number, created_at, Labels::new())
    }

    pub(super) fn seq(&self) -> Seq {
        Seq(self.records.len() as u64)
    }

    pub(super) fn status(&self) -> RunStatus {
        self.status
    }

    /// The run gets a slot.
    pub(super) fn start(&mut self) -> &mut Self {
        self.status = RunStatus::Running;
        self.add(Event::RunStarted)
    }

    /// A step starts and completes with this output.
    pub(super) fn step(&mut self, output: &str) -> &mut Self {
        let step = StepIndex(0);
        let attempt = Attempt(1);
        self.add(Event::StepStarted {
            step,
            attempt,
            input: Json::from_trusted("{\"expression\":\"1 + 1\"}"),
        });
        self.add(Event::StepCompleted {
            step,
            attempt,
            output: Json::from_trusted(output),
            duration_us: 12,
        })
    }

    /// The run waits for a timer.
    pub(super) fn wait(&mut self) -> &mut Self {
        self.status = RunStatus::Waiting;
        self.wake_at = Some(Timestamp(self.created_at.0 + 60_000_000));
        self.add(Event::StepSkipped { step: StepIndex(1) })
    }

    /// The run ends.
    pub(super) fn end(&mut self, status: RunStatus) -> &mut Self {
        self.status = status;
        self.wake_at = None;
        self.completed_at = Some(Timestamp(self.created_at.0 + 1_000));
        self.add(match status {
            RunStatus::Failed => Event::RunFailed {
                reason: FailureReason::Step,
                error: "s: it failed".into(),
            },
            RunStatus::Cancelled => Event::RunCancelled,
            RunStatus::Completed | RunStatus::Pending | RunStatus::Running | RunStatus::Waiting => {
                Event::RunCompleted {
                    result: Json::from_trusted("2.0"),
                }
            }
        })
    }

    /// The ended run goes on.
    pub(super) fn reopen(&mut self) -> &mut Self {
        self.status = RunStatus::Running;
        self.completed_at = None;
        self.round = self.round.next();
        let round = self.round;
        self.add(Event::RunReopened { round })
    }

    /// The events that no batch has taken yet, as a batch.
    pub(super) fn next_batch(&mut self, epoch: Epoch) -> Append {
        let append = self.batch(self.told, self.records.len(), epoch);
        self.told = self.records.len();
        append
    }

    /// A batch of the records `from..upto`, counted from 0.
    pub(super) fn batch(&self, from: usize, upto: usize, epoch: Epoch) -> Append {
        Append {
            fence: Fence {
                shard: self.run.shard(),
                epoch,
            },
            run: self.run,
            expected: Seq(from as u64),
            summary: Summary {
                seq: Seq(upto as u64),
                ..self.summary()
            },
            labels: (from == 0 && !self.labels.is_empty()).then(|| Arc::new(self.labels.clone())),
            events: codec::encode(&self.records[from..upto]),
            eager: true,
        }
    }

    /// What a store should give for what the batches so far have told it.
    pub(super) fn image(&self) -> RunImage {
        RunImage {
            run: self.run,
            summary: self.summary(),
            events: self.events(),
        }
    }

    pub(super) fn events(&self) -> Encoded {
        codec::encode(&self.records[..self.told])
    }

    pub(super) fn summary(&self) -> Summary {
        Summary {
            seq: Seq(self.told as u64),
            status: self.status,
            round: self.round,
            created_at: self.created_at,
            completed_at: self.completed_at,
            wake_at: self.wake_at,
        }
    }

    fn add(&mut self, event: Event) -> &mut Self {
        let seq = self.seq().next();
        self.records.push(Record {
            seq,
            at: Timestamp(self.created_at.0 + i64::try_from(seq.0).unwrap_or(0)),
            event,
        });
        self
    }
}
