
ended AS MATERIALIZED (
    SELECT r.run_id FROM runs r
    WHERE r.run_id IN (SELECT run_id FROM x WHERE after > 0) AND r.status >= 10
    FOR SHARE
), looked AS MATERIALIZED (
    SELECT x.*,
           (x.shard, x.epoch) IN (SELECT f.shard, f.epoch FROM fence f) AS owned,
           coalesce((SELECT j.seq FROM journal j WHERE j.run_id = x.run_id
                     ORDER BY j.after DESC LIMIT 1), 0) AS stored,
           x.after = 0 OR r.status < 10
               OR x.run_id IN (SELECT e.run_id FROM ended e) AS is_there,
           x.after > 0 AND (x.status >= 10
               OR (r.status, r.round, r.completed_at, r.wake_at)
                  IS DISTINCT FROM (x.status, x.round, x.completed_at, x.wake_at)) AS differs
    FROM x LEFT JOIN runs r ON r.run_id = x.run_id AND x.after > 0
), added AS (
    INSERT INTO journal (run_id, after, seq, epoch, incarnation, events)
    SELECT l.run_id, l.after, l.seq, l.epoch, $13::bigint, l.events
    FROM looked l
    WHERE l.owned AND l.stored = l.after AND l.is_there
    ON CONFLICT DO NOTHING
    RETURNING run_id
), created AS (
    INSERT INTO runs (run_id, shard, status, round, seq, created_at, completed_at, wake_at, labels)
    SELECT l.run_id, l.shard, l.status, l.round, l.seq, l.created_at, l.completed_at, l.wake_at,
           coalesce(l.labels, '{}')::jsonb
    FROM looked l
    WHERE l.after = 0 AND (l.run_id IN (SELECT a.run_id FROM added a)) IS TRUE
), changed AS (
    UPDATE runs r
    SET status = l.status, round = l.round, seq = l.seq, completed_at = l.completed_at,
        wake_at = l.wake_at, history = NULL
    FROM looked l
    WHERE l.differs AND (l.run_id IN (SELECT a.run_id FROM added a)) IS TRUE
      AND r.run_id = l.run_id
)
SELECT l.owned,
       l.stored,
       l.run_id IN (SELECT a.run_id FROM added a) AS inserted,
       CASE WHEN l.stored > l.after THEN EXISTS (
           SELECT FROM journal j
           WHERE j.run_id = l.run_id AND j.after = l.after AND j.seq = l.seq
             AND j.events = l.events)
       ELSE false END AS same,
       CASE WHEN NOT l.owned THEN (
           SELECT s.epoch FROM shards s WHERE s.shard = l.shard) END AS current
FROM looked l
ORDER BY l.place
