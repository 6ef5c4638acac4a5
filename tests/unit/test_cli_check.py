"""`dosestream check`: messages explained, a corpus summed up, and what a change would change."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from dosestream.cli import app
from dosestream.hl7.framing import frame


def message(control_id: str, accession: str = "ACC1", code: str = "CTH", name: str = "DOE^JOHN") -> bytes:
    """An order, made from what differs."""
    segments = (
        f"MSH|^~\\&|RIS|HOSP|DS|CITY|20260301120000||ORM^O01|{control_id}|P|2.5",
        f"PID|||4711^^^HOSP^MR||{name}||19800102|M",
        "ORC|NW|P1|F1||SC",
        f"OBR|1|P1|F1|{code}^CT head^L||||||||||||||{accession}",
    )
    return "".join(f"{segment}\r" for segment in segments).encode()


REJECTED = b"MSH|^~\\&|RIS|HOSP|DS|CITY|20260301||ADT^A08|9|P|2.5\rEVN|A08\rPID|||||DOE^JOHN\r"
IGNORED = b"MSH|^~\\&|RIS|HOSP|DS|CITY|20260301||BAR^P01|8|P|2.5\rPID|||1||DOE^JOHN\r"


def check(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["check", *map(str, arguments)], env={"DOSESTREAM_CONFIG": None})


def document(*arguments: str | Path) -> Any:
    return json.loads(check(*arguments, "--json").stdout)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder: two orders framed as on the wire, a rejected and an ignored message."""
    folder = tmp_path / "corpus"
    (folder / "day").mkdir(parents=True)
    (folder / "dump.mllp").write_bytes(frame(message("1")) + frame(message("2", accession="", code="MRH")))
    (folder / "day" / "a.hl7").write_bytes(REJECTED)
    (folder / "day" / "b.hl7").write_bytes(IGNORED)
    return folder


def toml(tmp_path: Path, text: str, name: str = "new.toml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_message_is_shown_field_by_field_with_its_path_as_sent_and_as_read(tmp_path: Path) -> None:
    file = tmp_path / "one.hl7"
    file.write_bytes(message("1"))
    result = check(file)
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["accession_number", "OBR-18", "ACC1", "ACC1"] in lines
    assert ["birth_date", "PID-7", "19800102", "1980-01-02"] in lines
    assert ["identifiers", "PID-3", "4711^^^HOSP^MR", "HOSP:4711"] in lines
    assert result.stdout.startswith("one.hl7: ORM^O01 1 from RIS|HOSP: normalised\n")


def test_a_mapped_field_names_the_path_of_the_sites_rule(tmp_path: Path) -> None:
    file = tmp_path / "one.hl7"
    file.write_bytes(message("1"))
    config = toml(tmp_path, '[[mapping.rule]]\nfield="accession_number"\npaths=["OBR-3.1"]\n')
    (found,) = document(file, "--config", config)
    (event,) = found["events"]
    readings = {one["field"]: one for one in event["readings"]}
    assert readings["accession_number"] == {
        "field": "accession_number",
        "path": "OBR-3.1",
        "raw": "F1",
        "value": "F1",
    }


def test_a_rejected_message_says_why_and_where_and_exits_1(tmp_path: Path) -> None:
    file = tmp_path / "one.hl7"
    file.write_bytes(REJECTED)
    result = check(file)
    assert result.exit_code == 1
    assert "rejected no_patient_id at PID-3" in result.stdout


def test_the_rules_a_message_breaks_are_told(tmp_path: Path) -> None:
    file = tmp_path / "one.hl7"
    file.write_bytes(message("1").replace(b"OBR|1|P1|F1|CTH^CT head^L", b"OBR|1|P1|F1|"))
    profile = '[[profile]]\nname="ours"\ntypes=["ORM"]\nrequired=["PV1"]\n'
    (found,) = document(file, "--config", toml(tmp_path, profile))
    assert {"required PV1", "required OBR-4.1"} <= {one["rule"] for one in found["findings"]}
    assert "required OBR-4" in {one["rule"] for one in found["standard"]}
    (without,) = document(file, "--no-standard")
    assert without["standard"] == []


def test_a_rule_that_two_requirements_break_alike_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "m.hl7").write_bytes(
        b"MSH|^~\\&|RIS|HOSP|DS|CITY|20260301||ORM^O01|7|P|2.5\rPID|||1||DOE^JOHN\r"
    )
    assert check(tmp_path / "m.hl7", "--no-standard").stdout.count("required ORC:") == 1


def test_a_file_without_a_message_is_told(tmp_path: Path) -> None:
    result = check(toml(tmp_path, "hello"))
    assert result.exit_code == 1
    assert "there is no message" in result.stderr


