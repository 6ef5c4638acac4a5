"""Rejection notes: Key Object Selections that take instances back (IHE IOCM, RAD TF-3 4.66.4.1.2.1; PS3.16 CID 7011)."""

from typing import Final

from dosestream.dose.content import CONCEPT_NAME, code_of, items, leaf
from dosestream.dose.dataset import DataSet

KEY_OBJECT_SELECTION: Final = "1.2.840.10008.5.1.4.1.1.88.59"
# Document titles (DCM): rejected for quality, rejected for patient safety, incorrect worklist entry chosen,
# data retention period expired.
TITLES: Final = frozenset({"113001", "113037", "113038", "113039"})
# Current Requested Procedure Evidence, and Pertinent Other Evidence for instances of other requests.
EVIDENCE: Final = (0x0040A375, 0x0040A385)
REFERENCED_SERIES: Final = 0x00081115
REFERENCED_INSTANCES: Final = 0x00081199
REFERENCED_SOP_INSTANCE: Final = 0x00081155


def rejection(data_set: DataSet, sop_class: str) -> tuple[str, tuple[str, ...]]:
    """The title code of a rejection note and the SOP Instance UIDs it names; ("", ()) for anything else."""
    if sop_class != KEY_OBJECT_SELECTION:
        return "", ()
    title, scheme = next((code_of(item) for item in items(data_set, CONCEPT_NAME)), ("", ""))
    if scheme != "DCM" or title not in TITLES:
        return "", ()
    named = (
        leaf(instance, REFERENCED_SOP_INSTANCE)
        for sequence in EVIDENCE
        for study in items(data_set, sequence)
        for series in items(study, REFERENCED_SERIES)
        for instance in items(series, REFERENCED_INSTANCES)
    )
    return title, tuple(dict.fromkeys(filter(None, named)))
