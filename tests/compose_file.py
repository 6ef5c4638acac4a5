"""deploy/compose.yaml as the tests read it: interpolated, merged, and its services turned into processes."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
FILE = ROOT / "deploy" / "compose.yaml"
# ${NAME}, ${NAME:-default}.
VARIABLE = re.compile(r"\$\{([A-Z_]+)(?::-([^}]*))?\}")


def document(environ: Mapping[str, str] = {}) -> dict[str, Any]:
    """The file with its variables put in and its YAML merges done."""
    made: dict[str, Any] = _interpolated(yaml.safe_load(FILE.read_text()), environ)
    return made


def _interpolated(value: Any, environ: Mapping[str, str]) -> Any:
    """Variables are put into values, after the file was read (compose specification, "Interpolation")."""
    if isinstance(value, dict):
        return {key: _interpolated(one, environ) for key, one in value.items()}
    if isinstance(value, list):
        return [_interpolated(one, environ) for one in value]
    if isinstance(value, str):
        return VARIABLE.sub(lambda found: environ.get(found[1]) or found[2] or "", value)
    return value


def own_services(compose: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Those that are built here, by name."""
    return {name: one for name, one in compose["services"].items() if "build" in one}


def substituted(text: str, table: Mapping[str, str]) -> str:
    """The text with paths and hosts of the container replaced by this machine's."""
    return re.sub("|".join(map(re.escape, table)), lambda found: table[found[0]], text)
