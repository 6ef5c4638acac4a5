"""`dosestream status` as a person reads it."""

from typing import Any

import pytest

from dosestream.cli import status

QUIET: dict[str, Any] = {
    "services": [],
    "topics": [],
    "sources": [],
    "studies": {},
    "alerts": {},
    "newest_alerts": [],
    "cleanup": None,
    "rejected": 0,
}
ALERT = {
    "study_instance_uid": "1.2.3",
    "kind": "dose_rp",
    "value": 6.25,
    "threshold": 5.0,
    "unit": "Gy",
    "first_triggered_at": "2026-03-02T08:00:00Z",
}


def test_alerts_of_high_dose_are_counted_and_the_newest_shown(capsys: pytest.CaptureFixture[str]) -> None:
    status._print(QUIET | {"alerts": {"dap": 2, "dose_rp": 1}, "newest_alerts": [ALERT]})
    said = capsys.readouterr().out
    assert "alerts of high dose: dap 2, dose_rp 1" in said
    assert "dose_rp: 6.25 Gy (threshold 5)" in said
    assert "1.2.3" in said


def test_without_alerts_nothing_is_said_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    status._print(QUIET)
    assert "alert" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"up": True, "pid": 7, "restarts": 0}, "up"),
        ({"up": False, "pid": None, "restarts": 3}, "DOWN"),
        ({"up": True}, "up"),
        ({"up": False}, "not here"),
    ],
)
def test_a_service_that_nobody_started_here_is_not_called_down(
    entry: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status._print(QUIET | {"services": [{"service": "ingest", **entry}]})
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "ingest" in line]
    assert line.split("│")[2].strip() == said
