//! Every statement of the store.
//!
//! All of them run in READ COMMITTED and in transactions of their own. What they rely on: a
//! statement that had to wait for a row looks at that row, and only at it, as it is then (PostgreSQL
//! 15, 13.2.1), so a condition that must hold *after* the wait is one on the locked row itself.

/// Appends one batch of rows, at most one of a run.
///
/// * `fence` locks the rows of the shards that this incarnation still owns in the epochs named. A
///   takeover changes these rows, so that it waits for this statement, or this one for it; in the
///   second case the epoch does not match any more and nothing is inserted.
/// * `ended` locks runs that are being reopened, since retention may be removing them.
/// * `looked` finds each run's last event. It comes from the statement's snapshot, which is enough:
///   only the owner of a shard appends to its runs, and it has seen the answers to all it sent, or
///   sends the same again, which the primary key of the journal stops.
/// * The rows of `runs` change when a run is created, ends, or changes its status.
///
/// Sets are asked by `IN` where it cannot become a join (in a list of columns, or behind `IS
/// TRUE`): that is a hash table, while the planner, which does not know how many rows there are,
/// would choose loops in loops.
///
/// Answers for each row, in order: owned, last event stored before, inserted, stored already with
/// the same bytes, the shard's epoch.
pub(crate) const APPEND: &str = concat!(
    include_str!("sql/append_input.sql"),
    "fence AS MATERIALIZED (
        SELECT s.shard, s.epoch FROM shards s
        WHERE s.shard = ANY ($1) AND s.incarnation = $13
        ORDER BY s.shard FOR SHARE
    ),",
    include_str!("sql/append_insert.sql")
);

/// The negative control of the tests: [`APPEND`] that believes every epoch.
#[cfg(any(test, debug_assertions))]
pub(crate) const APPEND_UNFENCED: &str = concat!(
    include_str!("sql/append_input.sql"),
    "fence AS MATERIALIZED (
        SELECT DISTINCT x.shard, x.epoch FROM x WHERE $13::bigint IS NOT NULL
    ),",
    include_str!("sql/append_insert.sql")
);

/// A run's last event; nothing when there is no such run.
pub(crate) const HEAD: &str =
    "SELECT seq FROM journal WHERE run_id = $1 ORDER BY after DESC LIMIT 1";

/// The rows that hold events of (after, seq] of a run.
pub(crate) const RANGE: &str = "SELECT after, seq, events FROM journal \
     WHERE run_id = $1 AND seq > $2 AND after < $3 ORDER BY after";

/// Something that a commit makes durable and nobody ever sees.
pub(crate) const PROBE: &str = "SELECT pg_logical_emit_message(true, 'crane', '')::text";

/// Writes of tools; see the migration.
pub(crate) const TOOL_WRITES: &str =
    "SELECT outcome, size FROM tool_writes($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

/// The remembered result of a tool's write.
pub(crate) const TOOL_RESULT: &str = "SELECT value FROM tool_results WHERE tool = $1 AND key = $2";

/// One row of a tool.
pub(crate) const TOOL_ROW: &str = "SELECT value FROM tool_rows WHERE tool = $1 AND name = $2";

/// All rows of a tool.
pub(crate) const TOOL_ROWS: &str =
    "SELECT name, value FROM tool_rows WHERE tool = $1 ORDER BY name";

/// A run with all its events, a row for each row of the journal.
pub(crate) const LOAD: &str = "SELECT r.status, r.round, r.created_at, r.completed_at, r.wake_at, \
            j.after, j.seq, j.events \
     FROM runs r JOIN journal j ON j.run_id = r.run_id WHERE r.run_id = $1 ORDER BY j.after";

macro_rules! summaries {
    ($($part:expr),+ $(,)?) => {
        concat!(
            "SELECT r.run_id, r.status, r.round, r.created_at, r.completed_at, r.wake_at, j.seq ",
            $($part),+
        )
    };
}

macro_rules! last_event {
    () => {
        "JOIN LATERAL (SELECT seq FROM journal j WHERE j.run_id = r.run_id \
                       ORDER BY after DESC LIMIT 1) j ON true "
    };
}

