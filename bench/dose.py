"""Dose extraction against reading the same bytes with pydicom: `python bench/dose.py`.

Reports a second, and the time of ours (bytes to event) over that of `dcmread` and touching every element: a bare
`dcmread` leaves sequences unread. Process CPU time, the best of some rounds taken in turn, so that what else
runs on the machine counts little.
"""

import copy
import io
import time
import warnings
from collections.abc import Callable

import pydicom
from pydicom import Dataset

from dosestream.dose.arrival import study_event
from dosestream.events.codec import Codec
from dosestream.events.records import RawMessage, Study
from dosestream.settings import Settings
from dosestream.simulate.sr_catalogue import planned
from dosestream.simulate.sr_reports import draw

AT = 1_772_438_400_000_000
EVENT = "113706"
# What the simplest systems tell of an event: plane, UID, start, type, area product, dose, voltage.
SIMPLE = frozenset(("113764", "113769", "111526", "113721", "122130", "113738", "113733"))
LARGE = 350_000
ROUNDS = 7


def grown(body: bytes, kept: frozenset[str] = frozenset()) -> bytes:
    """A projection report whose events are repeated, each with a UID of its own, until it is as large as those of a
    long intervention; of each event only the items `kept`, or all."""
    data_set = pydicom.dcmread(io.BytesIO(body))
    events = [item for item in data_set.ContentSequence if _code(item) == EVENT]
    if kept:
        for event in events:
            event.ContentSequence = [item for item in event.ContentSequence if _code(item) in kept]
    without = len(_written(data_set))
    data_set.ContentSequence.extend(copy.deepcopy(events))
    size = (len(_written(data_set)) - without) / len(events)
    for number in range(int((LARGE - without) / size) - len(events)):
        data_set.ContentSequence.append(copy.deepcopy(events[number % len(events)]))
    repeated = [item for item in data_set.ContentSequence if _code(item) == EVENT]
    for number, event in enumerate(repeated, start=1):
        for item in event.ContentSequence:
            if _code(item) == "113769":
                item.UID = f"2.25.{number}"
    return _written(data_set)


def _written(data_set: Dataset) -> bytes:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, data_set)
    return buffer.getvalue()


def _code(item: Dataset) -> str:
    names = item.get("ConceptNameCodeSequence")
    return str(names[0].get("CodeValue", "")) if names else ""


def ours(body: bytes) -> Study:
    """The event of a stored report."""
    raw = RawMessage(
        source="ROOM1",
        control_id="1",
        message_type="",
        received_at=1,
        transport="dicom",
        content_hash="",
        body=body,
    )
    event = study_event(raw, 0, 0, Settings())
    assert isinstance(event, Study), event
    return event


def walked(body: bytes) -> int:
    """pydicom's reading of every element; how many there are."""
    return sum(1 for element in pydicom.dcmread(io.BytesIO(body)).iterall() if element.value is not None)


def seconds(step: Callable[[bytes], object], body: bytes) -> float:
    started = time.process_time()
    step(body)
    return time.process_time() - started


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    codec = Codec()
    small = planned("ct", draw("bench/ct", AT)).body()
    fluoroscopy = planned("fluoroscopy", draw("bench/fluoroscopy", AT)).body()
    reports = {
        "small CT": small,
        "fluoroscopy": grown(fluoroscopy),
        "fluoroscopy, few items": grown(fluoroscopy, SIMPLE),
    }
    print(f"{'report':24}{'bytes':>9}{'events':>8}{'reports/s':>11}{'ratio':>8}{'event bytes':>13}")
    for name, body in reports.items():
        mine, theirs = float("inf"), float("inf")
        for _ in range(ROUNDS):
            mine = min(mine, seconds(ours, body))
            theirs = min(theirs, seconds(walked, body))
        event = ours(body)
        assert event.dose is not None
        encoded = len(codec.encode(event))
        print(
            f"{name:24}{len(body):9}{len(event.dose.events):8}{1 / mine:11.0f}{mine / theirs:8.3f}{encoded:13}"
        )


if __name__ == "__main__":
    main()
