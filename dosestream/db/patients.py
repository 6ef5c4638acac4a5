"""Patients in the database: folds and merges stored, context loaded, rows written."""

from collections.abc import Collection, Iterable, Mapping

import orjson
from psycopg import Cursor

from dosestream.db.locking import Locks
from dosestream.db.values import iso_date, without_nul
from dosestream.reconcile.fold import Entry, Fold, merge, winner
from dosestream.reconcile.identity import PatientId
from dosestream.reconcile.merge import Merge
from dosestream.reconcile.patients import Patients
from dosestream.reconcile.version import Precedence, Version

Row = tuple[object, ...]

# Everything reachable from some identifiers by merges, in either direction.
CLOSURE = """
WITH RECURSIVE reached (authority, id) AS (
    SELECT patient_authority, patient_id FROM patient WHERE patient_id = ANY(%(bare)s)
    UNION
    SELECT n.authority, n.id FROM unnest(%(authorities)s::text[], %(ids)s::text[]) AS n (authority, id)
    UNION
    SELECT next.authority, next.id FROM reached, LATERAL (
        SELECT m.target_authority, m.target_id FROM patient_merge m
        WHERE m.prior_id = reached.id AND m.prior_authority = reached.authority
        UNION ALL
        SELECT m.prior_authority, m.prior_id FROM patient_merge m
        WHERE m.target_id = reached.id AND m.target_authority = reached.authority
    ) AS next (authority, id)
)
SELECT r.authority, r.id, p.fold::text FROM reached r
LEFT JOIN patient p ON p.patient_id = r.id AND p.patient_authority = r.authority
"""


def load_patients(cursor: Cursor[Row], identities: Iterable[PatientId]) -> Patients:
    """What is known of these identities, of everyone with the same bare identifier where the authority is
    empty, and of all they were merged with."""
    wanted = set(identities)
    if not wanted:
        return Patients()
    issued = sorted(p for p in wanted if p.authority)
    cursor.execute(
        CLOSURE,
        {
            "bare": sorted({p.value for p in wanted if not p.authority}),
            "authorities": [p.authority for p in issued],
            "ids": [p.value for p in issued],
        },
    )
    folds = {
        PatientId(str(a), str(i)): orjson.loads(str(f)) for a, i, f in cursor.fetchall() if f is not None
    }
    return Patients(folds, _load_merges(cursor, set(folds) | set(issued)))


def _load_merges(cursor: Cursor[Row], identities: Collection[PatientId]) -> tuple[Merge, ...]:
    ids = [p.value for p in identities]
    cursor.execute(
        "SELECT prior_authority, prior_id, target_authority, target_id, precedence, received_at, event_id, control_id "
        "FROM patient_merge WHERE prior_id = ANY(%s) OR target_id = ANY(%s)",
        (ids, ids),
    )
    merges = []
    for pa, pi, ta, ti, precedence, received_at, event_id, control_id in cursor.fetchall():
        version = Version(Precedence(*precedence), int(str(received_at)), str(event_id))  # type: ignore[misc]
        merge_ = Merge(PatientId(str(pa), str(pi)), PatientId(str(ta), str(ti)), version, str(control_id))
        if merge_.prior in identities or merge_.target in identities:
            merges.append(merge_)
    return tuple(merges)


def store_merges(cursor: Cursor[Row], merges: Collection[Merge]) -> None:
    """Store merges; a repeat keeps the smaller receipt."""
    if not merges:
        return
    cursor.executemany(
        "INSERT INTO patient_merge (event_id, prior_authority, prior_id, target_authority, target_id, precedence, "
        "received_at, control_id) VALUES (%s, %s, %s, %s, %s, %s, %s, %s) "
        "ON CONFLICT (event_id, prior_authority, prior_id) DO UPDATE SET received_at = excluded.received_at "
        "WHERE excluded.received_at < patient_merge.received_at",
        [
            (
                m.version.event_id,
                *m.prior,
                *m.target,
                list(m.version.precedence),
                m.version.received_at,
                m.control_id,
            )
            for m in merges
        ],
    )


