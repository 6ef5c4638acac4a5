"""How a service says that it is ready: a JSON file at the path in `DOSESTREAM_READY`, written in one move.

A supervisor (`dosestream up`, a container's health check) waits for the file; its content says where the
service listens, since a port of 0 is chosen by the system.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "DOSESTREAM_READY"


def announce(details: Mapping[str, object]) -> None:
    """Write the ready file; does nothing where no supervisor asked for one."""
    if target := os.environ.get(VARIABLE):
        write(Path(target), details)


def write(path: Path, details: Mapping[str, object]) -> None:
    """Write JSON so that a reader sees all of it or none."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(json.dumps(details, indent=2) + "\n", encoding="utf-8")
    part.replace(path)
