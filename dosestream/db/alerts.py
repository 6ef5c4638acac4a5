"""Alerts written: only those that changed, each with its next revision and a mark to publish it.

An alert that no longer holds stays in its table as withdrawn: one that comes again goes on with its revisions.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

import orjson
from psycopg import Cursor

from dosestream.db.facts import AtHand, studies
from dosestream.db.values import columns, iso_time, text_array, without_nul
from dosestream.events.codec import Codec
from dosestream.events.records import Study
from dosestream.reconcile.alerts import alert_rows, reached
from dosestream.reconcile.derive import Group
from dosestream.reconcile.facts import StudyFact, study_fact
from dosestream.reconcile.rejection import NOTHING_REJECTED, rejected
from dosestream.reconcile.rows import AlertRow, DoseSummary, GroupRows
from dosestream.reconcile.rules import Rules
from dosestream.reconcile.studies import ArrivedStudy, arrived_studies

Row = tuple[object, ...]
JsonRow = dict[str, object]
Key = tuple[str, str]
# Of these groups: the alerts that are stored.
HELD = (
    "SELECT to_jsonb(a)::text, (extract(epoch FROM first_triggered_at) * 1000000)::bigint "
    "FROM alert a WHERE grp = ANY(%s::bigint[])"
)


@dataclass(frozen=True, slots=True)
class _Held:
    """An alert as its table has it."""

    row: AlertRow
    revision: int
    withdrawn: bool


def write(
    cursor: Cursor[Row],
    codec: Codec,
    groups: Mapping[int, Group],
    derived: Mapping[int, GroupRows],
    doses: Mapping[str, DoseSummary],
    rules: Rules,
    at_hand: Mapping[str, AtHand],
    before: Cursor[Row],
) -> None:
    """Bring the alerts of these groups up to their studies and dose. `before` was asked for `HELD`."""
    held = _held(before)
    wanted = {
        (row.study_instance_uid, row.kind): (number, row)
        for number, rows in derived.items()
        for row in standing(
            groups[number], rows, doses, rules, lambda told: studies(cursor, codec, told, at_hand)
        )
    }
    fresh: list[JsonRow] = []
    for key, (number, row) in wanted.items():
        known = held.get(key)
        if known is None or known.withdrawn or known.row != row:
            revision = 1 if known is None else known.revision + 1
            fresh.append(alert_content(row, number, revision))
    if fresh:
        _store(cursor, fresh)
    _withdraw(cursor, [key for key, one in held.items() if key not in wanted and not one.withdrawn])


def standing(
    group: Group,
    derived: GroupRows,
    doses: Mapping[str, DoseSummary],
    rules: Rules,
    studies_of: Callable[[Collection[str]], Mapping[str, Study]],
) -> list[AlertRow]:
    """The alerts of a group as its rows and doses are.

    Args:
        studies_of: the arrivals with these event ids, with their dose.
    """
    uids = {
        row.study_instance_uid
        for row in derived.studies
        if not row.excluded and reached(doses[row.study_instance_uid], rules.alert_thresholds)
    }
    return _derive(group, uids, doses, rules, studies_of) if uids else []


def alert_content(row: AlertRow, group: int, revision: int) -> JsonRow:
    """A row of the table."""
    content = columns(row) | {"first_triggered_at": iso_time(row.first_triggered_at), "grp": group}
    return content | {"revision": revision, "withdrawn": False}


def _held(asked: Cursor[Row]) -> dict[Key, _Held]:
    found = {}
    for text, first in asked.fetchall():
        stored = orjson.loads(str(text))
        said = {name: stored[name] for name in AlertRow.__dataclass_fields__}
        row = AlertRow(**said | {"first_triggered_at": first})
        found[row.study_instance_uid, row.kind] = _Held(row, stored["revision"], stored["withdrawn"])
    return found


def _derive(
    group: Group,
    uids: Collection[str],
    doses: Mapping[str, DoseSummary],
    rules: Rules,
    studies_of: Callable[[Collection[str]], Mapping[str, Study]],
) -> list[AlertRow]:
    """The alerts of these studies of a group; their reports are read once more for when it was first known."""
    arrived = arrived_studies((study_fact(event, rules) for event in group.studies), rules)
    notes = rejected({study.study_instance_uid: study.facts for study in arrived}, group.decisions)
    found: list[AlertRow] = []
    for study in arrived:
        uid = study.study_instance_uid
        if uid in uids:
            not_counting = notes.get(uid, NOTHING_REJECTED).notes
            heard = _with_dose(study, studies_of)
            found += alert_rows(uid, doses[uid], heard, not_counting, rules.alert_thresholds)
    return found


def _with_dose(
    study: ArrivedStudy, studies_of: Callable[[Collection[str]], Mapping[str, Study]]
) -> list[StudyFact]:
    """All arrivals of a study, dose reports with the dose that was left out of them."""
    wanted = [fact.event.event_id for fact in study.heard if fact.event.dose is not None]
    told = studies_of(wanted)
    return [
        replace(fact, event=replace(fact.event, dose=told[event_id].dose))
        if (event_id := fact.event.event_id) in told
        else fact
        for fact in study.heard
    ]


def _store(cursor: Cursor[Row], rows: list[JsonRow]) -> None:
    names = ", ".join(rows[0])
    assignments = ", ".join(f"{name} = excluded.{name}" for name in rows[0])
    cursor.execute(
        f"INSERT INTO alert ({names}) SELECT {names} FROM jsonb_populate_recordset(NULL::alert, %s::jsonb) "
        f"ON CONFLICT (study_instance_uid, kind) DO UPDATE SET {assignments}, updated_at = clock_timestamp()",
        (without_nul(rows),),
    )
    _mark(cursor, [(str(row["study_instance_uid"]), str(row["kind"])) for row in rows])


def _withdraw(cursor: Cursor[Row], keys: list[Key]) -> None:
    if not keys:
        return
    cursor.execute(
        "UPDATE alert a SET withdrawn = true, revision = a.revision + 1, updated_at = clock_timestamp() "
        "FROM unnest(%s::text[], %s::text[]) AS n (uid, kind) "
        "WHERE a.study_instance_uid = n.uid AND a.kind = n.kind",
        _arrays(keys),
    )
    _mark(cursor, keys)


def _mark(cursor: Cursor[Row], keys: list[Key]) -> None:
    """Mark alerts to be published at their revision."""
    cursor.execute(
        "INSERT INTO alert_outbox SELECT a.study_instance_uid, a.kind, a.revision FROM alert a "
        "JOIN unnest(%s::text[], %s::text[]) AS n (uid, kind) ON a.study_instance_uid = n.uid AND a.kind = n.kind "
        "ON CONFLICT (study_instance_uid, kind) DO UPDATE SET revision = excluded.revision",
        _arrays(keys),
    )


def _arrays(keys: list[Key]) -> tuple[str, str]:
    return text_array(uid for uid, _ in keys), text_array(kind for _, kind in keys)
