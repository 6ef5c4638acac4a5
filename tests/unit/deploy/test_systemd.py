"""The systemd units: taken by systemd, hardened, and true to what they name."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from systemd_units import FOLDER, settings, started

from dosestream.cli.service import SERVICES
from dosestream.settings import ENVIRONMENT

UNITS = ("dosestream@.service", "dosestream-prepare.service")
PROGRAM = "/opt/dosestream/bin/dosestream"
# systemd-analyze security: 0 is least exposed, 10 most.
EXPOSURE = 3.0


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A root folder with the units and the program where docs/install.md puts them."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is missing: units are verified where systemd is")
    units = tmp_path / "etc/systemd/system"
    shutil.copytree(FOLDER, units)
    system = next(
        (one for one in (Path("/lib/systemd/system"), Path("/usr/lib/systemd/system")) if one.is_dir()), None
    )
    if system is None:
        pytest.skip("systemd's own units are missing")
    shutil.copytree(system, tmp_path / "usr/lib/systemd/system", symlinks=True)
    for program in (PROGRAM, "/bin/kill"):
        path = tmp_path / program.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    return tmp_path


def analyzed(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", f"--root={root}", "--man=no", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_systemd_takes_every_unit(installed: Path) -> None:
    instances = [f"dosestream@{name}.service" for name in SERVICES]
    told = analyzed(installed, "verify", *instances, "dosestream-prepare.service", "dosestream.target")
    ours = [line for line in told.stderr.splitlines() if "dosestream" in line]
    assert ours == []
    assert told.returncode == 0, told.stderr


def test_a_broken_unit_is_not_taken(installed: Path) -> None:
    unit = installed / "etc/systemd/system/dosestream-prepare.service"
    unit.write_text(unit.read_text().replace(PROGRAM, "/opt/nowhere"))
    assert "nowhere" in analyzed(installed, "verify", "dosestream-prepare.service").stderr


@pytest.mark.parametrize("unit", ["dosestream@ingest.service", "dosestream-prepare.service"])
def test_a_unit_is_exposed_to_little(unit: str, installed: Path) -> None:
    told = analyzed(installed, "security", "--offline=yes", "--no-pager", unit)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", told.stdout)
    assert found is not None, told.stderr
    assert float(found[1]) <= EXPOSURE, told.stdout


@pytest.mark.parametrize("unit", UNITS)
def test_what_a_unit_is_given_is_a_setting_and_each_secret_a_credential(unit: str) -> None:
    _, environment = started(unit, "ingest", "/credentials")
    beside = {"DOSESTREAM_CONFIG", "DOSESTREAM_POSTGRES_PASSWORD_FILE", "DOSESTREAM_READY", "FAUST_DATADIR"}
    for name in environment.keys() - beside:
        assert name.removesuffix("_FILE") in ENVIRONMENT, name
    loaded = {value.partition(":")[0] for key, value in settings(unit) if key == "LoadCredential"}
    asked = {value.rpartition("/")[2] for value in environment.values() if value.startswith("/credentials/")}
    assert asked == loaded == {"postgres_password", "patient_key"}


def test_both_units_give_the_same_servers_and_protection() -> None:
    service, prepare = (dict(settings(unit)) for unit in UNITS)
    hardening = {
        key for key in service if re.match(r"(Protect|Private|Restrict|System|NoNew|Lock|Capab)", key)
    }
    assert len(hardening) >= 15
    assert {key: prepare[key] for key in hardening} == {key: service[key] for key in hardening}
    (_, one), (_, other) = (started(unit, "ingest", "/c") for unit in UNITS)
    assert other.items() <= one.items()
