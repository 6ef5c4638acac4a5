"""Where pynetdicom's reactor stands still while an answer is waited for.

An association's reactor thread looks for messages, too, and is stopped by a `threading.Event` while a request is
under way. In pynetdicom 3.0 it may have passed the event, and not yet said so, when a request is sent: it then takes
the answer, and the request waits in vain (pynetdicom issue 875).
"""

import threading
from typing import Any, Final

# A reactor that ended stands still without a word.
PATIENCE_S: Final = 1.0


class Checkpoint:
    """In place of pynetdicom's event: `clear` returns once the reactor waits, or no longer runs."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._open = True
        self._waits = False

    def set(self) -> None:
        """Let the reactor go on."""
        with self._change:
            self._open = True
            self._change.notify_all()

    def clear(self) -> None:
        """Stop the reactor."""
        with self._change:
            self._open = False
            self._change.wait_for(lambda: self._waits, PATIENCE_S)

    def wait(self) -> None:
        """Of the reactor: until it may go on."""
        with self._change:
            self._waits = True
            self._change.notify_all()
            self._change.wait_for(lambda: self._open)
            self._waits = False


def keep_answers(association: Any) -> None:
    """From now on no answer to a request of this established association is taken by its reactor."""
    before, association._reactor_checkpoint = association._reactor_checkpoint, Checkpoint()
    # Who waits at the old one goes on to the new one.
    before.set()
