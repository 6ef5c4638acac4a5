-- What is computed beyond what reports state, in columns of its own.
ALTER TABLE irradiation_event
    ADD COLUMN ssde_computed_mgy double precision,
    ADD COLUMN ssde_computed_method text,
    ADD COLUMN ssde_diameter_mm double precision;

-- Studies whose dose reached a threshold; one that no longer holds stays as withdrawn, so that its revision goes on.
CREATE TABLE alert (
    study_instance_uid text NOT NULL,
    kind text NOT NULL,
    value double precision NOT NULL,
    threshold double precision NOT NULL,
    unit text NOT NULL,
    first_triggered_at timestamptz,
    revision bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    withdrawn boolean NOT NULL,
    grp bigint NOT NULL,
    PRIMARY KEY (study_instance_uid, kind)
);
CREATE INDEX alert_grp ON alert (grp);

-- Alerts to publish, as `outbox` is for studies.
CREATE TABLE alert_outbox (
    study_instance_uid text NOT NULL,
    kind text NOT NULL,
    revision bigint NOT NULL,
    PRIMARY KEY (study_instance_uid, kind)
);

-- The site's diagnostic reference levels; patterns as LIKE has them, NULL for all.
CREATE TABLE reference_level (
    number integer PRIMARY KEY,
    name text NOT NULL,
    modality text,
    procedure_code text,
    procedure_like text,
    protocol text,
    protocol_like text,
    age_from double precision,
    age_to double precision,
    weight_from double precision,
    weight_to double precision,
    quantity text NOT NULL,
    value double precision NOT NULL,
    unit text NOT NULL,
    source text
);

-- Tables that were filled from the configuration, and what of.
CREATE TABLE configured (name text PRIMARY KEY, hash text NOT NULL, loaded_at timestamptz NOT NULL);

-- Studies that were there before get what is new of them.
INSERT INTO dirty SELECT DISTINCT grp FROM study ON CONFLICT DO NOTHING;
