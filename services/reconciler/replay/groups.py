"""The fourth stage: the rows of groups, derived bucket by bucket and put aside as COPY takes them.

They are not written yet: groups that meet by keys which only derivation finds (a patient's orders and studies of a
day) are one, and are derived again from the facts of all of them.
"""

import marshal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from psycopg import Connection

from dosestream.db import alerts, dose, patients, reports, rows, steps
from dosestream.db.bulk import DERIVED
from dosestream.db.copy import NULL_FIELD as NO_HEADER
from dosestream.db.copy import Columns, bigint_field, columns_of, escaped, field, jsonb_field, text_field
from dosestream.db.facts import CLASS_OF, HEADED, KINDS, AtHand, Fact, header_of, loaded_of
from dosestream.db.generations import Generation
from dosestream.db.values import columns
from dosestream.events.codec import Codec
from dosestream.events.records import Appointment, Decision, Order, Report, Study
from dosestream.reconcile.connecting import KEYS
from dosestream.reconcile.derive import Group, derive, patients_named
from dosestream.reconcile.rows import DoseSummary, GroupRows
from dosestream.reconcile.rules import Rules
from services.reconciler.replay.spill import Frames, Keys, bucket, key_of

Row = tuple[object, ...]
# Groups are derived together, what is known of their patients being read from the database at once, until they
# have so many facts, or so many bytes of them.
TOGETHER, TOGETHER_BYTES = 2000, 1 << 22
FACT = "COPY fact (event_id, kind, grp, received_at, header, value) FROM STDIN (FORMAT binary)"


@dataclass(frozen=True, slots=True)
class Site:
    """What groups are derived with; `now` is the newest tick, 0 before the first."""

    codec: Codec
    rules: Rules
    now: int


@dataclass(frozen=True, slots=True)
class Told:
    """A fact as it was put aside, decoded: its record's bytes, and how derivation reads it."""

    value: bytes
    at_hand: AtHand


