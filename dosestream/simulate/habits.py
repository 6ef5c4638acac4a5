"""Habits of vendors and departments: what a room's reports say of their order, how they add up, whose clock is off."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random

from dosestream.simulate.procedures import ROOMS, Room

# What a report says of its order: the Study Instance UID its order announced (with the accession or alone), an
# accession under a UID of the scanner's own, order numbers in the Referenced Request Sequence, an accession and
# no patient, or nothing at all.
EVIDENCE = ("uid and accession", "uid", "accession", "order number", "no patient", "nothing")


@dataclass(frozen=True, slots=True)
class Habits:
    """How a room works.

    Attributes:
        evidence: weights of `EVIDENCE`.
        reports: weights of one report, growing reports, a continued one, one sent again, an image and no report.
        procedure_codes: reports carry the procedure's code.
        procedure_named: they carry a Study Description; else they have no procedure information at all.
        typed: patients are typed in at the scanner.
        clock_minutes: how far the scanner's clock is off.
    """

    evidence: tuple[int, ...]
    reports: tuple[int, ...] = (80, 8, 5, 5, 2)
    procedure_codes: bool = False
    procedure_named: bool = True
    typed: bool = False
    clock_minutes: int = 0


HABITS: Mapping[str, Habits] = {
    "worklist": Habits((70, 10, 16, 2, 2, 0), procedure_codes=True),
    "accession": Habits((0, 0, 78, 8, 4, 10), reports=(13, 75, 5, 5, 2), clock_minutes=-7),
    "requests": Habits((20, 0, 20, 45, 5, 10), reports=(75, 0, 18, 5, 2), clock_minutes=4),
    "typed": Habits((0, 0, 60, 0, 5, 35), typed=True, clock_minutes=11),
    # Sends images and, but for a few, no report.
    "bare": Habits((0, 20, 20, 0, 0, 60), reports=(10, 0, 0, 0, 90), procedure_named=False),
}


@dataclass(frozen=True, slots=True)
class Shift:
    """A room's working hours, weekends or not, and its share of the visits."""

    begins: int
    ends: int
    weekends: bool
    weight: int


SHIFTS: Mapping[str, Shift] = {
    "CT1": Shift(0, 24, True, 8),
    "CT2": Shift(7, 18, False, 6),
    "XA1": Shift(8, 16, False, 4),
    "XA2": Shift(7, 21, True, 4),
    "MG1": Shift(8, 17, False, 4),
}


@dataclass(frozen=True, slots=True)
class Place:
    """A room of one site with its habits and hours."""

    room: Room
    habits: Habits
    shift: Shift


def places(rng: Random) -> tuple[Place, ...]:
    """The rooms of a site: every habit is some room's."""
    habits = list(HABITS.values())
    rng.shuffle(habits)
    return tuple(
        Place(replace(room, issuer=rng.random() < 0.2), habit, SHIFTS[room.ae_title])
        for room, habit in zip(ROOMS, habits, strict=True)
    )
