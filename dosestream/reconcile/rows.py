"""What derivation makes: one frozen dataclass per table, columns as the contract names them.

Absent is None, never 0. Times are microseconds since 1970 UTC.
"""

from dataclasses import dataclass, field

Evidence = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientRow:
    """One identity; demographics are those of the identity it was finally merged into."""

    patient_authority: str
    patient_id: str
    merged_into_authority: str | None
    merged_into_id: str | None
    patient_name: str | None
    patient_birth_date: str | None
    patient_sex: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRow:
    """One row of dose.imaging_order: one procedure within a placer or filler order."""

    row_key: str
    placer_order_number: str | None
    filler_order_number: str | None
    accession_number: str | None
    study_instance_uid: str | None
    patient_authority: str | None
    patient_id: str | None
    procedure_code: str | None
    procedure_meaning: str | None
    modality: str | None
    scheduled_at: int | None
    ordered_at: int | None
    status: str | None
    state: str
    duplicate_of: str | None = None
    next_due: int | None = None
    # When window and grace are over.
    closes_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyOrderRow:
    """One link between a study and an order."""

    study_instance_uid: str
    row_key: str
    filler_order_number: str | None
    placer_order_number: str | None
    accession_number: str | None
    method: str
    is_primary: bool
    evidence: Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRow:
    """One row of dose.study, without what is told of dose."""

    study_instance_uid: str
    study_datetime: int | None
    study_local_datetime: str | None
    study_time_zone: str | None
    institution: str | None
    patient_authority: str | None
    patient_id: str | None
    patient_name: str | None
    patient_birth_date: str | None
    patient_sex: str | None
    patient_age_years: float | None
    patient_size_m: float | None
    patient_weight_kg: float | None
    accession_number: str | None
    accession_issuer: str | None
    placer_order_number: str | None
    filler_order_number: str | None
    requested_procedure_id: str | None
    procedure_code: str | None
    procedure_scheme: str | None
    procedure_meaning: str | None
    study_description: str | None
    order_status: str | None
    referring_physician: str | None
    station_name: str | None
    manufacturer: str | None
    model: str | None
    link_state: str
    link_method: str | None
    phase: str
    excluded: bool
    # Modality of the instances, used where no dose report tells another.
    header_modality: str | None
    next_due: int | None
    evidence: Evidence
    # When window and grace are over.
    closes_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyRow:
    """Something a person should look at, found in the facts."""

    kind: str
    subject: str
    detail: Evidence
    first_seen_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRow:
    """One radiology report.

    Attributes:
        text_of: event id of the message whose text holds, None where none has a text.
        text_digest: that text's digest: texts themselves may be long and stay with their messages.
        reported_at: as the newest message says.
        finalized_at: when it was first final, corrected or authenticated.
    """

    report_key: str
    study_instance_uid: str | None
    accession_number: str | None
    status: str | None
    text_of: str | None
    text_digest: str | None
    reported_at: int | None
    finalized_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """One scheduled procedure step that the worklist offers; text as the order says it, names as DICOM PN.

    Attributes:
        row_key: of the order's row.
        step_key: the scheduled step id as the order names it, empty where it names none.
        scheduled_step_id: as offered: where the order names none, the requested procedure id, which in turn is
            the accession or order number where the order names none (both are type 1 in a worklist).
        study_instance_uid: the order's, else one made from its numbers.
        patient_authority: of the survivor, as the other patient fields.
        station_ae_titles: none where the order names no station.
    """

    row_key: str
    step_key: str
    study_instance_uid: str
    accession_number: str | None
    accession_issuer: str | None
    requested_procedure_id: str | None
    scheduled_step_id: str | None
    placer_order_number: str | None
    filler_order_number: str | None
    patient_authority: str | None
    patient_id: str | None
    patient_name: str | None
    patient_birth_date: str | None
    patient_sex: str | None
    modality: str | None
    scheduled_at: int | None
    ordered_at: int | None
    status: str
    station_ae_titles: list[str]
    station_name: str | None
    station_location: str | None
    procedure_code: str | None
    procedure_scheme: str | None
    procedure_meaning: str | None
    step_code: str | None
    step_scheme: str | None
    step_meaning: str | None
    performing_physician: str | None
    requesting_physician: str | None
    referring_physician: str | None
    priority: str | None
    reason: str | None
    weight_kg: str | None
    height_m: str | None
    allergies: str | None
    patient_state: str | None
    visit_number: str | None
    location: str | None


@dataclass(frozen=True, slots=True)
class GroupRows:
    """Everything derived from one group.

    `window_keys` are the further identifiers it must be joined by: patient, modality family and day of its
    studies that wait and its orders without a study. A group that shares one is part of it: derive both together.
    """

    studies: tuple[StudyRow, ...] = ()
    orders: tuple[OrderRow, ...] = ()
    links: tuple[StudyOrderRow, ...] = ()
    anomalies: tuple[AnomalyRow, ...] = ()
    window_keys: frozenset[str] = frozenset()
    reports: tuple[ReportRow, ...] = ()
    steps: tuple[StepRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DoseTotalRow:
    """One total of one report, as stated and as its events sum up; in `unit`."""

    study_instance_uid: str
    quantity: str
    mode: str
    plane: str | None
    phantom: str | None
    laterality: str | None
    stated: float | None
    from_events: float | None
    unit: str
    sop_instance_uid: str
    stored_value: str | None = None
    stored_unit: str | None = None
    dose_source: str | None = None
    confidence: str | None = None
    # Whether the two lie further apart than rounding explains; None where they are not compared.
    differs: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DoseSummary:
    """The dose columns of dose.study."""

    modality: str | None = None
    event_count: int | None = None
    ct_dlp_total_mgycm: float | None = None
    dap_total_gym2: float | None = None
    dose_rp_total_gy: float | None = None
    fluoro_time_s: float | None = None
    agd_left_mgy: float | None = None
    agd_right_mgy: float | None = None
    administered_activity_mbq: float | None = None
    effective_dose_msv: float | None = None
    total_source: str | None = None
    radionuclide: str | None = None
    radiopharmaceutical: str | None = None
    dose_source: str | None = None
    dose_confidence: str | None = None
    unread: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRow:
    """A total of a study that reached a threshold; value and threshold in `unit`.

    `first_triggered_at` is the receipt with which it was first known.
    """

    study_instance_uid: str
    kind: str
    value: float
    threshold: float
    unit: str
    first_triggered_at: int | None
