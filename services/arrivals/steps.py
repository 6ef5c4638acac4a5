"""The states of a performed procedure step (PS3.4 F.7.1), as a table. Pure.

A message that the table refuses is stored all the same: it happened.
"""

from typing import Final, NamedTuple

from dosestream.dose.step_header import COMPLETED, DISCONTINUED, IN_PROGRESS

CREATE, SET = "N-CREATE", "N-SET"
# The step is not known here.
NONE: Final = ""
# The message does not change the status.
UNCHANGED: Final = ""

# PS3.7 annex C.
SUCCESS: Final = 0x0000
INVALID_VALUE: Final = 0x0106
PROCESSING_FAILURE: Final = 0x0110
DUPLICATE: Final = 0x0111
NO_SUCH_INSTANCE: Final = 0x0112
# PS3.4 F.7.2.2.2: the Error ID (0000,0903) beside PROCESSING_FAILURE.
NO_LONGER_UPDATED: Final = 0xA710


class Ruling(NamedTuple):
    """What is answered to a message about a step.

    Attributes:
        status: DIMSE status.
        state: of the step afterwards.
        counts: whether what it says is published; else it is kept as rejected.
        code: of the rejection; empty where all is well.
        reason: for a person.
        error_id: (0000,0903), 0 where there is none.
    """

    status: int
    state: str
    counts: bool = True
    code: str = ""
    reason: str = ""
    error_id: int = 0


_CREATED = Ruling(SUCCESS, IN_PROGRESS)
_NOT_BEGUN = Ruling(INVALID_VALUE, NONE, False, "step_not_in_progress", "a step is created IN PROGRESS")
_UNKNOWN_STATUS = "(0040,0252) is none of IN PROGRESS, COMPLETED and DISCONTINUED"
_CLOSED = "Performed Procedure Step Object may no longer be updated"
_TWICE = "the step was created before, and this message differs"
# A step that began before this listener was there, or elsewhere: told as the standard asks, and counted.
_BEFORE = "the step was not created here: what it says is kept and counts"


def _twice(state: str) -> Ruling:
    return Ruling(DUPLICATE, state, False, "step_created_twice", _TWICE)


def _closed(state: str) -> Ruling:
    return Ruling(PROCESSING_FAILURE, state, False, "step_closed", _CLOSED, NO_LONGER_UPDATED)


def _early(state: str) -> Ruling:
    return Ruling(NO_SUCH_INSTANCE, state, True, "step_not_created", _BEFORE)


# (state, message, Performed Procedure Step Status of the message) to what happens.
TABLE: Final[dict[tuple[str, str, str], Ruling]] = {
    (NONE, CREATE, IN_PROGRESS): _CREATED,
    (NONE, CREATE, COMPLETED): _NOT_BEGUN,
    (NONE, CREATE, DISCONTINUED): _NOT_BEGUN,
    (NONE, CREATE, UNCHANGED): _NOT_BEGUN,
    # The state stays unknown, so that the creation is taken when it comes.
    (NONE, SET, IN_PROGRESS): _early(NONE),
    (NONE, SET, UNCHANGED): _early(NONE),
    (NONE, SET, COMPLETED): _early(NONE),
    (NONE, SET, DISCONTINUED): _early(NONE),
    (IN_PROGRESS, SET, IN_PROGRESS): Ruling(SUCCESS, IN_PROGRESS),
    (IN_PROGRESS, SET, UNCHANGED): Ruling(SUCCESS, IN_PROGRESS),
    (IN_PROGRESS, SET, COMPLETED): Ruling(SUCCESS, COMPLETED),
    (IN_PROGRESS, SET, DISCONTINUED): Ruling(SUCCESS, DISCONTINUED),
    **{
        (state, CREATE, status): _twice(state)
        for state in (IN_PROGRESS, COMPLETED, DISCONTINUED)
        for status in (IN_PROGRESS, COMPLETED, DISCONTINUED, UNCHANGED)
    },
    **{
        (state, SET, status): _closed(state)
        for state in (COMPLETED, DISCONTINUED)
        for status in (IN_PROGRESS, COMPLETED, DISCONTINUED, UNCHANGED)
    },
}


def ruling(state: str, message: str, status: str) -> Ruling:
    """What happens when a step in this state (empty: unknown) gets N-CREATE or N-SET with this status."""
    if status not in (IN_PROGRESS, COMPLETED, DISCONTINUED, UNCHANGED):
        return Ruling(INVALID_VALUE, state, False, "step_status", _UNKNOWN_STATUS)
    return TABLE[state, message, status]
