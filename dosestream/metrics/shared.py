"""Integers that one process counts and another reads, without a message between them."""

import mmap
from collections.abc import MutableSequence
from typing import Final, cast

BYTES: Final = 8


def shared_cells(count: int) -> MutableSequence[int]:
    """So many 64-bit integers, zero at first, shared with the processes that are forked from this one.

    One process writes; reading and writing one integer is whole on every machine that runs this.
    """
    # The view holds the mapping.
    return cast("MutableSequence[int]", memoryview(mmap.mmap(-1, count * BYTES)).cast("q"))
