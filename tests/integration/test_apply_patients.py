"""Who is who in a real dose database: the same rows for every order of arrival and every split into batches."""

import random
from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any

import psycopg
import pytest
from numbered import START, envelope

from dosestream.db import ledger
from dosestream.db.apply import apply, derive_dirty, enter_live_generation
from dosestream.db.migrate import migrate
from dosestream.db.records import decode
from dosestream.events.codec import Codec
from dosestream.events.records import Decision, Demographics, Identifier, Order, Patient, Study
from dosestream.kafka.records import Partition, Record
from dosestream.kafka.topics import Topic
from dosestream.reconcile.rules import Rules

CODEC = Codec()
TABLES = ("study", "study_order", "imaging_order", "patient", "anomaly")
NOT_CONTENT = {"revision", "updated_at"}
Event = Patient | Order | Study | Decision
Connection = psycopg.Connection[Any]
TOPIC = {Patient: Topic.PATIENT, Order: Topic.ORDER, Study: Topic.STUDY, Decision: Topic.DECISION}


def ids(*values: str) -> tuple[Identifier, ...]:
    """Identifiers as `value` or `value@AUTHORITY`."""
    parts = (text.partition("@") for text in values)
    return tuple(Identifier(authority=a or "HOSP", value=v) for v, _, a in parts)


def adt(
    number: int,
    who: Sequence[str],
    name: str = "",
    prior: Sequence[str] = (),
    action: str = "",
    trigger: str = "",
    **fields: Any,
) -> Patient:
    return Patient(
        **envelope(number, source="HIS|HOSP") | fields,
        action=action or ("merge" if prior else "update"),
        trigger=trigger or ("A40" if prior else "A08"),
        patient=Demographics(identifiers=ids(*who), name=name),
        prior_identifiers=ids(*prior),
    )


def order(number: int, who: str, key: str, visit: str = "") -> Order:
    return Order(
        **envelope(number, source="HIS|HOSP"),
        control_code="NW",
        order_status="SC",
        patient=Demographics(identifiers=ids(who)),
        placer_order_number=f"PL{key}",
        accession_number=f"A{key}",
        visit_number=visit,
    )


def study(number: int, who: str, key: str) -> Study:
    value, _, authority = who.partition("@")
    return Study(
        **envelope(number, source="HIS|HOSP"),
        kind="dose_report",
        study_instance_uid=f"1.2.{key}",
        sop_instance_uid=f"1.2.{key}.1",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.67",
        study_at=START,
        accession_number=f"A{key}",
        patient=Demographics(identifiers=(Identifier(authority=authority, value=value),)),
    )


def decided(number: int, kind: str, prior: str, patient: str, withdrawn: bool = False) -> Decision:
    return Decision(
        event_id=f"{number:032d}",
        received_at=START + number,
        kind=kind,
        withdrawn=withdrawn,
        by="duty",
        patient=ids(patient)[0],
        prior=ids(prior)[0],
    )


def story() -> list[Event]:
    """Six studies whose patients are merged in a chain and a circle, un-merged, linked, listed and moved."""
    return [
        *(adt(n, [f"P{n}"], f"NAME^{n}") for n in range(1, 7)),
        *(order(10 + n, f"P{n}", str(n), f"V{n}") for n in range(1, 7)),
        *(study(20 + n, f"P{n}", str(n)) for n in range(1, 5)),
        study(25, "C5@CLINIC", "5"),
        study(26, "N6@NAT", "6"),
        # A chain into one nobody has heard of, and back.
        adt(30, ["P2"], prior=["P1"]),
        adt(31, ["P9"], prior=["P2"]),
        adt(32, ["P1"], prior=["P9"]),
        adt(33, ["P1"], "LATE^1"),
        # The clinic's record of the fifth is linked, unlinked and linked; the sixth has two identifiers.
        adt(40, ["P5"], prior=["C5@CLINIC"], action="link", trigger="A24"),
        adt(41, ["P5"], prior=["C5@CLINIC"], action="unlink", trigger="A37"),
        adt(42, ["C5@CLINIC"], "CLINIC^5", prior=["P5"], action="link", trigger="A24"),
        adt(43, ["P6", "N6@NAT"]),
        # The third's visit was the fourth's, under another number.
        adt(
            50, ["P3"], prior=["P3"], action="move", trigger="A50", visit_number="W3", prior_visit_number="V3"
        ),
        adt(
            51, ["P4"], prior=["P3"], action="move", trigger="A45", visit_number="W3", prior_visit_number="W3"
        ),
        # A merge by message that a person takes apart, and one by a person that was taken back.
        adt(60, ["P6"], prior=["P4"]),
        decided(61, "unmerge", "P4", "P6"),
        decided(62, "merge", "P5", "P6"),
        decided(63, "merge", "P5", "P6", withdrawn=True),
    ]


