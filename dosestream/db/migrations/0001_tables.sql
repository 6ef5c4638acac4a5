-- Tables of one generation. Run with search_path set to the generation's schema.

-- Next offset to apply, by topic partition: the truth about progress.
CREATE TABLE ledger (
    topic text NOT NULL,
    partition integer NOT NULL,
    next bigint NOT NULL,
    PRIMARY KEY (topic, partition)
);

-- The newest tick.
CREATE TABLE clock (single boolean PRIMARY KEY DEFAULT true CHECK (single), at timestamptz NOT NULL);

-- Index of every event applied.
CREATE TABLE message (
    event_id text PRIMARY KEY,
    topic text NOT NULL,
    partition integer NOT NULL,
    "offset" bigint NOT NULL,
    source text NOT NULL,
    control_id text NOT NULL,
    message_type text NOT NULL,
    received_at timestamptz NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Records that are no Avro of their schema.
CREATE TABLE quarantine (
    topic text NOT NULL,
    partition integer NOT NULL,
    "offset" bigint NOT NULL,
    reason text NOT NULL,
    value bytea,
    quarantined_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (topic, partition, "offset")
);

-- What connects facts: `u:` study UID, `a:` accession, `p:` placer, `f:` filler, `s:` SOP instance, `r:` requested
-- procedure; and `b:` bare patient identifiers, which are locked here but belong to no group.
CREATE TABLE identifier (key text PRIMARY KEY, grp bigint);
CREATE INDEX identifier_grp ON identifier (grp) WHERE grp IS NOT NULL;
CREATE SEQUENCE group_id;

-- Order and study facts; `value` is the record as Kafka holds it, `header` the event without its dose.
CREATE TABLE fact (
    event_id text PRIMARY KEY,
    kind text NOT NULL,
    grp bigint NOT NULL,
    received_at bigint NOT NULL,
    header jsonb NOT NULL,
    value bytea
);
CREATE INDEX fact_grp ON fact (grp);

-- Groups to derive again, because a patient, the clock or the rules changed.
CREATE TABLE dirty (grp bigint PRIMARY KEY);

-- Patients: the fold of what was said, and the row it makes.
CREATE TABLE patient (
    patient_authority text NOT NULL,
    patient_id text NOT NULL,
    fold jsonb NOT NULL DEFAULT '{}',
    merged_into_authority text,
    merged_into_id text,
    patient_name text,
    patient_birth_date date,
    patient_sex text,
    PRIMARY KEY (patient_id, patient_authority)
);

CREATE TABLE patient_merge (
    event_id text NOT NULL,
    prior_authority text NOT NULL,
    prior_id text NOT NULL,
    target_authority text NOT NULL,
    target_id text NOT NULL,
    precedence bigint[] NOT NULL,
    received_at bigint NOT NULL,
    control_id text NOT NULL,
    PRIMARY KEY (event_id, prior_authority, prior_id)
);
CREATE INDEX patient_merge_prior ON patient_merge (prior_id, prior_authority);
CREATE INDEX patient_merge_target ON patient_merge (target_id, target_authority);

-- Which groups a patient's identifiers touch: `bare` is the identifier without authority.
CREATE TABLE patient_group (bare text NOT NULL, grp bigint NOT NULL, PRIMARY KEY (bare, grp));
CREATE INDEX patient_group_grp ON patient_group (grp);

CREATE TABLE study (
    study_instance_uid text PRIMARY KEY,
    modality text,
    study_datetime timestamptz,
    institution text,
    patient_authority text,
    patient_id text,
    patient_name text,
    patient_birth_date date,
    patient_sex text,
    patient_age_years double precision,
    patient_size_m double precision,
    patient_weight_kg double precision,
    accession_number text,
    accession_issuer text,
    placer_order_number text,
    filler_order_number text,
    requested_procedure_id text,
    procedure_code text,
    procedure_scheme text,
    procedure_meaning text,
    study_description text,
    order_status text,
    referring_physician text,
    station_name text,
    manufacturer text,
    model text,
    link_state text NOT NULL,
    link_method text,
    phase text NOT NULL,
    excluded boolean NOT NULL,
    event_count integer,
    ct_dlp_total_mgycm double precision,
    dap_total_gym2 double precision,
    dose_rp_total_gy double precision,
    fluoro_time_s double precision,
    agd_left_mgy double precision,
    agd_right_mgy double precision,
    administered_activity_mbq double precision,
    effective_dose_msv double precision,
    total_source text,
    radionuclide text,
    radiopharmaceutical text,
    revision bigint NOT NULL,
    rules_hash text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    evidence jsonb NOT NULL,
    study_local_datetime timestamp,
    study_time_zone text,
    grp bigint NOT NULL,
    content_hash text NOT NULL,
    next_due timestamptz
);
CREATE INDEX study_grp ON study (grp);
CREATE INDEX study_due ON study (next_due) WHERE next_due IS NOT NULL;
CREATE INDEX study_accession ON study (accession_number);
CREATE INDEX study_patient ON study (patient_id);

-- Dose of a study as last read from its reports; `dose_key` names the reports.
CREATE TABLE study_dose (
    study_instance_uid text PRIMARY KEY,
    grp bigint NOT NULL,
    dose_key text NOT NULL,
    summary jsonb NOT NULL
);
CREATE INDEX study_dose_grp ON study_dose (grp);

CREATE TABLE study_order (
    study_instance_uid text NOT NULL,
    filler_order_number text,
    placer_order_number text,
    accession_number text,
    method text NOT NULL,
    is_primary boolean NOT NULL,
    evidence jsonb NOT NULL,
    row_key text NOT NULL,
    PRIMARY KEY (study_instance_uid, row_key)
);

CREATE TABLE dose_total (
    study_instance_uid text NOT NULL,
    quantity text NOT NULL,
    mode text NOT NULL,
    plane text,
    phantom text,
    laterality text,
    stated double precision,
    from_events double precision,
    unit text NOT NULL,
    sop_instance_uid text NOT NULL
);
CREATE INDEX dose_total_study ON dose_total (study_instance_uid);

CREATE TABLE irradiation_event (
    study_instance_uid text NOT NULL,
    irradiation_event_uid text NOT NULL,
    sop_instance_uid text NOT NULL,
    started_at timestamptz,
    acquisition_type text,
    protocol text,
    target_region text,
    plane text,
    ctdivol_mgy double precision,
    ctdi_phantom text,
    dlp_mgycm double precision,
    ssde_mgy double precision,
    pitch double precision,
    scan_length_mm double precision,
    dap_gym2 double precision,
    dose_rp_gy double precision,
    kvp double precision,
    tube_current_ma double precision,
    exposure_uas double precision,
    exposure_time_ms double precision,
    filters text,
    frames bigint,
    pulse_rate double precision,
    source_detector_mm double precision,
    source_patient_mm double precision,
    primary_angle_deg double precision,
    secondary_angle_deg double precision,
    agd_mgy double precision,
    laterality text,
    view text,
    compressed_thickness_mm double precision,
    hvl_mm double precision,
    target text,
    exposure_index double precision,
    deviation_index double precision,
    PRIMARY KEY (study_instance_uid, irradiation_event_uid)
);

CREATE TABLE xray_source (
    study_instance_uid text NOT NULL,
    irradiation_event_uid text NOT NULL,
    number integer NOT NULL,
    kvp double precision,
    tube_current_ma double precision,
    exposure_uas double precision,
    exposure_time_ms double precision,
    pulse_width_ms double precision,
    filter_material text,
    filter_thickness_min_mm double precision,
    filter_thickness_max_mm double precision,
    identification text,
    PRIMARY KEY (study_instance_uid, irradiation_event_uid, number)
);

CREATE TABLE imaging_order (
    placer_order_number text,
    filler_order_number text,
    accession_number text,
    study_instance_uid text,
    patient_authority text,
    patient_id text,
    procedure_code text,
    procedure_meaning text,
    modality text,
    scheduled_at timestamptz,
    ordered_at timestamptz,
    status text,
    state text NOT NULL,
    duplicate_of text,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    row_key text NOT NULL,
    grp bigint NOT NULL,
    content_hash text NOT NULL,
    rules_hash text NOT NULL,
    PRIMARY KEY (grp, row_key)
);
CREATE INDEX imaging_order_accession ON imaging_order (accession_number);
CREATE INDEX imaging_order_patient ON imaging_order (patient_id);

CREATE TABLE anomaly (
    kind text NOT NULL,
    subject text NOT NULL,
    detail jsonb NOT NULL,
    first_seen_at timestamptz NOT NULL,
    grp bigint NOT NULL
);
CREATE INDEX anomaly_grp ON anomaly (grp);

-- Rows to publish: one mark per study, kept until its newest revision is on the topic.
CREATE TABLE outbox (study_instance_uid text PRIMARY KEY, revision bigint NOT NULL);
