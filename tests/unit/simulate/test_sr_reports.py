"""The synthetic reports as DICOM: a second reader takes them, and every row that a template demands is there."""

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.sr._concepts_dict import concepts

from dosestream.simulate.sr_codes import DCM, SNOMED
from dosestream.simulate.sr_document import Plan
from dosestream.simulate.sr_reports import TEMPLATES, draw, plan

AT = 1_772_438_400_000_000


@cache
def planned(name: str) -> Plan:
    return plan(name, draw(f"sr/{name}", AT))


def data_set(name: str) -> Dataset:
    return dcmread(BytesIO(planned(name).body()))


@pytest.mark.parametrize("name", TEMPLATES)
def test_dcmtk_reads_a_report_without_an_error(name: str, tmp_path: Path) -> None:
    dsrdump = shutil.which("dsrdump")
    if dsrdump is None:
        pytest.skip("dsrdump (Debian package dcmtk) is not installed")
    path = tmp_path / "report.dcm"
    path.write_bytes(planned(name).body())
    done = subprocess.run([dsrdump, str(path)], capture_output=True, check=False)
    errors = [
        line
        for line in done.stderr.decode("latin-1").splitlines()
        if not line.startswith(("W: The VR", WITHOUT))
    ]
    assert (done.returncode, errors) == (0, [])


# dcmtk checks relationships of these, but knows no template for them.
WITHOUT = "W: Check for template constraints not yet supported"


@dataclass(frozen=True)
class Rows:
    """What a container of a template must hold, once each unless `many`: value type and concept of the mandatory rows
    (and of conditional ones whose condition these reports meet), below a path of concepts from the root."""

    tid: str
    path: tuple[str, ...]
    once: tuple[str, ...]
    many: tuple[str, ...] = ()


OBSERVER = ("CODE 121005", "UIDREF 121012")
INTENT = "CODE 363703001"
# PS3.16, requirement type M, and MC where the condition is met.
REQUIRED: Mapping[str, tuple[Rows, ...]] = {
    "10011": (
        Rows("10011", (), ("CODE 121058", *OBSERVER, "DATETIME 113809", "DATETIME 113810", "CODE 113705",
                           "CONTAINER 113811", "CODE 113854"), ("CONTAINER 113819",)),
        Rows("10011", ("121058",), (INTENT,)),
        Rows("10011", ("113705",), ("UIDREF 110180",)),
        Rows("10012", ("113811",), ("NUM 113812", "NUM 113813")),
        Rows("10013", ("113819",), ("CODE 123014", "CODE 113820", "UIDREF 113769", "CONTAINER 113822", "CONTAINER 113829")),
        Rows("10013", ("113819", "113822"), ("NUM 113824", "NUM 113825", "NUM 113826", "NUM 113827", "NUM 113823"),
             ("CONTAINER 113831",)),
        Rows("10013", ("113819", "113822", "113831"), ("TEXT 113832", "NUM 113733", "NUM 113833", "NUM 113734")),
        Rows("10013", ("113819", "113829"), ("NUM 113830", "CODE 113835", "NUM 113838")),
        Rows("10015", ("113819", "113829", "113900"), ("CODE 113901", "CODE 113902")),
        Rows("10015", ("113819", "113829", "113908"), ("CODE 113909", "CODE 113910")),
        Rows("1020", ("113819", "113829", "113900", "113870"), ("CODE 113875",)),
    ),
    "10001": (
        Rows("10001", (), ("CODE 121058", *OBSERVER, "CODE 113705", "CODE 113854"), ("CONTAINER 113702", "CONTAINER 113706")),
        Rows("10001", ("121058",), (INTENT,)),
        Rows("10001", ("113705",), ("UIDREF 110180",)),
        Rows("10002", ("113702",), ("CODE 113764",)),
        Rows("10002", ("113702", "122505"), ("CODE 113794", "DATETIME 113723", "NUM 122322", "NUM 113763", "TEXT 113724")),
        Rows("10003", ("113706",), ("CODE 113764", "DATETIME 111526", "CODE 113721", "UIDREF 113769"), ("NUM 113733",)),
        Rows("10003B", ("113706", "113771"), ("CODE 113772", "CODE 113757")),
    ),
    "10021": (
        Rows("10021", (), ("CODE 363589002", "CONTAINER 113502")),
        Rows("10021", ("363589002",), (INTENT,)),
        Rows("10022", ("113502",), ("CODE 349358000", "UIDREF 113503", "DATETIME 123003", "NUM 113507", "CODE 410675002")),
        Rows("10022", ("113502", "349358000"), ("CODE 89457008", "NUM 304283002")),
        Rows("10023", ("113502", "113517"), ("CODE 363698007", "NUM 113518")),
    ),
    "10030": (
        Rows("10030", (), ("CODE 121049", *OBSERVER, "CONTAINER 128402")),
        Rows("10033", ("128402", "128415"), ("CONTAINER 128500",), ("COMPOSITE 128416",)),
        Rows("10033", ("128402", "128415", "128500"), ("CODE 128417", "CODE 128420", "CONTAINER 128427")),
    ),
    "2000": (Rows("2000", (), (), ("CONTAINER 121070",)),),
}  # fmt: skip
# Rows that one kind of report must have besides.
BY_TEMPLATE: Mapping[str, tuple[Rows, ...]] = {
    "fluoroscopy": (
        Rows("10004", ("113702",), ("NUM 113726", "NUM 113728", "NUM 113730", "NUM 113727", "NUM 113729", "NUM 113855")),
        Rows("10007", ("113702",), ("NUM 113722", "NUM 113725", "CODE 113780")),
        Rows("10003", ("113706",), ("NUM 122130", "NUM 113738", "NUM 113768"), ("NUM 113734",)),
        Rows("10003C", ("113706",), ("NUM 112011", "NUM 112012", "NUM 113748", "NUM 113750")),
    ),
    "digital radiography": (
        Rows("10007", ("113702",), ("NUM 113722",)),
        Rows("10003A", ("113706",), ("NUM 113845", "NUM 113846", "NUM 113847")),
    ),
    "computed radiography": (Rows("10006", ("113702",), ("CODE 113947", "NUM 113731")),),
    "mammography": (
        Rows("10005", ("113702",), (), ("NUM 111637",)),
        Rows("10005", ("113702", "111637"), ("CODE 272741003",)),
        Rows("10003", ("113706",), ("CODE 111031", "NUM 111633", "NUM 111634", "NUM 111631", "CODE 111632", "CODE 111635")),
    ),
}  # fmt: skip
# Those that are fluoroscopy too.
LIKE = {"biplane angiography": "fluoroscopy", "angiography with pulse groups": "fluoroscopy"}


