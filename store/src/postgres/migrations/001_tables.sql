-- What a cluster keeps in common. Applied once, in one transaction, in Crane's own schema.

-- Every start of a node is an incarnation; its row is its lease.
CREATE SEQUENCE incarnations;

CREATE TABLE nodes (
    incarnation bigint PRIMARY KEY,
    node        text NOT NULL,
    -- application_name of its connections.
    application text NOT NULL,
    joined_at   timestamptz NOT NULL,
    lease_until timestamptz NOT NULL,
    -- Declared dead: its lease can never be renewed again, so its shards may be taken.
    dead        boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50);

-- Who owns which shard. The epoch grows with every change of owner; every write names it.
CREATE TABLE shards (
    shard       smallint PRIMARY KEY,
    epoch       bigint NOT NULL DEFAULT 0,
    incarnation bigint
) WITH (fillfactor = 50);

INSERT INTO shards (shard) SELECT generate_series(0, 511);

-- The server's timeline: it changes when a standby takes over, which may have lost the last epochs.
CREATE TABLE timeline (id bigint NOT NULL);

INSERT INTO timeline (id) VALUES (0);

-- One row a run. Live runs: exact but for seq, which the journal's last row has.
CREATE TABLE runs (
    run_id       uuid PRIMARY KEY,
    shard        smallint NOT NULL,
    -- 0 pending, 1 running, 2 waiting; from 10 on ended: 10 completed, 11 failed, 12 cancelled
    status       smallint NOT NULL,
    round        integer NOT NULL,
    seq          bigint NOT NULL,
    created_at   timestamptz NOT NULL,
    completed_at timestamptz,
    wake_at      timestamptz,
    labels       jsonb NOT NULL,
    -- What SQL can read of an ended run; written a moment after its end.
    history      jsonb
) WITH (fillfactor = 80);

CREATE INDEX runs_by_time ON runs (created_at, run_id);
CREATE INDEX runs_by_status ON runs (status, created_at, run_id);
CREATE INDEX runs_unfinished ON runs (created_at, run_id) WHERE status < 10;
CREATE INDEX runs_ended ON runs (completed_at) WHERE status >= 10;
CREATE INDEX runs_undescribed ON runs (shard) WHERE status >= 10 AND history IS NULL;
CREATE INDEX runs_by_label ON runs USING gin (labels jsonb_path_ops);

-- Events of runs, (after, seq] a row, as they were appended or merged. The rows of a run form a
-- chain from 0 to its last event. A row that lies within an earlier one is a leftover and counts
-- for nothing. Who wrote a row is only ever looked at by the checker: in one epoch of a shard it must
-- be one incarnation.
CREATE TABLE journal (
    run_id      uuid NOT NULL,
    after       bigint NOT NULL,
    seq         bigint NOT NULL,
    epoch       bigint NOT NULL,
    incarnation bigint NOT NULL,
    events      bytea NOT NULL,
    PRIMARY KEY (run_id, after),
    CHECK (seq > after)
);

-- Data of stateful tools.
CREATE TABLE tools (
    tool  text COLLATE "C" PRIMARY KEY,
    -- Number and bytes of its rows; number of remembered results that belong to no run.
    rows  bigint NOT NULL DEFAULT 0,
    bytes bigint NOT NULL DEFAULT 0,
    loose bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE TABLE tool_rows (
    tool  text COLLATE "C" NOT NULL,
    name  text COLLATE "C" NOT NULL,
    value text NOT NULL,
    PRIMARY KEY (tool, name)
);

CREATE TABLE tool_results (
    tool   text COLLATE "C" NOT NULL,
    key    text COLLATE "C" NOT NULL,
    run_id uuid,
    value  text NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (tool, key)
);

CREATE INDEX tool_results_by_run ON tool_results (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX tool_results_loose ON tool_results (tool, number) WHERE run_id IS NULL;

-- Carries out writes of tools in order, all in the caller's transaction. The i-th write changes
-- names[ends[i-1]+1 .. ends[i]]; a null value deletes. Outcome: 0 written, 1 a repeat, which
-- changes nothing, 2 too many rows, 3 too many bytes; with how large it would be.
-- The row of the tool is locked first, and each statement of a function sees what was committed
-- before it, so the numbers are exact.
CREATE FUNCTION tool_writes(
    p_tools text[], p_keys text[], p_runs uuid[], p_results text[],
    p_ends int[], p_names text[], p_values text[],
    max_rows bigint, max_bytes bigint, max_loose bigint
) RETURNS TABLE (outcome smallint, size bigint) LANGUAGE plpgsql AS $$
DECLARE
    has       tools%ROWTYPE;
    old_rows  bigint;
    old_bytes bigint;
    new_rows  bigint;
    new_bytes bigint;
    lo        int := 1;
    hi        int;
BEGIN
    FOR i IN 1 .. cardinality(p_tools) LOOP
        hi := p_ends[i];
        INSERT INTO tools (tool) VALUES (p_tools[i]) ON CONFLICT DO NOTHING;
        SELECT * INTO has FROM tools t WHERE t.tool = p_tools[i] FOR UPDATE;
        SELECT count(*), coalesce(sum(octet_length(r.name) + octet_length(r.value)), 0)
            INTO old_rows, old_bytes
            FROM tool_rows r WHERE r.tool = p_tools[i] AND r.name = ANY (p_names[lo:hi]);
        SELECT count(c.v), coalesce(sum(octet_length(c.n) + octet_length(c.v)), 0)
            INTO new_rows, new_bytes
            FROM unnest(p_names[lo:hi], p_values[lo:hi]) AS c (n, v);
        size := 0;
        IF EXISTS (SELECT FROM tool_results r WHERE r.tool = p_tools[i] AND r.key = p_keys[i]) THEN
            outcome := 1;
        ELSIF new_rows > 0 AND has.rows - old_rows + new_rows > max_rows THEN
            outcome := 2;
            size := has.rows - old_rows + new_rows;
        ELSIF new_rows > 0 AND has.bytes - old_bytes + new_bytes > max_bytes THEN
            outcome := 3;
            size := has.bytes - old_bytes + new_bytes;
        ELSE
            outcome := 0;
            INSERT INTO tool_results (tool, key, run_id, value)
                VALUES (p_tools[i], p_keys[i], p_runs[i], p_results[i]);
            DELETE FROM tool_rows r USING unnest(p_names[lo:hi], p_values[lo:hi]) AS c (n, v)
                WHERE c.v IS NULL AND r.tool = p_tools[i] AND r.name = c.n;
            INSERT INTO tool_rows (tool, name, value)
                SELECT p_tools[i], c.n, c.v
                FROM unnest(p_names[lo:hi], p_values[lo:hi]) AS c (n, v) WHERE c.v IS NOT NULL
                ON CONFLICT (tool, name) DO UPDATE SET value = excluded.value;
            IF p_runs[i] IS NULL THEN
                has.loose := has.loose + 1;
                IF has.loose > max_loose THEN
                    DELETE FROM tool_results r WHERE r.tool = p_tools[i] AND r.key = (
                        SELECT o.key FROM tool_results o
                        WHERE o.tool = p_tools[i] AND o.run_id IS NULL ORDER BY o.number LIMIT 1);
                    has.loose := has.loose - 1;
                END IF;
            END IF;
            UPDATE tools t SET rows = has.rows - old_rows + new_rows,
                               bytes = has.bytes - old_bytes + new_bytes,
                               loose = has.loose
                WHERE t.tool = p_tools[i];
        END IF;
        lo := hi + 1;
        RETURN NEXT;
    END LOOP;
END
$$;
