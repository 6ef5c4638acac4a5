"""Orders to scheduled procedure steps: what a modality worklist still offers (DICOM PS3.4 annex K).

A row of orders holds one step for each scheduled step id that its messages name, else one. A step is offered
while it is scheduled or its patient has come; it is gone once it was started, completed, put off or cancelled,
or once something was heard of a study that performed it.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from dosestream.reconcile.orders import ImagingOrder
from dosestream.reconcile.patients import Patients
from dosestream.reconcile.rows import PatientRow, StepRow
from dosestream.reconcile.status import ARRIVED, SCHEDULED
from dosestream.reconcile.studies import ArrivedStudy

OFFERED: Final = frozenset({SCHEDULED, ARRIVED})
# Any constant: the name space of the study UIDs that no order names (RFC 9562, 5.5).
NAME_SPACE: Final = bytes.fromhex("6f1c2a9be0b54a0b9a3f0d7a53c1e6d2")


def step_rows(
    orders: Iterable[ImagingOrder], performed: Mapping[str, Sequence[ArrivedStudy]], patients: Patients
) -> Iterator[StepRow]:
    """The steps that are offered.

    Args:
        orders: the rows of a group.
        performed: by order key, the studies that answer it.
        patients: what is known of everyone they name.
    """
    for order in orders:
        if order.is_parent:
            continue
        # Each by its own status: one of several may be over.
        steps = {k: one for k, one in _steps(order).items() if one.status and one.status.status in OFFERED}
        if not steps:
            continue
        named = {f.event.scheduled_step_id for f in order.facts}
        done = _done(performed.get(order.key, ()), named | steps.keys())
        for step_id, step in steps.items():
            if step_id not in done and step.status is not None:
                yield _row(order, step_id, step, step.status.status, patients)


def _steps(order: ImagingOrder) -> dict[str, ImagingOrder]:
    """By step id, what was said of the step and of all of them; one without id where none is named."""
    named = sorted({f.event.scheduled_step_id for f in order.facts} - {"", '""'})
    if len(named) < 2:
        return {named[0] if named else "": order}
    # What was performed is told by the studies: one step of several that is in progress takes no other away.
    return {
        one: replace(
            order, facts=tuple(f for f in order.facts if f.event.scheduled_step_id in ("", one)), performed=()
        )
        for one in named
    }


def _done(studies: Sequence[ArrivedStudy], steps: Iterable[str]) -> set[str]:
    """The steps that these studies performed: those they name, else all."""
    known = set(steps)
    done: set[str] = set()
    for study in studies:
        named = {
            request.scheduled_step_id for fact in study.facts for request in fact.event.requests
        } & known - {""}
        done |= named or known
    return done


def _row(order: ImagingOrder, step_id: str, step: ImagingOrder, status: str, patients: Patients) -> StepRow:
    value = step.value
    who = patients.survivor(step.identities[0]) if step.identities else None
    person = None if who is None else patients.row(who)
    procedure = None if step.procedure is None else step.procedure.event
    protocol = next(
        (f.event for f in reversed(step.facts) if f.event.step_code or f.event.step_meaning), None
    )
    accession = value("accession_number")
    number = value("filler_order_number") or value("placer_order_number")
    requested = value("requested_procedure_id") or accession or number
    return StepRow(
        row_key=order.key,
        step_key=step_id,
        study_instance_uid=value("study_instance_uid") or study_uid(step),
        accession_number=accession,
        accession_issuer=value("accession_issuer"),
        requested_procedure_id=requested,
        scheduled_step_id=step_id or requested,
        placer_order_number=value("placer_order_number"),
        filler_order_number=value("filler_order_number"),
        **_person(person),
        modality=value("modality"),
        scheduled_at=step.scheduled_at,
        ordered_at=step.ordered_at,
        status=status,
        station_ae_titles=[t for t in (value("station_ae_title") or "").split("\\") if t],
        station_name=value("station_name"),
        station_location=value("station_location"),
        procedure_code=None if procedure is None else _said(procedure.procedure_code),
        procedure_scheme=None if procedure is None else _said(procedure.procedure_scheme),
        procedure_meaning=None if procedure is None else _said(procedure.procedure_meaning),
        step_code=None if protocol is None else _said(protocol.step_code),
        step_scheme=None if protocol is None else _said(protocol.step_scheme),
        step_meaning=None if protocol is None else _said(protocol.step_meaning),
        performing_physician=value("performing_physician"),
        requesting_physician=value("requesting_physician"),
        referring_physician=value("referring_physician"),
        priority=value("priority"),
        reason=value("reason"),
        weight_kg=value("weight_kg"),
        height_m=value("height_m"),
        allergies=value("allergies"),
        patient_state=value("patient_state"),
        visit_number=value("visit_number"),
        location=value("location"),
    )


def _person(person: PatientRow | None) -> dict[str, str | None]:
    names = ("patient_authority", "patient_id", "patient_name", "patient_birth_date", "patient_sex")
    return {name: None if person is None else getattr(person, name) or None for name in names}


def _said(text: str) -> str | None:
    return text if text and text != '""' else None


def study_uid(order: ImagingOrder) -> str:
    """The Study Instance UID of an order that names none: the same for the same numbers, for ever and on every
    machine (PS3.5 B.2, a UUID under 2.25; the UUID from a hash of the name, RFC 9562 version 5).

    The steps of one requested procedure share it. The number of the order is part of it because accession
    numbers are used again.
    """
    parts = [order.value("accession_number"), order.value("accession_issuer")]
    if parts[0] is None:
        parts = [order.value("requested_procedure_id"), None]
    number = order.value("filler_order_number") or order.value("placer_order_number")
    name = "\0".join(part or "" for part in (*parts, number, str(order.nth)))
    digest = bytearray(hashlib.sha1(NAME_SPACE + name.encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return f"2.25.{int.from_bytes(digest)}"
