"""The DICOM listener: SCP of storage (PS3.4 annex B), verification, performed procedure steps (F), storage
commitment (J) and instance availability notification (R)."""

import hashlib
import logging
import threading
from io import BytesIO
from typing import Any, Final

import pydicom
from pydicom import Dataset
from pydicom.filereader import read_dataset
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, _config, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined, unused-ignore]

from dosestream.association import closed, opened
from dosestream.audit.trail import Kind
from dosestream.dose.part10 import encoding_of
from dosestream.dose.step_header import INSTANCE_AVAILABILITY, PERFORMED_STEP
from dosestream.settings import Settings
from dosestream.tls import Certificates
from services.arrivals.admission import rejection
from services.arrivals.commitment import PUSH_MODEL, REQUEST, references
from services.arrivals.intake import Instance, Intake
from services.arrivals.reception import MAX_PDU, STALLED_S, Reception, bounded
from services.arrivals.reporter import Reporter
from services.arrivals.server import ASSOCIATION_REJECTED, Server, SharedContexts
from services.arrivals.steps import CREATE, NO_LONGER_UPDATED, PROCESSING_FAILURE, SET, SUCCESS

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

# What is no storage: data sets, never deflated.
NORMALISED: Final = (PERFORMED_STEP, INSTANCE_AVAILABILITY, PUSH_MODEL)

# Scanners keep an association open between patients.
IDLE_S: Final = 4 * 3600
MESSAGE_S: Final = 60
# A connection that does not ask for an association.
REQUEST_S: Final = 30
LOOK_S: Final = 1.0

# PS3.7 annex C.
NO_SUCH_ACTION: Final = 0x0123
INVALID_ARGUMENT: Final = 0x0115


