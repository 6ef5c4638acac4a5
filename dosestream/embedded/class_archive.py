"""The broker's classes, kept as Java has them once they are read (JEP 350): it starts with 60 % of the CPU."""

import fcntl
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from dosestream.embedded import jars, ports
from dosestream.embedded.errors import StackError
from dosestream.embedded.kafka import JVM, EmbeddedKafka
from dosestream.settings import KafkaSettings

# Java writes the archive when it ends, which takes some seconds.
STOP_TIMEOUT_S = 120.0


def missing() -> bool:
    """Nobody tried to make it yet for this Java and these jars."""
    return not _tried(jars.class_archive(jars.java())).exists()


def make() -> bool:
    """Start a broker in a folder of its own and have its classes kept when it ends; once for a Java and its jars.

    Where it fails brokers start without it, more slowly; where only this Java cannot do it, it is not tried again.

    Returns:
        Whether it is there now.
    """
    archive = jars.class_archive(jars.java())
    # The folder may be another's, and the disk full. Why a broker does not start, the one that is wanted says better.
    with suppress(OSError, StackError), (archive.parent / "classes.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _tried(archive).exists():
            part = Path(tempfile.mkdtemp(prefix=".keeping-", dir=archive.parent))
            try:
                _keep(part, archive)
                _tried(archive).touch()
            finally:
                shutil.rmtree(part, ignore_errors=True)
    return archive.is_file()


def _keep(part: Path, archive: Path) -> None:
    taken: set[int] = set()
    kept = part / archive.name
    broker = EmbeddedKafka(part / "kafka", KafkaSettings(), ports.free(taken), ports.free(taken))
    try:
        broker.prepare()
        broker.jvm = (*JVM, f"-XX:ArchiveClassesAtExit={kept}")
        broker.launch()
        broker.wait_ready()
    finally:
        broker.stop(STOP_TIMEOUT_S)
    if kept.is_file():
        kept.rename(archive)


def _tried(archive: Path) -> Path:
    return archive.with_suffix(".tried")
