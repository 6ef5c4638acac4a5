"""Chance for synthetic reports: numbers with so many digits, UIDs, names; the same seed draws the same."""

from dataclasses import dataclass
from decimal import Decimal
from random import Random
from uuid import UUID

from dosestream.simulate.timeline import SECOND


@dataclass(slots=True)
class Draw:
    """The only source of chance.

    Attributes:
        rng: draws.
        at: when the exposures begin, microseconds since 1970 UTC.
    """

    rng: Random
    at: int

    def uid(self) -> str:
        """A UID from a UUID (PS3.5 B.2)."""
        return f"2.25.{UUID(int=self.rng.getrandbits(128), version=4).int}"

    def decimal(self, low: float, high: float, places: int) -> Decimal:
        """A number with so many digits after the point, both bounds included."""
        scale = 10**places
        digits: int = self.rng.randint(round(low * scale), round(high * scale))
        return Decimal(digits).scaleb(-places)

    def later(self, low: int = 20, high: int = 90) -> int:
        """The time now; the next exposure begins some seconds after it."""
        now = self.at
        self.at += self.rng.randint(low, high) * SECOND
        return now