class Listener:
    """Listens from construction on; the intake decides every status.

    Args:
        settings: `dicom` and the sources.
        intake: takes what comes.
        certificates: of the listener over TLS; None where there is none.
        stalled_s: how long a message that was begun may rest.

    Raises:
        OSError: an address cannot be bound.
    """

    def __init__(
        self,
        settings: Settings,
        intake: Intake,
        certificates: Certificates | None = None,
        stalled_s: float = STALLED_S,
    ) -> None:
        self._settings = settings
        self._intake = intake
        self._stalled_s = stalled_s
        self._reporter = Reporter(settings, intake)
        dicom = settings.dicom
        self._ae: Any = AE(ae_title=dicom.ae_title)
        self._ae.maximum_associations = dicom.max_associations
        self._ae.maximum_pdu_size = MAX_PDU
        self._ae.network_timeout = IDLE_S
        self._ae.acse_timeout = REQUEST_S
        self._ae.dimse_timeout = MESSAGE_S
        for uid in (*(context.abstract_syntax for context in AllStoragePresentationContexts), *RETIRED):
            self._ae.add_supported_context(uid, TRANSFER_SYNTAXES)
        for uid in NORMALISED:
            self._ae.add_supported_context(uid, [one for one in PLAIN if not one.endswith(".99")])
        self._ae.add_supported_context(Verification)
        self._closing = threading.Event()
        self._servers = [self._serve(dicom.host, dicom.port, None)]
        self.host, self.port = self._servers[0].socket.getsockname()[:2]
        self.tls_port: int | None = None
        if certificates is not None:
            host, port = dicom.tls.host or dicom.host, dicom.tls.port
            try:
                self._servers.append(self._serve(host, port, lambda: certificates.loaded.context))
            except OSError:
                self.stop_accepting()
                raise
            self.tls_port = self._servers[1].socket.getsockname()[1]
        threading.Thread(target=self._look, name="stalled-associations", daemon=True).start()

    def stop_accepting(self) -> None:
        """Close the listening sockets; associations go on."""
        for server in self._servers:
            server.shutdown()
        self._servers = []

    def close(self) -> None:
        """Abort the associations that are left."""
        self._closing.set()
        self._reporter.close()
        for association in self._ae.active_associations:
            association.abort()

    @property
    def is_open(self) -> bool:
        """Whether associations are accepted."""
        return bool(self._servers)

    @property
    def associations(self) -> int:
        """How many are open."""
        return len(self._ae.active_associations)

    def _serve(self, host: str, port: int, tls: Any) -> Any:
        handlers = [
            (evt.EVT_CONN_OPEN, self._opened),
            (evt.EVT_CONN_CLOSE, self._closed),
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_N_CREATE, self._create),
            (evt.EVT_N_SET, self._set),
            (evt.EVT_N_ACTION, self._action),
        ]
        server: Any = self._ae.make_server((host, port), evt_handlers=handlers, server_class=Server)
        server.settings, server.tls, server.refused = self._settings, tls, self._refused
        server.contexts = SharedContexts(server.contexts)
        self._ae._servers.append(server)
        threading.Thread(target=server.serve_forever, name=f"dicom-{port}", daemon=True).start()
        return server

    def _opened(self, event: Any) -> None:
        opened(event)
        association = event.assoc
        connection = association.dul.socket.socket
        association.dul.socket.recv = bounded(connection, self._stalled_s)
        cap = self._settings.kafka.max_message_bytes
        association.dimse = Reception(association, cap, self._stalled_s)
        self._intake.connection(Kind.OPENED, f"{event.address[0]}:{event.address[1]}")

    def _closed(self, event: Any) -> None:
        closed(event)
        self._intake.connection(Kind.CLOSED, f"{event.address[0]}:{event.address[1]}")

    def _refused(self, host: str, code: str, detail: str = "") -> None:
        self._intake.connection(Kind.REFUSED, host, code, detail)

    def _requested(self, event: Any) -> None:
        """Reject who may not associate (PS3.8 9.3.4)."""
        association = event.assoc
        request, address = association.requestor.primitive, association.requestor.address
        calling, called = str(request.calling_ae_title).strip(), str(request.called_ae_title).strip()
        reject = rejection(self._settings, calling, called, address)
        if reject is not None:
            log.warning("%s from %s: association rejected: %s", calling, address, reject.why)
            self._refused(address, ASSOCIATION_REJECTED, reject.why)
            association.acse.send_reject(reject.result, reject.source, reject.reason)
            association.is_rejected = True
            association.kill()

    def _look(self) -> None:
        """Abort associations that began a message and do not go on: they hold a place that others need."""
        while not self._closing.wait(min(LOOK_S, self._stalled_s)):
            for association in self._ae.active_associations:
                if isinstance(association.dimse, Reception) and association.dimse.is_stalled:
                    log.warning(
                        "%s: a message was begun and not finished: association aborted",
                        association.requestor.address,
                    )
                    association.abort()

    def _store(self, event: Any) -> int:
        request = event.request
        return self._take(event, request.AffectedSOPClassUID, request.AffectedSOPInstanceUID, request.DataSet)

    def _create(self, event: Any) -> tuple[Any, Dataset | None]:
        """N-CREATE of a performed step or of an availability notification."""
        request = event.request
        uid, made = request.AffectedSOPInstanceUID, None
        if not uid:
            # The SCP names it (PS3.7 10.1.5.1.4): from its content, so that a repeat gets the same.
            kept = request.AttributeList.stream.data_set() if request.AttributeList else b""
            uid = f"2.25.{int.from_bytes(hashlib.sha256(kept).digest()[:16])}"
            made = Dataset()
            made.AffectedSOPInstanceUID = uid
        status = self._take(event, request.AffectedSOPClassUID, uid, request.AttributeList, CREATE)
        return status, made

    def _set(self, event: Any) -> tuple[Any, Dataset | None]:
        """N-SET of a performed step."""
        request = event.request
        status = self._take(
            event,
            request.RequestedSOPClassUID,
            request.RequestedSOPInstanceUID,
            request.ModificationList,
            SET,
        )
        if status != PROCESSING_FAILURE:
            return status, None
        answer = Dataset()
        answer.Status, answer.ErrorID = status, NO_LONGER_UPDATED
        answer.ErrorComment = "Performed Procedure Step Object may no longer be updated"
        return answer, None

    def _action(self, event: Any) -> tuple[int, Dataset | None]:
        """N-ACTION of storage commitment: taken; the result follows by N-EVENT-REPORT."""
        if event.request.ActionTypeID != REQUEST:
            return NO_SUCH_ACTION, None
        stream, encoding = event.request.ActionInformation, encoding_of(event.context.transfer_syntax)
        try:
            asked = read_dataset(
                BytesIO(stream.stream.data_set()),
                not encoding.explicit,
                not encoding.big_endian,
            )
            transaction, named = str(asked.TransactionUID), references(asked)
        except Exception as error:  # pydicom raises whatever the bytes make it raise
            log.warning("a storage commitment request cannot be read: %s", type(error).__name__)
            return INVALID_ARGUMENT, None
        self._reporter.report(event.assoc, event.context, transaction, named)
        return SUCCESS, None

    def _take(self, event: Any, sop_class: Any, uid: Any, data_set: Any, command: str = "") -> int:
        requestor = event.assoc.requestor
        stream = getattr(data_set, "stream", None)
        return self._intake.take(
            Instance(
                sop_class_uid=str(sop_class or ""),
                sop_instance_uid=str(uid or ""),
                transfer_syntax=str(event.context.transfer_syntax),
                data_set=stream.data_set() if stream is not None else b"",
                calling=str(requestor.ae_title).strip(),
                called=str(requestor.primitive.called_ae_title).strip(),
                peer=f"{requestor.address}:{requestor.port}",
                command=command,
                over_cap=stream is not None and stream.over_cap,
            )
        )
