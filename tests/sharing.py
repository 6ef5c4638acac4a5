"""How the processes of `pytest -n` share the tests: whole files, so that what a file starts is started once."""

from typing import Final

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# Files whose tests use the session's stack: in one process, it is started once.
ON_THE_STACK: Final = frozenset(
    f"tests/integration/test_{name}.py"
    for name in ("day_on_the_stack", "history_on_the_stack", "stack_up", "worklist_missing")
)


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """Gives a process that has nothing left the next file, in the order in which they were collected.

    The files of real servers come first, the many short ones last, so that all processes end together.
    """

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        """The share a test belongs to; overridden as LoadFileScheduling does."""
        file = nodeid.partition("::")[0]
        # They wait for the same compiler.
        if file.startswith("tests/compiled/"):
            return "the compiled"
        return "the stack" if file in ON_THE_STACK else file
