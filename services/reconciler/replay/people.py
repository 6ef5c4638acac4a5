"""The third stage: what is known of each patient, and their rows.

What was said of a patient lies in one bucket, so buckets are folded one by one. Bonds are few: those whom they name are
put aside once more and shown together, since a merge is seen on both.
"""

import marshal
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path

import orjson
from psycopg import Connection, Cursor

from dosestream.db import patients
from dosestream.db.copy import send, text_columns
from dosestream.db.values import iso_date
from dosestream.reconcile.bonds import Bond
from dosestream.reconcile.fold import Fold, merge
from dosestream.reconcile.identity import PatientId
from dosestream.reconcile.listing import PLAIN
from dosestream.reconcile.patients import Patients
from dosestream.reconcile.rules import Rules
from services.reconciler.replay.spill import Frames, bucket, frames

Row = tuple[object, ...]
# Bonds stored, rows made at a time.
PAGE = 1000
PATIENT = text_columns(
    "patient",
    (
        "patient_authority",
        "patient_id",
        "fold",
        "merged_into_authority",
        "merged_into_id",
        "patient_name",
        "patient_birth_date",
        "patient_sex",
    ),
)


def store_bonds(connection: Connection[Row], folders: Iterable[Path]) -> set[PatientId]:
    """Store every word about two patients; returns everyone they name."""
    named: set[PatientId] = set()
    page: list[Bond] = []
    with connection.transaction(), connection.cursor() as cursor:
        for folder in folders:
            for frame in frames(folder / "bonds"):
                bond: Bond = pickle.loads(frame)
                named |= bond.pair
                page.append(bond)
                if len(page) == PAGE:
                    patients.store_bonds(cursor, page)
                    page.clear()
        patients.store_bonds(cursor, page)
    return named


def fold(
    connection: Connection[Row],
    folders: Iterable[Path],
    number: int,
    bonded: frozenset[PatientId],
    aside: Path,
    rules: Rules,
) -> int:
    """Fold a bucket and write its rows; of those with bonds only the fold is put aside. Returns how many patients
    were folded."""
    folds: dict[tuple[str, str], Fold] = {}
    for frame in bucket([folder / "patients" for folder in folders], number):
        authority, value, said = marshal.loads(frame)
        identity = (authority, value)
        known = folds.get(identity)
        # A list of identifiers has a cap, also where one message says it all.
        folds[identity] = said if known is None and said.keys() <= PLAIN else merge(known or {}, said)
    later = Frames(aside)
    alone: dict[PatientId, Fold] = {}
    for (authority, value), said in sorted(folds.items()):
        if (authority, value) in bonded:
            later.add(marshal.dumps((authority, value, said)))
        else:
            alone[PatientId(authority, value)] = said
    later.close()
    with connection.transaction(), connection.cursor() as cursor:
        _write(cursor, Patients(alone, (), rules), alone)
    return len(folds)


def show_bonded(
    connection: Connection[Row],
    aside: Iterable[Path],
    named: Iterable[PatientId],
    rules: Rules,
) -> int:
    """Write the rows of everyone with bonds; returns how many have a row that were not folded."""
    folds: dict[PatientId, Fold] = {}
    for path in aside:
        for frame in frames(path):
            authority, value, said = marshal.loads(frame)
            folds[PatientId(authority, value)] = said
    known = len(folds)
    with connection.transaction(), connection.cursor() as cursor:
        bonds = patients.all_bonds(cursor)
        # One of whom only a bond tells has a row, too.
        whole = {who: folds.get(who, {}) for who in sorted(named)}
        _write(cursor, Patients(whole, bonds, rules), whole)
    return len(whole) - known


def _write(cursor: Cursor[Row], known: Patients, folds: Mapping[PatientId, Fold]) -> None:
    rows = []
    for identity, said in folds.items():
        row = known.row(identity)
        rows.append(
            {
                "patient_authority": row.patient_authority,
                "patient_id": row.patient_id,
                "fold": orjson.dumps(said, option=orjson.OPT_SORT_KEYS).decode(),
                "merged_into_authority": row.merged_into_authority,
                "merged_into_id": row.merged_into_id,
                "patient_name": row.patient_name,
                "patient_birth_date": iso_date(row.patient_birth_date),
                "patient_sex": row.patient_sex,
            }
        )
    if rows:
        send(cursor, PATIENT.statement, PATIENT.lines(rows))
