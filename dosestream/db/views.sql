-- The public views over one generation; {views} and {tables} are schema names. Columns may be added at the end only.

CREATE OR REPLACE VIEW {views}.study AS
SELECT study_instance_uid, modality, study_datetime, institution, patient_authority, patient_id, patient_name,
       patient_birth_date, patient_sex, patient_age_years, patient_size_m, patient_weight_kg, accession_number,
       accession_issuer, placer_order_number, filler_order_number, requested_procedure_id, procedure_code,
       procedure_scheme, procedure_meaning, study_description, order_status, referring_physician, station_name,
       manufacturer, model, link_state, link_method, phase, excluded, event_count, ct_dlp_total_mgycm,
       dap_total_gym2, dose_rp_total_gy, fluoro_time_s, agd_left_mgy, agd_right_mgy, administered_activity_mbq,
       effective_dose_msv, total_source, radionuclide, radiopharmaceutical, revision, rules_hash, updated_at,
       evidence, study_local_datetime, study_time_zone
FROM {tables}.study;

CREATE OR REPLACE VIEW {views}.study_order AS
SELECT study_instance_uid, filler_order_number, placer_order_number, accession_number, method, is_primary, evidence
FROM {tables}.study_order;

CREATE OR REPLACE VIEW {views}.dose_total AS
SELECT study_instance_uid, quantity, mode, plane, phantom, laterality, stated, from_events, unit, sop_instance_uid
FROM {tables}.dose_total;

CREATE OR REPLACE VIEW {views}.irradiation_event AS
SELECT study_instance_uid, irradiation_event_uid, sop_instance_uid, started_at, acquisition_type, protocol,
       target_region, plane, ctdivol_mgy, ctdi_phantom, dlp_mgycm, ssde_mgy, pitch, scan_length_mm, dap_gym2,
       dose_rp_gy, kvp, tube_current_ma, exposure_uas, exposure_time_ms, filters, frames, pulse_rate,
       source_detector_mm, source_patient_mm, primary_angle_deg, secondary_angle_deg, agd_mgy, laterality, view,
       compressed_thickness_mm, hvl_mm, target, exposure_index, deviation_index
FROM {tables}.irradiation_event;

CREATE OR REPLACE VIEW {views}.xray_source AS
SELECT study_instance_uid, irradiation_event_uid, number, kvp, tube_current_ma, exposure_uas, exposure_time_ms,
       pulse_width_ms, filter_material, filter_thickness_min_mm, filter_thickness_max_mm, identification
FROM {tables}.xray_source;

CREATE OR REPLACE VIEW {views}.imaging_order AS
SELECT placer_order_number, filler_order_number, accession_number, study_instance_uid, patient_authority, patient_id,
       procedure_code, procedure_meaning, modality, scheduled_at, ordered_at, status, state, duplicate_of, updated_at
FROM {tables}.imaging_order;

CREATE OR REPLACE VIEW {views}.patient AS
SELECT patient_authority, patient_id, merged_into_authority, merged_into_id, patient_name, patient_birth_date,
       patient_sex
FROM {tables}.patient;

CREATE OR REPLACE VIEW {views}.report AS
SELECT study_instance_uid, accession_number, status, text, reported_at
FROM {tables}.report;

CREATE OR REPLACE VIEW {views}.turnaround AS
SELECT s.study_instance_uid, o.ordered_at, o.scheduled_at, s.study_datetime AS started_at,
       (SELECT min(r.finalized_at) FROM {tables}.report r WHERE r.study_instance_uid = s.study_instance_uid) AS reported_at
FROM {tables}.study s
LEFT JOIN {tables}.study_order a ON a.study_instance_uid = s.study_instance_uid AND a.is_primary
LEFT JOIN {tables}.imaging_order o ON o.grp = s.grp AND o.row_key = a.row_key;

CREATE OR REPLACE VIEW {views}.anomaly AS
SELECT kind, subject, detail, first_seen_at FROM {tables}.anomaly;

CREATE OR REPLACE VIEW {views}.message AS
SELECT event_id, topic, partition, "offset", source, control_id, message_type, received_at, applied_at
FROM {tables}.message;

