"""What a site writes over the defaults: rules, code maps and its own Python, from the files it writes them in."""

import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hl7_cases import at, normalised, raw, utc
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dosestream.events.records import Identifier, Order, Patient
from dosestream.mapping.normalise import interpret, normalise
from dosestream.settings import Settings, SettingsError, load
from dosestream.settings.mapping import described

PID = "PID|||4711^^^HOSP^MR||DOE^JOHN||19800102|M"
ORC = "ORC|NW|P1^EPIC|F1^RIS|G1|SC||1^once^^20260302090000^^S||20260301101500"
OBR = "OBR|1|P1^EPIC|F1^RIS|CTH^CT head^L||||||||||||||ACC1||||||CT"

SOURCE = '[[source]]\nname = "ris"\nsending_application = "HIS"\n'


def site(folder: Path, toml: str, **files: str) -> Settings:
    """The settings of a site's folder; `procedures_csv` is procedures.csv."""
    for name, text in files.items():
        (folder / name.replace("_csv", ".csv").replace("_py", ".py")).write_text(text, encoding="utf-8")
    (folder / "dosestream.toml").write_text(toml, encoding="utf-8")
    return load(folder / "dosestream.toml", environ={})


def rule(text: str) -> str:
    return f"{SOURCE}[[mapping.rule]]\n{text}\n"


def field(settings: Settings, name: str, *segments: str, kind: str = "ORM^O01") -> tuple[Any, str]:
    """A field of the one event, and the path that gave it."""
    found = normalised(kind, *segments, settings=settings)
    assert found.rejection is None
    ((_, event),) = found.events
    assert isinstance(event, Order | Patient)
    holder: Any = event if hasattr(event, name) else event.patient
    return getattr(holder, name), event.paths.get(name, "")


SCH = ("SCH|1", "SCH|2" + "|" * 26 + "A7")
AIS = ("AIS|1||CT1^Head", "AIS|2||CT2^Neck")
AIP = ("AIP|1||9^ANE^ANN|2.1", "AIP|2||8^SURG^SUE^^^DR|1.1")

