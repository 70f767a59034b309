
head AS MATERIALIZED (
    SELECT x.place, coalesce(j.seq, 0) AS stored
    FROM x LEFT JOIN LATERAL (
        SELECT j.seq FROM journal j WHERE j.run_id = x.run_id ORDER BY j.after DESC LIMIT 1
    ) j ON true
), ended AS MATERIALIZED (
    SELECT r.run_id FROM runs r
    WHERE r.run_id IN (SELECT run_id FROM x WHERE after > 0) AND r.status >= 10
    FOR SHARE
), added AS (
    INSERT INTO journal (run_id, after, seq, epoch, events)
    SELECT x.run_id, x.after, x.seq, x.epoch, x.events
    FROM x
    JOIN fence f ON f.shard = x.shard AND f.epoch = x.epoch
    JOIN head h ON h.place = x.place
    LEFT JOIN runs r ON r.run_id = x.run_id AND x.after > 0
    WHERE h.stored = x.after
      AND (x.after = 0 OR r.status < 10 OR EXISTS (SELECT FROM ended e WHERE e.run_id = x.run_id))
    ON CONFLICT DO NOTHING
    RETURNING run_id
), created AS (
    INSERT INTO runs (run_id, shard, status, round, seq, created_at, completed_at, wake_at, labels)
    SELECT x.run_id, x.shard, x.status, x.round, x.seq, x.created_at, x.completed_at, x.wake_at,
           coalesce(x.labels, '{}')::jsonb
    FROM x JOIN added a ON a.run_id = x.run_id
    WHERE x.after = 0
), changed AS (
    UPDATE runs r
    SET status = x.status, round = x.round, seq = x.seq, completed_at = x.completed_at,
        wake_at = x.wake_at, history = NULL
    FROM x JOIN added a ON a.run_id = x.run_id
    WHERE x.after > 0 AND r.run_id = x.run_id
      AND (x.status >= 10
           OR (r.status, r.round, r.completed_at, r.wake_at)
              IS DISTINCT FROM (x.status, x.round, x.completed_at, x.wake_at))
)
SELECT f.shard IS NOT NULL AS owned,
       h.stored,
       a.run_id IS NOT NULL AS inserted,
       a.run_id IS NULL AND h.stored > x.after AND EXISTS (
           SELECT FROM journal j
           WHERE j.run_id = x.run_id AND j.after = x.after AND j.seq = x.seq
             AND j.events = x.events) AS same,
       s.epoch
FROM x
JOIN head h ON h.place = x.place
LEFT JOIN fence f ON f.shard = x.shard AND f.epoch = x.epoch
LEFT JOIN added a ON a.run_id = x.run_id
LEFT JOIN shards s ON s.shard = x.shard
ORDER BY x.place