CREATE OR REPLACE VIEW {views}.quarantine AS
SELECT topic, partition, "offset", reason, value, quarantined_at FROM {tables}.quarantine;

-- A source is idle when the newest tick lies further behind its newest message than it may be silent.
CREATE OR REPLACE VIEW {views}.source AS
SELECT s.source, s.last_received_at, s.spoken_of - s.lateness AS watermark,
       coalesce((SELECT c.at FROM {tables}.clock c) - s.last_received_at > s.silence, false) AS idle
FROM {tables}.source s;

-- What the worklist offers now.
CREATE OR REPLACE VIEW {views}.scheduled_step AS
SELECT study_instance_uid, accession_number, accession_issuer, requested_procedure_id, scheduled_step_id,
       placer_order_number, filler_order_number, patient_authority, patient_id, patient_name, patient_birth_date,
       patient_sex, modality, scheduled_at, ordered_at, status, station_ae_titles, station_name, station_location,
       procedure_code, procedure_scheme, procedure_meaning, step_code, step_scheme, step_meaning,
       performing_physician, requesting_physician, referring_physician, priority, reason, weight_kg, height_m,
       allergies, patient_state, visit_number, location, patient_name_key, performing_physician_key,
       requesting_physician_key, referring_physician_key
FROM {tables}.scheduled_step;

-- Studies that were performed, and orders that were completed, without a dose report when their window and grace
-- were over. What uses no ionising radiation, or is no image, has none.
CREATE OR REPLACE VIEW {views}.missing_report AS
SELECT s.study_instance_uid, s.accession_number, s.study_datetime AS performed_at, heard.source,
       s.patient_authority, s.patient_id, s.modality, s.closes_at AS overdue_since
FROM {tables}.study s, LATERAL (
    SELECT string_agg(DISTINCT CASE f.header->>'kind' WHEN 'performed_step' THEN 'mpps'
                                                      WHEN 'available' THEN 'ian' ELSE 'images' END, ', ') AS source,
           bool_or(f.header->>'kind' = 'dose_report') AS reported
    FROM {tables}.fact f
    WHERE f.grp = s.grp AND f.kind = 'study' AND f.header->>'study_instance_uid' = s.study_instance_uid
) heard
WHERE NOT s.excluded AND NOT heard.reported AND s.closes_at < (SELECT c.at FROM {tables}.clock c)
  AND coalesce(s.modality, '') NOT IN ('MR', 'US', 'IVUS', 'ES', 'OP', 'OPT', 'GM', 'SM', 'XC', 'ECG', 'HD', 'SR', 'KO', 'PR', 'DOC')
UNION ALL
SELECT o.study_instance_uid, o.accession_number, o.scheduled_at, 'order', o.patient_authority, o.patient_id,
       o.modality, o.closes_at
FROM {tables}.imaging_order o
WHERE o.state = 'overdue' AND o.status = 'COMPLETED' AND o.closes_at < (SELECT c.at FROM {tables}.clock c)
  AND coalesce(o.modality, '') NOT IN ('MR', 'US', 'IVUS', 'ES', 'OP', 'OPT', 'GM', 'SM', 'XC', 'ECG', 'HD', 'SR', 'KO', 'PR', 'DOC');

-- The views are for reading: what they show is made from the messages, and a change by hand would not survive.
CREATE OR REPLACE FUNCTION {views}.refuse_writing() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'view % is read-only', TG_TABLE_NAME
        USING HINT = 'Rows are derived from messages and decisions: correct the message at its source.';
END $$;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['study', 'study_order', 'dose_total', 'irradiation_event', 'xray_source',
                                'imaging_order', 'patient', 'report', 'turnaround', 'anomaly', 'message', 'quarantine',
                                'source', 'scheduled_step', 'missing_report']
    LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER read_only INSTEAD OF INSERT OR UPDATE OR DELETE ON {views}.%I '
                       'FOR EACH ROW EXECUTE FUNCTION {views}.refuse_writing()', name);
    END LOOP;
END $$;
