"""A watched folder: files that appear are taken in, and moved to `done` or `failed`."""

import logging
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from dosestream.dose.dataset import DataSetError
from dosestream.dose.header_stream import HeaderStream
from dosestream.dose.part10 import meta_of
from services.arrivals.intake import Instance, Intake

log = logging.getLogger("dosestream.arrivals")

DONE, FAILED = "done", "failed"
# A file is whole when neither its size nor its time changed between two looks.
LOOK_S: Final = 1.0
# What Kafka could not take is tried again after this.
AWAY_S: Final = 5.0
AT_A_TIME: Final = 1024 * 1024


class WatchedFolder:
    """Takes what appears in a folder and below it. Files that begin with a dot are left alone, so that a writer
    may hide what it has not finished.

    Args:
        folder: must exist; `done` and `failed` are made in it.
        calling: the AE title that its files come from.
        called: our own.
        cap: bytes kept of an instance at most.

    Raises:
        OSError: the folder is not there or not ours to write to.
    """

    def __init__(
        self, folder: Path, intake: Intake, calling: str, called: str, cap: int, look_s: float = LOOK_S
    ) -> None:
        self._folder = folder
        self._intake = intake
        self._calling, self._called, self._cap, self._look_s = calling, called, cap, look_s
        self._seen: dict[Path, tuple[int, int]] = {}
        self._closing = threading.Event()
        for name in (DONE, FAILED):
            (folder / name).mkdir(exist_ok=True)
        self._thread = threading.Thread(target=self._run, name="watched-folder", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Finish the file under way."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        wait = 0.0
        while not self._closing.wait(wait):
            wait = self._look_s
            try:
                for path in self._whole():
                    if self._closing.is_set():
                        return
                    if not self._take(path):
                        wait = AWAY_S
                        break
            except OSError as error:
                log.warning("%s: %s", self._folder, error.strerror)

    def _whole(self) -> list[Path]:
        """The files that did not change since the last look, the oldest first."""
        now: dict[Path, tuple[int, int]] = {}
        for path in self._folder.rglob("*"):
            parts = path.relative_to(self._folder).parts
            if parts[0] in (DONE, FAILED) or any(part.startswith(".") for part in parts):
                continue
            with suppress(FileNotFoundError):
                if path.is_file():
                    about = path.stat()
                    now[path] = (about.st_size, about.st_mtime_ns)
        whole = [path for path, about in now.items() if self._seen.get(path) == about]
        self._seen = now
        return sorted(whole, key=lambda path: (now[path][1], path))

    def _take(self, path: Path) -> bool:
        """Take one file; whether it is settled."""
        try:
            instance = self._read(path)
        except DataSetError as error:
            self._move(path, FAILED, f"{' '.join(filter(None, (error.code, error.location)))}: {error}")
            return True
        status = self._intake.take(instance)
        if status == instance.statuses.out_of_resources:
            log.warning("a file waits in the watched folder: Kafka is away")
            return False
        if status:
            self._move(path, FAILED, f"status 0x{status:04X}: see `dosestream rejected list`")
        else:
            self._move(path, DONE, "")
        return True

    def _read(self, path: Path) -> Instance:
        """Raises DataSetError or OSError."""
        with path.open("rb") as file:
            sop_class, sop_instance, transfer_syntax = meta_of(file)
            stream = HeaderStream(sop_class, transfer_syntax, self._cap)
            while piece := file.read(AT_A_TIME):
                stream.feed(piece)
        return Instance(
            sop_class_uid=sop_class,
            sop_instance_uid=sop_instance,
            transfer_syntax=transfer_syntax,
            data_set=stream.data_set(),
            calling=self._calling,
            called=self._called,
            peer="",
            over_cap=stream.over_cap,
            fetched=True,
        )

    def _move(self, path: Path, where: str, reason: str) -> None:
        target = self._folder / where / path.relative_to(self._folder)
        number = 0
        while target.exists():
            number += 1
            target = target.with_name(f"{path.stem}.{number}{path.suffix}")
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
        self._seen.pop(path, None)
        if reason:
            target.with_name(target.name + ".reason").write_text(reason + "\n")
            log.warning("a file of the watched folder was not taken: %s", reason)