def lock_key(identity: PatientId) -> str:
    """What a patient is locked by: the bare identifier, since a report may name no authority."""
    return f"b:{identity.value}"


def load_locked(cursor: Cursor[Row], locks: Locks, identities: Iterable[PatientId]) -> Patients:
    """`load_patients`, with everyone found locked before they were read.

    Raises:
        RestartError: another transaction has some of them.
    """
    wanted = set(identities)
    locks.extend({lock_key(p) for p in wanted})
    while True:
        patients = load_patients(cursor, wanted)
        further = {lock_key(p) for p in patients.known} - locks.groups.keys()
        if not further:
            return patients
        locks.extend(further)


def store_patients(
    cursor: Cursor[Row], locks: Locks, said: Mapping[PatientId, Fold], merges: Collection[Merge]
) -> set[str]:
    """Fold what a batch says into what is stored, write the rows it changes, and return the bare identifiers
    of every identity whose values or merges changed.

    Raises:
        RestartError: another transaction has some of the identifiers.
    """
    if not said and not merges:
        return set()
    store_merges(cursor, merges)
    named = set(said) | {m.prior for m in merges} | {m.target for m in merges}
    stored = load_locked(cursor, locks, named)
    folds = dict(stored.folds)
    moved = {p for m in merges for p in (m.prior, m.target)}
    grown: set[PatientId] = set()
    # Of merged identities the versions matter too, not only what holds.
    merged = {p for m in stored.merges for p in (m.prior, m.target)}
    for identity in named:
        before = folds.get(identity)
        after = merge(before or {}, said.get(identity, {}))
        if before is None or after != before:
            folds[identity] = after
            grown.add(identity)
            if before is None or identity in merged or _tells_otherwise(before, after):
                moved.add(identity)
    patients = Patients(folds, stored.merges)
    # A change shows on everyone who shares the survivor.
    survivors = {patients.survivor(p) for p in moved}
    showing = {p for p in patients.known if patients.survivor(p) in survivors}
    _write(cursor, patients, grown | (showing & set(folds)))
    return {p.value for p in moved | showing}


def _tells_otherwise(before: Fold, after: Fold) -> bool:
    """Whether a fold's values, or what holds of them, changed: a repeat of what holds concerns nobody else."""
    return any(
        name not in before or before[name].keys() != values.keys() or _held(before[name]) != _held(values)
        for name, values in after.items()
    )


def _held(values: Mapping[str, Entry]) -> tuple[str, int] | None:
    found = winner(values)
    return None if found is None else (found.value, found.first_received_at)


def _write(cursor: Cursor[Row], patients: Patients, identities: Collection[PatientId]) -> None:
    rows = []
    for identity in sorted(identities):
        row = patients.row(identity)
        rows.append(
            {
                "patient_authority": row.patient_authority,
                "patient_id": row.patient_id,
                "fold": patients.folds.get(identity, {}),
                "merged_into_authority": row.merged_into_authority,
                "merged_into_id": row.merged_into_id,
                "patient_name": row.patient_name,
                "patient_birth_date": iso_date(row.patient_birth_date),
                "patient_sex": row.patient_sex,
            }
        )
    if rows:
        cursor.execute(
            "INSERT INTO patient SELECT * FROM jsonb_populate_recordset(NULL::patient, %s::jsonb) "
            "ON CONFLICT (patient_id, patient_authority) DO UPDATE SET fold = excluded.fold, "
            "merged_into_authority = excluded.merged_into_authority, merged_into_id = excluded.merged_into_id, "
            "patient_name = excluded.patient_name, patient_birth_date = excluded.patient_birth_date, "
            "patient_sex = excluded.patient_sex",
            (without_nul(rows),),
        )
