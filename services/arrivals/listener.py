"""The DICOM listener: a C-STORE and C-ECHO SCP for every storage class and transfer syntax (PS3.4 annex B)."""

import logging
import socket
from typing import Any, Final

import pydicom
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, _config, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined, unused-ignore]

from dosestream.audit.trail import Kind
from dosestream.settings import DicomSettings
from services.arrivals.intake import Instance, Intake

log = logging.getLogger("dosestream.arrivals")

# pynetdicom's own log handlers spell out every PDU, with patient data in some of them.
_config.LOG_HANDLER_LEVEL = "none"
# Illegal UIDs are a scanner's daily bread: no warning for each.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE

# The first of these that the peer proposes is taken: plain ones before compressed ones.
PLAIN: Final = (
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
)
TRANSFER_SYNTAXES: Final = [*PLAIN, *(uid for uid in map(str, ALL_TRANSFER_SYNTAXES) if uid not in PLAIN)]

# Retired storage classes that old scanners and archives still send (PS3.6 annex A).
RETIRED: Final = (
    "1.2.840.10008.5.1.1.29",  # Hardcopy Grayscale Image
    "1.2.840.10008.5.1.4.1.1.3",  # Ultrasound Multi-frame Image
    "1.2.840.10008.5.1.4.1.1.5",  # Nuclear Medicine Image
    "1.2.840.10008.5.1.4.1.1.6",  # Ultrasound Image
    "1.2.840.10008.5.1.4.1.1.12.3",  # X-Ray Angiographic Bi-Plane Image
    "1.2.840.10008.5.1.4.1.1.88.1",  # Text SR (draft)
    "1.2.840.10008.5.1.4.1.1.88.2",  # Audio SR (draft)
    "1.2.840.10008.5.1.4.1.1.88.3",  # Detail SR (draft)
    "1.2.840.10008.5.1.4.1.1.88.4",  # Comprehensive SR (draft)
)

# Scanners keep an association open between patients.
IDLE_S: Final = 4 * 3600
MESSAGE_S: Final = 60
MAX_PDU: Final = 128 * 1024


class Listener:
    """Listens from construction on; the intake decides every status.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(self, dicom: DicomSettings, intake: Intake) -> None:
        self._intake = intake
        self._ae: Any = AE(ae_title=dicom.ae_title)
        self._ae.maximum_associations = dicom.max_associations
        self._ae.maximum_pdu_size = MAX_PDU
        self._ae.network_timeout = IDLE_S
        self._ae.acse_timeout = MESSAGE_S
        self._ae.dimse_timeout = MESSAGE_S
        for uid in (*(context.abstract_syntax for context in AllStoragePresentationContexts), *RETIRED):
            self._ae.add_supported_context(uid, TRANSFER_SYNTAXES)
        self._ae.add_supported_context(Verification)
        handlers = [
            (evt.EVT_CONN_OPEN, self._opened),
            (evt.EVT_CONN_CLOSE, self._closed),
            (evt.EVT_C_STORE, self._store),
        ]
        self._server: Any = self._ae.start_server(
            (dicom.host, dicom.port), block=False, evt_handlers=handlers
        )
        self.host, self.port = self._server.socket.getsockname()[:2]

    def stop_accepting(self) -> None:
        """Close the listening socket; associations go on."""
        self._server.shutdown()

    def close(self) -> None:
        """Abort the associations that are left."""
        for association in self._ae.active_associations:
            association.abort()

    @property
    def associations(self) -> int:
        """How many are open."""
        return len(self._ae.active_associations)

    def _opened(self, event: Any) -> None:
        _set_socket(event)
        self._intake.connection(Kind.OPENED, f"{event.address[0]}:{event.address[1]}")

    def _closed(self, event: Any) -> None:
        self._intake.connection(Kind.CLOSED, f"{event.address[0]}:{event.address[1]}")

    def _store(self, event: Any) -> int:
        request, requestor = event.request, event.assoc.requestor
        instance = Instance(
            sop_class_uid=str(request.AffectedSOPClassUID or ""),
            sop_instance_uid=str(request.AffectedSOPInstanceUID or ""),
            transfer_syntax=str(event.context.transfer_syntax),
            data_set=event.encoded_dataset(include_meta=False),
            calling=str(requestor.ae_title).strip(),
            called=str(requestor.primitive.called_ae_title).strip(),
            peer=f"{requestor.address}:{requestor.port}",
        )
        return self._intake.take(instance)


def _set_socket(event: Any) -> None:
    """Answers go out at once; a peer that vanished without a word is noticed by the kernel."""
    connection = event.assoc.dul.socket.socket
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
