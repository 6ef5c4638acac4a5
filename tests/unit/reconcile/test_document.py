"""docs/reconciliation.md says what the code does: its tables are compared, its examples are run."""

import re
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from rows_of import Event, rows_of
from said import arrival, at, ct_report, decision, order, person, unissued

from dosestream.reconcile.links import LADDER
from dosestream.reconcile.rules import Rules
from dosestream.reconcile.status import STATUS_TABLE, TRANSITIONS, status_of

TEXT = (Path(__file__).parents[3] / "docs" / "reconciliation.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"\*\*([^*]+)\*\*: [^`]*```example\n(.*?)```", TEXT, re.DOTALL)
RULES = Rules()
HOUR = 3600
NAMES = {"P1": "DOE^JOE", "P2": "ROE^ANN"}
FIELDS = {
    "filler": "filler_order_number",
    "accession": "accession_number",
    "modality": "modality",
    "procedure": "procedure_code",
}


def table(first: str) -> list[list[str]]:
    """The rows below the heading row that begins with this cell."""
    lines = TEXT[TEXT.index(f"\n| {first} |") + 1 :].splitlines()
    cells = []
    for line in lines:
        if not line.startswith("|"):
            break
        cells.append([cell.strip() for cell in line.strip("|").split("|")])
    return [cells[0], *cells[2:]]


def hours(text: str) -> float:
    return float(text.removesuffix("h")) * HOUR


def event(line: str) -> Event:
    """One line of an example."""
    when, kind, *words = line.split()
    said = dict(word.split("=") for word in words if "=" in word)
    plain = [word for word in words if "=" not in word]
    fields: dict[str, Any] = {FIELDS[name]: value for name, value in said.items() if name in FIELDS}
    received = hours(said["heard"]) if "heard" in said else None
    who = said.get("patient", "")
    if kind == "order":
        if "scheduled" in said:
            fields["scheduled_at"] = at(hours(said["scheduled"]))
        code, status = plain
        return order(hours(when), code, status, person(who, name=NAMES[who]), received, **fields)
    if kind == "report":
        named = unissued(who, NAMES[who])
        return arrival(hours(when), patient=named, dose=ct_report("e1"), received=received, **fields)
    if kind == "step":
        said_so = plain[0].upper().replace("_", " ")
        return arrival(
            hours(when),
            sop="1.9",
            patient=unissued(who, NAMES[who]),
            received=received,
            kind="performed_step",
            step_status=said_so,
            **fields,
        )
    assert kind == "decision", line
    return decision(hours(when), plain[0], "1.2.3", **fields)


def outcome(events: list[Event], now: float) -> list[str]:
    """What an example ends with, in its own words."""
    rows = rows_of(events, at(now), RULES)
    studies = [f"study {s.link_state} {s.link_method or '-'} {s.phase}" for s in rows.studies]
    orders = sorted(f"order {o.filler_order_number} {o.state} {o.status}" for o in rows.orders)
    found = [f"anomaly {a.kind} {a.subject}" for a in rows.anomalies if not a.kind.startswith("link_")]
    return [*studies, *orders, *found]


@pytest.mark.parametrize("example", [text for _, text in EXAMPLES], ids=[name for name, _ in EXAMPLES])
def test_an_example_ends_as_told_whatever_the_order(example: str) -> None:
    before, after = re.split(r"^now ", example, flags=re.MULTILINE)
    now, *expected = after.splitlines()
    events = [event(line) for line in before.splitlines()]
    for arranged in permutations(events):
        assert outcome(list(arranged), hours(now)) == expected


def test_every_state_and_phase_has_an_example() -> None:
    ends = {word for _, text in EXAMPLES for word in text.split("now ")[1].split()}
    assert ends >= {"linked", "waiting", "unmatched", "ambiguous", "conflict"}
    assert ends >= {"expected", "overdue", "cancelled", "performed"}
    assert ends >= {"provisional", "final", "amended"}


def test_the_status_table_is_the_codes() -> None:
    heading, *rows = table("ORC-1")
    words = ["" if word == "empty" else word for word in heading[1:]]
    for codes, *cells in rows:
        for code in codes.split(", "):
            asked = [status_of(STATUS_TABLE, code, word) or "-" for word in words]
            assert (code, asked) == (code, cells)
    told = {code for codes, *_ in rows for code in codes.split(", ")}
    wanted = "NW XO CA DC SC SN NA OK RE HD RL RP RO RU OC OD CR UC DR PA CH"
    assert told >= set(wanted.split())


def test_the_transition_table_is_the_codes() -> None:
    _, *rows = table("from")
    assert {before: tuple(after.replace("-", "").split()) for before, after in rows} == dict(TRANSITIONS)


def test_the_ladder_is_the_codes() -> None:
    _, *rows = table("evidence")
    told = [method.strip("`") for _, method in rows]
    ladder = list(dict.fromkeys(method for method, _ in LADDER))
    assert [method for method in told if method in ladder] == ladder
    assert told[0] == "decision"
    assert told[-2:] == ["accession_only", "window"]
