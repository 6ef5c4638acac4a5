-- The public views over one generation; {views} and {tables} are schema names. Columns may be added at the end only.

CREATE OR REPLACE VIEW {views}.study AS
SELECT study_instance_uid, modality, study_datetime, institution, patient_authority, patient_id, patient_name,
       patient_birth_date, patient_sex, patient_age_years, patient_size_m, patient_weight_kg, accession_number,
       accession_issuer, placer_order_number, filler_order_number, requested_procedure_id, procedure_code,
       procedure_scheme, procedure_meaning, study_description, order_status, referring_physician, station_name,
       manufacturer, model, link_state, link_method, phase, excluded, event_count, ct_dlp_total_mgycm,
       dap_total_gym2, dose_rp_total_gy, fluoro_time_s, agd_left_mgy, agd_right_mgy, administered_activity_mbq,
       effective_dose_msv, total_source, radionuclide, radiopharmaceutical, revision, rules_hash, updated_at,
       evidence, study_local_datetime, study_time_zone,
       dose_source, dose_confidence
FROM {tables}.study;

CREATE OR REPLACE VIEW {views}.study_order AS
SELECT study_instance_uid, filler_order_number, placer_order_number, accession_number, method, is_primary, evidence
FROM {tables}.study_order;

CREATE OR REPLACE VIEW {views}.dose_total AS
SELECT study_instance_uid, quantity, mode, plane, phantom, laterality, stated, from_events, unit, sop_instance_uid,
       stored_value, stored_unit, dose_source, confidence, differs
FROM {tables}.dose_total;

