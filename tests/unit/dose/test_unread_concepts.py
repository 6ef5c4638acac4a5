"""What reports hold and nothing reads is listed in docs/dose.md, and nothing else is."""

import io
import re
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset

from dosestream.dose import concepts
from dosestream.dose.concepts import Code
from dosestream.simulate.sr_catalogue import NAMES, planned
from dosestream.simulate.sr_reports import draw

AT = 1_772_438_400_000_000
PAGE = (Path(__file__).parents[3] / "docs" / "dose.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## Not read")[2]
# Tables of values rather than of concept names.
VALUES = frozenset(("UNUSED_NUMBERS", "PLANES", "PHANTOMS", "SIDES", "ANSWERS", "RETIRED", "PET_STUDIES"))
# Grouping containers: what is in them is read wherever it stands.
GROUPS = frozenset(("113822", "113829"))


def codes_in(table: object) -> Iterator[Code]:
    """The concept codes of a table of `concepts`: keys, members, and what a Number is read from."""
    match table:
        case (str(value), ("DCM" | "SCT") as scheme):
            yield value, scheme
        case concepts.Number(codes=codes):
            yield from codes
        case dict():
            for key, value in table.items():
                yield from codes_in(key)
                if isinstance(value, concepts.Number | tuple) and isinstance(key, str):
                    yield from codes_in(value)
        case tuple() | frozenset():
            for one in table:
                yield from codes_in(one)


READ = {code for name, table in vars(concepts).items() if name not in VALUES for code in codes_in(table)}


def documented() -> set[str]:
    """The codes of the section, with those between where it says `to`."""
    found = set(re.findall(r"\d{6,}", SECTION))
    for first, last in re.findall(r"(\d{6}) to (\d{6})", SECTION):
        found |= {str(number) for number in range(int(first), int(last) + 1)}
    return found


def unread(item: Dataset) -> Iterator[str]:
    """The codes of standard schemes, at any depth, that no table knows."""
    for child in item.get("ContentSequence", []):
        for name in child.get("ConceptNameCodeSequence", []):
            code = (str(name.get("CodeValue", "")), str(name.get("CodingSchemeDesignator", "")))
            if code[1] in concepts.SNOMED_RT:
                # Has Intent is matched by nothing, so its retired code is in no table.
                code = concepts.RETIRED.get(code[0], ("363703001" if code[0] == "G-C0E8" else code[0], "SCT"))
            if code[1] in ("DCM", "SCT") and code not in READ and code[0] not in GROUPS:
                yield code[0]
        yield from unread(child)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_generated_report_holds_is_read_or_listed(name: str) -> None:
    root = pydicom.dcmread(io.BytesIO(planned(name, draw(f"unread/{name}", AT)).body()))
    assert set(unread(root)) <= documented()


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_what_real_reports_hold_is_read_or_listed(test_data: Path) -> None:
    paths = sorted((test_data / "rdsr").glob("*.dcm"))
    assert paths
    for path in paths:
        assert set(unread(pydicom.dcmread(path))) <= documented(), path.name


def test_numbers_known_to_be_unused_are_listed_and_no_listed_one_is_read() -> None:
    unused = {value for value, _ in concepts.UNUSED_NUMBERS}
    assert unused - documented() == {"113812"}, "113812 is read as the number of events stated"
    assert documented() & {value for value, _ in READ} == set()


def test_a_line_taken_from_the_list_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "SECTION", SECTION.replace("113731", ""))
    root = pydicom.dcmread(io.BytesIO(planned("computed radiography", draw("unread/cr", AT)).body()))
    assert set(unread(root)) - documented() == {"113731"}
