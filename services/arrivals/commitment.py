"""Storage commitment (PS3.4 annex J): what Kafka holds whole is committed to, and nothing else.

Reports are held whole. Images are not: their pixel data was never kept, and whoever asks must not delete them.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from pydicom import Dataset

from dosestream.dose.arrival import STRUCTURED_REPORTS

log = logging.getLogger("dosestream.arrivals")

PUSH_MODEL: Final = "1.2.840.10008.1.20.1"
PUSH_MODEL_INSTANCE: Final = "1.2.840.10008.1.20.1.1"
REQUEST: Final = 1
ALL_COMMITTED, SOME_FAILED = 1, 2

# Failure Reason (0008,1197), PS3.3 C.14.1.1.
NO_SUCH_INSTANCE: Final = 0x0112
CLASS_INSTANCE_CONFLICT: Final = 0x0119
CLASS_NOT_SUPPORTED: Final = 0x0122


class Reference(NamedTuple):
    """One instance that is asked for."""

    sop_class_uid: str
    sop_instance_uid: str


def references(request: Dataset) -> list[Reference]:
    """The instances that a request names."""
    return [
        Reference(str(item.get("ReferencedSOPClassUID", "")), str(item.get("ReferencedSOPInstanceUID", "")))
        for item in request.get("ReferencedSOPSequence") or []
    ]


def failure(reference: Reference, held: str) -> int | None:
    """Why an instance is not committed to, None where it is; `held` is the SOP class under which Kafka has it."""
    if not reference.sop_class_uid.startswith(STRUCTURED_REPORTS):
        return CLASS_NOT_SUPPORTED
    if not held:
        return NO_SUCH_INSTANCE
    return None if held == reference.sop_class_uid else CLASS_INSTANCE_CONFLICT


def result(
    transaction_uid: str, asked: Iterable[Reference], held: Callable[[str], str]
) -> tuple[int, Dataset]:
    """Event type and event information of the answer.

    Args:
        transaction_uid: of the request.
        asked: the instances named.
        held: SOP Instance UID to the SOP class under which Kafka has it, empty where it has not.
    """
    committed, failed = [], []
    for reference in asked:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = reference
        reason = failure(reference, held(reference.sop_instance_uid))
        if reason is None:
            committed.append(item)
        else:
            item.FailureReason = reason
            failed.append(item)
    information = Dataset()
    information.TransactionUID = transaction_uid
    if committed:
        information.ReferencedSOPSequence = committed
    if failed:
        information.FailedSOPSequence = failed
    return (SOME_FAILED if failed else ALL_COMMITTED), information
