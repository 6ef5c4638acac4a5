"""The second stage: which facts belong together. Only keys are held, 64 bits each; frames go by from file to file."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path

from dosestream.reconcile.components import Components
from services.reconciler.replay.spill import Buckets, Keys, bucket, frames, keys

# Facts between two words of how far it is.
TOLD = 50_000


def connect(folders: Sequence[Path], buckets: int, told: Callable[[int], None]) -> list[int]:
    """Write beside the facts of each folder the root of each: the same for all that share keys, directly or through
    others. Returns how many groups each bucket will have."""
    joined: Components[int] = Components()
    for folder in folders:
        found = keys(folder / "keys")
        for nth, count in enumerate(found, 1):
            joined.join(islice(found, count))
            if nth % TOLD == 0:
                told(TOLD)
    groups = [0] * buckets
    seen: set[int] = set()
    for folder in folders:
        roots = Keys(folder / "roots")
        found = keys(folder / "keys")
        for count in found:
            first = next(found)
            for _ in islice(found, count - 1):
                pass
            root = joined.find(first)
            roots.add(root)
            if root not in seen:
                seen.add(root)
                groups[root % buckets] += 1
        roots.close()
    return groups


def shuffle(folder: Path, buckets: int) -> None:
    """Put the facts of a folder into the buckets of their roots, each frame behind its root."""
    out = Buckets(folder / "grouped", buckets)
    for root, frame in zip(keys(folder / "roots"), frames(folder / "facts"), strict=True):
        out.add(root, root.to_bytes(8, "little") + frame)
    out.close()


def gather_again(
    folders: Sequence[Path], numbers: Iterable[int], home: Mapping[int, int], out: Path, buckets: int
) -> None:
    """Put the facts of groups that met into the buckets of the groups they are now part of.

    Args:
        folders: where facts lie by bucket.
        numbers: of the buckets that are looked through.
        home: by root the root of the group it is now part of; others are left out.
        out: the folder that gets them.
    """
    found = Buckets(out, buckets)
    for number in numbers:
        for frame in bucket(folders, number):
            root = home.get(int.from_bytes(frame[:8], "little"))
            if root is not None:
                found.add(root, root.to_bytes(8, "little") + frame[8:])
    found.close()


def meet(found: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Which groups meet by keys that were derived: each that does, to the one that stands for all of them.

    Args:
        found: keys, each with the root of a group that has it.
    """
    owner: dict[int, int] = {}
    joined: Components[int] = Components()
    meeting: set[int] = set()
    for key, root in found:
        other = owner.setdefault(key, root)
        if other != root:
            joined.join((other, root))
            meeting |= {other, root}
    lowest: dict[int, int] = {}
    for root in meeting:
        top = joined.find(root)
        lowest[top] = min(root, lowest.get(top, root))
    return {root: lowest[joined.find(root)] for root in meeting}


def pairs(path: Path) -> Iterable[tuple[int, int]]:
    """The keys of a file two by two."""
    found = keys(path)
    return zip(found, found, strict=True)
