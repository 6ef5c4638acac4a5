-- Scheduled procedure steps that the worklist offers. Names and what they are matched by: `*_key` holds the whole
-- name and its groups, case folded.
CREATE TABLE scheduled_step (
    study_instance_uid text NOT NULL,
    accession_number text,
    accession_issuer text,
    requested_procedure_id text,
    scheduled_step_id text,
    placer_order_number text,
    filler_order_number text,
    patient_authority text,
    patient_id text,
    patient_name text,
    patient_birth_date date,
    patient_sex text,
    modality text,
    scheduled_at timestamptz,
    ordered_at timestamptz,
    status text NOT NULL,
    station_ae_titles text[] NOT NULL,
    station_name text,
    station_location text,
    procedure_code text,
    procedure_scheme text,
    procedure_meaning text,
    step_code text,
    step_scheme text,
    step_meaning text,
    performing_physician text,
    requesting_physician text,
    referring_physician text,
    priority text,
    reason text,
    weight_kg text,
    height_m text,
    allergies text,
    patient_state text,
    visit_number text,
    location text,
    patient_name_key text[] NOT NULL,
    performing_physician_key text[] NOT NULL,
    requesting_physician_key text[] NOT NULL,
    referring_physician_key text[] NOT NULL,
    row_key text NOT NULL,
    step_key text NOT NULL,
    grp bigint NOT NULL,
    content_hash text NOT NULL
);
CREATE INDEX scheduled_step_grp ON scheduled_step (grp);
CREATE INDEX scheduled_step_scheduled_at ON scheduled_step (scheduled_at);
CREATE INDEX scheduled_step_patient ON scheduled_step (patient_id);
CREATE INDEX scheduled_step_accession ON scheduled_step (accession_number);
-- When window and grace are over: without a dose report by then, one is missing.
ALTER TABLE study ADD COLUMN closes_at timestamptz;
ALTER TABLE imaging_order ADD COLUMN closes_at timestamptz;
-- Orders that were made before have no steps: derived again, they get them.
INSERT INTO dirty SELECT DISTINCT grp FROM (SELECT grp FROM imaging_order UNION SELECT grp FROM study) g
ON CONFLICT DO NOTHING;
