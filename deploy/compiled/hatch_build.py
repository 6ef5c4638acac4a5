"""The hot path of ingest, compiled by mypyc: for a wheel (hatch's build hook), or as a tree to run from a checkout.

    HATCH_BUILD_HOOK_ENABLE_CUSTOM=1 pip wheel .       a wheel with the compiled modules beside their sources
    python deploy/compiled/hatch_build.py FOLDER       the packages with them; PYTHONPATH=FOLDER dosestream ingest

Which modules: `modules` of `[tool.hatch.build.hooks.custom]` in pyproject.toml. Python stays the source and the
fallback: a compiled module behaves as its source does, and where there is none the source runs. What was compiled
is kept under build/mypyc by a hash of all it depends on, so it is compiled again only when that changed. It needs a
C compiler, mypy and setuptools; no compiled file ever lies beside the sources of the checkout.
"""

import fcntl
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# What the packages are compiled by: run in a folder of their own, where setuptools finds no pyproject.toml to read.
COMPILE = """
import sys
import setuptools
from mypyc.build import mypycify
group, level, config, *modules = sys.argv[1:]
compiled = mypycify(
    ["--config-file", config, *modules], opt_level=level, debug_level="0", group_name=group, target_dir="c"
)
# What another C compiler may warn of is not a fault of the code.
for extension in compiled:
    extension.extra_compile_args = [flag for flag in extension.extra_compile_args if flag != "-Werror"]
setuptools.setup(
    name="dosestream-compiled",
    packages=[],
    ext_modules=compiled,
    script_args=["--quiet", "build_ext", "--build-lib", "lib", "--build-temp", "o"],
)
"""
# 0 to 3, as for the command mypyc: how much the C compiler optimises. 0 takes a quarter of the time of 3.
LEVEL = "MYPYC_OPT_LEVEL"
# The extension that holds the code of all modules is dosestream__mypyc.
GROUP = "dosestream"
# Of the results kept, so many: a branch and another can be changed between.
KEPT = 3


class CompileError(Exception):
    """The modules could not be compiled; says what is missing, or what the compilers said."""


@dataclass(frozen=True)
class Project:
    """What pyproject.toml says.

    Attributes:
        root: where it lies.
        packages: folders of Python packages, relative to root.
        modules: files to compile, relative to root.
        beside: files and folders that lie elsewhere in the checkout than in a wheel, by their place in the checkout.
    """

    root: Path
    packages: tuple[str, ...]
    modules: tuple[str, ...]
    beside: Mapping[str, str]

    @classmethod
    def read(cls, root: Path) -> "Project":
        """Of the checkout at root.

        Raises:
            OSError, KeyError: there is none, or it names no modules.
        """
        build = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
        wheel = build["targets"]["wheel"]
        modules = build["hooks"]["custom"]["modules"]
        return cls(root, tuple(wheel["packages"]), tuple(modules), wheel["force-include"])

    def sources(self) -> Iterator[Path]:
        """Every Python file of the packages: a compiled module knows the types and constants of those it imports."""
        for package in self.packages:
            yield from sorted((self.root / package).rglob("*.py"))

    def fingerprint(self, tools: str) -> str:
        """Of all that the compiled modules depend on, in hexadecimal."""
        found = hashlib.sha256(tools.encode())
        for path in (self.root / "pyproject.toml", *self.sources()):
            content = path.read_bytes()
            found.update(f"\n{path.relative_to(self.root)} {len(content)}\n".encode())
            found.update(content)
        return found.hexdigest()[:16]


def built_by() -> str:
    """Python, its platform, what compiles, and how.

    Raises:
        CompileError: mypy or setuptools is not installed, or the level is none.
    """
    try:
        tools = [f"{name} {importlib.metadata.version(name)}" for name in ("mypy", "setuptools")]
    except importlib.metadata.PackageNotFoundError as error:
        raise CompileError(f"{error.name} compiles, and is missing: pip install mypy setuptools") from None
    flags = [f"{name}={os.environ.get(name, '')}" for name in ("CC", "CFLAGS", "LDFLAGS")]
    flags.append(f"{LEVEL}={_level()}")
    return "\n".join((sys.version, sysconfig.get_platform(), *tools, *flags, COMPILE))


def _level() -> str:
    if (level := os.environ.get(LEVEL) or "3") not in ("0", "1", "2", "3"):
        raise CompileError(f"{LEVEL} is {level!r}: 0, 1, 2 or 3 is meant")
    return level


