"""The way to add a field that docs/subscribing.md tells, gone step by step over a copy of the code."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "subscribing.md").read_text()
STEPS = TEXT.partition("### Adding a field")[2].partition("### ")[0]
COPIED = ("dosestream", "schemas", "tests/unit/contracts", "tests/unit/events")


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    for folder in COPIED:
        shutil.copytree(
            ROOT / folder,
            tmp_path / folder,
            ignore=shutil.ignore_patterns("__pycache__", Path(__file__).name),
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def shell(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    """A line of the document, with the programs of this environment and the code of the copy."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path, "PYTHONPATH": str(folder), "PYTEST_ADDOPTS": ""}
    return subprocess.run(
        line, shell=True, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=500
    )


def step(words: str) -> str:
    """The command of the document that begins so."""
    found = re.search(rf"`({re.escape(words)}[^`]*)`", STEPS)
    assert found is not None, words
    return found[1]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_field_is_added_as_the_document_says(copied: Path) -> None:
    schema = copied / "schemas" / "order.avsc"
    document = json.loads(schema.read_text())
    # Under a name that no field will ever have: the document's own may have been added meanwhile.
    document["fields"].append(json.loads(step('{"name"')) | {"name": "added_by_this_test"})
    schema.write_text(json.dumps(document, indent=2))
    # The part of its tests that a change of this schema concerns.
    tests = step("python -m pytest").replace(
        "tests/unit/events",
        "tests/unit/events/test_schemas.py -v -p no:cacheprovider -k 'order or generated'",
    )
    before = shell(copied, tests)
    assert before.returncode == 1, before.stdout
    assert "run `python -m dosestream.events.generate`" in before.stdout
    assert "copy it to schemas/history/order/" in before.stdout
    last = max(int(path.stem) for path in (copied / "schemas" / "history" / "order").glob("*.avsc"))
    copy = step("cp schemas/order.avsc").replace("N.avsc", f"{last + 1}.avsc")
    for command in (step("python -m dosestream.events.generate"), copy):
        done = shell(copied, command)
        assert done.returncode == 0, done.stderr
    after = shell(copied, tests)
    assert after.returncode == 0, after.stdout
    names = shell(copied, f"{tests} --collect-only")
    assert f"order: {last} reads {last + 1}" in names.stdout
    assert f"order: {last + 1} reads {last}" in names.stdout
