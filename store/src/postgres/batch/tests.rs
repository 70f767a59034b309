//! What goes into one statement.

#![allow(clippy::unwrap_used)]

use crane_core::{Round, RunStatus, Timestamp};

use super::*;
use crate::Encoded;

fn append(run: u8, after: u64, count: u32, bytes: usize) -> Job {
    let run = RunId::from_bytes([run; 16]);
    let append = Append {
        fence: Fence {
            shard: run.shard(),
            epoch: Epoch(1),
        },
        run,
        expected: Seq(after),
        summary: Summary {
            seq: Seq(after + u64::from(count)),
            status: RunStatus::Running,
            round: Round(1),
            created_at: Timestamp(0),
            completed_at: None,
            wake_at: None,
        },
        labels: None,
        events: Encoded {
            count,
            bytes: vec![run.to_bytes()[0]; bytes],
        },
        eager: true,
    };
    Job {
        task: Task::Write(Write::Append(append)),
        waiter: Waiter::new(Box::new(|_| {})),
    }
}

/// The sizes of the groups that a queue falls into, and of the rows in each.
fn groups(jobs: Vec<Job>) -> Vec<(usize, Vec<usize>)> {
    let mut queued: VecDeque<Job> = jobs.into();
    let mut groups = Vec::new();
    while !queued.is_empty() {
        let group = Group::fill(&mut queued);
        let (rows, odd) = group.rows();
        let members = rows.iter().map(|row| row.members.len()).collect();
        groups.push((group.len(), members));
        assert!(odd.len() + rows.len() <= group.len());
    }
    groups
}

#[test]
fn batches_that_follow_each_other_become_one_row() {
    let jobs = vec![
        append(1, 0, 2, 10),
        append(2, 0, 1, 10),
        append(1, 2, 1, 10),
        append(1, 3, 4, 10),
    ];
    assert_eq!(groups(jobs), [(4, vec![3, 1])]);
}

#[test]
fn what_does_not_follow_waits_for_the_next_statement() {
    let jobs = vec![
        append(1, 0, 2, 10),
        append(1, 0, 2, 10),
        append(1, 2, 1, 10),
    ];
    assert_eq!(groups(jobs), [(1, vec![1]), (2, vec![2])]);
    let gap = vec![append(1, 0, 2, 10), append(1, 5, 2, 10)];
    assert_eq!(groups(gap), [(1, vec![1]), (1, vec![1])]);
}

#[test]
fn a_batch_that_makes_no_sense_is_no_row_and_nothing_follows_it() {
    let jobs = vec![append(1, 0, 0, 0), append(1, 0, 1, 10)];
    assert_eq!(groups(jobs), [(1, vec![]), (1, vec![1])]);
}

#[test]
fn a_statement_is_bounded_in_rows_and_bytes() {
    let many = (0..limits::STATEMENT_ROWS + 1)
        .map(|n| append(u8::try_from(n % 200).unwrap(), (n / 200) as u64, 1, 1));
    let sizes: Vec<usize> = groups(many.collect())
        .iter()
        .map(|(size, _)| *size)
        .collect();
    assert_eq!(sizes, [limits::STATEMENT_ROWS, 1]);
    let large = vec![
        append(1, 0, 1, limits::STATEMENT_BYTES - 10),
        append(2, 0, 1, 11),
        append(3, 0, 1, 2 * limits::STATEMENT_BYTES),
    ];
    let sizes: Vec<usize> = groups(large).iter().map(|(size, _)| *size).collect();
    assert_eq!(sizes, [1, 1, 1]);
}

#[test]
fn what_was_not_settled_is_told_as_unknown() {
    let (sender, told) = std::sync::mpsc::channel();
    let mut job = append(1, 0, 1, 1);
    job.waiter = Waiter::new(Box::new(move |result| sender.send(result).unwrap()));
    let group = Group::fill(&mut VecDeque::from([job]));
    group.tell();
    assert!(matches!(told.recv().unwrap(), Err(Error::Fatal(_))));
}