def children(item: Dataset) -> list[Dataset]:
    return list(item.get("ContentSequence", []))


def concept(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeValue)


def at(item: Dataset, path: tuple[str, ...]) -> Iterator[Dataset]:
    """Every item below `item` at this path of concepts."""
    if not path:
        yield item
        return
    for child in children(item):
        if concept(child) == path[0]:
            yield from at(child, path[1:])


def missing(root: Dataset, rows: Rows) -> list[str]:
    wrong = []
    for place in at(root, rows.path):
        held = [f"{child.ValueType} {concept(child)}" for child in children(place)]
        wrong += [
            f"TID {rows.tid} {row}: {held.count(row)} times" for row in rows.once if held.count(row) != 1
        ]
        wrong += [f"TID {rows.tid} {row}: never" for row in rows.many if row not in held]
    return wrong


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_row_that_a_template_demands_is_there(name: str) -> None:
    root = data_set(name)
    rows = REQUIRED[TEMPLATES[name].tid] + BY_TEMPLATE.get(LIKE.get(name, name), ())
    assert [line for one in rows for line in missing(root, one)] == []


def test_every_path_of_the_required_rows_is_met_by_some_report() -> None:
    for tid, rows in REQUIRED.items():
        roots = [data_set(name) for name, template in TEMPLATES.items() if template.tid == tid]
        for one in rows:
            assert any(list(at(root, one.path)) for root in roots), one


def test_a_row_left_out_is_noticed() -> None:
    root = data_set("ct")
    acquisition = next(at(root, ("113819", "113829")))
    acquisition.ContentSequence = [item for item in children(acquisition) if concept(item) != "113838"]
    assert [line for one in REQUIRED["10011"] for line in missing(root, one)] == [
        "TID 10013 NUM 113838: 0 times"
    ]


def known(scheme: str) -> Mapping[str, str]:
    table: Any = concepts[scheme]
    return {value: meaning[0] for named in table.values() for value, meaning in named.items()}


def test_codes_and_meanings_are_those_of_the_standard() -> None:
    standard = known("DCM")
    # PS3.16 annex D calls it so; pydicom's keyword keeps an older name.
    renamed = {"111637"}
    assert {value: meaning for value, meaning in DCM.items() if value not in renamed} == {
        value: standard[value] for value in DCM if value not in renamed
    }


def test_snomed_codes_that_the_standard_uses_in_context_groups_are_among_ours() -> None:
    standard = known("SCT")
    unknown = {name for name, (_, sct, _) in SNOMED.items() if sct not in standard}
    # Concept names rather than values of context groups.
    assert unknown <= {
        "body height", "body weight", "half life", "lung", "radionuclide", "radiopharmaceutical agent",
    }  # fmt: skip


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_same_seed_makes_the_same_bytes_and_another_one_shares_no_uid(name: str) -> None:
    same = plan(name, draw(f"sr/{name}", AT))
    assert same.body() == planned(name).body()
    other = plan(name, draw(f"other/{name}", AT)).answer()
    mine = same.answer()
    for column in ("study_instance_uid", "sop_instance_uid"):
        assert mine["header"][column] != other["header"][column]
