"""What a generation is built from and where it shows: apart from the database's driver, for the command line."""

from enum import StrEnum
from typing import Final

# Where a new generation is shown before the swap, where nothing else is asked for.
NEXT_VIEWS: Final = "dose_next"


class Origin(StrEnum):
    """What a generation is built from."""

    NORMALISED = "normalised"
    RAW = "raw"
