"""Control ids that come again with other bytes: a sender that numbers two messages alike."""

# Remembered at least, and at most twice as many.
CAPACITY = 100_000


class ControlIds:
    """The newest control ids of each source with the hash of the message they named.

    Held in two generations: when the younger is full, the elder is forgotten as a whole. Only what this
    process heard: the reconciler flags every reuse.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._young: dict[str, bytes] = {}
        self._old: dict[str, bytes] = {}

    def reused(self, source: str, control_id: str, message: bytes) -> bool:
        """Whether the control id named another message before; `message` is the hash of this one."""
        name = f"{source}\0{control_id}"
        before = self._young.get(name) or self._old.get(name)
        if len(self._young) >= self._capacity:
            self._old, self._young = self._young, {}
        self._young[name] = message
        return before is not None and before != message
