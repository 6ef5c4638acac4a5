"""Build a Java peer: `python bench/peers/maven.py FOLDER` prints its class path, or why it cannot be built (exit 1).

The folder is copied beside the other things fetched (see `dosestream.embedded.jars`), under a name that holds a hash of
its sources, so it is built once. Maven is asked for what it has already, and only then for what it must fetch.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from dosestream.embedded.errors import StackError
from dosestream.embedded.jars import cache_folder, java, maven

GOALS = ("compile", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=libs")
TIMEOUT_S = 120


class BuildError(Exception):
    """A peer cannot be had on this machine; the text says why."""


def class_path(folder: Path) -> str:
    """The class path of the peer in `folder`, built now where it was not before.

    Raises:
        BuildError: Java or Maven is missing, or the build failed.
    """
    try:
        java()
        program = maven()
    except StackError as error:
        raise BuildError(str(error).split(",", 1)[0]) from None
    target = _target(folder)
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=".building-", dir=target.parent))
        try:
            shutil.copytree(folder, part, dirs_exist_ok=True)
            _build(program, part)
            if not target.is_dir():
                part.rename(target)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return f"{target / 'target' / 'classes'}:{target / 'libs'}/*"


def _target(folder: Path) -> Path:
    sources = sorted(path for path in folder.rglob("*") if path.suffix in {".xml", ".java"})
    content = hashlib.sha256()
    for path in sources:
        content.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return cache_folder() / f"peer-{folder.name}-{content.hexdigest()[:12]}"


def _build(program: str, folder: Path) -> None:
    said = ""
    for offline in (["-o"], []):
        command = [program, "-q", "-B", *offline, "-f", str(folder / "pom.xml"), *GOALS]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise BuildError(f"Maven was not done after {TIMEOUT_S} s") from None
        if done.returncode == 0:
            return
        said = next(
            (line for line in done.stdout.splitlines() if line.startswith("[ERROR]")), "no reason given"
        )
    raise BuildError(f"Maven could not build {folder.name}: {said.removeprefix('[ERROR]').strip()[:300]}")


if __name__ == "__main__":
    try:
        print(class_path(Path(sys.argv[1]).resolve()))
    except BuildError as reason:
        sys.exit(str(reason))
