"""Connections that were refused, counted: one line now and then, however many there are."""

from collections import Counter
from enum import StrEnum
from typing import NamedTuple

# An address is told when it is first refused, and then so often while it goes on.
AGAIN_S = 60.0
# Addresses told apart; all others count together.
MOST_REMEMBERED = 1000
OTHERS = "other addresses"


class Why(StrEnum):
    """Why a connection is refused."""

    ADDRESS = "address_not_allowed"
    FULL = "too_many_connections"
    TLS = "tls_handshake"


class Refused(NamedTuple):
    """Connections refused from one host for one reason; `detail` is the last one's."""

    host: str
    why: Why
    attempts: int
    detail: str


class Refusals:
    """Counts until they are due to be told. Not locked."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, Why]] = Counter()
        self._details: dict[tuple[str, Why], str] = {}
        self._told: dict[tuple[str, Why], float] = {}

    def add(self, host: str, why: Why, detail: str = "") -> None:
        """One more."""
        key = (host, why)
        if key not in self._counts and len(self._counts) >= MOST_REMEMBERED:
            key = (OTHERS, why)
        self._counts[key] += 1
        self._details[key] = detail

    def due(self, now: float, *, all_of_them: bool = False) -> list[Refused]:
        """Those to tell now; they are counted anew from here. `now` is of any clock that goes on, in seconds."""
        self._told = {key: at for key, at in self._told.items() if now - at < AGAIN_S}
        keys = [key for key in self._counts if all_of_them or key not in self._told]
        found = []
        for key in keys:
            self._told[key] = now
            found.append(Refused(*key, self._counts.pop(key), self._details.pop(key)))
        return found
