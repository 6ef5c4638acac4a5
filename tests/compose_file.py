"""deploy/compose.yaml as the tests read it: interpolated, merged, and its services turned into processes."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
FILE = ROOT / "deploy" / "compose.yaml"
# ${NAME}, ${NAME:-default} (compose specification, "Interpolation").
VARIABLE = re.compile(r"\$\{([A-Z_]+)(?::-([^}]*))?\}")


def document(environ: Mapping[str, str] = {}) -> dict[str, Any]:
    """The file with its variables put in and its YAML merges done."""
    text = VARIABLE.sub(lambda found: environ.get(found[1]) or found[2] or "", FILE.read_text())
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def own_services(compose: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Those that are built here, by name."""
    return {name: one for name, one in compose["services"].items() if "build" in one}


def substituted(text: str, table: Mapping[str, str]) -> str:
    """The text with paths and hosts of the container replaced by this machine's."""
    for inside, here in table.items():
        text = text.replace(inside, here)
    return text
