-- Public views of what is known beyond what reports state, over those of views.sql; {views} and {tables} are schema
-- names. Columns may be added at the end only. Functions read the views, so that whoever may read those may call them.

-- Studies whose dose reached a threshold.
CREATE OR REPLACE VIEW {views}.alert AS
SELECT study_instance_uid, kind, value, threshold, unit, first_triggered_at, revision, updated_at
FROM {tables}.alert WHERE NOT withdrawn;

-- The totals of studies and the numbers of irradiations that are compared and added up, one row each.
CREATE OR REPLACE VIEW {views}.study_quantity AS
SELECT s.study_instance_uid, q.quantity, q.value, q.unit
FROM {tables}.study s, LATERAL (VALUES
    ('ct_dlp', s.ct_dlp_total_mgycm, 'mGy.cm'),
    ('dap', s.dap_total_gym2, 'Gy.m2'),
    ('dose_rp', s.dose_rp_total_gy, 'Gy'),
    ('fluoro_time', s.fluoro_time_s, 's'),
    ('agd_left', s.agd_left_mgy, 'mGy'),
    ('agd_right', s.agd_right_mgy, 'mGy'),
    ('administered_activity', s.administered_activity_mbq, 'MBq'),
    ('effective_dose', s.effective_dose_msv, 'mSv')
) AS q (quantity, value, unit)
WHERE q.value IS NOT NULL AND NOT s.excluded;

CREATE OR REPLACE VIEW {views}.event_quantity AS
SELECT e.study_instance_uid, e.irradiation_event_uid, q.quantity, q.value, q.unit
FROM {tables}.irradiation_event e JOIN {tables}.study s USING (study_instance_uid), LATERAL (VALUES
    ('event_ctdivol', e.ctdivol_mgy, 'mGy'),
    ('event_dlp', e.dlp_mgycm, 'mGy.cm'),
    ('event_ssde', e.ssde_mgy, 'mGy'),
    ('event_ssde_computed', e.ssde_computed_mgy, 'mGy'),
    ('event_dap', e.dap_gym2, 'Gy.m2'),
    ('event_dose_rp', e.dose_rp_gy, 'Gy'),
    ('event_agd', e.agd_mgy, 'mGy'),
    ('event_entrance_dose', (e.measured->>'entrance_dose_mgy')::double precision, 'mGy')
) AS q (quantity, value, unit)
WHERE q.value IS NOT NULL AND NOT s.excluded;

-- What patients got in a period, since its start and before its end. Added as decimals: the same in any order.
CREATE OR REPLACE FUNCTION {views}.cumulative_between(since timestamptz, until timestamptz)
RETURNS TABLE (
    patient_authority text, patient_id text, quantity text, unit text, studies bigint, total double precision,
    doubtful bigint, first_study_at timestamptz, last_study_at timestamptz
) LANGUAGE sql STABLE AS $$
    SELECT s.patient_authority, s.patient_id, q.quantity, q.unit, count(*), sum(q.value::numeric)::double precision,
           count(*) FILTER (WHERE s.link_state IN ('conflict', 'ambiguous')), min(s.study_datetime), max(s.study_datetime)
    FROM {views}.study s JOIN {views}.study_quantity q USING (study_instance_uid)
    WHERE s.patient_id IS NOT NULL AND s.study_datetime >= $1 AND s.study_datetime < $2
    GROUP BY s.patient_authority, s.patient_id, q.quantity, q.unit
$$;

-- The year before the newest tick.
CREATE OR REPLACE VIEW {views}.last_year AS
SELECT c.at - interval '1 year' AS since, c.at AS until FROM {tables}.clock c;

CREATE OR REPLACE VIEW {views}.cumulative AS
SELECT f.patient_authority, f.patient_id, f.quantity, f.unit, y.since, y.until, f.studies, f.total, f.doubtful,
       f.first_study_at, f.last_study_at
FROM {views}.last_year y, LATERAL {views}.cumulative_between(y.since, y.until) f;