/// One run's summary.
pub(crate) const SUMMARY: &str = summaries!("FROM runs r ", last_event!(), "WHERE r.run_id = $1");

/// A part of the unfinished runs of some shards, oldest first, from (created_at, run_id) on.
pub(crate) const UNFINISHED: &str = summaries!(
    "FROM (SELECT * FROM runs WHERE status < 10 AND (created_at, run_id) > ($2, $3) \
                                AND shard = ANY ($1) \
           ORDER BY created_at, run_id LIMIT $4) r ",
    last_event!(),
    "ORDER BY r.created_at, r.run_id"
);

macro_rules! list {
    ($condition:literal) => {
        concat!(
            "SELECT t.total, r.run_id, r.status, r.round, r.created_at, r.completed_at, \
                    r.wake_at, j.seq \
             FROM (SELECT count(*) AS total FROM runs WHERE ",
            $condition,
            ") t LEFT JOIN LATERAL (SELECT * FROM runs WHERE ",
            $condition,
            " ORDER BY created_at DESC, run_id DESC OFFSET $1 LIMIT $2) r ON true \
             LEFT JOIN LATERAL (SELECT seq FROM journal j WHERE j.run_id = r.run_id \
                                ORDER BY after DESC LIMIT 1) j ON true \
             ORDER BY r.created_at DESC, r.run_id DESC"
        )
    };
}

/// A page of all runs, each with the total.
pub(crate) const LIST: &str = list!("true");
/// A page of the runs with some statuses.
pub(crate) const LIST_STATUS: &str = list!("status = ANY ($3)");
/// A page of the runs with some labels.
pub(crate) const LIST_LABELS: &str = list!("labels @> $3::text::jsonb");
/// A page of the runs with some statuses and labels.
pub(crate) const LIST_BOTH: &str = list!("status = ANY ($3) AND labels @> $4::text::jsonb");

/// Number of runs by status.
pub(crate) const COUNTS: &str = "SELECT status, count(*) FROM runs GROUP BY status";

/// Raises all epochs and ends all leases when the server's timeline is another than it was.
pub(crate) const FOLLOW_TIMELINE: &str = "WITH now AS (
        SELECT ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint AS id
    ), moved AS (
        UPDATE timeline t SET id = now.id FROM now, (SELECT id FROM timeline) before
        WHERE t.id <> now.id RETURNING before.id
    ), ended AS (
        UPDATE nodes SET dead = true WHERE EXISTS (SELECT FROM moved WHERE id <> 0)
    )
    UPDATE shards SET epoch = epoch + (1::bigint << 32), incarnation = NULL
    WHERE EXISTS (SELECT FROM moved WHERE id <> 0)";

/// A new lease.
pub(crate) const JOIN: &str = "INSERT INTO nodes (incarnation, node, application, joined_at, lease_until) \
     VALUES (nextval('incarnations'), $1, $2, clock_timestamp(), \
             clock_timestamp() + $3::bigint * interval '1 millisecond') \
     RETURNING incarnation";

/// Removes nodes that ended long ago and own nothing.
pub(crate) const FORGET_NODES: &str = "DELETE FROM nodes n WHERE n.lease_until < clock_timestamp() - interval '1 day' \
     AND NOT EXISTS (SELECT FROM shards s WHERE s.incarnation = n.incarnation)";

/// Renews a lease that has not run out.
pub(crate) const RENEW: &str = "UPDATE nodes SET lease_until = clock_timestamp() + $2::bigint * interval '1 millisecond' \
     WHERE incarnation = $1 AND NOT dead AND lease_until > clock_timestamp()";

/// For each shard of $1: epoch; whether nobody owns it, or we ($2) do; whether the lease of its
/// owner has run out and it may be declared dead. That goes at once for an earlier start of the
/// same node ($3); others must wait until we have been a member for as long as a lease ($4): after
/// an outage all leases have run out, and the first to return must not take everything.
pub(crate) const OWNERS: &str = "SELECT s.shard, s.epoch, \
            coalesce(n.dead, true) OR s.incarnation = $2 AS free, \
            coalesce(NOT n.dead AND n.lease_until <= clock_timestamp() AND ( \
                n.node = $3 OR EXISTS ( \
                    SELECT FROM nodes me WHERE me.incarnation = $2 \
                    AND me.joined_at <= clock_timestamp() - $4::bigint * interval '1 millisecond') \
            ), false) AS expired, \
            s.incarnation, n.application \
     FROM shards s LEFT JOIN nodes n ON n.incarnation = s.incarnation \
     WHERE s.shard = ANY ($1) ORDER BY s.shard";

