-- What was let go of groups: where each entity's snapshot lies in radiology.snapshot.v1. `entity` is the record's key.
-- `texts`: a report's text is in it.
CREATE TABLE snapshot (
    entity text PRIMARY KEY,
    grp bigint NOT NULL,
    partition integer NOT NULL,
    "offset" bigint NOT NULL,
    facts integer NOT NULL,
    bytes integer NOT NULL,
    texts boolean NOT NULL,
    newest bigint NOT NULL
);
CREATE INDEX snapshot_grp ON snapshot (grp);

-- Messages dated past their receipt and the tolerance: their version hangs on their first receipt, so their rows of
-- the index stay.
CREATE TABLE ahead (event_id text PRIMARY KEY);

-- Cleanup begins with the oldest facts.
CREATE INDEX fact_received_at ON fact (received_at);

-- What cleanup deletes in a day is a small part of these tables, and its room is wanted the next day.
ALTER TABLE fact SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.1);
ALTER TABLE message SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.1);

-- One row a run of cleanup, whichever generation it worked on.
CREATE TABLE IF NOT EXISTS dosestream.cleanup_run (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    outcome text NOT NULL DEFAULT 'running',
    removed jsonb NOT NULL DEFAULT '{}',
    kept jsonb NOT NULL DEFAULT '{}'
);
