"""The simulator's answer is worth nothing if it comes from the code under test."""

import ast
from pathlib import Path

import pytest

import dosestream

ROOT = Path(dosestream.__file__).parent.parent
UNDER_TEST = ("dosestream.reconcile", "dosestream.mapping", "dosestream.dose", "dosestream.db", "services")


def file_of(module: str) -> Path | None:
    """The source of a module of this project."""
    base = ROOT.joinpath(*module.split("."))
    return next((f for f in (base.with_suffix(".py"), base / "__init__.py") if f.is_file()), None)


def imported(path: Path) -> set[str]:
    """Modules a file imports, wherever in it the statement stands; names may be modules, so they are added."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module is not None, f"{path}: relative import"
            modules.add(node.module)
            modules.update(f"{node.module}.{alias.name}" for alias in node.names)
    return modules


def reached_from(module: str) -> dict[str, str]:
    """Every module of this project that importing `module` may import, and by which module it is imported."""
    reached = {module: ""}
    open_modules = [module]
    while open_modules:
        importer = open_modules.pop()
        path = file_of(importer)
        assert path is not None
        parents = {importer.rsplit(".", n)[0] for n in range(1, importer.count(".") + 1)}
        for name in imported(path) | parents:
            if name.startswith(("dosestream", "services")) and name not in reached and file_of(name):
                reached[name] = importer
                open_modules.append(name)
    return reached


# What a step becomes in the services' hands: no answer is made of it, and a module that is may not reach it either.
NO_ANSWER = "dosestream.simulate.stored"
SIMULATOR = sorted(
    {f"dosestream.simulate.{path.stem}" for path in (ROOT / "dosestream/simulate").glob("[!_]*.py")}
    - {NO_ANSWER}
)


@pytest.mark.parametrize("module", SIMULATOR)
def test_the_simulator_shares_nothing_with_what_it_tests(module: str) -> None:
    reached = reached_from(module)
    forbidden = {name: by for name, by in reached.items() if name.startswith(UNDER_TEST)}
    assert forbidden == {}


def test_the_walk_over_imports_finds_what_is_imported_by_way_of_another_module() -> None:
    reached = reached_from("services.ingest.service")
    assert reached["dosestream.mapping.normalise"] != "services.ingest.service"
    assert "dosestream.mapping.defaults" in reached