-- The site's levels, as its configuration has them.
CREATE OR REPLACE VIEW {views}.reference_level AS
SELECT name, modality, procedure_code, protocol, age_from, age_to, weight_from, weight_to, quantity, value, unit, source
FROM {tables}.reference_level;

-- Every study and irradiation beside each level that is of it. One of unknown age or weight is of no band.
CREATE OR REPLACE VIEW {views}.reference_level_comparison AS
SELECT q.study_instance_uid, l.name AS reference_level, l.quantity, q.value, l.value AS level, l.unit,
       q.value / l.value AS ratio, q.value > l.value AS over, q.irradiation_event_uid, q.protocol, s.procedure_code,
       s.institution, s.station_name, s.study_datetime, l.source
FROM {tables}.reference_level l
JOIN (
    SELECT study_instance_uid, NULL::text AS irradiation_event_uid, NULL::text AS protocol, quantity, value
    FROM {views}.study_quantity
    UNION ALL
    SELECT study_instance_uid, irradiation_event_uid, e.protocol, quantity, value
    FROM {views}.event_quantity JOIN {tables}.irradiation_event e USING (study_instance_uid, irradiation_event_uid)
) q ON q.quantity = l.quantity
JOIN {tables}.study s ON s.study_instance_uid = q.study_instance_uid
WHERE (l.modality IS NULL OR l.modality = ANY (string_to_array(s.modality, '\')))
  AND (l.procedure_like IS NULL OR s.procedure_code ILIKE l.procedure_like)
  AND (l.protocol_like IS NULL
       OR CASE WHEN q.irradiation_event_uid IS NOT NULL THEN q.protocol ILIKE l.protocol_like
               ELSE EXISTS (SELECT FROM {tables}.irradiation_event e
                            WHERE e.study_instance_uid = s.study_instance_uid AND e.protocol ILIKE l.protocol_like) END)
  AND (l.age_from IS NULL OR s.patient_age_years >= l.age_from)
  AND (l.age_to IS NULL OR s.patient_age_years < l.age_to)
  AND (l.weight_from IS NULL OR s.patient_weight_kg >= l.weight_from)
  AND (l.weight_to IS NULL OR s.patient_weight_kg < l.weight_to);

-- The median by room and protocol (of studies: procedure code) beside the level it is to be held against.
CREATE OR REPLACE FUNCTION {views}.reference_level_median_between(since timestamptz, until timestamptz)
RETURNS TABLE (
    reference_level text, institution text, station_name text, procedure_code text, protocol text, quantity text,
    count bigint, median double precision, level double precision, unit text, ratio double precision, over boolean
) LANGUAGE sql STABLE AS $$
    SELECT m.reference_level, m.institution, m.station_name, m.procedure_code, m.protocol, m.quantity, m.count,
           m.median, m.level, m.unit, m.median / m.level, m.median > m.level
    FROM (
        SELECT c.reference_level, c.institution, c.station_name, c.procedure_code, c.protocol, c.quantity, c.level,
               c.unit, count(*) AS count, percentile_cont(0.5) WITHIN GROUP (ORDER BY c.value) AS median
        FROM {views}.reference_level_comparison c
        WHERE c.study_datetime >= $1 AND c.study_datetime < $2
        GROUP BY c.reference_level, c.institution, c.station_name, c.procedure_code, c.protocol, c.quantity, c.level, c.unit
    ) m
$$;

CREATE OR REPLACE VIEW {views}.reference_level_median AS
SELECT f.reference_level, f.institution, f.station_name, f.procedure_code, f.protocol, f.quantity, f.count, f.median,
       f.level, f.unit, f.ratio, f.over, y.since, y.until
FROM {views}.last_year y, LATERAL {views}.reference_level_median_between(y.since, y.until) f;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['alert', 'study_quantity', 'event_quantity', 'last_year', 'cumulative', 'reference_level',
                                'reference_level_comparison', 'reference_level_median']
    LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER read_only INSTEAD OF INSERT OR UPDATE OR DELETE ON {views}.%I '
                       'FOR EACH ROW EXECUTE FUNCTION {views}.refuse_writing()', name);
    END LOOP;
END $$;
