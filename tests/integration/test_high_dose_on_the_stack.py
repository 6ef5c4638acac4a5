"""A fluoroscopy report on a running stack: what the site's thresholds and reference levels make of it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from running_stack import RunningStack, wait_until

from dosestream.client.store import store_files
from dosestream.simulate.sr_reports import draw
from dosestream.simulate.sr_sequences import SEQUENCES

AT = 1_772_438_400_000_000
DOSESTREAM = str(Path(sys.executable).with_name("dosestream"))
TOML = """
[alert]
dose_rp = "{threshold}"

[[reference_level]]
name = "fluoroscopy"
modality = "RF"
quantity = "dap"
value = {level}
unit = "dGy.cm2"
source = "local"
"""


def rows(stack: RunningStack, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(stack.ready["postgres"]) as connection:
        return connection.execute(query.encode()).fetchall()


def alerts(stack: RunningStack) -> list[tuple[Any, ...]]:
    return rows(stack, "SELECT study_instance_uid, kind, value, threshold FROM dose.alert")


def status(stack: RunningStack) -> dict[str, Any]:
    command = [DOSESTREAM, "status", "--json", "--ready-file", str(stack.ready_file)]
    found = subprocess.run(
        command, capture_output=True, check=True, env={**os.environ, "DOSESTREAM_CONFIG": ""}
    )
    document: dict[str, Any] = json.loads(found.stdout)
    return document


def test_thresholds_and_levels_of_the_configuration_hold_and_others_take_their_place(
    tmp_path: Path, start_stack: Callable[..., RunningStack]
) -> None:
    make, _ = SEQUENCES["growing"]
    sent = make("fluoroscopy", draw("high dose", AT))
    answer = sent.studies[0].answer()
    uid, dose_rp, dap = (
        answer[name] for name in ("study_instance_uid", "dose_rp_total_gy", "dap_total_gym2")
    )
    config = tmp_path / "dosestream.toml"
    config.write_text(TOML.format(threshold=f"{dose_rp * 900:.6f} mGy", level=1.0), encoding="utf-8")
    stack = start_stack("--config", str(config))
    files = []
    for number, plan in enumerate(sent.plans):
        files.append(tmp_path / f"{number}.dcm")
        files[-1].write_bytes(plan.body())
    dicom = stack.ready["dicom"]
    assert store_files(files, dicom["ae_title"], dicom["host"], dicom["port"]) == 0
    wait_until(lambda: bool(alerts(stack)), "the alert")
    wait_until(lambda: alerts(stack)[0][2] == pytest.approx(dose_rp), "the dose of all reports")
    assert alerts(stack) == [(uid, "dose_rp", pytest.approx(dose_rp), pytest.approx(dose_rp * 0.9, abs=1e-9))]
    compared = "SELECT reference_level, value, level, unit FROM dose.reference_level_comparison"
    assert rows(stack, compared) == [("fluoroscopy", pytest.approx(dap), 1e-5, "Gy.m2")]
    document = status(stack)
    assert document["alerts"] == {"dose_rp": 1}
    assert document["newest_alerts"][0]["study_instance_uid"] == uid
    wait_until(
        lambda: any(t["topic"] == "radiology.alert.v1" and t["records"] for t in status(stack)["topics"]),
        "the alert on its topic",
    )
    # Services read the file when they start.
    config.write_text(TOML.format(threshold="5 Gy", level=2.0), encoding="utf-8")
    stack.kill("reconciler")
    wait_until(lambda: alerts(stack) == [], "the alert taken back")
    assert rows(stack, "SELECT level FROM dose.reference_level_comparison") == [(2e-5,)]