def test_a_corpus_is_summed_up_without_patient_data(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("from_code,to_code\nCTH,X\n", encoding="utf-8")
    config = toml(tmp_path, '[[mapping.code_map]]\nfile="p.csv"\nfield="procedure_code"\n')
    result = check("--corpus", corpus, "--config", config)
    assert result.exit_code == 0
    assert "DOE" not in result.stdout
    assert "4711" not in result.stdout
    found = document("--corpus", corpus, "--config", config)
    assert found["messages"] == 4
    assert found["outcomes"] == {"normalised": 2, "rejected no_patient_id": 1, "ignored": 1}
    assert found["rejected"] == {"no_patient_id at PID-3": 1}
    assert found["unmapped"] == {"procedure_code MRH L": 1}
    fields = {(one["field"], one["path"]): (one["count"], one["of"]) for one in found["fields"]}
    assert fields["order.accession_number", "OBR-18"] == (1, 2)
    assert fields["order.procedure_code", "OBR-4.1"] == (2, 2)


def test_a_file_of_a_corpus_without_a_message_is_told(corpus: Path, tmp_path: Path) -> None:
    (corpus / "day" / "notes.txt").write_text("no message")
    result = check("--corpus", corpus, "--config", toml(tmp_path, ""))
    assert "day/notes.txt is left out: no segment MSH is in it" in result.stderr
    assert "4 messages" in result.stdout


def test_the_same_configuration_changes_nothing_and_exits_0(corpus: Path, tmp_path: Path) -> None:
    result = check("--corpus", corpus, "--against", toml(tmp_path, ""))
    assert (result.exit_code, result.stdout) == (0, "4 messages, 0 change\n")


CHANGES = [
    ("a field that appears", '[mapping]\naccession_fallback=["OBR-3.1"]\n',
     [("order.accession_number", "appears", 1, "")]),
    ("a field that changes", '[[mapping.rule]]\nfield="modality procedure_code"\npaths=["OBR-3.1 OBR-3.1"]\n',
     [("order.modality", "appears", 2, ""), ("order.procedure_code", "changes", 2, ""),
      ("order.procedure_meaning", "disappears", 2, ""), ("order.procedure_scheme", "disappears", 2, "")]),
    ("another path to the same value", '[[mapping.rule]]\nfield="filler_order_number"\npaths=["OBR-3.1"]\n',
     [("order.filler_order_number", "path", 2, "ORC-3.1 -> OBR-3.1")]),
    ("an outcome that gets worse", '[[profile]]\ntypes=["ORM"]\non_violation="reject"\nrequired=["PV1"]\n',
     [("events", "changes", 2, "1 order -> none"),
      ("outcome", "changes", 2, "normalised -> rejected profile")]),
    ("an outcome that gets better",
     '[[mapping.rule]]\nfield="identifiers"\npaths=["default","PID-5.1"]\n',
     [("events", "changes", 1, "none -> 1 patient"),
      ("outcome", "changes", 1, "rejected no_patient_id -> normalised")]),
    ("a source that is given a name", '[[source]]\nname="ris"\nsending_application="RIS"\n',
     [("source", "changes", 4, "RIS|HOSP -> ris")]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), [c[1:] for c in CHANGES], ids=[c[0] for c in CHANGES])
def test_what_a_changed_configuration_changes_is_counted_and_exits_1(
    corpus: Path, tmp_path: Path, text: str, expected: list[tuple[str, str, int, str]]
) -> None:
    config = toml(tmp_path, text)
    result = check("--corpus", corpus, "--against", config)
    assert result.exit_code == 1
    found = document("--corpus", corpus, "--against", config)
    assert [(c["what"], c["kind"], c["count"], c.get("change", "")) for c in found["changes"]] == expected


def test_values_are_shown_only_when_asked_for(corpus: Path, tmp_path: Path) -> None:
    config = toml(tmp_path, '[[mapping.rule]]\nfield="name"\npaths=["PID-5.1"]\n')
    arguments = ("--corpus", corpus, "--against", config)
    assert "DOE" not in check(*arguments).stdout
    assert "'DOE^JOHN' -> 'DOE'" in check(*arguments, "--show-values").stdout
    assert check(*arguments, "--ignore", "name").exit_code == 0


def test_two_corpora_are_matched_by_control_id_else_by_what_they_are_about(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for folder, messages in (
        (old, [message("1"), message("2", "ACC2"), message("3", "ACC3")]),
        (new, [message("9", "ACC2", code="MRH"), message("1"), message("8", "ACC8")]),
    ):
        folder.mkdir()
        (folder / "all.hl7").write_bytes(b"".join(messages))
    result = check("--corpus", old, "--against-corpus", new)
    assert result.exit_code == 1
    found = document("--corpus", old, "--against-corpus", new)
    assert (found["messages"], found["only_old"], found["only_new"]) == (2, ["all.hl7#3"], ["all.hl7#3"])
    (change,) = found["changes"]
    assert (change["what"], change["examples"]) == (
        "order.procedure_code",
        [{"message": "all.hl7#2 / all.hl7#1"}],
    )
    assert check("--corpus", old, "--against-corpus", old).exit_code == 0


MISUSES: list[tuple[tuple[str, ...], str]] = [
    ((), "give FILEs"),
    ((__file__, "--corpus", "."), "give FILEs"),
    ((__file__, "--against", __file__), "compare a corpus"),
    (("--corpus", ".", "--since", "2h"), "--since is for --from-raw"),
    (("--from-raw", "--since", "yesterday"), "is no time"),
]


@pytest.mark.parametrize(("arguments", "told"), MISUSES)
def test_a_mistake_on_the_command_line_is_told(arguments: tuple[str, ...], told: str) -> None:
    result = check(*arguments)
    assert result.exit_code == 2
    assert told in " ".join(result.stderr.replace("│", " ").split())
