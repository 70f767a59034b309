WITH x AS MATERIALIZED (
    SELECT *
    FROM unnest($1::smallint[], $2::bigint[], $3::uuid[], $4::bigint[], $5::bigint[], $6::bytea[],
                $7::smallint[], $8::int[], $9::timestamptz[], $10::timestamptz[],
                $11::timestamptz[], $12::text[])
         WITH ORDINALITY AS x (shard, epoch, run_id, after, seq, events,
                               status, round, created_at, completed_at, wake_at, labels, place)
),
