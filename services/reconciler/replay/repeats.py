"""Which events may have been heard before: a filter that forgets none, and takes few for another.

Exact memory of every event would grow with them; what the filter suspects is looked up in the message index
afterwards. An event id is a hash already, so two parts of it say where its two bits are.
"""

from services.reconciler.replay.spill import key_of

# Bits for each event: of a thousand events about one is suspected wrongly.
BITS = 64
LEAST, MOST = 1 << 20, 1 << 31


class MaybeHeard:
    """A Bloom filter of event ids; eight bytes of memory for an event, 256 MB at the most."""

    def __init__(self, events: int) -> None:
        size = LEAST
        while size < min(MOST, events * BITS):
            size *= 2
        self._mask = size - 1
        self._bits = bytearray(size // 8)

    def again(self, event_id: str) -> bool:
        """Whether the event may have been heard before; it has been, from now on."""
        try:
            key = int(event_id[:16], 16)
        except ValueError:
            key = key_of(event_id)
        bits = self._bits
        one, other = key & self._mask, (key >> 33) & self._mask
        first, second = 1 << (one & 7), 1 << (other & 7)
        one >>= 3
        other >>= 3
        if bits[one] & first and bits[other] & second:
            return True
        bits[one] |= first
        bits[other] |= second
        return False