CREATE OR REPLACE VIEW {views}.irradiation_event AS
SELECT study_instance_uid, irradiation_event_uid, sop_instance_uid, started_at, acquisition_type, protocol,
       target_region, plane, ctdivol_mgy, ctdi_phantom, dlp_mgycm, ssde_mgy, pitch, scan_length_mm, dap_gym2,
       dose_rp_gy, kvp, tube_current_ma, exposure_uas, exposure_time_ms, filters, frames, pulse_rate,
       source_detector_mm, source_patient_mm, primary_angle_deg, secondary_angle_deg, agd_mgy, laterality, view,
       compressed_thickness_mm, hvl_mm, target, exposure_index, deviation_index,
       dose_source, confidence, fluoroscopy,
       (measured->>'reconstructable_length_mm')::double precision AS reconstructable_length_mm,
       (measured->>'exposed_range_mm')::double precision AS exposed_range_mm,
       (measured->>'reconstructable_top_mm')::double precision AS reconstructable_top_mm,
       (measured->>'reconstructable_bottom_mm')::double precision AS reconstructable_bottom_mm,
       (measured->>'scan_top_mm')::double precision AS scan_top_mm,
       (measured->>'scan_bottom_mm')::double precision AS scan_bottom_mm,
       (measured->>'single_collimation_mm')::double precision AS single_collimation_mm,
       (measured->>'total_collimation_mm')::double precision AS total_collimation_mm,
       (measured->>'xray_source_count')::double precision AS xray_source_count,
       (measured->>'ctdi_free_air_mgy')::double precision AS ctdi_free_air_mgy,
       (measured->>'effective_dose_msv')::double precision AS effective_dose_msv,
       (measured->>'water_equivalent_diameter_mm')::double precision AS water_equivalent_diameter_mm,
       (measured->>'water_equivalent_diameter_z_mm')::double precision AS water_equivalent_diameter_z_mm,
       (measured->>'lateral_dimension_mm')::double precision AS lateral_dimension_mm,
       (measured->>'ap_dimension_mm')::double precision AS ap_dimension_mm,
       (measured->>'effective_diameter_mm')::double precision AS effective_diameter_mm,
       (measured->>'entrance_exposure_mgy')::double precision AS entrance_exposure_mgy,
       (measured->>'patient_equivalent_thickness_mm')::double precision AS patient_equivalent_thickness_mm,
       (measured->>'target_exposure_index')::double precision AS target_exposure_index,
       (measured->>'irradiation_duration_s')::double precision AS irradiation_duration_s,
       (measured->>'collimated_area_m2')::double precision AS collimated_area_m2,
       (measured->>'collimated_height_mm')::double precision AS collimated_height_mm,
       (measured->>'collimated_width_mm')::double precision AS collimated_width_mm,
       (measured->>'source_reference_point_mm')::double precision AS source_reference_point_mm,
       (measured->>'source_isocenter_mm')::double precision AS source_isocenter_mm,
       (measured->>'source_table_mm')::double precision AS source_table_mm,
       (measured->>'primary_end_angle_deg')::double precision AS primary_end_angle_deg,
       (measured->>'secondary_end_angle_deg')::double precision AS secondary_end_angle_deg,
       (measured->>'column_angulation_deg')::double precision AS column_angulation_deg,
       (measured->>'table_longitudinal_mm')::double precision AS table_longitudinal_mm,
       (measured->>'table_lateral_mm')::double precision AS table_lateral_mm,
       (measured->>'table_height_mm')::double precision AS table_height_mm,
       (measured->>'table_longitudinal_end_mm')::double precision AS table_longitudinal_end_mm,
       (measured->>'table_lateral_end_mm')::double precision AS table_lateral_end_mm,
       (measured->>'table_height_end_mm')::double precision AS table_height_end_mm,
       (measured->>'table_head_tilt_deg')::double precision AS table_head_tilt_deg,
       (measured->>'table_horizontal_rotation_deg')::double precision AS table_horizontal_rotation_deg,
       (measured->>'table_cradle_tilt_deg')::double precision AS table_cradle_tilt_deg,
       (measured->>'compression_force_n')::double precision AS compression_force_n,
       (measured->>'compression_pressure_kpa')::double precision AS compression_pressure_kpa,
       (measured->>'compression_contact_area_mm2')::double precision AS compression_contact_area_mm2,
       (measured->>'table_head_tilt_end_deg')::double precision AS table_head_tilt_end_deg,
       (measured->>'table_horizontal_rotation_end_deg')::double precision AS table_horizontal_rotation_end_deg,
       (measured->>'table_cradle_tilt_end_deg')::double precision AS table_cradle_tilt_end_deg,
       (measured->>'table_x_mm')::double precision AS table_x_mm,
       (measured->>'table_y_mm')::double precision AS table_y_mm,
       (measured->>'table_z_mm')::double precision AS table_z_mm,
       (measured->>'table_x_end_mm')::double precision AS table_x_end_mm,
       (measured->>'table_y_end_mm')::double precision AS table_y_end_mm,
       (measured->>'table_z_end_mm')::double precision AS table_z_end_mm,
       (measured->>'filter_aluminium_mm')::double precision AS filter_aluminium_mm,
       (measured->>'focal_spot_mm')::double precision AS focal_spot_mm,
       (measured->>'rotation_time_ms')::double precision AS rotation_time_ms,
       (measured->>'tube_current_max_ma')::double precision AS tube_current_max_ma,
       (measured->>'entrance_dose_mgy')::double precision AS entrance_dose_mgy,
       described->>'fluoro_mode' AS fluoro_mode, described->>'grid' AS grid,
       described->>'view_modifier' AS view_modifier, described->>'modulation' AS modulation,
       described->>'filter_types' AS filter_types, described->>'reference_point' AS reference_point,
       described->>'event_label' AS event_label, described->>'event_label_type' AS event_label_type,
       described->>'eponymous_name' AS eponymous_name, described->>'patient_orientation' AS patient_orientation,
       described->>'patient_orientation_modifier' AS patient_orientation_modifier,
       described->>'patient_table_relationship' AS patient_table_relationship,
       described->>'detector_type' AS detector_type,
       described->>'mechanical_configuration' AS mechanical_configuration,
       described->>'dose_information_source' AS dose_information_source, described->>'comment' AS comment,
       described->>'procedure_context' AS procedure_context, described->>'ssde_method' AS ssde_method,
       described->>'water_equivalent_diameter_method' AS water_equivalent_diameter_method,
       described->>'effective_dose_method' AS effective_dose_method, stored,
       ssde_computed_mgy, ssde_computed_method, ssde_diameter_mm,
       (measured->>'isocenter_primary_angle_deg')::double precision AS isocenter_primary_angle_deg,
       (measured->>'isocenter_secondary_angle_deg')::double precision AS isocenter_secondary_angle_deg,
       (measured->>'isocenter_rotation_deg')::double precision AS isocenter_rotation_deg,
       (measured->>'isocenter_primary_end_angle_deg')::double precision AS isocenter_primary_end_angle_deg,
       (measured->>'isocenter_secondary_end_angle_deg')::double precision AS isocenter_secondary_end_angle_deg,
       (measured->>'isocenter_rotation_end_deg')::double precision AS isocenter_rotation_end_deg,
       described->>'reconstruction' AS reconstruction, described->>'repeated' AS repeated,
       described->>'repeat_reason' AS repeat_reason