/// Declares incarnations dead whose leases have run out, or ($2) whatever is left of them.
pub(crate) const DECLARE_DEAD: &str = "UPDATE nodes SET dead = true WHERE incarnation = ANY ($1) AND NOT dead \
     AND ($2 OR lease_until <= clock_timestamp())";

/// Whether an incarnation is dead, or not known (any more).
pub(crate) const IS_DEAD: &str =
    "SELECT coalesce((SELECT dead FROM nodes WHERE incarnation = $1), true)";

/// Takes shards ($1) that have still the epochs ($2) seen and no living owner but us ($3).
pub(crate) const TAKE: &str = "WITH target AS (
        SELECT s.shard FROM shards s
        JOIN unnest($1::smallint[], $2::bigint[]) w (shard, epoch)
            ON w.shard = s.shard AND w.epoch = s.epoch
        WHERE (s.incarnation IS NULL OR s.incarnation = $3 OR NOT EXISTS (
                  SELECT FROM nodes n WHERE n.incarnation = s.incarnation AND NOT n.dead))
          AND EXISTS (SELECT FROM nodes me WHERE me.incarnation = $3 AND NOT me.dead)
        ORDER BY s.shard FOR UPDATE OF s
    )
    UPDATE shards s SET epoch = s.epoch + 1, incarnation = $3
    FROM target t WHERE s.shard = t.shard RETURNING s.shard, s.epoch";

/// Ends the connections of dead nodes.
pub(crate) const END_CONNECTIONS: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
     WHERE application_name = ANY ($1) AND pid <> pg_backend_pid()";

/// Hands shards ($1, $2) that we ($3) own to a living heir ($4), or to nobody.
pub(crate) const HAND_OVER: &str = "WITH heir AS (
        SELECT $4::bigint AS incarnation
        WHERE $4::bigint IS NULL OR EXISTS (
            SELECT FROM nodes n
            WHERE n.incarnation = $4 AND NOT n.dead AND n.lease_until > clock_timestamp())
    ), target AS (
        SELECT s.shard FROM shards s
        JOIN unnest($1::smallint[], $2::bigint[]) w (shard, epoch)
            ON w.shard = s.shard AND w.epoch = s.epoch
        WHERE s.incarnation = $3
        ORDER BY s.shard FOR UPDATE OF s
    )
    UPDATE shards s SET epoch = s.epoch + 1, incarnation = heir.incarnation
    FROM target t, heir WHERE s.shard = t.shard RETURNING s.shard, s.epoch";

/// Gives back everything that an incarnation owns.
pub(crate) const RELEASE_ALL: &str = "WITH target AS (
        SELECT shard FROM shards WHERE incarnation = $1 ORDER BY shard FOR UPDATE
    )
    UPDATE shards s SET epoch = s.epoch + 1, incarnation = NULL
    FROM target t WHERE s.shard = t.shard";

/// Ends a lease.
pub(crate) const LEAVE: &str = "DELETE FROM nodes WHERE incarnation = $1";

/// When the schema was made, in microseconds since 1970: no two have that in common.
pub(crate) const IDENTITY: &str =
    "SELECT (extract(epoch FROM applied_at) * 1000000)::bigint FROM migrations WHERE version = 1";

/// All shards.
pub(crate) const SHARDS: &str = "SELECT shard, epoch, incarnation FROM shards ORDER BY shard";

/// All nodes, with what is left of their leases in milliseconds.
pub(crate) const NODES: &str = "SELECT incarnation, node, \
            greatest(ceil(extract(epoch FROM lease_until - clock_timestamp()) * 1000), 0)::bigint, \
            dead FROM nodes ORDER BY incarnation";

