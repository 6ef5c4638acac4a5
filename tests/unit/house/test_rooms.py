"""Who may import whom: services the library, never another service; the pure rooms no I/O."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# Modules that mean a wire, a store, a clock or chance.
IMPURE = {
    "asyncio",
    "confluent_kafka",
    "faust",
    "os",
    "psycopg",
    "pynetdicom",
    "random",
    "secrets",
    "socket",
    "subprocess",
    "threading",
    "time",
    "uuid",
}
PURE = ("hl7", "mapping", "reconcile", "dose", "knowledge", "worklist")
SERVICES = sorted(p.name for p in (ROOT / "services").iterdir() if (p / "service.py").exists())


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def imported(folder: Path) -> set[tuple[str, str]]:
    return {(str(p.relative_to(ROOT)), name) for p in sorted(folder.rglob("*.py")) for name in imports(p)}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_imports_no_other_service(service: str) -> None:
    others = [
        (path, name)
        for path, name in imported(ROOT / "services" / service)
        if name.startswith("services.") and not name.startswith(f"services.{service}")
    ]
    assert others == []


def test_only_the_command_line_knows_the_services() -> None:
    knowing = {path for path, name in imported(ROOT / "dosestream") if name.split(".")[0] == "services"}
    assert all(path.startswith("dosestream/cli/") for path in knowing)


@pytest.mark.parametrize("room", PURE)
def test_a_pure_room_does_no_input_or_output(room: str) -> None:
    found = [
        (path, name) for path, name in imported(ROOT / "dosestream" / room) if name.split(".")[0] in IMPURE
    ]
    assert found == []


def test_the_pure_rooms_know_no_room_that_is_not() -> None:
    shells = ("dosestream.db", "dosestream.kafka.publisher", "dosestream.kafka.client", "dosestream.client")
    found = [
        (path, name)
        for room in PURE
        for path, name in imported(ROOT / "dosestream" / room)
        if name.startswith(shells)
    ]
    assert found == []
