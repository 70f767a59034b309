//! Whether events come in an order that a run can have had, for those who verify what is stored or
//! told: no gap, accepted first, one terminal event a round, nothing between the end of a round and
//! the opening of the next.
//!
//! It looks at places and types alone, so that a checker needs neither plan nor payloads, and keeps
//! a few bytes a run however long that is.

use crate::event::Event;
use crate::ids::{Round, Seq};

use super::RunStatus;

/// What matters of an event here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The run exists.
    Accepted,
    /// An ended run goes on in this round.
    Reopened(Round),
    /// A round ends, and the run has this status.
    Ended(RunStatus),
    /// Something happens in a round.
    Within,
}

impl Mark {
    /// That of an event.
    pub fn of(event: &Event) -> Self {
        match event {
            Event::RunReopened { round } => Self::Reopened(*round),
            other => Self::named(other.name(), Round(1)),
        }
    }

    /// That of an event of the type `name`, as users read it, in `round`.
    pub fn named(name: &str, round: Round) -> Self {
        match name {
            "run_accepted" => Self::Accepted,
            "run_reopened" => Self::Reopened(round),
            "run_completed" => Self::Ended(RunStatus::Completed),
            "run_failed" => Self::Ended(RunStatus::Failed),
            "run_cancelled" => Self::Ended(RunStatus::Cancelled),
            _ => Self::Within,
        }
    }
}

/// The events of one run so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    seq: Seq,
    round: Round,
    ended: Option<RunStatus>,
}

impl Default for Order {
    /// Before the first event.
    fn default() -> Self {
        Self {
            seq: Seq(0),
            round: Round(1),
            ended: None,
        }
    }
}

impl Order {
    /// The last event.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// The round of the last event.
    pub fn round(&self) -> Round {
        self.round
    }

    /// The status that the last event gives the run, if it ended a round.
    pub fn ended(&self) -> Option<RunStatus> {
        self.ended
    }

    /// Goes on after `seq`: the events up to there are known to be missing.
    pub fn skip_to(&mut self, seq: Seq) {
        self.seq = seq;
    }

    /// Takes the next event, and tells `find` what is wrong with it.
    pub fn take(&mut self, seq: Seq, mark: Mark, mut find: impl FnMut(String)) {
        if seq != self.seq.next() {
            find(format!("event {seq} follows event {}", self.seq));
        }
        let is_first = self.seq == Seq(0);
        self.seq = seq;
        if is_first != (mark == Mark::Accepted) {
            find(match is_first {
                true => format!("event {seq} is the first and does not accept the run"),
                false => format!("event {seq} accepts the run once more"),
            });
        }
        match (mark, self.ended) {
            (Mark::Reopened(round), ended) => {
                if ended.is_none() {
                    find(format!("event {seq} reopens a run that had not ended"));
                }
                if round.0 != self.round.0 + 1 {
                    find(format!("round {round} follows round {}", self.round));
                }
                self.round = round;
                self.ended = None;
            }
            (Mark::Ended(status), ended) => {
                if ended.is_some() {
                    find(format!("round {} ends twice, at event {seq}", self.round));
                }
                self.ended = Some(status);
            }
            (Mark::Accepted | Mark::Within, Some(_)) => {
                find(format!(
                    "event {seq} follows the end of round {}",
                    self.round
                ));
            }
            (Mark::Accepted | Mark::Within, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use Mark::{Accepted, Reopened, Within};

    const COMPLETED: Mark = Mark::Ended(RunStatus::Completed);
    const FAILED: Mark = Mark::Ended(RunStatus::Failed);

    #[track_caller]
    fn found(events: &[(u64, Mark)]) -> Vec<String> {
        let mut found = Vec::new();
        let mut order = Order::default();
        for (seq, mark) in events {
            order.take(Seq(*seq), *mark, |detail| found.push(detail));
        }
        found
    }

    #[test]
    fn runs_in_order_are_sound() {
        let mut order = Order::default();
        let mut take = |seq, mark| order.take(Seq(seq), mark, |detail| panic!("{detail}"));
        take(1, Accepted);
        take(2, Within);
        take(3, FAILED);
        take(4, Reopened(Round(2)));
        take(5, Within);
        take(6, COMPLETED);
        assert_eq!(order.ended(), Some(RunStatus::Completed));
        assert_eq!((order.seq(), order.round()), (Seq(6), Round(2)));
    }

    #[test]
    fn whatever_is_out_of_order_is_found() {
        for (events, part) in [
            (&[(1, Accepted), (3, Within)][..], "event 3 follows event 1"),
            (&[(1, Accepted), (1, Within)], "event 1 follows event 1"),
            (&[(1, Within)], "does not accept"),
            (&[(2, Accepted)], "event 2 follows event 0"),
            (&[(1, Accepted), (2, Accepted)], "once more"),
            (&[(1, Accepted), (2, COMPLETED), (3, FAILED)], "ends twice"),
            (&[(1, Accepted), (2, FAILED), (3, Within)], "the end of"),
            (&[(1, Accepted), (2, Reopened(Round(2)))], "had not ended"),
            (
                &[(1, Accepted), (2, FAILED), (3, Reopened(Round(3)))],
                "round 3 follows round 1",
            ),
        ] {
            let found = found(events);
            assert_eq!(found.len(), 1, "{events:?}: {found:?}");
            assert!(found[0].contains(part), "{part}: {found:?}");
        }
    }

    #[test]
    fn what_is_known_to_be_missing_is_not_found_again() {
        let mut order = Order::default();
        order.skip_to(Seq(4));
        order.take(Seq(5), Within, |detail| panic!("{detail}"));
        assert_eq!(order.seq(), Seq(5));
    }
}
