"""Patients in the database: folds and bonds stored, context loaded, rows written."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import orjson
from psycopg import Cursor

from dosestream.db.locking import Locks
from dosestream.db.values import iso_date, text_array
from dosestream.reconcile.bonds import Bond, Kind
from dosestream.reconcile.fold import Entry, Fold, Rank, merge, winner
from dosestream.reconcile.identity import PatientId
from dosestream.reconcile.listing import PLAIN, beside
from dosestream.reconcile.patients import Patients
from dosestream.reconcile.rules import Rules
from dosestream.reconcile.version import Precedence, Version

Row = tuple[object, ...]

# Between folds of one text: JSON has control characters only as escapes.
BETWEEN = "\x1f"
# Those of a list of identities that are filed, and everyone filed under some bare identifiers.
FILED = """
SELECT patient_authority, patient_id, fold FROM patient
JOIN unnest(%(authorities)s::text[], %(ids)s::text[]) AS n (authority, id)
    ON patient_id = n.id AND patient_authority = n.authority
UNION ALL
SELECT patient_authority, patient_id, fold FROM patient WHERE patient_id = ANY(%(bare)s::text[])
"""
# Everything reachable from some identities by bonds, in either direction, in force or not.
CLOSURE = """
WITH RECURSIVE reached (authority, id) AS (
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
SELECT r.authority, r.id, p.fold FROM reached r
LEFT JOIN patient p ON p.patient_id = r.id AND p.patient_authority = r.authority
"""
BOND = (
    "prior_authority, prior_id, target_authority, target_id, precedence, received_at, event_id, control_id, "
    "kind, rank, withdrawn, prior_visit, target_visit"
)


@dataclass(slots=True)
class Known:
    """What one transaction has read of patients and written of them; their locks keep it true to its end.

    Attributes:
        asked: identities of which all is here; with an empty authority everyone with that bare identifier.
        folds: what is filed under each identity.
        bonds: all that was said of pairs of those reached.
    """

    asked: set[PatientId] = field(default_factory=set)
    folds: dict[PatientId, Fold] = field(default_factory=dict)
    bonds: dict[Bond, None] = field(default_factory=dict)

    def load(self, cursor: Cursor[Row], identities: Iterable[PatientId]) -> None:
        """Read what is known of these identities, of everyone with the same bare identifier where the
        authority is empty, and of all whom bonds and lists of identifiers lead to."""
        wanted = set(identities) - self.asked
        while wanted:
            bare = [p.value for p in wanted if not p.authority]
            found = self._file(cursor, FILED, wanted, bare)
            reached = wanted | found
            bonds = _load_bonds(cursor, reached)
            # Only who has bonds pays for following them.
            if led := {p for bond in bonds for p in bond.pair}:
                found |= self._file(cursor, CLOSURE, led, ())
                led |= found
                bonds = (*bonds, *_load_bonds(cursor, led - reached))
                led |= {p for bond in bonds for p in bond.pair}
            self.asked |= reached | led
            self.bonds |= dict.fromkeys(bonds)
            wanted = {other for who in found for other in beside(self.folds[who])} - self.asked

    def _file(
        self, cursor: Cursor[Row], query: str, identities: Collection[PatientId], bare: Collection[str]
    ) -> set[PatientId]:
        """Keep the folds a query finds that are not here yet; returns the identities that are filed."""
        cursor.execute(
            query,
            {
                "authorities": text_array(p.authority for p in identities),
                "ids": text_array(p.value for p in identities),
                "bare": text_array(bare),
            },
        )
        filed: set[PatientId] = set()
        for authority, value, fold in cursor.fetchall():
            identity = PatientId(str(authority), str(value))
            if fold is not None:
                filed.add(identity)
                if identity not in self.folds:
                    self.folds[identity] = orjson.loads(str(fold))
        return filed

    def load_locked(self, cursor: Cursor[Row], locks: Locks, identities: Iterable[PatientId]) -> None:
        """`load`, with everyone found locked before they were read.

        Raises:
            RestartError: another transaction has some of them.
        """
        wanted = set(identities)
        locks.extend({lock_key(p) for p in wanted})
        while True:
            self.load(cursor, wanted)
            further = {lock_key(p) for p in self.folds} - locks.groups.keys()
            further |= {lock_key(p) for bond in self.bonds for p in bond.pair} - locks.groups.keys()
            if not further:
                return
            locks.extend(further)
            # They may have changed between reading and locking.
            wanted |= self.asked
            self.asked.clear()
            self.folds.clear()
            self.bonds.clear()

    def patients(self, rules: Rules) -> Patients:
        """All of it as context."""
        return Patients(dict(self.folds), tuple(self.bonds), rules)


def _load_bonds(cursor: Cursor[Row], identities: Collection[PatientId]) -> tuple[Bond, ...]:
    if not identities:
        return ()
    ids = text_array({p.value for p in identities})
    cursor.execute(
        f"SELECT {BOND} FROM patient_merge WHERE prior_id = ANY(%(ids)s::text[]) OR target_id = ANY(%(ids)s::text[])",
        {"ids": ids},
    )
    bonds = (_bond(row) for row in cursor.fetchall())
    return tuple(bond for bond in bonds if not bond.pair.isdisjoint(identities))


def all_bonds(cursor: Cursor[Row]) -> tuple[Bond, ...]:
    """All that was said of pairs of patients."""
    cursor.execute(f"SELECT {BOND} FROM patient_merge")
    return tuple(_bond(row) for row in cursor.fetchall())


def _bond(row: Row) -> Bond:
    pa, pi, ta, ti, precedence, received_at, event_id, control_id, kind, rank, withdrawn, before, after = row
    return Bond(
        PatientId(str(pa), str(pi)),
        PatientId(str(ta), str(ti)),
        Version(Precedence(*precedence), int(str(received_at)), str(event_id)),  # type: ignore[misc]
        str(control_id),
        Kind(str(kind)),
        Rank(int(str(rank))),
        bool(withdrawn),
        str(before),
        str(after),
    )


def store_bonds(cursor: Cursor[Row], bonds: Collection[Bond]) -> None:
    """Store what was said of pairs of patients; a repeat keeps the smaller receipt."""
    if not bonds:
        return
    marks = ", ".join(["%s"] * len(BOND.split(",")))
    cursor.executemany(
        f"INSERT INTO patient_merge ({BOND}) VALUES ({marks}) "
        "ON CONFLICT (event_id, kind, prior_id, prior_authority, target_id, target_authority, prior_visit) "
        "DO UPDATE SET received_at = excluded.received_at, precedence = excluded.precedence "
        "WHERE excluded.received_at < patient_merge.received_at",
        [
            (
                *bond.prior,
                *bond.target,
                list(bond.version.precedence),
                bond.version.received_at,
                bond.version.event_id,
                bond.control_id,
                bond.kind.value,
                int(bond.rank),
                bond.withdrawn,
                bond.prior_visit,
                bond.target_visit,
            )
            for bond in bonds
        ],
    )


def lock_key(identity: PatientId) -> str:
    """What a patient is locked by: the bare identifier, since a report may name no authority."""
    return f"b:{identity.value}"


def store_patients(
    cursor: Cursor[Row],
    locks: Locks,
    known: Known,
    said: Mapping[PatientId, Fold],
    bonds: Collection[Bond],
    rules: Rules,
) -> set[str]:
    """Fold what a batch says into what is stored, write the rows it changes, and return the bare identifiers
    of every identity whose values or bonds changed, and of all whom that may concern. What is written is in
    `known` afterwards; the bonds must be stored.

    Raises:
        RestartError: another transaction has some of the identifiers.
    """
    if not said and not bonds:
        return set()
    moved = {p for bond in bonds for p in bond.pair}
    named = set(said) | moved
    known.load_locked(cursor, locks, named | {p for fold in said.values() for p in beside(fold)})
    stored = known.patients(rules)
    folds = dict(stored.folds)
    grown: set[PatientId] = set()
    # Of identities with bonds the versions matter too, not only what holds.
    bound = {p for bond in stored.bonds for p in bond.pair}
    for identity in named:
        before = folds.get(identity)
        after = said.get(identity, {})
        if before is not None or not after.keys() <= PLAIN:
            after = merge(before or {}, after)
        if before is None or after != before:
            folds[identity] = after
            grown.add(identity)
            if before is None or identity in bound or _tells_otherwise(before, after):
                moved.add(identity)
    patients = Patients(folds, stored.bonds, rules)
    # A change shows on everyone it is connected with: also on those it was connected with until now.
    concerned = stored.related(moved) | patients.related(moved)
    shown = (moved | concerned) & folds.keys()
    _write(cursor, patients, shown)
    _write_folds(cursor, folds, grown - shown)
    known.folds = folds
    return {p.value for p in concerned}


def _tells_otherwise(before: Fold, after: Fold) -> bool:
    """Whether a fold's values, or what holds of them, changed: a repeat of what holds concerns nobody else."""
    return beside(before).keys() != beside(after).keys() or any(
        name not in before or before[name].keys() != values.keys() or _held(before[name]) != _held(values)
        for name, values in after.items()
    )


def _held(values: Mapping[str, Entry]) -> tuple[str, int] | None:
    if len(values) == 1:
        ((value, said),) = values.items()
        return value, said["first"][0]
    found = winner(values)
    return None if found is None else (found.value, found.first_received_at)


def _write_folds(
    cursor: Cursor[Row], folds: Mapping[PatientId, Fold], identities: Collection[PatientId]
) -> None:
    """What was said again: the fold remembers it, the row stays as it is."""
    if identities:
        ordered = sorted(identities)
        cursor.execute(
            "UPDATE patient p SET fold = n.fold "
            "FROM unnest(%s::text[], %s::text[], string_to_array(%s, %s)) AS n (authority, id, fold) "
            "WHERE p.patient_id = n.id AND p.patient_authority = n.authority",
            (
                text_array(p.authority for p in ordered),
                text_array(p.value for p in ordered),
                _joined(folds[p] for p in ordered),
                BETWEEN,
            ),
        )


def _joined(folds: Iterable[Fold]) -> str:
    return BETWEEN.join([orjson.dumps(fold).decode() for fold in folds])


def _write(cursor: Cursor[Row], patients: Patients, identities: Collection[PatientId]) -> None:
    rows = [patients.row(identity) for identity in sorted(identities)]
    if rows:
        cursor.execute(
            "INSERT INTO patient (patient_authority, patient_id, fold, merged_into_authority, merged_into_id, "
            "patient_name, patient_birth_date, patient_sex) SELECT * FROM unnest(%s::text[], %s::text[], "
            "string_to_array(%s, %s), %s::text[], %s::text[], %s::text[], %s::date[], %s::text[]) "
            "ON CONFLICT (patient_id, patient_authority) DO UPDATE SET fold = excluded.fold, "
            "merged_into_authority = excluded.merged_into_authority, merged_into_id = excluded.merged_into_id, "
            "patient_name = excluded.patient_name, patient_birth_date = excluded.patient_birth_date, "
            "patient_sex = excluded.patient_sex",
            (
                text_array(row.patient_authority for row in rows),
                text_array(row.patient_id for row in rows),
                _joined(patients.folds.get(identity, {}) for identity in sorted(identities)),
                BETWEEN,
                text_array(row.merged_into_authority for row in rows),
                text_array(row.merged_into_id for row in rows),
                text_array(row.patient_name for row in rows),
                text_array(iso_date(row.patient_birth_date) for row in rows),
                text_array(row.patient_sex for row in rows),
            ),
        )
