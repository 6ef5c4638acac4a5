"""Dose of studies in the database: read again from the reports only where the reports of a study changed."""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import orjson
from psycopg import Cursor

from dosestream.db.facts import AtHand, studies
from dosestream.db.values import columns, iso_time, text_array, without_nul
from dosestream.events.codec import Codec
from dosestream.events.records import IrradiationEvent, OrganDose, Study
from dosestream.knowledge.size_specific import estimate
from dosestream.reconcile.derive import Group
from dosestream.reconcile.dose_sources import SOURCES
from dosestream.reconcile.facts import study_fact
from dosestream.reconcile.rejection import NOTHING_REJECTED, rejected
from dosestream.reconcile.rows import DoseSummary
from dosestream.reconcile.rules import Rules
from dosestream.reconcile.studies import arrived_studies
from dosestream.reconcile.totals import Report, StudyDose, study_dose

Row = tuple[object, ...]
# Of these groups: the dose that is stored.
STORED = "SELECT study_instance_uid, dose_key, summary::text FROM study_dose WHERE grp = ANY(%s::bigint[])"
NOT_COLUMNS = frozenset({"sources", "no_event_uid", "dose_checks"})
# Raised when dose is derived otherwise than before: what is stored is then derived again when its group is.
DERIVATION = 3


class Told(NamedTuple):
    """A study of a group and which of its reports tell its dose; `key` says of what it was derived."""

    study_instance_uid: str
    group: int
    key: str
    reports: Sequence[str]
    modality: str | None


def summaries(
    cursor: Cursor[Row],
    codec: Codec,
    groups: Mapping[int, Group],
    rules: Rules,
    at_hand: Mapping[str, AtHand],
    before: Cursor[Row],
) -> dict[str, DoseSummary]:
    """Dose columns by study for all studies of these groups; what changed is written on the way. Facts at hand
    are not read again. `before` was asked for `STORED`."""
    stored = _stored(before)
    found: dict[str, DoseSummary] = {}
    stale: dict[str, Told] = {}
    for one in told(groups, rules):
        known = stored.get(one.study_instance_uid)
        if known is not None and known[0] == one.key:
            found[one.study_instance_uid] = known[1]
        else:
            stale[one.study_instance_uid] = one
    if stale:
        found |= _derive_again(cursor, codec, rules, list(stale.values()), at_hand, stored)
    return found


def told(groups: Mapping[int, Group], rules: Rules) -> Iterator[Told]:
    """The studies of these groups, with the reports that tell their dose."""
    for number, group in groups.items():
        arrived = arrived_studies((study_fact(event, rules) for event in group.studies), rules)
        notes = rejected({study.study_instance_uid: study.facts for study in arrived}, group.decisions)
        for study in arrived:
            taken_back = notes.get(study.study_instance_uid, NOTHING_REJECTED)
            reports = [
                f.event.event_id
                for f in study.facts
                if f.event.dose is not None and f.event.sop_instance_uid not in taken_back.notes
            ]
            # Of a study without a report that counts, its other reports still tell the modality.
            modality = study.modality if taken_back.excluded else study.value("modality")
            versions = [f"{f.event.event_id}@{f.version.precedence}" for f in study.facts]
            key = hashlib.sha256(orjson.dumps([DERIVATION, modality, reports, sorted(versions)])).hexdigest()[
                :32
            ]
            yield Told(study.study_instance_uid, number, key, reports, modality)


def read(one: Told, events: Mapping[str, Study], rules: Rules) -> StudyDose:
    """The dose of a study, from its reports by event id; one that is not there tells nothing."""
    reports = [
        Report(event, event.dose, study_fact(event, rules).version)
        for event_id in one.reports
        if (event := events.get(event_id)) is not None and event.dose is not None
    ]
    return study_dose(reports, one.modality)


def summary_row(one: Told, dose: StudyDose) -> dict[str, object]:
    """A row of the table `study_dose`."""
    return {
        "study_instance_uid": one.study_instance_uid,
        "grp": one.group,
        "dose_key": one.key,
        "summary": columns(dose.summary),
    }


def _stored(asked: Cursor[Row]) -> dict[str, tuple[str, DoseSummary]]:
    return {
        str(uid): (str(key), DoseSummary(**orjson.loads(str(summary))))
        for uid, key, summary in asked.fetchall()
    }


