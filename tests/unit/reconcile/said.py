"""What sources say, for tests: events with the fields that matter and defaults for the rest."""

from dosestream.events.identity import content_hash
from dosestream.events.records import (
    Appointment,
    Decision,
    Demographics,
    DoseReport,
    DoseTotal,
    Identifier,
    IrradiationEvent,
    Order,
    Patient,
    Report,
    RequestReference,
    Study,
)

# 2026-03-02 08:00 UTC; tests count in seconds from here.
MORNING = 1_772_438_400_000_000
SECOND = 1_000_000


def at(second: float) -> int:
    """Microseconds since 1970 UTC, `second` after the morning began."""
    return MORNING + int(second * SECOND)


def person(
    *identifiers: str, name: str = "", birth_date: str = "", sex: str = "", authority: str = "HOSP"
) -> Demographics:
    """A patient as named: identifiers as `value` or `value@AUTHORITY`."""
    parts = (text.partition("@") for text in identifiers)
    return Demographics(
        identifiers=tuple(Identifier(authority=a or authority, value=v) for v, _, a in parts),
        name=name,
        birth_date=birth_date,
        sex=sex,
    )


def unissued(value: str, name: str = "", birth_date: str = "") -> Demographics:
    """A patient as a dose report names it: no issuer."""
    return Demographics(
        identifiers=(Identifier(authority="", value=value),), name=name, birth_date=birth_date
    )


def envelope(said_at: float, received: float | None, identity: object) -> dict[str, object]:
    """The envelope of an event said at a second, received then or later; its id comes from its content."""
    return {
        "event_id": content_hash(repr(identity).encode())[:32],
        "source": "RIS|HOSP",
        "control_id": f"M{content_hash(repr(identity).encode())[:8]}",
        "received_at": at(said_at if received is None else received),
        "raw_partition": 0,
        "raw_offset": 0,
        "event_time": at(said_at),
        "event_time_path": "MSH-7",
        "message_time": at(said_at),
    }


def adt(
    said_at: float,
    patient: Demographics,
    prior: Demographics | None = None,
    action: str = "",
    received: float | None = None,
    **fields: object,
) -> Patient:
    """An ADT message; with `prior` a merge."""
    action = action or ("merge" if prior else "update")
    trigger = {"merge": "A40", "change_id": "A47"}.get(action, "A08")
    return Patient(
        **envelope(said_at, received, ("adt", said_at, patient, prior, action, fields))  # type: ignore[arg-type]
        | {"trigger": trigger}
        | fields,
        action=action,
        patient=patient,
        prior_identifiers=prior.identifiers if prior else (),
    )


def order(
    said_at: float,
    code: str = "NW",
    status: str = "SC",
    patient: Demographics | None = None,
    received: float | None = None,
    **fields: object,
) -> Order:
    """An order message; fields by their names in the schema."""
    return Order(
        **envelope(said_at, received, ("order", said_at, code, status, patient, fields)) | fields,  # type: ignore[arg-type]
        control_code=code,
        order_status=status,
        patient=patient,
    )


def appointment(
    said_at: float, trigger: str = "S12", received: float | None = None, **fields: object
) -> Appointment:
    """An SIU message; fields by their names in the schema."""
    return Appointment(
        **envelope(said_at, received, ("appointment", said_at, trigger, fields)) | fields,  # type: ignore[arg-type]
        trigger=trigger,
    )


def report(
    said_at: float,
    status: str = "F",
    text: str = "",
    patient: Demographics | None = None,
    received: float | None = None,
    **fields: object,
) -> Report:
    """A report message (ORU); fields by their names in the schema."""
    given = {"trigger": "R01", "reported_at": at(said_at), **fields}
    return Report(
        **envelope(said_at, received, ("report", said_at, status, text, patient, given)) | given,  # type: ignore[arg-type]
        status=status,
        text=text,
        patient=patient,
    )


def arrival(
    said_at: float,
    uid: str = "1.2.3",
    sop: str = "",
    patient: Demographics | None = None,
    requests: tuple[RequestReference, ...] = (),
    dose: DoseReport | None = None,
    received: float | None = None,
    **fields: object,
) -> Study:
    """A dose report that arrived; the study begins when it is said."""
    given = {"kind": "dose_report", "modality": "SR", "study_at": at(said_at), **fields}
    return Study(
        **envelope(said_at, received, ("study", said_at, uid, sop, patient, requests, dose, given)) | given,  # type: ignore[arg-type]
        study_instance_uid=uid,
        sop_instance_uid=sop or f"{uid}.1",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.67",
        patient=patient or Demographics(),
        requests=requests,
        dose=dose,
    )


def decision(made_at: float, kind: str, uid: str = "", withdrawn: bool = False, **fields: object) -> Decision:
    """What a person decided at a second."""
    return Decision(
        event_id=content_hash(repr(("decision", made_at, kind, uid, withdrawn, fields)).encode())[:32],
        received_at=at(made_at),
        kind=kind,
        withdrawn=withdrawn,
        by="duty",
        study_instance_uid=uid,
        **fields,  # type: ignore[arg-type]
    )


def ct_report(*events: str, stated: float | None = None, each: float = 10.0) -> DoseReport:
    """A CT dose report with these irradiation events, `each` mGy.cm an event."""
    totals = () if stated is None else (DoseTotal(quantity="ct_dlp", value=stated, unit="mGy.cm"),)
    return DoseReport(
        template="10011",
        totals=totals,
        events=tuple(IrradiationEvent(irradiation_event_uid=uid, dlp_mgycm=each) for uid in events),
    )
