-- Where dose was read, numbers beyond the columns, dose checks, administrations, organ doses, and what could not be read.
ALTER TABLE study ADD COLUMN dose_source text, ADD COLUMN dose_confidence text;

ALTER TABLE dose_total
    ADD COLUMN stored_value text,
    ADD COLUMN stored_unit text,
    ADD COLUMN dose_source text,
    ADD COLUMN confidence text,
    ADD COLUMN differs boolean;

-- measured and described: column name to number, and to meaning; stored: column name to value and unit as stored.
ALTER TABLE irradiation_event
    ADD COLUMN dose_source text,
    ADD COLUMN confidence text,
    ADD COLUMN fluoroscopy boolean,
    ADD COLUMN measured jsonb,
    ADD COLUMN described jsonb,
    ADD COLUMN stored jsonb;

ALTER TABLE xray_source ADD COLUMN measured jsonb;

CREATE TABLE dose_check (
    study_instance_uid text NOT NULL,
    irradiation_event_uid text NOT NULL,
    number integer NOT NULL,
    kind text NOT NULL,
    dlp_configured boolean,
    ctdivol_configured boolean,
    dlp_value_mgycm double precision,
    ctdivol_value_mgy double precision,
    dlp_estimate_mgycm double precision,
    ctdivol_estimate_mgy double precision,
    reason text,
    person text,
    PRIMARY KEY (study_instance_uid, irradiation_event_uid, number)
);

CREATE TABLE administration (
    study_instance_uid text NOT NULL,
    sop_instance_uid text NOT NULL,
    number integer NOT NULL,
    administration_uid text,
    agent text,
    radionuclide text,
    route text,
    site text,
    laterality text,
    started_at timestamptz,
    ended_at timestamptz,
    activity_mbq double precision,
    effective_dose_msv double precision,
    measured jsonb,
    dose_source text,
    PRIMARY KEY (study_instance_uid, number)
);

-- Of an administration, or of a dose estimate where `estimate` names it.
CREATE TABLE organ_dose (
    study_instance_uid text NOT NULL,
    sop_instance_uid text NOT NULL,
    number integer NOT NULL,
    organ text,
    laterality text,
    quantity text NOT NULL,
    dose_mgy double precision,
    equivalent_msv double precision,
    method text,
    estimate text,
    PRIMARY KEY (study_instance_uid, number)
);

CREATE TABLE unread (
    study_instance_uid text NOT NULL,
    sop_instance_uid text NOT NULL,
    item text NOT NULL,
    PRIMARY KEY (study_instance_uid, sop_instance_uid, item)
);