def _derive_again(
    cursor: Cursor[Row],
    codec: Codec,
    rules: Rules,
    stale: Sequence[Told],
    at_hand: Mapping[str, AtHand],
    stored: Collection[str],
) -> dict[str, DoseSummary]:
    events = studies(cursor, codec, [event_id for one in stale for event_id in one.reports], at_hand)
    derived = {one.study_instance_uid: read(one, events, rules) for one in stale}
    _write(cursor, derived, derived.keys() & set(stored))
    rows = [summary_row(one, derived[one.study_instance_uid]) for one in stale]
    cursor.execute(
        "INSERT INTO study_dose SELECT * FROM jsonb_populate_recordset(NULL::study_dose, %s::jsonb) "
        "ON CONFLICT (study_instance_uid) DO UPDATE SET grp = excluded.grp, dose_key = excluded.dose_key, "
        "summary = excluded.summary",
        (without_nul(rows),),
    )
    return {uid: dose.summary for uid, dose in derived.items()}


def table_rows(derived: Mapping[str, StudyDose]) -> dict[str, list[dict[str, object]]]:
    """The rows of the tables that show these studies' dose, by table."""
    studied = derived.items()
    return {
        "dose_total": [columns(total) for dose in derived.values() for total in dose.totals],
        "irradiation_event": [
            _event_row(uid, sop, dose, e) for uid, dose in studied for sop, e in dose.events
        ],
        "xray_source": [
            {"study_instance_uid": uid, "irradiation_event_uid": e.irradiation_event_uid, **source.to_datum()}
            for uid, dose in studied
            for _, e in dose.events
            for source in e.sources
        ],
        "dose_check": [
            {
                "study_instance_uid": uid,
                "irradiation_event_uid": e.irradiation_event_uid,
                "number": number,
                **_filled(check.to_datum()),
            }
            for uid, dose in studied
            for _, e in dose.events
            for number, check in enumerate(e.dose_checks, start=1)
        ],
        "administration": [
            {
                "study_instance_uid": uid,
                "sop_instance_uid": sop,
                "number": number,
                "dose_source": dose.sources.get(sop),
                **_filled(one.to_datum()),
                "started_at": iso_time(one.started_at),
                "ended_at": iso_time(one.ended_at),
            }
            for uid, dose in studied
            for number, (sop, one) in enumerate(dose.administrations, start=1)
        ],
        "organ_dose": [
            {
                "study_instance_uid": uid,
                "sop_instance_uid": sop,
                "number": number,
                **_filled(organ.to_datum()),
            }
            for uid, dose in studied
            for number, (sop, organ) in enumerate(_organs(dose), start=1)
        ],
        "unread": [
            {"study_instance_uid": uid, "sop_instance_uid": sop, "item": item}
            for uid, dose in studied
            for sop, item in dose.unread
        ],
    }


def _write(cursor: Cursor[Row], derived: Mapping[str, StudyDose], stored: Collection[str]) -> None:
    """Replace the rows of these studies; those whose dose is not `stored` have none."""
    for table, rows in table_rows(derived).items():
        if stored:
            cursor.execute(
                f"DELETE FROM {table} WHERE study_instance_uid = ANY(%s::text[])",
                (text_array(sorted(stored)),),
            )
        if rows:
            cursor.execute(
                f"INSERT INTO {table} SELECT * FROM jsonb_populate_recordset(NULL::{table}, %s::jsonb)",
                (without_nul(rows),),
            )


def _organs(dose: StudyDose) -> Iterator[tuple[str, OrganDose]]:
    """Those of administrations, then those of estimates."""
    for sop, one in dose.administrations:
        for organ in one.organ_doses:
            yield sop, organ
    yield from dose.organ_doses


def _filled(datum: Mapping[str, object]) -> dict[str, object]:
    """Empty text is NULL."""
    return {name: None if value == "" else value for name, value in datum.items()}


def _event_row(
    uid: str, sop_instance_uid: str, dose: StudyDose, event: IrradiationEvent
) -> dict[str, object]:
    """An irradiation event as its table has it."""
    row = {name: value for name, value in _filled(event.to_datum()).items() if name not in NOT_COLUMNS}
    row["started_at"] = iso_time(event.started_at)
    kind = dose.sources.get(sop_instance_uid, "")
    size_specific = estimate(event)
    if size_specific is not None:
        row["ssde_computed_mgy"] = size_specific.dose_mgy
        row["ssde_computed_method"] = size_specific.method
        row["ssde_diameter_mm"] = size_specific.diameter_mm
    return {
        "study_instance_uid": uid,
        "sop_instance_uid": sop_instance_uid,
        "dose_source": kind or None,
        "confidence": SOURCES[kind].confidence if kind in SOURCES else None,
        **row,
    }
