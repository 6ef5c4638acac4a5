"""The results of storage commitment: N-EVENT-REPORT on the association of the request, or on one of our own."""

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

from pynetdicom import AE, build_context, build_role

from dosestream.settings import Settings, source_for_ae
from services.arrivals.commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE, Reference, result
from services.arrivals.intake import Intake

log = logging.getLogger("dosestream.arrivals")

# A new association is tried again after so long; after the last a sender asks again (PS3.4 J.3.3).
AGAIN_S: Final = (0.0, 5.0, 30.0)
TIMEOUT_S: Final = 10.0
# The answer to the request goes out before its result.
AFTER_ANSWER_S: Final = 0.05


class Reporter:
    """Sends each result from a thread of its own."""

    def __init__(self, settings: Settings, intake: Intake) -> None:
        self._settings = settings
        self._intake = intake
        self._closing = threading.Event()

    def close(self) -> None:
        """Try no more."""
        self._closing.set()

    def report(self, association: Any, context: Any, transaction: str, asked: Sequence[Reference]) -> None:
        """Tell the requestor of this association, soon, what Kafka holds."""
        calling = str(association.requestor.ae_title).strip()
        called = str(association.requestor.primitive.called_ae_title).strip()
        address = source_for_ae(self._settings, calling).commitment

        def run() -> None:
            event_type, information = result(transaction, asked, self._intake.known.held)
            if address:
                told = self._elsewhere(address, calling, called, event_type, information)
            else:
                told = self._here(association, context, event_type, information)
            if not told:
                log.warning("%s: the result of a storage commitment was not taken", calling)

        threading.Thread(target=run, name="storage-commitment", daemon=True).start()

    def _here(self, association: Any, context: Any, event_type: int, information: Any) -> bool:
        time.sleep(AFTER_ANSWER_S)
        try:
            status, _ = association.send_n_event_report(
                information, event_type, PUSH_MODEL, PUSH_MODEL_INSTANCE, meta_uid=None
            )
        except (RuntimeError, ValueError) as error:
            log.warning("%s", error)
            return False
        return bool(status.get("Status") == 0)

    def _elsewhere(self, address: str, calling: str, called: str, event_type: int, information: Any) -> bool:
        host, _, port = address.rpartition(":")
        ae: Any = AE(ae_title=called)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = TIMEOUT_S
        ae.requested_contexts = [build_context(PUSH_MODEL)]
        for wait in AGAIN_S:
            if self._closing.wait(wait):
                return False
            # The requestor of this association is the SCP (PS3.4 J.3.3, PS3.7 D.3.3.4).
            association = ae.associate(
                host,
                int(port),
                ae_title=calling,
                ext_neg=[build_role(PUSH_MODEL, scu_role=False, scp_role=True)],
            )
            if not association.is_established:
                continue
            try:
                status, _ = association.send_n_event_report(
                    information, event_type, PUSH_MODEL, PUSH_MODEL_INSTANCE
                )
            except (RuntimeError, ValueError) as error:
                log.warning("%s at %s: %s", calling, address, error)
                return False
            finally:
                association.release()
            if status.get("Status") == 0:
                return True
        return False
