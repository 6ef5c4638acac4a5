"""Modality Performed Procedure Steps (PS3.4 annex F, PS3.3 C.4.13 to C.4.16) and Instance Availability
Notifications (PS3.4 annex R), as a header that is read like that of a stored instance."""

from typing import Final

from dosestream.dose.content import items, leaf
from dosestream.dose.dataset import DataSet

PERFORMED_STEP: Final = "1.2.840.10008.3.1.2.3.3"
INSTANCE_AVAILABILITY: Final = "1.2.840.10008.5.1.4.33"

STATUS: Final = 0x00400252
IN_PROGRESS, COMPLETED, DISCONTINUED = "IN PROGRESS", "COMPLETED", "DISCONTINUED"
SCHEDULED_STEPS: Final = 0x00400270
REQUEST_ATTRIBUTES: Final = 0x00400275
AVAILABILITY: Final = 0x00080056
REFERENCED_SERIES: Final = 0x00081115
REFERENCED_INSTANCES: Final = 0x00081199

# Where a stored instance has it, and where a performed step does; the first that is there.
PLACES: Final[dict[int, tuple[int, ...]]] = {
    0x00080020: (0x00400244,),  # Study Date: start
    0x00080030: (0x00400245,),
    0x00080023: (0x00400250, 0x00400244),  # Content Date: end, else start
    0x00080033: (0x00400251, 0x00400245),
    0x00081010: (0x00400242, 0x00400241),  # Station Name: performed station name, else AE title
    0x00081030: (0x00400254,),  # Study Description
}
# The same within the first scheduled step.
OF_SCHEDULED_STEP: Final = (0x0020000D, 0x00080050, 0x00080051)


def status_of(data_set: DataSet) -> str:
    """Performed Procedure Step Status, empty where it is not set."""
    return leaf(data_set, STATUS).strip().upper()


def as_header(data_set: DataSet) -> DataSet:
    """The attributes of a performed step where a stored instance has them."""
    header = dict(data_set)
    for tag, places in PLACES.items():
        found = next((place for place in places if leaf(data_set, place)), None)
        if found is not None and not leaf(data_set, tag):
            header[tag] = data_set[found]
    scheduled = list(items(data_set, SCHEDULED_STEPS))
    for tag in OF_SCHEDULED_STEP:
        for step in scheduled[:1]:
            if tag in step:
                header.setdefault(tag, step[tag])
    if scheduled:
        header[REQUEST_ATTRIBUTES] = scheduled
    return header


def availability_of(data_set: DataSet) -> str:
    """ONLINE, NEARLINE, OFFLINE or UNAVAILABLE, of the first instance that a notification names; else empty."""
    for series in items(data_set, REFERENCED_SERIES):
        for instance in items(series, REFERENCED_INSTANCES):
            return leaf(instance, AVAILABILITY).strip().upper()
    return ""
