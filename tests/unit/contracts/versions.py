"""Every version of every schema that was ever on a topic: `schemas/history/<name>/<n>.avsc`, the last the current one."""

import json
from pathlib import Path
from typing import Any

from dosestream.events.schemas import folder

HISTORY = folder() / "history"


def files(name: str) -> list[Path]:
    """The versions of a schema, the first first."""
    return sorted((HISTORY / name).glob("*.avsc"), key=lambda path: int(path.stem))


def without_docs(schema: Any) -> Any:
    """The schema as the codec takes it: words may be bettered without a new version."""
    if isinstance(schema, dict):
        return {k: without_docs(v) for k, v in schema.items() if k != "doc"}
    return [without_docs(item) for item in schema] if isinstance(schema, list) else schema


def unrecorded(current: str, versions: list[str]) -> bool:
    """Whether a schema changed without a new version in the history."""
    return not versions or without_docs(json.loads(current)) != without_docs(json.loads(versions[-1]))
