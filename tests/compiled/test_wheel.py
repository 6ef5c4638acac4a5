"""The wheel that the Dockerfile builds holds the hot path compiled, and runs it without a compiler or mypy."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from compiled_tree import ROOT, modules

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SWITCH = "HATCH_BUILD_HOOK_ENABLE_CUSTOM"

# Imports each module of the hot path and tells where it came from; what builds is not to be had.
TOLD = """
import sys
from importlib import import_module
for gone in ("mypy", "mypyc", "librt", "setuptools", "hatchling"):
    sys.modules[gone] = None
for name in sys.argv[1:]:
    print(import_module(name).__file__)
"""


def run(*line: str, environment: dict[str, str] | None = None) -> str:
    outer = {name: value for name, value in os.environ.items() if name not in (SWITCH, "PYTHONPATH")}
    done = subprocess.run(
        line, cwd=ROOT, env={**outer, **(environment or {})}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def wheel(folder: Path, *, switched_on: bool) -> Path:
    """Built by the Dockerfile's own command."""
    found = re.search(
        r"^RUN (\w+)=1 /build/bin/pip (wheel .*) /wheels \. \\$", (ROOT / "Dockerfile").read_text(), re.M
    )
    assert found is not None
    assert found[1] == SWITCH
    line = (sys.executable, "-m", "pip", "--disable-pip-version-check", *found[2].split(), str(folder), ".")
    run(*line, environment={SWITCH: "1"} if switched_on else {})
    (made,) = folder.glob("*.whl")
    return made


def test_the_images_wheel_runs_the_hot_path_compiled(compiled_tree: Path, tmp_path: Path) -> None:
    made = wheel(tmp_path / "wheels", switched_on=True)
    assert f"-cp{sys.version_info.major}{sys.version_info.minor}-" in made.name
    held = zipfile.ZipFile(made).namelist()
    compiled = {name.partition(".")[0].replace("/", ".") for name in held if name.endswith(".so")}
    assert compiled == {*modules(), "dosestream__mypyc"}
    assert {name.replace(".", "/") + ".py" for name in modules()} <= set(held)

    target = tmp_path / "installed"
    run(sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--no-index",
        "--target", str(target), str(made))  # fmt: skip
    told = run(
        sys.executable, "-P", "-c", TOLD, *modules(), environment={"PYTHONPATH": str(target)}
    ).splitlines()
    assert len(told) == len(modules())
    for path in told:
        assert path.startswith(str(target)), path
        assert path.endswith(".so"), path


def test_without_the_switch_the_wheel_is_plain_python(tmp_path: Path) -> None:
    made = wheel(tmp_path, switched_on=False)
    assert made.name.endswith("-py3-none-any.whl")
    assert not [name for name in zipfile.ZipFile(made).namelist() if name.endswith(".so")]
