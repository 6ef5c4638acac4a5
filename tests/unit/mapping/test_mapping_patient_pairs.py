"""ADT messages about two patients: who, into whom, and which visit."""

from dataclasses import dataclass

import pytest
from hl7_cases import events, normalised

from dosestream.events.records import Patient


@dataclass(frozen=True)
class Case:
    """A message, and per event: action, patients, prior patients, visit number, prior visit number."""

    kind: str
    segments: tuple[str, ...]
    expected: list[tuple[str, str, str, str, str]]


PID, MRG = "PID|||1^^^H||DOE^JOE", "MRG|2^^^H"
PV1 = "PV1||I" + "|" * 17 + "V1"
ACCOUNT = "PID|||1^^^H||DOE^JOE" + "|" * 13 + "ACC1"

CASES = {
    **{
        f"{trigger} merges MRG-1 into PID-3": Case(
            f"ADT^{trigger}", (PID, MRG), [("merge", "1", "2", "", "")]
        )
        for trigger in ("A18", "A34", "A36", "A40")
    },
    "A39 takes the enterprise's identifiers along": Case(
        "ADT^A39", ("PID||E1^^^ENT|1^^^H", "MRG|2^^^H|||E2^^^ENT"), [("merge", "1 E1", "2 E2", "", "")]
    ),
    **{
        f"{trigger} changes an identifier": Case(
            f"ADT^{trigger}", (PID, MRG), [("change_id", "1", "2", "", "")]
        )
        for trigger in ("A46", "A47")
    },
    "A24 links both patients, each with its own values": Case(
        "ADT^A24",
        (PID, PV1, "PID|||2^^^C||ROE^ANN"),
        [("link", "1", "2", "V1", ""), ("link", "2", "1", "", "")],
    ),
    "A37 unlinks them": Case(
        "ADT^A37", (PID, "PID|||2^^^C"), [("unlink", "1", "2", "", ""), ("unlink", "2", "1", "", "")]
    ),
    "A43 names the identifier and both persons": Case(
        "ADT^A43", ("PID||E1^^^ENT|1^^^H", "MRG|1^^^H|||E2^^^ENT"), [("move", "1 E1", "1 E2", "", "")]
    ),
    "A44 moves an account": Case(
        "ADT^A44", (ACCOUNT, "MRG|2^^^H||ACC1"), [("move", "1", "2", "ACC1", "ACC1")]
    ),
    "A44 whose MRG-3 is empty moves the account of PID-18": Case(
        "ADT^A44", (ACCOUNT, MRG), [("move", "1", "2", "ACC1", "ACC1")]
    ),
    "A45 moves each visit behind its own MRG": Case(
        "ADT^A45",
        (PID, "MRG|2^^^H||||V1", PV1, "MRG|3^^^H||||V2", PV1[:-2] + "V2"),
        [("move", "1", "2", "V1", "V1"), ("move", "1", "3", "V2", "V2")],
    ),
    "A50 gives a visit another number": Case(
        "ADT^A50", (PID, "MRG|1^^^H||||V0", PV1), [("move", "1", "1", "V1", "V0")]
    ),
    "A50 need not repeat whose it is": Case(
        "ADT^A50", (PID, "MRG|||||V0", PV1), [("move", "1", "", "V1", "V0")]
    ),
    "A42 merges visits": Case("ADT^A42", (PID, "MRG|2^^^H||||V0", PV1), [("move", "1", "2", "V1", "V0")]),
    "A41 merges accounts": Case(
        "ADT^A41", (ACCOUNT, "MRG|1^^^H||ACC0"), [("move", "1", "1", "ACC1", "ACC0")]
    ),
    "A51 gives a visit another alternate number": Case(
        "ADT^A51",
        (PID, "MRG|1^^^H|||||X0", PV1 + "|" * 31 + "X1"),
        [("move", "1", "1", "X1", "X0")],
    ),
    "A29 deletes a person": Case("ADT^A29", (PID,), [("delete", "1", "", "", "")]),
    "A23 deletes a visit": Case("ADT^A23", (PID, PV1), [("delete", "1", "", "V1", "")]),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_who_and_into_whom(case: Case) -> None:
    found = [e for e in events(case.kind, "EVN||20260301110000", *case.segments) if isinstance(e, Patient)]
    assert [
        (
            e.action,
            " ".join(i.value for i in e.patient.identifiers),
            " ".join(i.value for i in e.prior_identifiers),
            e.visit_number,
            e.prior_visit_number,
        )
        for e in found
    ] == case.expected
    assert len({e.event_id for e in found}) == len(found)


REFUSED = [
    ("a link that names one patient", "ADT^A24", (PID,), "no_second_patient"),
    ("a move from nobody", "ADT^A44", (ACCOUNT,), "no_prior_patient_id"),
    ("a merge without MRG", "ADT^A34", (PID,), "no_prior_patient_id"),
]


@pytest.mark.parametrize(("kind", "segments", "code"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_what_does_not_say_who_is_refused(kind: str, segments: tuple[str, ...], code: str) -> None:
    found = normalised(kind, *segments)
    assert not found.events
    assert found.rejection is not None
    assert found.rejection.code == code