class Deriver:
    """Derives the groups of buckets with one connection to the generation."""

    def __init__(self, connection: Connection[Row], generation: Generation, site: Site) -> None:
        self._connection, self._site = connection, site
        with connection.cursor() as cursor:
            self._tables: dict[str, Columns] = {
                table: columns_of(cursor, generation.schema, table) for table in DERIVED
            }

    def derive(
        self,
        folders: Iterable[Path],
        number: int,
        first: int,
        out: Path,
        told: Callable[[int], None],
    ) -> int:
        """Derive the groups of a bucket.

        Args:
            folders: where its facts lie, each frame behind its root.
            number: of the bucket.
            first: number of the first group; those that follow are numbered on.
            out: beside this path rows (`.rows`) and the keys by which groups may meet (`.keys`) are put.
            told: hears of groups derived.

        Returns how many groups there were.
        """
        facts: dict[int, list[bytes]] = {}
        for frame in bucket(folders, number):
            facts.setdefault(int.from_bytes(frame[:8], "little"), []).append(frame[8:])
        rows_out, keys_out = Frames(out.with_suffix(".rows")), Keys(out.with_suffix(".keys"))
        grp = first
        for roots in _together(facts):
            found = {
                grp + nth: (root, self._read(facts.pop(root), grp + nth)) for nth, root in enumerate(roots)
            }
            grp += len(roots)
            for group, (tables, meeting) in self._rows({g: told for g, (_, told) in found.items()}).items():
                root = found[group][0]
                rows_out.add(marshal.dumps((root, group, tables)))
                for key in meeting:
                    keys_out.add(key_of(key), root)
            told(len(roots))
        rows_out.close()
        keys_out.close()
        return grp - first

    def _read(self, put_aside: Iterable[bytes], group: int) -> dict[str, Told]:
        """The facts of a group, each once at its first receipt."""
        found: dict[str, Told] = {}
        for frame in put_aside:
            kind, received_at, value = marshal.loads(frame)
            event: Fact = self._site.codec.decode(value, CLASS_OF[kind])
            if event.received_at != received_at:
                event = replace(event, received_at=received_at)
            known = found.get(event.event_id)
            if known is None:
                found[event.event_id] = Told(value, loaded_of(event, group))
            elif received_at < known.at_hand.event.received_at:
                earlier = replace(known.at_hand.told, received_at=received_at)
                found[event.event_id] = Told(known.value, loaded_of(earlier, group))
        return found

    def _rows(
        self, told: Mapping[int, Mapping[str, Told]]
    ) -> dict[int, tuple[dict[str, bytes], frozenset[str]]]:
        """By group its rows, as COPY takes them, by table; and the keys by which it may meet others."""
        site = self._site
        groups = {number: _group(found.values()) for number, found in told.items()}
        named = {number: patients_named(group, site.rules) for number, group in groups.items()}
        known = patients.Known()
        with self._connection.cursor() as cursor:
            known.load(cursor, {p for those in named.values() for p in those})
        context = known.patients(site.rules)
        out = {}
        for number, group in groups.items():
            derived = derive(group, context, site.rules, site.now)
            bare = sorted({p.value for p in context.related(named[number])})
            out[number] = (self._lines(number, group, derived, told[number], bare), derived.window_keys)
        return out

    def _lines(
        self, number: int, group: Group, derived: GroupRows, told: Mapping[str, Told], bare: Sequence[str]
    ) -> dict[str, bytes]:
        site = self._site
        content = dict(self._content(number, group, derived, told))
        lines = {table: self._tables[table].lines(found) for table, found in content.items() if found}
        keys = {key for fact in told.values() for key in _keys(fact.at_hand.told, site.rules)}
        for table, texts in (("identifier", sorted(keys | derived.window_keys)), ("patient_group", bare)):
            lines[table] = "".join([f"{escaped(text)}\t{number}\n" for text in texts]).encode()
        lines["fact"] = b"".join(_fact(fact, number) for fact in told.values())
        return lines

    def _content(
        self, number: int, group: Group, derived: GroupRows, told: Mapping[str, Told]
    ) -> Iterator[tuple[str, list[dict[str, object]]]]:
        """Rows by table, as `dosestream.db.apply` writes them into empty tables."""
        rules = self._site.rules
        events = {
            event_id: event
            for event_id, fact in told.items()
            if isinstance(event := fact.at_hand.told, Study)
        }
        doses: dict[str, DoseSummary] = {}
        if events:
            studied = {one.study_instance_uid: one for one in dose.told({number: group}, rules)}
            read = {uid: dose.read(one, events, rules) for uid, one in studied.items()}
            doses = {uid: found.summary for uid, found in read.items()}
            yield "study_dose", [dose.summary_row(one, read[uid]) for uid, one in studied.items()]
            yield from dose.table_rows(read).items()
        links: dict[str, list[dict[str, object]]] = {row.study_instance_uid: [] for row in derived.studies}
        for link in derived.links:
            links[link.study_instance_uid].append(columns(link))
        studies = []
        for row in derived.studies:
            uid = row.study_instance_uid
            content = rows.study_content(row, doses.get(uid, DoseSummary()))
            hashed = rows.content_hash({"study": content, "orders": links[uid]})
            studies.append(
                {**content, "revision": 1, "rules_hash": rules.hash, "grp": number, "content_hash": hashed}
            )
        yield "study", studies
        yield "study_order", [link for found in links.values() for link in found]
        orders = []
        for order in derived.orders:
            content = rows.order_content(order)
            hashed = rows.content_hash(content)
            orders.append({**content, "grp": number, "content_hash": hashed, "rules_hash": rules.hash})
        yield "imaging_order", orders
        yield "scheduled_step", [{**steps.step_content(step), "grp": number} for step in derived.steps]
        yield "anomaly", [rows.anomaly_content(row, number) for row in derived.anomalies]
        yield "report", [self._report(row, number, told) for row in derived.reports]
        if doses:
            found = alerts.standing(group, derived, doses, rules, lambda _: events)
            yield "alert", [alerts.alert_content(row, number, 1) for row in found]

    def _report(self, row: Any, number: int, told: Mapping[str, Told]) -> dict[str, object]:
        text = None
        if row.text_of is not None and isinstance(event := told[row.text_of].at_hand.told, Report):
            text = reports.text_of(event)
        return reports.report_content(row, number, text, reports.content_hash(row))


def _together(facts: Mapping[int, Sequence[bytes]]) -> Iterator[list[int]]:
    """Roots in ascending order, so many at a time that their facts are not too many."""
    page: list[int] = []
    held = size = 0
    for root in sorted(facts):
        page.append(root)
        held += len(facts[root])
        size += sum(map(len, facts[root]))
        if held >= TOGETHER or size >= TOGETHER_BYTES:
            yield page
            page, held, size = [], 0, 0
    if page:
        yield page


def _group(told: Iterable[Told]) -> Group:
    events: dict[type[Fact], list[Any]] = {cls: [] for cls in KINDS}
    words: dict[str, Sequence[str]] = {}
    for fact in told:
        event = fact.at_hand.event
        events[type(event)].append(event)
        if fact.at_hand.words:
            words[event.event_id] = fact.at_hand.words
    return Group(
        tuple(events[Order]),
        tuple(events[Study]),
        tuple(events[Decision]),
        tuple(events[Appointment]),
        tuple(events[Report]),
        words,
    )


def _keys(event: Fact, rules: Rules) -> Sequence[str]:
    return KEYS[type(event)](event, rules)


def _fact(fact: Told, number: int) -> bytes:
    event = fact.at_hand.event
    return b"".join(
        (
            b"\0\x06",
            text_field(event.event_id),
            text_field(KINDS[type(event)]),
            bigint_field(number),
            bigint_field(event.received_at),
            jsonb_field(header_of(fact.at_hand)) if isinstance(event, HEADED) else NO_HEADER,
            field(fact.value),
        )
    )