def records(said: Sequence[Event], partitions: int = 2) -> list[Record]:
    ends: dict[Partition, int] = {}
    out = []
    for index, event in enumerate(said):
        partition = Partition(str(TOPIC[type(event)]), index % partitions)
        offset = ends.get(partition, 0)
        ends[partition] = offset + 1
        out.append(Record(partition, offset, CODEC.encode(event)))
    return out


def tell(url: str, batches: Sequence[Sequence[Record]], rules: Rules) -> dict[str, Any]:
    """The public rows after these batches."""
    migrate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        with connection.transaction(), connection.cursor() as cursor:
            enter_live_generation(cursor)
            ledger.begin(cursor, {r.partition: 0 for batch in batches for r in batch})
        for batch in batches:
            decoded, stopped = decode(CODEC, batch)
            assert not stopped
            apply(connection, CODEC, rules, decoded)
        while derive_dirty(connection, CODEC, rules):
            pass
        return {table: _rows(connection, table) for table in TABLES}


def _rows(connection: Connection, table: str) -> list[dict[str, str]]:
    cursor = connection.execute(f"SELECT * FROM dose.{table}")
    names = [column.name for column in cursor.description or ()]
    found = [
        {n: str(v) for n, v in zip(names, row, strict=True) if n not in NOT_CONTENT}
        for row in cursor.fetchall()
    ]
    return sorted(found, key=lambda row: sorted(row.items()))


def test_the_story_ends_as_it_should(fresh_database: Callable[[], str]) -> None:
    found = tell(fresh_database(), [records(story())], Rules())
    studies = {
        s["study_instance_uid"]: (s["link_state"], s["patient_id"], s["patient_name"]) for s in found["study"]
    }
    assert studies == {
        "1.2.1": ("linked", "P1", "LATE^1"),
        "1.2.2": ("linked", "P1", "LATE^1"),
        "1.2.3": ("linked", "P4", "NAME^4"),
        "1.2.4": ("linked", "P4", "NAME^4"),
        "1.2.5": ("linked", "P5", "NAME^5"),
        "1.2.6": ("linked", "P6", "NAME^6"),
    }
    merged = {p["patient_id"]: p["merged_into_id"] for p in found["patient"] if p["merged_into_id"] != "None"}
    assert merged == {"P2": "P1", "P9": "P1"}


@pytest.mark.parametrize("rules", [Rules(), Rules(follow_merges=False)], ids=["follow", "own"])
@pytest.mark.parametrize("seed", range(5))
def test_any_order_any_split_any_repeat_gives_the_same_rows(
    fresh_database: Callable[[], str], seed: int, rules: Rules
) -> None:
    expected = tell(fresh_database(), [records(story())], rules)
    rng = random.Random(seed)
    said = story()
    rng.shuffle(said)
    said += rng.sample(said, 6)
    waiting = records(said, partitions=3)
    batches = []
    while waiting:
        size = rng.randint(1, 7)
        batch, waiting = waiting[:size], waiting[size:]
        batches.append(batch)
    assert tell(fresh_database(), batches, rules) == expected


def test_a_chain_into_an_unknown_patient_one_message_a_batch_in_every_order(
    fresh_database: Callable[[], str],
) -> None:
    said: list[Event] = [
        adt(1, ["A"], "NAME^A"),
        adt(3, ["B"], prior=["A"]),
        adt(4, ["C"], prior=["B"]),
        study(5, "A", "1"),
    ]
    for arranged in permutations(said):
        found = tell(fresh_database(), [[r] for r in records(arranged)], Rules())
        merged = {p["patient_id"]: p["merged_into_id"] for p in found["patient"]}
        assert merged == {"A": "C", "B": "C", "C": "None"}
        assert {s["patient_name"] for s in found["study"]} == {"NAME^A"}
        assert {s["patient_id"] for s in found["study"]} == {"C"}


def test_a_merge_that_moves_elsewhere_takes_its_values_along(fresh_database: Callable[[], str]) -> None:
    said: list[Event] = [adt(1, ["A"], "NAME^A"), adt(2, ["B"], prior=["A"]), adt(3, ["C"], prior=["A"])]
    found = tell(fresh_database(), [[r] for r in records(said, partitions=1)], Rules())
    assert {p["patient_id"]: p["patient_name"] for p in found["patient"]} == {
        "A": "NAME^A",
        "B": "None",
        "C": "NAME^A",
    }