/// Where the rows of a run's events begin and end, without the events.
pub(crate) const ROWS_OF_RUN: &str = "SELECT after, seq, octet_length(events) FROM journal \
     WHERE run_id = $1 ORDER BY after";

/// Merges the rows of ($2, $4] of a run into the first of them, which ends at $3; there are $5.
/// Whoever does it second finds another first row and changes nothing.
pub(crate) const MERGE: &str = "WITH first AS (
        SELECT after FROM journal WHERE run_id = $1 AND after = $2 AND seq = $3 FOR UPDATE
    ), part AS (
        SELECT string_agg(events, ''::bytea ORDER BY after) AS events, max(epoch) AS epoch,
               (array_agg(incarnation ORDER BY after DESC))[1] AS incarnation
        FROM journal WHERE run_id = $1 AND after >= $2 AND seq <= $4 HAVING count(*) = $5
    ), gone AS (
        DELETE FROM journal j USING first, part
        WHERE j.run_id = $1 AND j.after > $2 AND j.seq <= $4
    )
    UPDATE journal j SET seq = $4, events = part.events, epoch = part.epoch,
                         incarnation = part.incarnation
    FROM first, part WHERE j.run_id = $1 AND j.after = first.after";

/// Ended runs of some shards that SQL cannot read yet.
pub(crate) const UNDESCRIBED: &str = "SELECT run_id FROM runs \
     WHERE status >= 10 AND history IS NULL AND shard = ANY ($1) LIMIT $2";

/// The events of some ended runs, run by run.
pub(crate) const EVENTS: &str = "SELECT r.run_id, j.after, j.seq, j.events \
     FROM runs r JOIN journal j ON j.run_id = r.run_id \
     WHERE r.run_id = ANY ($1) AND r.status >= 10 ORDER BY r.run_id, j.after";

/// Writes what SQL can read of runs ($1) that are still where they were ($2) when it was made.
pub(crate) const DESCRIBE: &str = "UPDATE runs r SET history = x.history::jsonb \
     FROM unnest($1::uuid[], $2::bigint[], $3::text[]) x (run_id, seq, history) \
     WHERE r.run_id = x.run_id AND r.status >= 10 AND r.seq = x.seq";

/// Removes some of the runs that ended before $1; of those that somebody is looking at (a run that
/// is being reopened) none. Answers how many.
pub(crate) const RETIRE: &str = "WITH old AS (
        SELECT run_id FROM runs WHERE status >= 10 AND completed_at < $1
        ORDER BY completed_at LIMIT $2 FOR UPDATE SKIP LOCKED
    ), events AS (
        DELETE FROM journal j USING old WHERE j.run_id = old.run_id
    ), results AS (
        DELETE FROM tool_results t USING old WHERE t.run_id = old.run_id
    )
    DELETE FROM runs r USING old WHERE r.run_id = old.run_id";

/// Every run with the rows of its events, for verifying.
pub(crate) const EVERYTHING: &str = "SELECT r.run_id, r.shard, r.status, r.round, r.seq, \
            s.epoch, j.after, j.seq, j.epoch, j.incarnation, j.events \
     FROM runs r LEFT JOIN shards s ON s.shard = r.shard \
     LEFT JOIN journal j ON j.run_id = r.run_id ORDER BY r.run_id, j.after";

/// Events without a run.
pub(crate) const ORPHANS: &str = "SELECT DISTINCT j.run_id FROM journal j \
     WHERE NOT EXISTS (SELECT FROM runs r WHERE r.run_id = j.run_id) LIMIT 100";

/// Whatever is there twice although its key says that it cannot be: the index of a key may be
/// damaged, so that the tables themselves are read.
pub(crate) const WITHOUT_INDEXES: &str = "SET LOCAL enable_indexscan = off; \
     SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off";

/// Runs that are there twice.
pub(crate) const TWINS: &str =
    "SELECT run_id FROM runs GROUP BY run_id HAVING count(*) > 1 LIMIT 100";

/// Writes of tools that are there twice.
pub(crate) const TOOL_TWINS: &str = "SELECT tool, key FROM tool_results GROUP BY tool, key \
     HAVING count(*) > 1 LIMIT 100";
