"""The form of a log line, and that no exception brings what it quotes into one: by a process of its own."""

import json
import os
import signal
import subprocess
import sys

import pytest

PATIENT = "Smith^John"
SCRIPT = f"""
import threading, warnings, psycopg
from dosestream import logs
log = logs.configure("ingest")
log.info("heard %s", "RIS")
try:
    try:
        int("{PATIENT}")
    except ValueError as error:
        raise psycopg.errors.UniqueViolation("Key (patient_id)=({PATIENT})") from error
except psycopg.Error:
    log.exception("not applied")
warnings.warn("invalid value {PATIENT}")
thread = threading.Thread(target=lambda: int("{PATIENT}"), name="poller")
thread.start()
thread.join()
raise LookupError("{PATIENT}")
"""


def said(form: str) -> str:
    """What the process writes to standard error."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "DOSESTREAM_LOG_FORMAT": form, "DOSESTREAM_LOG_LEVEL": "DEBUG"},
    )
    assert done.returncode == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize("form", ["text", "json", "", "yaml"])
def test_no_exception_and_no_warning_says_what_it_met(form: str) -> None:
    text = said(form)
    assert PATIENT not in text
    assert "Smith" not in text
    for words in (
        "heard RIS",
        "not applied",
        "psycopg.errors.UniqueViolation 23505",
        "builtins.ValueError",
        "poller ended by an exception",
        "builtins.LookupError",
        "UserWarning at <string>",
    ):
        assert words in text


def test_json_lines_are_one_object_each_with_its_time_in_utc() -> None:
    lines = [json.loads(line) for line in said("json").splitlines()]
    assert [line["level"] for line in lines] == ["INFO", "ERROR", "DEBUG", "CRITICAL", "CRITICAL"]
    assert {line["service"] for line in lines} == {"ingest"}
    assert all(line["time"].endswith("Z") for line in lines)
    assert lines[0]["message"] == "heard RIS"
    assert "<string>" in lines[1]["exception"]


def test_a_form_that_is_none_is_told_and_lines_are_text() -> None:
    assert "text or json; text is used" in said("yaml")


def test_a_process_that_crashes_leaves_what_its_threads_did_and_no_values() -> None:
    crash = "def waits(name): os.kill(os.getpid(), 11)\nwaits('DOE^JOHN')"
    quiet = "import os, resource\nresource.setrlimit(resource.RLIMIT_CORE, (0, 0))"
    line = f"{quiet}\nfrom dosestream import logs\nlogs.configure('arrivals')\n{crash}"
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGSEGV
    assert "Fatal Python error: Segmentation fault" in done.stderr
    assert "in waits" in done.stderr
    assert "DOE" not in done.stderr
