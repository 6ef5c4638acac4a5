"""An Enhanced SR that is no dose report: a radiologist's findings (DICOM PS3.16 TID 2000)."""

from collections.abc import Sequence
from typing import Any

from dosestream.simulate.sr_draw import Draw
from dosestream.simulate.sr_plan import Item, container, text


def expose(draw: Draw) -> tuple[str, ...]:
    """One finding."""
    return (draw.rng.choice(("No acute finding.", "Small effusion on the left.")),)


def procedure() -> None:
    """TID 2000 names its procedure elsewhere."""


def content(exposures: Sequence[Any]) -> tuple[Item, ...]:
    """A section of findings."""
    return tuple(container("121070", text("121071", finding)) for finding in exposures)
