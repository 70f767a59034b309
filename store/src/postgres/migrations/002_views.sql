-- For people and their SQL; the tables are Crane's own and may change, these stay.

CREATE VIEW crane_runs AS
SELECT r.run_id,
       CASE r.status WHEN 0 THEN 'pending' WHEN 1 THEN 'running' WHEN 2 THEN 'waiting'
                     WHEN 10 THEN 'completed' WHEN 11 THEN 'failed' ELSE 'cancelled' END AS status,
       r.round,
       r.labels,
       r.created_at,
       (r.history ->> 'started_at')::timestamptz AS started_at,
       r.completed_at,
       r.completed_at - r.created_at AS duration,
       r.history ->> 'plan' AS plan,
       r.history ->> 'prompt' AS prompt,
       nullif(r.history -> 'result', 'null') AS result,
       r.history ->> 'reason' AS reason,
       r.history ->> 'error' AS error
FROM runs r;

COMMENT ON VIEW crane_runs IS
    'One row a run. plan, prompt, started_at, result, reason and error are filled in a moment after its end.';

CREATE VIEW crane_steps AS
SELECT r.run_id,
       s.position,
       s.step,
       s.tool,
       s.status,
       s.attempts,
       s.started_at,
       s.completed_at,
       s.duration_us / 1000.0 AS duration_ms,
       s.error_kind,
       s.error,
       s.input,
       s.input_bytes,
       s.output,
       s.output_bytes,
       r.created_at AS run_created_at
FROM runs r,
     jsonb_to_recordset(r.history -> 'steps') AS s (
         position int, step text, tool text, status text, attempts int,
         started_at timestamptz, completed_at timestamptz, duration_us bigint,
         error_kind text, error text,
         input jsonb, input_bytes bigint, output jsonb, output_bytes bigint);

COMMENT ON VIEW crane_steps IS
    'One row a step of an ended run that started at least once or was decided on. Inputs and outputs of more than 16 KiB are null; their size is in input_bytes and output_bytes.';
