"""The unit tests of the hot path once more, with its modules compiled: what the source does, they do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from compiled_tree import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# Of the folder of Kafka's, what publishes on the event loop.
KAFKA = ("loop_publisher", "outgoing", "partitioning", "produce", "publishing_cluster", "publishing_faults")
UNDER = [
    *(f"tests/unit/{room}" for room in ("hl7", "mapping", "events", "ingest", "repeats", "audit")),
    *(f"tests/unit/kafka/test_{name}.py" for name in KAFKA),
    "tests/unit/test_admission.py",
]


def run(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """These tests in a process that finds the packages in `tree`."""
    # Neither the checkout's sources nor what the outer run told its processes.
    outer = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    paths = (tree, ROOT / "tests", ROOT / "tests" / "compiled")
    # -P: the folder in which Python starts is not looked into.
    line = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "all_compiled", "-p", "no:cacheprovider"]
    line += ["-p", "no:xdist", "-o", "addopts=--strict-markers", *arguments]
    return subprocess.run(
        line,
        cwd=ROOT,
        env={**outer, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def test_the_unit_tests_of_the_hot_path_pass_with_its_modules_compiled(compiled_tree: Path) -> None:
    done = run(compiled_tree, "-m", "not long and not interpreted_only", *UNDER)
    assert done.returncode == 0, done.stdout[-8000:]
    last = done.stdout.rstrip().splitlines()
    passed = next(line for line in reversed(last) if " passed" in line)
    assert int(passed.partition(" passed")[0].split()[-1]) > 1000, passed


def test_they_would_not_be_run_with_the_sources() -> None:
    done = run(ROOT, "--collect-only", "tests/unit/hl7/test_hl7_framing.py")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR, done.stdout[-2000:]
    assert "not compiled: " in done.stdout
