-- Radiology reports, one row each. `report_key` is what a report is known by in its group, `finalized_at` when it was
-- first final, corrected or authenticated.
CREATE TABLE report (
    study_instance_uid text,
    accession_number text,
    status text,
    text text,
    reported_at timestamptz,
    finalized_at timestamptz,
    report_key text NOT NULL,
    grp bigint NOT NULL,
    content_hash text NOT NULL
);
CREATE INDEX report_grp ON report (grp);
CREATE INDEX report_study ON report (study_instance_uid);
CREATE INDEX report_accession ON report (accession_number);
