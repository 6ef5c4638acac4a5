"""Facts of groups in the database: stored once, loaded where a group is derived again.

Of orders, decisions and appointments the record is kept as Kafka holds it. A dose report and a report's text may
be large and derivation does not read them: beside the record such a fact has a `header`, the event without them.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import orjson
from psycopg import Cursor

from dosestream.db.values import bigint_array, bytea_array, nul_free, text_array
from dosestream.events.codec import Codec
from dosestream.events.records import Appointment, Decision, Order, Report, Study
from dosestream.reconcile import dose_words
from dosestream.reconcile.derive import Group
from dosestream.reconcile.reports import without_text

Row = tuple[object, ...]
Fact = Order | Study | Decision | Appointment | Report
KINDS: dict[type[Fact], str] = {
    Order: "order",
    Study: "study",
    Decision: "decision",
    Appointment: "appointment",
    Report: "report",
}
CLASS_OF: dict[str, type[Fact]] = {kind: cls for cls, kind in KINDS.items()}
# Whose facts have a header.
HEADED = (Study, Report)
# Where a header keeps the words of the dose that was left out; headers of before have none.
WORDS = "dose_words"
# In place of a kind: an entity whose facts were let go.
LET_GO = "snapshot"
# Bytes of a record from which on it is sent by itself.
LARGE = 32 * 1024


class ForgottenError(Exception):
    """Facts of a group were let go and lie in the snapshot topic: nothing was done; bring these entities back (see
    `snapshots.recall`), then begin again."""

    def __init__(self, entities: Collection[str]) -> None:
        super().__init__(f"{len(entities)} entities to be read from the snapshot topic")
        self.entities = frozenset(entities)


@dataclass(frozen=True, slots=True)
class Filed:
    """One order, study, decision, appointment or report with the identifiers that connect it and its record's
    bytes; `heard_first` where no transaction before this one had it."""

    event: Fact
    keys: Sequence[str]
    value: bytes
    heard_first: bool = False


@dataclass(frozen=True, slots=True)
class AtHand:
    """A fact stored by this transaction: it need not be loaded.

    Attributes:
        group: where it was filed.
        event: the event as `load` would make it of what is stored, with the words of the dose that it lacks.
        told: the event as it came.
    """

    group: int
    event: Fact
    words: Sequence[str]
    told: Fact


def store(cursor: Cursor[Row], facts: Sequence[Filed], group_of: Mapping[str, int]) -> dict[str, AtHand]:
    """Store facts, by event id in which group; a repeat keeps the smaller receipt. Returns those that were not
    there before, by event id."""
    once = {
        fact.event.event_id: fact for fact in sorted(facts, key=lambda f: f.event.received_at, reverse=True)
    }
    plain = [fact for fact in once.values() if not isinstance(fact.event, HEADED)]
    if plain:
        events = [fact.event for fact in plain]
        cursor.execute(
            "INSERT INTO fact (event_id, kind, grp, received_at, value) "
            "SELECT * FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bytea[]) "
            f"{REPEATED}",
            (
                text_array(event.event_id for event in events),
                text_array(KINDS[type(event)] for event in events),
                bigint_array(group_of[event.event_id] for event in events),
                bigint_array(event.received_at for event in events),
                bytea_array(None if _is_large(fact) else fact.value for fact in plain),
            ),
        )
    found = {
        fact.event.event_id: AtHand(group_of[fact.event.event_id], fact.event, (), fact.event)
        for fact in plain
    }
    headed = [
        (fact, loaded_of(fact.event, group_of[fact.event.event_id]))
        for fact in once.values()
        if isinstance(fact.event, HEADED)
    ]
    if headed:
        rows, changed = nul_free([_row(fact, as_loaded) for fact, as_loaded in headed])
        cursor.execute(
            f"INSERT INTO fact SELECT * FROM jsonb_populate_recordset(NULL::fact, %s::jsonb) {REPEATED}",
            (rows,),
        )
        if not changed:
            found |= {fact.event.event_id: as_loaded for fact, as_loaded in headed}
    for fact in facts:
        if _is_large(fact):
            cursor.execute(
                "UPDATE fact SET value = %s WHERE event_id = %s AND value IS NULL",
                (fact.value, fact.event.event_id),
            )
    return {event_id: at_hand for event_id, at_hand in found.items() if once[event_id].heard_first}


REPEATED = (
    "ON CONFLICT (event_id) DO UPDATE SET received_at = excluded.received_at "
    "WHERE excluded.received_at < fact.received_at"
)


def _is_large(fact: Filed) -> bool:
    """Whether its bytes go by themselves: the rows of one statement may not come to more than 256 MB of text."""
    return len(fact.value) > LARGE


def loaded_of(event: Fact, group: int) -> AtHand:
    """The event as derivation reads it: of a dose report what kind it is, with words for its events and
    totals in their place; of a report a digest of its text."""
    words: Sequence[str] = ()
    short = event
    if isinstance(event, Report):
        short = without_text(event)
    elif isinstance(event, Study) and event.dose is not None:
        read = replace(event.dose, events=(), totals=(), unread=(), administrations=(), organ_doses=())
        short = replace(event, dose=read)
        words = dose_words.written(event)
    return AtHand(group, short, words, event)


def header_of(as_loaded: AtHand) -> dict[str, object]:
    """What is kept beside the record of a fact that has a header."""
    header = as_loaded.event.to_datum()
    if as_loaded.words:
        header[WORDS] = as_loaded.words
    return header


def _row(fact: Filed, as_loaded: AtHand) -> dict[str, object]:
    return {
        "event_id": fact.event.event_id,
        "kind": KINDS[type(fact.event)],
        "grp": as_loaded.group,
        "received_at": fact.event.received_at,
        "header": header_of(as_loaded),
        "value": None if _is_large(fact) else "\\x" + fact.value.hex(),
    }


def load(
    cursor: Cursor[Row], codec: Codec, groups: Collection[int], at_hand: Mapping[str, AtHand]
) -> dict[int, Group]:
    """The facts of groups, dose and the texts of reports left out; `at_hand` are those of them, by event id, that
    need not be read.

    Raises:
        ForgottenError: some of them were let go.
    """
    if not groups:
        return {}
    cursor.execute(
        "SELECT grp, kind, received_at, header::text, CASE WHEN header IS NULL THEN value END FROM fact "
        "WHERE grp = ANY(%s::bigint[]) AND event_id <> ALL(%s::text[]) "
        f"UNION ALL SELECT grp, '{LET_GO}', 0, entity, NULL FROM snapshot WHERE grp = ANY(%s::bigint[])",
        (bigint_array(groups), text_array(at_hand), bigint_array(groups)),
    )
    stored = cursor.fetchall()
    if let_go := [str(entity) for _, kind, _, entity, _ in stored if kind == LET_GO]:
        raise ForgottenError(let_go)
    events: dict[int, dict[type[Fact], list[Any]]] = {group: {cls: [] for cls in KINDS} for group in groups}
    words: dict[int, dict[str, Sequence[str]]] = {}
    for event_id, fact in at_hand.items():
        events[fact.group][type(fact.event)].append(fact.event)
        if fact.words:
            words.setdefault(fact.group, {})[event_id] = fact.words
    for number, kind, received_at, header, value in stored:
        group, cls, received = int(str(number)), CLASS_OF[str(kind)], int(str(received_at))
        if header is None:
            event = codec.decode(bytes(cast(bytes, value)), cls)
            if event.received_at != received:
                event = replace(event, received_at=received)
        else:
            datum = orjson.loads(str(header))
            datum["received_at"] = received
            if said := datum.pop(WORDS, None):
                words.setdefault(group, {})[str(datum["event_id"])] = said
            event = cls.from_datum(datum)
        events[group][cls].append(event)
    return {
        group: Group(
            tuple(found[Order]),
            tuple(found[Study]),
            tuple(found[Decision]),
            tuple(found[Appointment]),
            tuple(found[Report]),
            words.get(group, {}),
        )
        for group, found in events.items()
    }


def studies(
    cursor: Cursor[Row], codec: Codec, wanted: Collection[str], at_hand: Mapping[str, AtHand]
) -> dict[str, Study]:
    """Study arrivals with their dose, by event id."""
    found = {
        event_id: told
        for event_id in wanted
        if event_id in at_hand and isinstance(told := at_hand[event_id].told, Study)
    }
    if missing := [event_id for event_id in wanted if event_id not in found]:
        cursor.execute(
            "SELECT event_id, value FROM fact WHERE event_id = ANY(%s::text[])", (text_array(missing),)
        )
        found |= {
            str(event_id): codec.decode(bytes(cast(bytes, value)), Study)
            for event_id, value in cursor.fetchall()
            if value is not None
        }
    return found
