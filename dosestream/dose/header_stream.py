"""What comes before the pixel data of an instance that arrives in pieces; the rest is dropped as it comes.

Memory is bounded by the cap, not by the instance.
"""

import zlib
from typing import Final

from dosestream.dose.arrival import STRUCTURED_REPORTS
from dosestream.dose.dataset import DataSetError, end_of_header
from dosestream.dose.part10 import DEFLATED, deflate, encoding_of

# The header is looked for when so many bytes are there, and again whenever they have doubled.
FIRST_LOOK: Final = 8 * 1024
INFLATED_AT_A_TIME: Final = 256 * 1024


class HeaderStream:
    """One data set as it comes: `feed` each piece, then ask for `data_set`.

    A structured report is kept whole. Of anything else what comes before group 7FE0 is kept, as it was encoded;
    what cannot be read is kept as it came.

    Args:
        sop_class_uid: of the instance.
        transfer_syntax: UID of its encoding.
        cap: bytes kept at most; from there on the instance is `over_cap`, and only its beginning kept.
    """

    def __init__(self, sop_class_uid: str, transfer_syntax: str, cap: int, *, whole: bool = False) -> None:
        self._encoding = encoding_of(transfer_syntax)
        self._cap = cap
        self._whole = whole or sop_class_uid.startswith(STRUCTURED_REPORTS)
        self._inflater = (
            zlib.decompressobj(-zlib.MAX_WBITS) if transfer_syntax in DEFLATED and not self._whole else None
        )
        self._came = bytearray()
        self._plain = bytearray()
        self._look_at = FIRST_LOOK
        self._header: bytes | None = None
        self._hopeless = False
        self.over_cap = False
        self.received = 0

    @property
    def is_header_over(self) -> bool:
        """Whether pixel data has begun."""
        return self._header is not None

    def feed(self, piece: bytes) -> None:
        """Take the next bytes."""
        self.received += len(piece)
        if self.is_header_over or self.over_cap:
            return
        self._came += piece
        if self._inflater is not None:
            self._inflate(piece)
        elif not self._whole:
            self._look(self._came)
        if max(len(self._plain), len(self._came)) > self._cap:
            self.over_cap = True
            del self._came[self._cap + 1 :]
            self._plain.clear()

    def data_set(self) -> bytes:
        """What is kept, encoded as it came; one byte more than the cap where there was too much."""
        if self._header is None and not (self._whole or self.over_cap):
            self._end()
        if self._header is None:
            return bytes(self._came)
        return deflate(self._header) if self._inflater is not None else self._header

    def _inflate(self, piece: bytes) -> None:
        assert self._inflater is not None
        try:
            while piece and not self.is_header_over and len(self._plain) <= self._cap:
                self._plain += self._inflater.decompress(piece, INFLATED_AT_A_TIME)
                self._look(self._plain)
                piece = b"" if self._inflater.eof else self._inflater.unconsumed_tail
        except zlib.error:
            self._hopeless = True

    def _look(self, plain: bytearray) -> None:
        """Whether pixel data has begun."""
        if self._hopeless or len(plain) < self._look_at:
            return
        held = bytes(plain)
        try:
            end = end_of_header(held, self._encoding, partial=True)
        except DataSetError as error:
            # Cut short it is as long as more comes.
            self._hopeless = error.code != "truncated"
            end = len(held)
        if end < len(held):
            self._header = held[:end]
            self._came, self._plain = bytearray(), bytearray()
        self._look_at = 2 * len(held)

    def _end(self) -> None:
        """All has come: the header is what was there before pixel data, if it can be read."""
        if self._hopeless or (self._inflater is not None and not self._inflater.eof):
            return
        held = bytes(self._came if self._inflater is None else self._plain)
        try:
            self._header = held[: end_of_header(held, self._encoding)]
        except DataSetError:
            self._header = None
