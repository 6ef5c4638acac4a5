"""Every sample message ends as events, as ignored (a listed type that is not mapped), or rejected with a reason."""

import re
from collections import Counter
from functools import cache
from pathlib import Path

from dosestream.hl7.batch import split
from dosestream.hl7.tables import EVENTS, MESSAGE_TYPES
from dosestream.mapping.normalise import Interpretation, interpret
from dosestream.settings import Settings

SETTINGS = Settings()
BEGINS = re.compile(rb"(?:^|[\r\n])(?:\xef\xbb\xbf)?MSH[|#]")

# Class of messages (MSH-9.1) to how often it ends how: as events of a topic, ignored, or rejected by a code.
OUTCOMES: dict[str, dict[str, int]] = {
    "ADT": {"patient": 95, "ignored": 17, "no_patient_id": 2, "no_prior_patient_id": 1, "version": 1},
    "BAR": {"ignored": 6},
    "DFT": {"ignored": 5},
    "MDM": {"report": 14},
    "OMG": {"no_order_number": 2},
    "OML": {"order": 3, "no_order_number": 1},
    "ORM": {"order": 69},
    "ORR": {"order": 4},
    "ORU": {"report": 6},
    "SIU": {"appointment": 16},
    "": {"no_msh": 1},
}
# The types of which nothing is mapped, as `docs/sending.md` lists them.
UNMAPPED = {
    *("ADT^A09", "ADT^A14", "ADT^A15", "ADT^A16", "ADT^A25", "ADT^A26", "ADT^A27", "ADT^A60"),
    *("BAR^P01", "BAR^P02", "BAR^P12", "DFT^P03", "DFT^P11"),
}


@cache
def interpreted(folder: Path) -> tuple[tuple[str, Interpretation], ...]:
    found = []
    for path in sorted(folder.glob("*/*.hl7")):
        data = path.read_bytes()
        bodies = split(data)
        assert len(bodies) == len(BEGINS.findall(data)), path.name
        found += [(path.name, interpret(body, SETTINGS)) for body in bodies or [data]]
    return tuple(found)


def outcome(found: Interpretation) -> str:
    if found.refusal is not None:
        return found.refusal.code
    topics = {draft.topic.split(".")[1] for draft in found.drafts}
    return "ignored" if found.ignored else "+".join(sorted(topics))


def test_every_class_of_messages_ends_as_it_should(test_data: Path) -> None:
    counted: dict[str, Counter[str]] = {}
    for _, found in interpreted(test_data / "hl7"):
        counted.setdefault(found.message_type.partition("^")[0], Counter())[outcome(found)] += 1
    assert counted == OUTCOMES


def test_none_is_dropped_in_silence(test_data: Path) -> None:
    for name, found in interpreted(test_data / "hl7"):
        ends = (bool(found.drafts), bool(found.ignored), found.refusal is not None)
        assert any(ends), name
        if found.refusal is not None:
            assert found.refusal.reason.endswith("."), name
            assert found.refusal.location, name
        if found.ignored:
            assert ends == (False, True, False), name


def test_what_is_ignored_is_listed_by_hl7_and_by_us(test_data: Path) -> None:
    ignored = {found.message_type for _, found in interpreted(test_data / "hl7") if found.ignored}
    assert ignored == UNMAPPED
    for kind in ignored:
        code, _, event = kind.partition("^")
        assert code in MESSAGE_TYPES
        assert event in EVENTS
