//! Merging the rows of long runs, so that loading a run reads few rows however small its batches
//! were. Merged rows are the snapshots of this store: a snapshot is events (docs/adr/001).
//!
//! The newest row is never touched: it is where the next append looks for the run's last event, and
//! what stops a statement that was sent twice.

use crane_core::{RunId, Seq, limits};

use super::problem::Problem;
use super::shared::Shared;
use super::sql;
use super::types::Uuid;

/// Events after which the rows of a run are looked at, and from which on a row is left alone.
const EVENTS: i64 = 256;

/// Whether an append has passed a multiple of so many events.
pub(crate) fn is_due(after: Seq, seq: Seq) -> bool {
    let step = EVENTS.unsigned_abs();
    after.0 / step != seq.0 / step
}

/// The rows of a run, as far as merging cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    after: i64,
    seq: i64,
    bytes: i64,
}

/// Rows that follow each other and become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    after: i64,
    first_seq: i64,
    seq: i64,
    rows: i64,
}

/// Merges what can be merged of a run.
pub(crate) async fn merge(shared: &Shared, run: RunId) -> Result<(), Problem> {
    let loan = shared.pool.get(&shared.connector).await?;
    let conn = loan.conn()?;
    let run = Uuid(run);
    let mut extents = Vec::new();
    for row in conn.query(sql::ROWS_OF_RUN, &[&run]).await? {
        let bytes: i32 = row.try_get(2)?;
        extents.push(Extent {
            after: row.try_get(0)?,
            seq: row.try_get(1)?,
            bytes: bytes.into(),
        });
    }
    for part in parts(&extents) {
        conn.execute(
            sql::MERGE,
            &[&run, &part.after, &part.first_seq, &part.seq, &part.rows],
        )
        .await?;
    }
    Ok(())
}

/// What to merge of these rows, which are all of a run in order.
fn parts(extents: &[Extent]) -> Vec<Part> {
    let chained = extents.windows(2).all(|pair| pair[0].seq == pair[1].after);
    let Some((_, rest)) = extents.split_last().filter(|_| chained) else {
        // With a leftover in between, the events would be joined wrongly.
        return Vec::new();
    };
    let most = i64::try_from(limits::STATEMENT_BYTES).unwrap_or(i64::MAX);
    let mut parts: Vec<Part> = Vec::new();
    let mut bytes = 0;
    for row in rest {
        let large = row.seq - row.after >= EVENTS;
        match parts.last_mut() {
            Some(part)
                if !large
                    && part.seq == row.after
                    && part.seq - part.after < EVENTS
                    && bytes + row.bytes <= most =>
            {
                part.seq = row.seq;
                part.rows += 1;
                bytes += row.bytes;
            }
            _ => {
                bytes = row.bytes;
                parts.push(Part {
                    after: row.after,
                    first_seq: row.seq,
                    seq: row.seq,
                    rows: 1,
                });
            }
        }
    }
    parts.retain(|part| part.rows > 1);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(ends: &[i64], bytes: i64) -> Vec<Extent> {
        let mut after = 0;
        let extent = |&seq: &i64| {
            let extent = Extent { after, seq, bytes };
            after = seq;
            extent
        };
        ends.iter().map(extent).collect()
    }

    #[test]
    fn small_rows_become_one_and_the_newest_stays() {
        let merged = parts(&rows(&[1, 2, 3, 4], 10));
        let all_but_last = Part {
            after: 0,
            first_seq: 1,
            seq: 3,
            rows: 3,
        };
        assert_eq!(merged, [all_but_last]);
        assert_eq!(parts(&rows(&[1, 2], 10)), []);
        assert_eq!(parts(&[]), []);
    }

    #[test]
    fn large_rows_are_left_alone() {
        let merged = parts(&rows(&[300, 301, 302, 303], 10));
        assert_eq!(merged.len(), 1);
        assert_eq!((merged[0].after, merged[0].seq), (300, 302));
        let heavy = i64::try_from(limits::STATEMENT_BYTES).expect("a number") - 5;
        assert_eq!(parts(&rows(&[1, 2, 3, 4], heavy)), []);
    }

    #[test]
    fn a_run_with_a_leftover_is_not_merged() {
        let mut extents = rows(&[10, 11, 12, 13], 10);
        extents.insert(
            1,
            Extent {
                after: 3,
                seq: 4,
                bytes: 10,
            },
        );
        assert_eq!(parts(&extents), []);
    }

    #[test]
    fn merging_is_due_when_a_multiple_is_passed() {
        assert!(!is_due(Seq(0), Seq(255)));
        assert!(is_due(Seq(255), Seq(256)));
        assert!(is_due(Seq(200), Seq(600)));
        assert!(!is_due(Seq(256), Seq(511)));
    }
}
