-- All that is said of two patients, by messages and by decisions: merges, links, moves of visits.
ALTER TABLE patient_merge
    ADD COLUMN kind text NOT NULL DEFAULT 'merge',
    ADD COLUMN rank smallint NOT NULL DEFAULT 3,
    ADD COLUMN withdrawn boolean NOT NULL DEFAULT false,
    ADD COLUMN prior_visit text NOT NULL DEFAULT '',
    ADD COLUMN target_visit text NOT NULL DEFAULT '',
    DROP CONSTRAINT patient_merge_pkey,
    ADD PRIMARY KEY (event_id, kind, prior_id, prior_authority, target_id, target_authority, prior_visit);