def compiled(project: Project) -> Path:
    """The folder of the compiled modules, laid out as in a wheel; compiled now if anything changed.

    Raises:
        CompileError: something to compile with is missing, or a module cannot be compiled.
    """
    tools = built_by()
    room = project.root / "build" / "mypyc"
    room.mkdir(parents=True, exist_ok=True)
    with _alone(room / "lock"):
        kept = room / project.fingerprint(tools)
        if kept.is_dir():
            os.utime(kept)
            return kept
        part = room / "part"
        shutil.rmtree(part, ignore_errors=True)
        made = _compile(project, tools, room / "work")
        wanted = {str(Path(module).with_suffix("")) for module in project.modules} | {GROUP + "__mypyc"}
        for path in made.rglob("*.so"):
            place = path.relative_to(made)
            # Of a module that is on the list no longer one may be left.
            if str(place).partition(".")[0] in wanted:
                _put(path, part / place)
        part.rename(kept)
        _forget(room)
        return kept


def _compile(project: Project, tools: str, work: Path) -> Path:
    """Compile in `work`; the folder of what was made, in it.

    The C of the last time stays there, and mypy's cache: what is as it was is not compiled again by the same tools.
    """
    last = work / "tools"
    if not last.is_file() or last.read_text() != tools:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        last.write_text(tools)
    for package in project.packages:
        _copy(project.root / package, work / package)
    config = str(project.root / "pyproject.toml")
    line = [sys.executable, "-c", COMPILE, GROUP, _level(), config, *project.modules]
    # Nothing of another tree may be read instead.
    environment = {name: said for name, said in os.environ.items() if name not in ("PYTHONPATH", "MYPYPATH")}
    done = subprocess.run(
        line,
        cwd=work,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CompileError(f"the hot path cannot be compiled; mypyc and the C compiler say:\n{done.stdout}")
    return work / "lib"


def tree(project: Project, target: Path) -> None:
    """The packages with their compiled modules at `target`, as they would be installed; made anew where they changed.

    Raises:
        CompileError: as `compiled`.
    """
    extensions = compiled(project)
    target.mkdir(parents=True, exist_ok=True)
    with _alone(project.root / "build" / "mypyc" / "tree.lock"):
        for package in project.packages:
            _copy(project.root / package, target / package)
        for source, name in project.beside.items():
            _copy(project.root / source, target / name)
        wanted = {path.relative_to(extensions): path for path in extensions.rglob("*.so")}
        for old in target.rglob("*.so"):
            if old.relative_to(target) not in wanted:
                old.unlink()
        for place, extension in wanted.items():
            _put(extension, target / place)


def _copy(source: Path, target: Path) -> None:
    """Make target what source is, but for what else was put there; unchanged files keep their time."""
    there = set()
    for path in source.rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            there.add(path.relative_to(source))
            _put(path, target / path.relative_to(source))
    for old in target.rglob("*.py"):
        if old.relative_to(target) not in there:
            old.unlink()


def _put(source: Path, target: Path) -> None:
    """Copy where the content differs, in one step: a process that runs the old one keeps it."""
    content = source.read_bytes()
    if target.is_file() and target.read_bytes() == content:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(target.name + ".new")
    new.write_bytes(content)
    new.chmod(source.stat().st_mode)
    new.replace(target)


def _forget(room: Path) -> None:
    kept = [path for path in room.iterdir() if path.is_dir() and path.name not in ("work", "part")]
    for old in sorted(kept, key=lambda path: path.stat().st_mtime)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Only one process at a time is inside."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class CompiledHook(BuildHookInterface):  # type: ignore[type-arg]
    """Puts the compiled modules into the wheel; an editable installation and an sdist keep to the sources."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Before the wheel is built; it is then one for this Python and this platform."""
        if (self.target_name, version) != ("wheel", "standard"):
            return
        extensions = compiled(Project.read(Path(self.root)))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        for path in extensions.rglob("*.so"):
            build_data["force_include"][str(path)] = str(path.relative_to(extensions))


def main(arguments: Iterable[str]) -> int:
    """Make the tree; what hinders it is said on standard error."""
    (target,) = arguments
    try:
        tree(Project.read(Path(__file__).parents[2]), Path(target))
    except CompileError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
