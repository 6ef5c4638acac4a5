"""The packages with ingest's hot path compiled, as `make compiled` makes them: for tests that run both."""

import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def modules() -> list[str]:
    """Names of the modules that are compiled."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    paths = project["tool"]["hatch"]["build"]["hooks"]["custom"]["modules"]
    return [".".join(Path(path).with_suffix("").parts) for path in paths]


def need_a_compiler() -> None:
    """Skip where nothing can be compiled."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        pytest.skip(f"the C compiler {compiler} is missing: ingest's hot path cannot be compiled")
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        pytest.skip("Python.h is missing: ingest's hot path cannot be compiled")


def built() -> Path:
    """The folder to put on PYTHONPATH. Made once: processes that ask at the same time wait for the first."""
    need_a_compiler()
    # What a person made by `make compiled` stays as it is.
    folder = ROOT / "build" / "compiled-for-tests"
    line = [sys.executable, str(ROOT / "deploy" / "compiled" / "hatch_build.py"), str(folder)]
    made = subprocess.run(line, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return folder
