"""The broker's jars: fetched once by Maven from deploy/kafka/pom.xml into the user's cache folder."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from dosestream.embedded.errors import StackError

JAVA_LEAST = 17


def cache_folder() -> Path:
    """Where fetched things are kept: $XDG_CACHE_HOME/dosestream, else ~/.cache/dosestream."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dosestream"


def pom() -> Path:
    """The list of jars: beside the package in a checkout, inside it when installed."""
    inside = Path(__file__).parent / "kafka" / "pom.xml"
    return inside if inside.is_file() else Path(__file__).parents[2] / "deploy" / "kafka" / "pom.xml"


def java() -> str:
    """The path of a Java that can run the broker.

    Raises:
        StackError: there is none, or it is too old.
    """
    home = os.environ.get("JAVA_HOME")
    found = shutil.which(str(Path(home) / "bin" / "java")) if home else None
    found = found or shutil.which("java")
    if found is None:
        raise StackError(
            f"Java is missing, and the embedded Kafka needs it: install a Java runtime of version {JAVA_LEAST} "
            "or newer (Debian: apt install openjdk-17-jre-headless), or use a broker of your own with --kafka."
        )
    said = subprocess.run([found, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)(?:\.(\d+))?', said)
    number = int(version[2] or 0 if version[1] == "1" else version[1]) if version else 0
    if number < JAVA_LEAST:
        raise StackError(
            f"{found} is Java {number or 'of an unknown version'}, and the embedded Kafka needs {JAVA_LEAST} or "
            "newer: install one, or set JAVA_HOME."
        )
    return found


def maven() -> str:
    """The path of Maven.

    Raises:
        StackError: there is none.
    """
    if (found := shutil.which("mvn")) is None:
        raise StackError(
            "Maven is missing, and the embedded Kafka is fetched with it: install it (Debian: apt install maven), "
            "or use a broker of your own with --kafka."
        )
    return found


def present() -> Path | None:
    """The folder of the jars where they were fetched already."""
    folder = _folder()
    return folder if folder.is_dir() else None


def fetch(progress: Callable[[int], None] = lambda jars: None) -> Path:
    """The folder with the jars, fetched now where they are missing; progress hears how many are there.

    Raises:
        StackError: Maven is missing or could not fetch them.
    """
    folder = _folder()
    if folder.is_dir():
        return folder
    program = maven()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "fetch.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            return folder
        part = Path(tempfile.mkdtemp(prefix=".fetching-", dir=folder.parent))
        try:
            _copy_dependencies(program, part, progress)
            (part / "libs").rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return folder


def class_archive(java: str) -> Path:
    """Where the broker's classes are kept as this Java reads them; see `class_archive.make`."""
    program = Path(java).resolve()
    # Another Java, or a newer one in the same place, takes no other's archive.
    told = program.stat()
    which = hashlib.sha256(f"{program} {told.st_mtime_ns} {told.st_size}".encode()).hexdigest()[:12]
    return _folder().with_name(f"{_folder().name}-{which}.jsa")


def _folder() -> Path:
    return cache_folder() / f"kafka-{hashlib.sha256(pom().read_bytes()).hexdigest()[:12]}"


def _copy_dependencies(program: str, part: Path, progress: Callable[[int], None]) -> None:
    # A copy, so that Maven writes nothing beside the original.
    shutil.copy(pom(), part / "pom.xml")
    with (part / "maven.log").open("w+") as log:
        process = subprocess.Popen(
            [
                program,
                "--batch-mode",
                "--file",
                str(part / "pom.xml"),
                "dependency:copy-dependencies",
                "-DincludeScope=runtime",
                f"-DoutputDirectory={part / 'libs'}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            while process.poll() is None:
                progress(len(list((part / "libs").glob("*.jar"))))
                time.sleep(0.1)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        log.seek(0)
        errors = [line.strip() for line in log if line.startswith("[ERROR]")]
    if process.returncode != 0 or not (part / "libs").is_dir():
        said = errors[0].removeprefix("[ERROR]").strip()[:400] if errors else "no reason given"
        raise StackError(
            f"Maven could not fetch the jars of Kafka ({said}): check the network or Maven's settings.xml, "
            "then try again."
        )
