"""What a build puts aside: files of frames, so that nothing grows with the number of events but files.

A frame is four bytes of length (little endian) and that many bytes. Frames that belong together have the same key,
64 bits; keys lie in files of their own beside the frames, eight bytes each.
"""

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

# Bytes read and written at a time.
PAGE = 1 << 20
BUFFER = 1 << 16


def key_of(text: str) -> int:
    """64 bits that stand for a text, the same in every process."""
    return int.from_bytes(
        hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little"
    )


def bucket_key(text: str) -> int:
    """What says which bucket a text belongs to: texts that differ may have the same."""
    return crc32(text.encode("utf-8", "surrogatepass"))


class Buckets:
    """Files of frames side by side; those of one key are all in one of them."""

    def __init__(self, folder: Path, count: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._files: list[BinaryIO] = [
            (folder / f"{n}.frames").open("wb", buffering=BUFFER) for n in range(count)
        ]
        self._writes = [file.write for file in self._files]
        self._count = count

    def add(self, key: int, frame: bytes) -> None:
        """Put a frame into the bucket of a key."""
        self._writes[key % self._count](len(frame).to_bytes(4, "little") + frame)

    def close(self) -> None:
        """All of it is on its way to the disk."""
        for file in self._files:
            file.close()


class Frames:
    """One file of frames that is written."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb", buffering=PAGE)
        self.count = 0

    def add(self, frame: bytes) -> None:
        """Put a frame at the end."""
        self._file.write(len(frame).to_bytes(4, "little") + frame)
        self.count += 1

    def close(self) -> None:
        """All of it is on its way to the disk."""
        self._file.close()


def frames(path: Path) -> Iterator[bytes]:
    """The frames of a file, none where there is no file; a page of it is held at a time."""
    if not path.exists():
        return
    with path.open("rb", buffering=0) as file:
        held = b""
        while page := file.read(PAGE):
            held = held + page if held else page
            at, end = 0, len(held)
            while at + 4 <= end:
                size = int.from_bytes(held[at : at + 4], "little")
                if at + 4 + size > end:
                    # The rest of a frame larger than a page comes at once.
                    if size > PAGE:
                        held += file.read(at + 4 + size - end)
                        end = len(held)
                        if at + 4 + size <= end:
                            continue
                    break
                yield held[at + 4 : at + 4 + size]
                at += 4 + size
            held = held[at:]


def bucket(folders: Iterable[Path], number: int) -> Iterator[bytes]:
    """The frames of one bucket of several writers."""
    for folder in folders:
        yield from frames(folder / f"{number}.frames")


class Keys:
    """A file of keys that is written."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb", buffering=PAGE)
        self._held = array("Q")

    def add(self, *keys: int) -> None:
        """Put keys at the end."""
        self._held.extend(keys)
        if len(self._held) > BUFFER:
            self._flush()

    def _flush(self) -> None:
        self._held.tofile(self._file)
        del self._held[:]

    def close(self) -> None:
        """All of it is on its way to the disk."""
        self._flush()
        self._file.close()


def keys(path: Path) -> Iterator[int]:
    """The keys of a file, none where there is no file."""
    if not path.exists():
        return
    with path.open("rb") as file:
        while page := file.read(PAGE):
            held = array("Q")
            held.frombytes(page)
            yield from held
