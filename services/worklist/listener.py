"""The worklist's listener: a Modality Worklist Information Model FIND and C-ECHO SCP (PS3.4 annex K)."""

import itertools
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import pydicom
from pynetdicom import AE, _config, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined, unused-ignore]
    ModalityWorklistInformationFind,
    Verification,
)

from dosestream.association import closed, opened
from dosestream.settings import WorklistSettings
from services.worklist.finder import Answer, Finder

log = logging.getLogger("dosestream.worklist")

# pynetdicom's own log handlers spell out every PDU, with patient data in some of them.
_config.LOG_HANDLER_LEVEL = "none"
_config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False
# What a query or an order holds is answered as it is, illegal or not.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE

# Plain ones before deflated; old consoles ask for big endian.
TRANSFER_SYNTAXES: Final = [
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
]
# Consoles keep an association open between queries.
IDLE_S: Final = 4 * 3600
MESSAGE_S: Final = 60
MAX_PDU: Final = 128 * 1024
# A query for a room's day has fewer answers and never waits; how long the library takes to look whether something came.
ANSWERS_AT_ONCE: Final = 50
READ_S: Final = 0.003


class Listener:
    """Listens from construction on; the finder decides every status.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(self, worklist: WorklistSettings, finder: Finder) -> None:
        self._finder = finder
        self._closed = False
        self._ae: Any = AE(ae_title=worklist.ae_title)
        self._ae.maximum_associations = worklist.max_associations
        self._ae.maximum_pdu_size = MAX_PDU
        self._ae.network_timeout = IDLE_S
        self._ae.acse_timeout = MESSAGE_S
        self._ae.dimse_timeout = MESSAGE_S
        # Others are rejected: calling AE title not recognised (PS3.8 9.3.4).
        self._ae.require_calling_aet = list(worklist.allowed_ae_titles)
        self._ae.add_supported_context(ModalityWorklistInformationFind, TRANSFER_SYNTAXES)
        self._ae.add_supported_context(Verification, TRANSFER_SYNTAXES)
        handlers = [
            (evt.EVT_CONN_OPEN, opened),
            (evt.EVT_CONN_CLOSE, closed),
            (evt.EVT_REJECTED, _rejected),
            (evt.EVT_C_FIND, self._find),
        ]
        self._server: Any = self._ae.start_server(
            (worklist.host, worklist.port), block=False, evt_handlers=handlers
        )
        self.host, self.port = self._server.socket.getsockname()[:2]

    @property
    def is_open(self) -> bool:
        """Whether associations are accepted."""
        return not self._closed

    @property
    def associations(self) -> int:
        """How many are open."""
        return len(self._ae.active_associations)

    def close(self) -> None:
        """Close the listening socket and abort the associations that are left."""
        self._closed = True
        self._server.shutdown()
        for association in self._ae.active_associations:
            association.abort()

    def _find(self, event: Any) -> Iterator[Answer]:
        calling = str(event.assoc.requestor.ae_title).strip()
        return self._finder.find(calling, lambda: event.identifier, _cancelled(event))


def _cancelled(event: Any) -> Callable[[], bool]:
    """Whether the client wishes to hear no more, asked before each answer.

    The library sends whatever waits before it reads: after so many answers these are let go, and what came is read.
    """
    asked = itertools.count(1)

    def is_cancelled() -> bool:
        if next(asked) % ANSWERS_AT_ONCE == 0:
            waiting = True
            while waiting and event.assoc.is_established:
                waiting = not event.assoc.dul.to_provider_queue.empty()
                time.sleep(READ_S)
        return bool(event.is_cancelled)

    return is_cancelled


def _rejected(event: Any) -> None:
    requestor = event.assoc.requestor
    log.warning(
        "%s at %s was refused: name it in worklist.allowed_ae_titles if it may ask",
        str(requestor.ae_title).strip(),
        requestor.address,
    )
