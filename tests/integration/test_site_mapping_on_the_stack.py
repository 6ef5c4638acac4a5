"""A site's own files on a running stack: what they say is in the database, and a check reads what was stored."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from running_stack import RunningStack, wait_until

from dosestream.client.send import MllpSender, code

DOSESTREAM = str(Path(sys.executable).with_name("dosestream"))

TOML = """
[[mapping.rule]]
field = "accession_number"
paths = ["ZAC-1"]
strip_left = "0"

[[mapping.code_map]]
file = "procedures.csv"
field = "procedure_code"

[mapping]
python = "site_mapping.py"
"""
CSV = "from_code,to_code,to_scheme,to_meaning\nCTH,24627-2,LN,CT Head\n"
PYTHON = """
def order(fields, message):
    if message("ZAC-2") == "BROKEN":
        raise ValueError("patient " + fields["name"])
    return {"modality": message("ZAC-2")}
"""


def message(control_id: str, accession: str, procedure: str, modality: str) -> bytes:
    segments = (
        f"MSH|^~\\&|RIS|HOSP|DS|CITY|20260301120000||ORM^O01|{control_id}|P|2.5.1",
        "PID|||4711^^^HOSP^MR||SECRETNAME^JOHN||19800102|M",
        f"ORC|NW|P{control_id}|F{control_id}||SC||1^once^^20260302090000",
        f"OBR|1|P{control_id}|F{control_id}|{procedure}^Words^L",
        f"ZAC|{accession}|{modality}",
    )
    return "".join(f"{segment}\r" for segment in segments).encode()


def check(stack: RunningStack, *arguments: str) -> tuple[int, Any]:
    command = [DOSESTREAM, "check", "--from-raw", "--ready-file", str(stack.ready_file), *arguments, "--json"]
    result = subprocess.run(
        command, capture_output=True, check=False, env={**os.environ, "DOSESTREAM_CONFIG": ""}
    )
    return result.returncode, json.loads(result.stdout)


def test_a_sites_files_shape_the_rows_and_a_change_of_them_is_seen_before_it_is_made(
    tmp_path: Path, start_stack: Callable[..., RunningStack]
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    config = site / "dosestream.toml"
    for name, text in (("dosestream.toml", TOML), ("procedures.csv", CSV), ("site_mapping.py", PYTHON)):
        (site / name).write_text(text, encoding="utf-8")
    stack = start_stack("--config", str(config))
    mllp = stack.ready["mllp"]
    with MllpSender(mllp["host"], mllp["port"]) as sender:
        answers = [
            sender.send(message("1", "00017", "CTH", "CT")),
            sender.send(message("2", "00018", "XYZ", "MR")),
            sender.send(message("3", "00019", "CTH", "BROKEN")),
        ]
    assert [code(answer) for answer in answers] == ["AA", "AA", "AE"]
    assert b"SECRETNAME" not in answers[2]
    assert b"ValueError" in answers[2]
    query = "SELECT accession_number, procedure_code, procedure_meaning, modality FROM dose.imaging_order ORDER BY 1"
    expected = [("17", "24627-2", "CT Head", "CT"), ("18", "XYZ", "Words", "MR")]

    def rows() -> list[tuple[Any, ...]]:
        with psycopg.connect(stack.ready["postgres"]) as connection:
            return connection.execute(query).fetchall()

    wait_until(lambda: rows() == expected, "the rows of both orders")
    log = stack.log("ingest")
    assert "mapping: 1 rules; procedures.csv " in log
    assert "No code map of the site has procedure_code XYZ L." in log
    assert "SECRETNAME" not in log

    # Without --config it is what the running stack maps with.
    returned, found = check(stack)
    assert (returned, found["messages"], found["unmapped"]) == (0, 3, {"procedure_code XYZ L": 1})
    assert found["rejected"] == {"site_mapping at site_mapping.py:4": 1}
    (site / "mended.py").write_text(PYTHON.replace("raise ValueError", "return None  # "), encoding="utf-8")
    changed = site / "changed.toml"
    changed.write_text(TOML.replace("site_mapping.py", "mended.py"), encoding="utf-8")
    returned, found = check(stack, "--config", str(config), "--against", str(changed), "--since", "1h")
    assert returned == 1
    told = {(one["what"], one.get("change", "")) for one in found["changes"]}
    assert ("outcome", "rejected site_mapping -> normalised") in told
    assert ("events", "none -> 1 order") in told