# Rule, segments of the message, field, (value, path).
RULES: list[tuple[str, str, tuple[str, ...], str, tuple[Any, str]]] = [
    ("other places in turn", 'field="accession_number"\npaths=["ZZZ-1","OBR-3.1"]', (PID, ORC, OBR),
     "accession_number", ("F1", "OBR-3.1")),
    ("the default after the site's own", 'field="accession_number"\npaths=["ZZZ-1","default"]', (PID, ORC, OBR),
     "accession_number", ("ACC1", "OBR-18")),
    ("the default before the site's own", 'field="accession_number"\npaths=["default","OBR-3.1"]', (PID, ORC, OBR),
     "accession_number", ("ACC1", "OBR-18")),
    ("without the default the field is empty", 'field="accession_number"\npaths=["ZZZ-1"]', (PID, ORC, OBR),
     "accession_number", ("", "")),
    ("the first non-empty of all segments", 'field="accession_number"\npaths=["ZZZ-1","SCH[*]-27"]',
     (PID, *SCH, ORC, OBR), "accession_number", ("A7", "SCH[*]-27")),
    ("all values joined", 'field="reason"\npaths=["AIS[*]-3.1"]\njoin=", "', (PID, *AIS, ORC, OBR),
     "reason", ("CT1, CT2", "AIS[*]-3.1")),
    ("all values joined by an expression", """field="reason"\npaths=['join(AIS[*]-3.1, " + ")']""",
     (PID, *AIS, ORC, OBR), "reason", ("CT1 + CT2", 'join(AIS[*]-3.1, " + ")')),
    ("a person of the segment with a value", 'field="performing_physician"\npaths=["AIP[4.1=1.1]-3"]',
     (PID, *AIP, ORC, OBR), "performing_physician", ("SURG^SUE^^DR", "AIP[4.1=1.1]-3")),
    ("leading zeros off", 'field="accession_number"\npaths=["ZAC-1"]\nstrip_left="0"', (PID, ORC, OBR, "ZAC|000123"),
     "accession_number", ("123", "ZAC-1")),
    ("a number that is zero stays one", 'field="accession_number"\npaths=["ZAC-1"]\nstrip_left="0"',
     (PID, ORC, OBR, "ZAC|000"), "accession_number", ("0", "ZAC-1")),
    ("blanks are taken off", 'field="reason"\npaths=["ZAC-1"]', (PID, ORC, OBR, "ZAC| x "), "reason", ("x", "ZAC-1")),
    ("blanks are kept", 'field="reason"\npaths=["ZAC-1"]\ntrim=false', (PID, ORC, OBR, "ZAC| x "),
     "reason", (" x ", "ZAC-1")),
    ("upper case", 'field="modality"\npaths=["ZAC-1"]\ncase="upper"', (PID, ORC, OBR, "ZAC|ct"),
     "modality", ("CT", "ZAC-1")),
    ("a constant where nothing is said", 'field="modality"\npaths=["ZAC-1"]\nconstant="MG"', (PID, ORC, OBR),
     "modality", ("MG", "constant")),
    ("a date in the site's form", 'field="birth_date"\npaths=["PID-7"]\nformat="%d.%m.%Y"',
     ("PID|||1||D^J||02.01.1980", ORC, OBR), "birth_date", ("1980-01-02", "PID-7")),
    ("a date that is none of that form", 'field="birth_date"\npaths=["PID-7"]\nformat="%d.%m.%Y"',
     (PID, ORC, OBR), "birth_date", ("", "")),
    ("a time in the site's form", 'field="scheduled_at"\npaths=["ZAC-1"]\nformat="%d.%m.%Y %H:%M"',
     (PID, ORC, OBR, "ZAC|03.03.2026 08:30"), "scheduled_at", (utc("2026-03-03T08:30"), "ZAC-1")),
    ("a time as HL7 writes it", 'field="scheduled_at"\npaths=["ZAC-1"]', (PID, ORC, OBR, "ZAC|202603030830+0100"),
     "scheduled_at", (utc("2026-03-03T07:30"), "ZAC-1")),
    ("the time of the event", 'field="event_time"\npaths=["ZAC-1"]', (PID, ORC, OBR, "ZAC|20260303"),
     "event_time", (utc("2026-03-03T00:00"), "")),
    ("a name with the given name first", 'field="name"\npaths=["ZAC-1"]\nnames="given family"',
     (PID, ORC, OBR, "ZAC|John van Doe"), "name", ("van Doe^John", "ZAC-1")),
    ("a name with a comma", 'field="referring_physician"\npaths=["ZAC-1"]\nnames="family, given"',
     (PID, ORC, OBR, "ZAC|Doe, John"), "referring_physician", ("Doe^John", "ZAC-1")),
    ("a name in components of its own order", 'field="name"\npaths=["ZAC-1"]\nnames="id prefix given family"',
     (PID, ORC, OBR, "ZAC|7^DR^JOHN^DOE"), "name", ("DOE^JOHN^^DR", "ZAC-1")),
    ("a name's ideographic group in another repetition", 'field="name"\npaths=["ZAC-1"]',
     (PID, ORC, OBR, "ZAC|YAMADA^TARO^^^^^^A~山田^太郎^^^^^^I"), "name", ("YAMADA^TARO=山田^太郎", "ZAC-1")),
    ("a name of another field as the default reads it", 'field="name"\npaths=["PID-9"]',
     ("PID|||1||D^J||||^J^^", ORC, OBR), "name", ("^J", "PID-9")),
    ("identifiers of one authority", 'field="identifiers"\npaths=["PID-3[4.1=NAT]"]',
     ("PID|||4711^^^HOSP^MR~99^^^NAT^NI||D^J", ORC, OBR), "identifiers",
     ((Identifier(authority="NAT", value="99", type_code="NI"),), "PID-3[4.1=NAT]")),
    ("identifiers under the site's authority", 'field="identifiers"\npaths=["ZAC-1"]\nauthority="OWN"',
     (PID, ORC, OBR, "ZAC|77"), "identifiers", ((Identifier(authority="OWN", value="77"),), "ZAC-1")),
    ("an order without PID gets its patient", 'field="identifiers"\npaths=["ZAC-1"]',
     (ORC, OBR, "ZAC|77"), "identifiers", ((Identifier(authority="", value="77"),), "ZAC-1")),
    ("a cleared value clears", 'field="reason"\npaths=["ZAC-1","OBR-4.2"]', (PID, ORC, OBR, 'ZAC|""'),
     "reason", ('""', "ZAC-1")),
    ("a cleared schedule is no time", 'field="scheduled_at"\npaths=["ZAC-1"]', (PID, ORC, OBR, 'ZAC|""'),
     "scheduled_cleared", (True, "")),
    ("a code's meaning is never another code's", 'field="procedure_code"\npaths=["ZAC-1"]',
     (PID, ORC, OBR, "ZAC|X1"), "procedure_meaning", ("", "")),
    ("several fields from one place", """field="procedure_code procedure_meaning"\npaths=['ZAC-1 join(ZAC-2, ZAC-3, " ")']""",
     (PID, ORC, OBR, "ZAC|X1|Skull|plain"), "procedure_meaning", ("Skull plain", 'join(ZAC-2, ZAC-3, " ")')),
    ("a rule of another type says nothing", 'types=["OMI^O23","ADT"]\nfield="accession_number"\npaths=["OBR-3.1"]',
     (PID, ORC, OBR), "accession_number", ("ACC1", "OBR-18")),
    ("a rule of all events of a type", 'types=["ORM"]\nfield="accession_number"\npaths=["OBR-3.1"]', (PID, ORC, OBR),
     "accession_number", ("F1", "OBR-3.1")),
    ("a rule of the source", 'source="ris"\nfield="accession_number"\npaths=["OBR-3.1"]', (PID, ORC, OBR),
     "accession_number", ("F1", "OBR-3.1")),
    ("a rule of another source says nothing", 'source="A|B"\nfield="accession_number"\npaths=["OBR-3.1"]',
     (PID, ORC, OBR), "accession_number", ("ACC1", "OBR-18")),
    ("the last rule that fits holds", ('field="accession_number"\npaths=["OBR-3.1"]\n'
     '[[mapping.rule]]\nfield="accession_number"\npaths=["OBR-4.1"]\n[[mapping.rule]]\nsource="A|B"\n'
     'field="accession_number"\npaths=["OBR-2.1"]'), (PID, ORC, OBR), "accession_number", ("CTH", "OBR-4.1")),
    ("an event's rule is not another's", 'event="patient"\nfield="visit_number"\npaths=["ZAC-1"]',
     (PID, ORC, OBR, "ZAC|V1"), "visit_number", ("", "")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("toml", "segments", "name", "expected"), [r[1:] for r in RULES], ids=[r[0] for r in RULES]
)
def test_rule(
    tmp_path: Path, toml: str, segments: tuple[str, ...], name: str, expected: tuple[Any, str]
) -> None:
    value, path = field(site(tmp_path, rule(toml)), name, *segments)
    # A path that is the default's first is not told.
    assert (value, path) == (expected[0], "" if expected[1] == "OBR-18" and not path else expected[1])


def test_a_mapped_event_time_names_its_path(tmp_path: Path) -> None:
    settings = site(tmp_path, rule('field="event_time"\npaths=["ZAC-1"]'))
    assert field(settings, "event_time_path", PID, ORC, OBR, "ZAC|20260303")[0] == "ZAC-1"


def test_a_message_whose_number_only_a_rule_finds_is_an_order(tmp_path: Path) -> None:
    segments = (PID, "ORC|NW", "OBR|1|||CTH", "ZAC|A9")
    refused = normalised("ORM^O01", *segments).rejection
    assert refused is not None
    assert refused.code == "no_order_number"
    settings = site(tmp_path, rule('field="accession_number"\npaths=["ZAC-1"]'))
    assert field(settings, "accession_number", *segments) == ("A9", "ZAC-1")


def test_a_patient_whose_number_only_a_rule_finds_is_one_and_keys_the_record(tmp_path: Path) -> None:
    segments = ("PID|||||DOE^J", "ZPI|99")
    settings = site(tmp_path, rule('types=["ADT"]\nfield="identifiers"\npaths=["ZPI-1"]\nauthority="HOSP"'))
    ((_, event),) = normalised("ADT^A08", *segments, settings=settings).events
    assert isinstance(event, Patient)
    assert event.patient.identifiers == (Identifier(authority="HOSP", value="99"),)
    found = interpret(raw("ADT^A08", *segments).body, settings)
    assert found.identifiers == event.patient.identifiers


CODES = "from_code,from_scheme,to_code,to_scheme,to_meaning\nCTH,L,24627-2,LN,CT Head\nCTH,,GEN,LN,General\n"
CODE_MAP = SOURCE + '[[mapping.code_map]]\nfile="procedures.csv"\nfield="procedure_code"\n'

MAPPED = [
    ("a code with its scheme", OBR, ("24627-2", "LN", "CT Head"), ()),
    ("a code of another scheme", OBR.replace("^L|", "^X|"), ("GEN", "LN", "General"), ()),
    ("a code the map has not is kept and told", OBR.replace("CTH", "Z1"), ("Z1", "L", "CT head"), ("Z1",)),
    ("no code is not told", OBR.replace("CTH^CT head^L", ""), ("", "", ""), ()),
    ("a cleared code stays cleared", OBR.replace("CTH^CT head^L", '""'), ('""', '""', '""'), ()),
]


@pytest.mark.parametrize(("obr", "expected", "unmapped"), [m[1:] for m in MAPPED], ids=[m[0] for m in MAPPED])
def test_code_map(
    tmp_path: Path, obr: str, expected: tuple[str, str, str], unmapped: tuple[str, ...]
) -> None:
    settings = site(tmp_path, CODE_MAP, procedures_csv=CODES)
    names = ("procedure_code", "procedure_scheme", "procedure_meaning")
    assert tuple(field(settings, name, PID, ORC, obr)[0] for name in names) == expected
    (draft,) = interpret(raw("ORM^O01", PID, ORC, obr).body, settings).drafts
    assert tuple(one.code for one in draft.unmapped) == unmapped


def test_a_code_the_map_has_not_may_be_left_out(tmp_path: Path) -> None:
    settings = site(tmp_path, CODE_MAP + 'unmapped="blank"\n', procedures_csv=CODES)
    obr = OBR.replace("CTH", "Z1")
    for name in ("procedure_code", "procedure_scheme", "procedure_meaning"):
        assert field(settings, name, PID, ORC, obr) == ("", "")
    (draft,) = interpret(raw("ORM^O01", PID, ORC, obr).body, settings).drafts
    assert [(one.field, one.scheme, one.code) for one in draft.unmapped] == [("procedure_code", "L", "Z1")]


@pytest.mark.parametrize(("sent", "sex", "unmapped"), [("1", "M", 0), ("F", "F", 0), ("9", "", 1)])
def test_codes_of_dicom_are_mapped_before_they_are_read(
    tmp_path: Path, sent: str, sex: str, unmapped: int
) -> None:
    toml = '[[mapping.code_map]]\nfile="sex.csv"\nfield="sex"\n'
    settings = site(tmp_path, toml, sex_csv="from_code;to_code\n1;M\n2;F\n")
    segments = (PID.replace("|M", f"|{sent}"), ORC, OBR)
    assert field(settings, "sex", *segments)[0] == sex
    (draft,) = interpret(raw("ORM^O01", *segments).body, settings).drafts
    assert len(draft.unmapped) == unmapped


PYTHON = """
from datetime import datetime, timezone

def order(fields, message):
    if message("OBR-4.1") == "FAIL":
        return {}["patient DOE"]
    if message("OBR-4.1") == "WRONG":
        return {"modality": 7}
    if message("OBR-4.1") == "UNKNOWN":
        return {"modalty": "CT"}
    if message("OBR-4.1") == "LIST":
        return ["CT"]
    if message("OBR-4.1") == "NOTHING":
        return None
    fields["reason"] = f"{message.source} {message.message_type} {len(message.segments('ORC'))}"
    fields["name"] = fields["name"].upper()
    fields["scheduled_at"] = datetime(2026, 3, 3, tzinfo=timezone.utc)
    fields["identifiers"].append({"value": "5", "authority": "PY"})
    return fields
"""


def test_the_sites_python_changes_fields_and_is_named_as_their_path(tmp_path: Path) -> None:
    settings = site(tmp_path, SOURCE + '[mapping]\npython="mine.py"\n', mine_py=PYTHON)
    segments = (PID.replace("DOE^JOHN", "Doe^John"), ORC, OBR)
    assert field(settings, "reason", *segments) == ("ris ORM^O01 1", "mine.py:order")
    assert field(settings, "name", *segments) == ("DOE^JOHN", "mine.py:order")
    assert field(settings, "scheduled_at", *segments)[0] == utc("2026-03-03T00:00")
    assert field(settings, "accession_number", *segments) == ("ACC1", "OBR-18")
    assert [i.value for i in field(settings, "identifiers", *segments)[0]] == ["4711", "5"]
    assert field(settings, "reason", PID, ORC, OBR.replace("CTH", "NOTHING")) == ("", "")


FAILURES = [
    ("FAIL", "The site's function order failed with KeyError.", "mine.py:6"),
    ("WRONG", "The site's function order returned a int as modality: text is wanted.", "mine.py:4"),
    (
        "UNKNOWN",
        "The site's function order returned 'modalty', which is no field that can be mapped.",
        "mine.py:4",
    ),
    ("LIST", "The site's function order returned no dict and not None.", "mine.py:4"),
]


@pytest.mark.parametrize(("code", "reason", "location"), FAILURES)
def test_a_failing_function_is_a_rejection_with_its_line_and_without_patient_data(
    tmp_path: Path, code: str, reason: str, location: str
) -> None:
    settings = site(tmp_path, '[mapping]\npython="mine.py"\n', mine_py=PYTHON)
    found = normalise(raw("ORM^O01", PID, ORC, OBR.replace("CTH", code)), at, settings)
    assert found.events == ()
    assert found.rejection is not None
    assert (found.rejection.code, found.rejection.reason, found.rejection.location) == (
        "site_mapping",
        reason,
        location,
    )


MISTAKES: dict[str, tuple[str, dict[str, str], str]] = {
    "an unknown field": (
        '[[mapping.rule]]\nfield="acession_number"\npaths=["OBR-3"]\n', {}, "dosestream.toml:2: unknown field"),
    "a field of another event": (
        '[[mapping.rule]]\nevent="order"\nfield="admitted_at"\npaths=["PV1-44"]\n', {}, "dosestream.toml:3: unknown field"),
    "a field the message says itself": (
        '[[mapping.rule]]\nfield="event_id"\npaths=["MSH-10"]\n', {}, "dosestream.toml:2: 'event_id' is said by"),
    "a rule without field": ('[[mapping.rule]]\npaths=["OBR-3"]\n', {}, "dosestream.toml:1: 'field' is missing"),
    "a rule without path": ('[[mapping.rule]]\nfield="reason"\n', {}, "dosestream.toml:1: 'paths' is missing"),
    "a path that is none, in the second rule": (
        '[[mapping.rule]]\nfield="reason"\npaths=["OBR-3"]\n[[mapping.rule]]\nfield="reason"\npaths=["OBR-x"]\n', {},
        "dosestream.toml:6: 'OBR-x' is no path: at character 5"),
    "paths that are too few": (
        '[[mapping.rule]]\nfield="procedure_code procedure_scheme"\npaths=["OBR-4.1"]\n', {},
        "dosestream.toml:3: 'OBR-4.1' has 1 paths for 2 fields"),
    "an event that is none": ('[[mapping.rule]]\nevent="ordr"\nfield="reason"\npaths=["OBR-3"]\n', {},
        "dosestream.toml:2: 'ordr' is no event"),
    "a type that is none": ('[[mapping.rule]]\ntypes=["ORM-O01"]\nfield="reason"\npaths=["OBR-3"]\n', {},
        "dosestream.toml:2: 'ORM-O01' is no message type"),
    "a case that is none": ('[[mapping.rule]]\ncase="Upper"\nfield="reason"\npaths=["OBR-3"]\n', {},
        "dosestream.toml:2: 'case' is 'Upper', but must be one of upper, lower"),
    "a form for text": ('[[mapping.rule]]\nformat="%d"\nfield="reason"\npaths=["OBR-3"]\n', {},
        "dosestream.toml:2: 'format' is for times"),
    "a form that is none": ('[[mapping.rule]]\nformat="%Q"\nfield="birth_date"\npaths=["OBR-3"]\n', {},
        "dosestream.toml:2: '%Q' is no format"),
    "a name's part that is none": ('[[mapping.rule]]\nnames="first last"\nfield="name"\npaths=["OBR-3"]\n', {},
        "dosestream.toml:2: 'first last': 'first' is no part of a name"),
    "a source that is none": ('[[mapping.rule]]\nsource="RIX"\nfield="name"\npaths=["OBR-3"]\n', {},
        "dosestream.toml:2: 'RIX' is the name of no [[source]]"),
    "a key that is loaded": ('[mapping]\ncode="x"\n', {}, "dosestream.toml:2: unknown key 'code'"),
    "a code map that is not there": (
        '[[mapping.code_map]]\nfile="no.csv"\nfield="modality"\n', {},
        "dosestream.toml:2: FOLDER/no.csv: cannot be read: No such file"),
    "a code map of a field without codes": (
        '[[mapping.code_map]]\nfile="p.csv"\nfield="name"\n', {}, "dosestream.toml:3: 'name' holds no codes"),
    "a code map without a column": (
        '[[mapping.code_map]]\nfile="p.csv"\nfield="modality"\n', {"p_csv": "from,to\n"},
        "p.csv:1: the first line names no column from_code and no column to_code"),
    "a code twice": (
        '[[mapping.code_map]]\nfile="p.csv"\nfield="modality"\n',
        {"p_csv": "from_code,to_code\nA,B\n\nA,C\n"}, "p.csv:4: 'A' stands in line 2 already"),
    "a code to nothing": (
        '[[mapping.code_map]]\nfile="p.csv"\nfield="modality"\n', {"p_csv": "from_code,to_code\nA,\n"},
        "p.csv:2: to_code is empty"),
    "Python that is none": ('[mapping]\npython="m.py"\n', {"m_py": "x = 1\ndef order(:\n"}, "m.py:2: is no Python"),
    "Python that fails": ('[mapping]\npython="m.py"\n', {"m_py": "x = 1\ny = z\n"}, "m.py:2: cannot be loaded: NameError"),
    "Python that ends the program": (
        '[mapping]\npython="m.py"\n', {"m_py": "raise SystemExit(3)\n"}, "m.py:1: cannot be loaded: SystemExit"),
    "Python without a function": ('[mapping]\npython="m.py"\n', {"m_py": "x = 1\n"}, "m.py:1: defines no function"),
}  # fmt: skip


@pytest.mark.parametrize(("toml", "files", "told"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_with_its_line(tmp_path: Path, toml: str, files: dict[str, str], told: str) -> None:
    with pytest.raises(SettingsError) as error:
        site(tmp_path, toml, **files)
    assert error.value.mistakes[0].startswith(f"{tmp_path}/{told.replace('FOLDER', str(tmp_path))}")


def test_the_site_of_the_openrem_branch_in_toml(tmp_path: Path) -> None:
    settings = site(
        tmp_path,
        """
        [[mapping.rule]]
        field = "accession_number"
        paths = ["OBR-3.1", "SCH[*]-27.1"]
        [[mapping.rule]]
        field = "procedure_code"
        paths = ["AIS[*]-3.1"]
        join = "/"
        [[mapping.rule]]
        field = "performing_physician"
        paths = ["AIP[4.1=1.1]-3"]
        """,
    )
    segments = (PID, *SCH, *AIS, *AIP, "ORC|NW|P1")
    assert field(settings, "accession_number", *segments) == ("A7", "SCH[*]-27.1")
    assert field(settings, "procedure_code", *segments) == ("CT1/CT2", "AIS[*]-3.1")
    assert field(settings, "performing_physician", *segments) == ("SURG^SUE^^DR", "AIP[4.1=1.1]-3")
    assert field(settings, "accession_number", *segments, OBR) == ("F1", "OBR-3.1")


def test_settings_with_their_files_can_be_compared_and_told_apart(tmp_path: Path) -> None:
    toml = CODE_MAP + '[mapping]\npython="mine.py"\n'
    one = site(tmp_path, toml, procedures_csv=CODES, mine_py=PYTHON)
    assert one == site(tmp_path, toml, procedures_csv=CODES, mine_py=PYTHON)
    assert one != site(tmp_path, toml, procedures_csv=CODES + "A,,B,,\n", mine_py=PYTHON)
    assert one != site(tmp_path, toml, procedures_csv=CODES, mine_py=PYTHON + "\n")
    assert one.mapping.code is not None
    assert len(one.mapping.code.digest) == 12
    assert described(one.mapping) == (
        "0 rules; "
        f"procedures.csv {sha256(CODES.encode()).hexdigest()[:12]} (2 codes); "
        f"mine.py {sha256(PYTHON.encode()).hexdigest()[:12]}"
    )


def test_a_contract_of_a_z_segment_gives_fields_behind_the_defaults(tmp_path: Path) -> None:
    folder = tmp_path / "z"
    folder.mkdir()
    (folder / "zro.toml").write_text(
        'segment="ZRO"\nvendor="V"\nstatus="documented"\nsource="its manual"\n'
        '[[field]]\nnumber=2\nname="room"\nevent_field="station_name"\n',
        encoding="utf-8",
    )
    settings = site(tmp_path, '[z_segments]\nfolder="z"\n')
    assert field(settings, "station_name", PID, ORC, OBR, "ZRO|1|ROOM 7") == ("ROOM 7", "ZRO-2")
    with_orc_18 = ORC + "|" * 9 + "R1"
    assert field(settings, "station_name", PID, with_orc_18, OBR, "ZRO|1|ROOM 7") == ("R1", "ORC-18")
    own = site(
        tmp_path, '[z_segments]\nfolder="z"\n[[mapping.rule]]\nfield="station_name"\npaths=["OBR-2.1"]\n'
    )
    assert field(own, "station_name", PID, ORC, OBR, "ZRO|1|ROOM 7") == ("P1", "OBR-2.1")


EVERYTHING = """
[mapping]
accession_fallback = ["OBR-3.1"]
python = "mine.py"
[[mapping.rule]]
field = "identifiers"
paths = ["PID-3[*]", "PID-2"]
[[mapping.rule]]
field = "name"
paths = ["PID-5"]
names = "family, given"
[[mapping.rule]]
field = "birth_date"
paths = ["PID-7"]
format = "%d.%m.%Y"
[[mapping.rule]]
field = "scheduled_at"
paths = ["ORC-7.4", "default"]
format = "%Y%m%d"
[[mapping.rule]]
field = "procedure_code procedure_meaning"
paths = ['OBR-4.1 join(OBR-4.2, OBR-4.5, " ")', "AIS[*]-3.1 AIS[*]-3.2"]
[[mapping.code_map]]
file = "procedures.csv"
field = "procedure_code"
"""


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A site with every kind of rule."""
    return site(tmp_path_factory.mktemp("site"), EVERYTHING, procedures_csv=CODES, mine_py=PYTHON)


@given(st.text(alphabet='|^~&\\"\r OBRCPIDASXT0123456789', max_size=120))
@hypothesis_settings(deadline=None)
def test_no_message_makes_a_rule_raise(everything: Settings, rest: str) -> None:
    for kind in ("ORM^O01", "ADT^A08", "SIU^S12", "ORU^R01"):
        body = raw(kind, PID, ORC, OBR, "SCH|1", "OBX|1|TX|x||y").body + rest.encode()
        found = interpret(body, everything)
        assert found.drafts or found.refusal is not None or found.ignored


def test_every_example_of_the_documentation_can_be_loaded(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "mapping.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(\w*)\n(.*?)```", text, re.S)
    tables = [block for kind, block in blocks if kind == "toml"]
    (code,) = (block for kind, block in blocks if kind == "python")
    (codes,) = (block for kind, block in blocks if not kind and block.startswith("from_code"))
    assert len(tables) == 4
    for block in tables:
        named = block if "[[source]]" in block else f'[[source]]\nname = "ris"\n{block}'
        settings = site(tmp_path, named, procedures_csv=codes, site_mapping_py=code)
        assert settings.mapping != Settings().mapping
