"""Events known by a number: their ids do not come from their content, so that one message can be told otherwise."""

from typing import Any

from dosestream.events.records import Demographics, DoseReport, Identifier, Order, Patient, Study

# 2026-03-02 08:00 UTC.
START = 1_772_438_400_000_000
UID = "1.2.1"
DOSE_SR = "1.2.840.10008.5.1.4.1.1.88.67"


def envelope(
    number: int, message_type: str = "", at: int | None = None, source: str = "RIS|HOSP"
) -> dict[str, Any]:
    """What every event says; `at` microseconds after the start, as many as the number unless given."""
    said = START + (number if at is None else at)
    return {
        "event_id": f"{number:032d}",
        "source": source,
        "control_id": f"M{number}",
        "message_type": message_type,
        "received_at": said,
        "raw_partition": 0,
        "raw_offset": number,
        "event_time": said,
        "message_time": said,
    }


def person(value: str, name: str = "", authority: str = "HOSP") -> Demographics:
    """A patient of one identifier."""
    return Demographics(identifiers=(Identifier(authority=authority, value=value),), name=name)


def order(
    number: int, accession: str = "A1", who: str = "P1", at: int | None = None, placer: str = ""
) -> Order:
    """A new order; its placer number is that of the accession unless given."""
    return Order(
        **envelope(number, "ORM^O01", at),
        control_code="NW",
        order_status="SC",
        patient=person(who),
        placer_order_number=placer or f"PL{accession}",
        accession_number=accession,
    )


def report(
    number: int,
    uid: str = UID,
    accession: str = "A1",
    who: str = "P1",
    at: int | None = None,
    dose: DoseReport | None = None,
) -> Study:
    """A dose report of a study that began at the start; its patient has no authority."""
    return Study(
        **envelope(number, DOSE_SR, at),
        kind="dose_report",
        study_instance_uid=uid,
        sop_instance_uid=f"{uid}.1",
        sop_class_uid=DOSE_SR,
        study_at=START,
        accession_number=accession,
        patient=person(who, authority=""),
        dose=dose,
    )


def named(number: int, name: str = "DOE^JANE", who: str = "P1", at: int | None = None) -> Patient:
    """An ADT message that says a patient's name."""
    return Patient(
        **envelope(number, "ADT^A08", at), action="update", trigger="A08", patient=person(who, name)
    )


def merged(number: int, away: str, into: str, at: int | None = None) -> Patient:
    """An ADT message that merges one patient into another."""
    return Patient(
        **envelope(number, "ADT^A40", at),
        action="merge",
        trigger="A40",
        patient=person(into),
        prior_identifiers=person(away).identifiers,
    )
