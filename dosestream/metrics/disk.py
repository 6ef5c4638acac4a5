"""Free space where the service, its broker or its database keep what they must not lose."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from dosestream.metrics.exposition import Reading, Sample
from dosestream.metrics.names import DISK_FREE, DISK_SIZE
from dosestream.repeats.opened import home
from dosestream.settings import Settings


def disks(settings: Settings) -> Reading:
    """Of the folder of repeats and of `metrics.folders`."""
    folders = [home(settings.repeats), *map(Path, settings.metrics.folders)]

    def read() -> Iterator[Sample]:
        for folder in dict.fromkeys(folders):
            # Before it is made, its parent's disk is the one.
            there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
            usage = shutil.disk_usage(there)
            yield Sample(DISK_FREE, usage.free, (str(folder),))
            yield Sample(DISK_SIZE, usage.total, (str(folder),))

    return read
