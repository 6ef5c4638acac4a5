"""The units of deploy/systemd as the tests read them: what a service's process is started with."""

import shlex
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "deploy" / "systemd"


def settings(unit: str) -> list[tuple[str, str]]:
    """Key and value of each assignment of a unit file, in their order."""
    lines = [line.strip() for line in (FOLDER / unit).read_text().splitlines()]
    pairs = [line.partition("=") for line in lines if line and line[0] not in "#["]
    return [(key, value) for key, _, value in pairs]


def started(unit: str, instance: str, credentials: str) -> tuple[list[str], Mapping[str, str]]:
    """The command and environment of a unit's process (systemd.exec(5), systemd.unit(5) "Specifiers")."""

    def specified(text: str) -> str:
        return text.replace("%i", instance).replace("%d", credentials)

    found = settings(unit)
    (line,) = [value for key, value in found if key == "ExecStart"]
    pairs = [specified(value).partition("=") for key, value in found if key == "Environment"]
    return shlex.split(specified(line)), {name: value for name, _, value in pairs}
