"""Derived rows written: only those that changed, each with its next revision and a mark in the outbox."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import orjson
from psycopg import Cursor

from dosestream.db import alerts, dose, steps
from dosestream.db.pipeline import PipelineCursor
from dosestream.db.values import (
    bigint_array,
    columns,
    iso_date,
    iso_local,
    iso_time,
    text_array,
    without_nul,
)
from dosestream.reconcile.identity import PatientId
from dosestream.reconcile.rows import AnomalyRow, DoseSummary, GroupRows, OrderRow, StudyRow

Row = tuple[object, ...]
JsonRow = dict[str, object]
# Of these groups: the studies and orders that are stored.
STUDIES = (
    "SELECT study_instance_uid, content_hash, revision, rules_hash FROM study WHERE grp = ANY(%s::bigint[])"
)
ORDERS = "SELECT grp, row_key, content_hash, rules_hash FROM imaging_order WHERE grp = ANY(%s::bigint[])"


@dataclass(frozen=True, slots=True)
class Before:
    """What is stored of some groups, asked for in one go before they are derived: the server looks it up meanwhile.

    Each is a cursor whose rows are still to be fetched, once.
    """

    doses: Cursor[Row]
    alerts: Cursor[Row]
    studies: Cursor[Row]
    orders: Cursor[Row]
    steps: Cursor[Row]

    @classmethod
    def ask(cls, cursor: PipelineCursor, groups: Iterable[int]) -> "Before":
        """Send what asks for it."""
        these = (bigint_array(groups),)
        return cls(
            *(cursor.ask(query, these) for query in (dose.STORED, alerts.HELD, STUDIES, ORDERS, steps.HELD))
        )


def content_hash(row: Mapping[str, object]) -> str:
    """What tells whether a row changed."""
    return hashlib.sha256(orjson.dumps(row, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def study_content(row: StudyRow, dose: DoseSummary) -> JsonRow:
    """A row of the table `study`; its modality is the dose report's, else the header's."""
    out: JsonRow = columns(row) | columns(dose)
    out.pop("unread", None)
    out["modality"] = dose.modality or out.pop("header_modality")
    out.pop("header_modality", None)
    out["study_datetime"] = iso_time(row.study_datetime)
    out["study_local_datetime"] = iso_local(row.study_local_datetime)
    out["patient_birth_date"] = iso_date(row.patient_birth_date)
    out["next_due"] = iso_time(row.next_due)
    out["closes_at"] = iso_time(row.closes_at)
    return out


def order_content(row: OrderRow) -> JsonRow:
    """A row of the table `imaging_order`."""
    out: JsonRow = columns(row)
    out["scheduled_at"] = iso_time(row.scheduled_at)
    out["ordered_at"] = iso_time(row.ordered_at)
    out["next_due"] = iso_time(row.next_due)
    out["closes_at"] = iso_time(row.closes_at)
    return out


def anomaly_content(row: AnomalyRow, group: int) -> JsonRow:
    """A row of the table `anomaly`."""
    return {**columns(row), "first_seen_at": iso_time(row.first_seen_at), "grp": group}


def write(
    cursor: Cursor[Row],
    derived: Mapping[int, GroupRows],
    doses: Mapping[str, DoseSummary],
    patients: Mapping[int, Iterable[PatientId]],
    rules_hash: str,
    before: Before,
) -> int:
    """Bring the rows of these groups up to what was derived; returns how many studies changed.

    Args:
        derived: rows by group.
        doses: dose columns by study.
        patients: by group, every identity its rows depend on.
        rules_hash: hash of the rules derived with.
        before: asked for these groups.
    """
    groups = bigint_array(derived)
    changed = _write_studies(cursor, derived, doses, rules_hash, before.studies)
    _write_orders(cursor, derived, rules_hash, before.orders)
    steps.write(cursor, derived, before.steps)
    cursor.execute("DELETE FROM anomaly WHERE grp = ANY(%s::bigint[])", (groups,))
    anomalies = [anomaly_content(row, group) for group, rows in derived.items() for row in rows.anomalies]
    _insert(cursor, "anomaly", anomalies)
    pairs = _dependencies(patients)
    cursor.execute(
        "DELETE FROM patient_group WHERE grp = ANY(%s::bigint[]) AND (bare, grp) NOT IN "
        "(SELECT * FROM unnest(%s::text[], %s::bigint[]))",
        (groups, *pairs),
    )
    cursor.execute(
        "INSERT INTO patient_group SELECT * FROM unnest(%s::text[], %s::bigint[]) ON CONFLICT DO NOTHING",
        pairs,
    )
    return changed


def _dependencies(patients: Mapping[int, Iterable[PatientId]]) -> tuple[str, str]:
    pairs = sorted({(p.value, group) for group, named in patients.items() for p in named})
    return text_array(bare for bare, _ in pairs), bigint_array(group for _, group in pairs)


def _insert(cursor: Cursor[Row], table: str, rows: list[JsonRow]) -> None:
    if rows:
        cursor.execute(
            f"INSERT INTO {table} SELECT * FROM jsonb_populate_recordset(NULL::{table}, %s::jsonb)",
            (without_nul(rows),),
        )


def _write_studies(
    cursor: Cursor[Row],
    derived: Mapping[int, GroupRows],
    doses: Mapping[str, DoseSummary],
    rules_hash: str,
    asked: Cursor[Row],
) -> int:
    before = {str(uid): (str(h), int(str(revision)), str(r)) for uid, h, revision, r in asked.fetchall()}
    rows: list[JsonRow] = []
    links: list[JsonRow] = []
    for group, found in derived.items():
        by_study: dict[str, list[JsonRow]] = {row.study_instance_uid: [] for row in found.studies}
        for link in found.links:
            by_study[link.study_instance_uid].append(columns(link))
        for row in found.studies:
            content = study_content(row, doses.get(row.study_instance_uid, DoseSummary()))
            answered = by_study[row.study_instance_uid]
            hashed = content_hash({"study": content, "orders": answered})
            known = before.pop(row.study_instance_uid, None)
            if known is not None and known[0] == hashed and known[2] == rules_hash:
                continue
            revision = 1 if known is None else known[1] + 1
            rows.append(
                {
                    **content,
                    "revision": revision,
                    "rules_hash": rules_hash,
                    "grp": group,
                    "content_hash": hashed,
                }
            )
            links += answered
    gone = list(before)
    touched = [str(row["study_instance_uid"]) for row in rows] + gone
    if not touched:
        return 0
    if had := [*(str(row["study_instance_uid"]) for row in rows if row["revision"] != 1), *gone]:
        cursor.execute(
            "DELETE FROM study_order WHERE study_instance_uid = ANY(%s::text[])", (text_array(had),)
        )
    if gone:
        cursor.execute("DELETE FROM study WHERE study_instance_uid = ANY(%s)", (gone,))
    if rows:
        assignments = ", ".join(
            f"{name} = excluded.{name}" for name in rows[0] if name != "study_instance_uid"
        )
        names = ", ".join(rows[0])
        cursor.execute(
            f"INSERT INTO study ({names}) SELECT {names} FROM jsonb_populate_recordset(NULL::study, %s::jsonb) "
            f"ON CONFLICT (study_instance_uid) DO UPDATE SET {assignments}, updated_at = clock_timestamp()",
            (without_nul(rows),),
        )
    _insert(cursor, "study_order", links)
    marks = {str(row["study_instance_uid"]): row["revision"] for row in rows}
    marks |= dict.fromkeys(gone, 0)
    cursor.execute(
        "INSERT INTO outbox SELECT * FROM unnest(%s::text[], %s::bigint[]) "
        "ON CONFLICT (study_instance_uid) DO UPDATE SET revision = excluded.revision",
        (text_array(marks), bigint_array(int(str(revision)) for revision in marks.values())),
    )
    return len(touched)


def _write_orders(
    cursor: Cursor[Row], derived: Mapping[int, GroupRows], rules_hash: str, asked: Cursor[Row]
) -> None:
    before = {
        (int(str(group)), str(key)): str(content)
        for group, key, content, derived_with in asked.fetchall()
        if derived_with == rules_hash
    }
    rows: list[JsonRow] = []
    keep: list[tuple[int, str]] = []
    for group, found in derived.items():
        for row in found.orders:
            content = order_content(row)
            hashed = content_hash(content)
            if before.get((group, row.row_key)) == hashed:
                keep.append((group, row.row_key))
            else:
                rows.append({**content, "grp": group, "content_hash": hashed, "rules_hash": rules_hash})
    cursor.execute(
        "DELETE FROM imaging_order WHERE grp = ANY(%s::bigint[]) AND (grp, row_key) NOT IN "
        "(SELECT * FROM unnest(%s::bigint[], %s::text[]))",
        (bigint_array(derived), bigint_array(group for group, _ in keep), text_array(key for _, key in keep)),
    )
    if rows:
        names = ", ".join(rows[0])
        cursor.execute(
            f"INSERT INTO imaging_order ({names}) "
            f"SELECT {names} FROM jsonb_populate_recordset(NULL::imaging_order, %s::jsonb)",
            (without_nul(rows),),
        )