FROM {tables}.irradiation_event;

CREATE OR REPLACE VIEW {views}.xray_source AS
SELECT study_instance_uid, irradiation_event_uid, number, kvp, tube_current_ma, exposure_uas, exposure_time_ms,
       pulse_width_ms, filter_material, filter_thickness_min_mm, filter_thickness_max_mm, identification,
       (measured->>'filter_aluminium_mm')::double precision AS filter_aluminium_mm,
       (measured->>'focal_spot_mm')::double precision AS focal_spot_mm,
       (measured->>'rotation_time_ms')::double precision AS rotation_time_ms,
       (measured->>'tube_current_max_ma')::double precision AS tube_current_max_ma
FROM {tables}.xray_source;

CREATE OR REPLACE VIEW {views}.dose_check AS
SELECT study_instance_uid, irradiation_event_uid, number, kind, dlp_configured, ctdivol_configured, dlp_value_mgycm,
       ctdivol_value_mgy, dlp_estimate_mgycm, ctdivol_estimate_mgy, reason, person
FROM {tables}.dose_check;

CREATE OR REPLACE VIEW {views}.administration AS
SELECT study_instance_uid, sop_instance_uid, number, administration_uid, agent, radionuclide, route, site, laterality,
       started_at, ended_at, activity_mbq, effective_dose_msv,
       (measured->>'pre_administration_mbq')::double precision AS pre_administration_mbq,
       (measured->>'post_administration_mbq')::double precision AS post_administration_mbq,
       (measured->>'extravasation_mbq')::double precision AS extravasation_mbq,
       (measured->>'volume_ml')::double precision AS volume_ml,
       (measured->>'half_life_s')::double precision AS half_life_s, dose_source
FROM {tables}.administration;

CREATE OR REPLACE VIEW {views}.organ_dose AS
SELECT study_instance_uid, sop_instance_uid, number, organ, laterality, quantity, dose_mgy, equivalent_msv, method, estimate
FROM {tables}.organ_dose;

-- What could not be read of a report that arrived: code or tag, and why.
CREATE OR REPLACE VIEW {views}.unread AS
SELECT study_instance_uid, sop_instance_uid, item FROM {tables}.unread;

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
                                'dose_check', 'administration', 'organ_dose', 'unread', 'imaging_order', 'patient', 'report', 'turnaround', 'anomaly', 'message', 'quarantine',
                                'source', 'scheduled_step', 'missing_report']
    LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER read_only INSTEAD OF INSERT OR UPDATE OR DELETE ON {views}.%I '
                       'FOR EACH ROW EXECUTE FUNCTION {views}.refuse_writing()', name);
    END LOOP;
END $$;
