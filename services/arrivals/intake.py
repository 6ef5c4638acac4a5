"""The way of one instance: drop its pixels, read it, store it raw, publish what it says, and only then answer.

Runs on the association's thread, which waits for Kafka; several associations go side by side.
"""

import logging
import threading
import time
from collections import Counter
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from dosestream.admission import PEER_NOT_ALLOWED, Admission, Peer, address_of
from dosestream.audit.trail import Kind, Trail, now
from dosestream.dose.arrival import STRUCTURED_REPORTS
from dosestream.dose.dataset import DataSetError
from dosestream.dose.part10 import header_only, join
from dosestream.events.identity import content_hash, event_id
from dosestream.events.receipt import ReceiptClock
from dosestream.events.records import RawMessage, Rejection
from dosestream.kafka.normalised_up_to import NormalisedUpTo
from dosestream.kafka.publisher import Position, Publication, Publisher, PublishError
from dosestream.repeats.store import repeat_key
from dosestream.repeats.waiting import WaitingRepeats
from dosestream.settings import Settings, SourceSettings, source_for_ae
from services.arrivals.publications import Publications

log = logging.getLogger("dosestream.arrivals")

# PS3.4 table B.2-1.
SUCCESS: Final = 0x0000
OUT_OF_RESOURCES: Final = 0xA700
# PS3.7 table C-1: refused, not authorised.
NOT_AUTHORISED: Final = 0x0124
CANNOT_UNDERSTAND: Final = 0xC000

# The contract's ten seconds, less what the answer needs to get out.
ANSWER_DEADLINE_S: Final = 9.0
# How long an instance waits for a broker that is away at the start.
OPEN_WAIT_S: Final = 4.5
# Of an instance over the cap so much is kept with its rejection.
KEPT_OF_TOO_LARGE: Final = 64 * 1024

NOWHERE: Final = Position(-1, -1)


@dataclass(slots=True)
class _Receipt:
    """What the audit trail says of an instance, as it becomes known."""

    source: str
    at: int
    content: str = ""
    position: Position = NOWHERE
    repeat: bool = False
    code: str = ""


@dataclass(frozen=True, slots=True)
class Instance:
    """A C-STORE request: `data_set` is encoded as received; `peer` is host:port."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax: str
    data_set: bytes
    calling: str
    called: str
    peer: str


class Intake:
    """Takes instances of all associations. `take` may be called from any thread."""

    def __init__(
        self,
        settings: Settings,
        publications: Publications,
        publisher: Publisher,
        marks: NormalisedUpTo,
        trail: Trail,
    ) -> None:
        self._settings = settings
        self._admission = Admission(settings)
        self._trail = trail
        self._publications = publications
        self._publisher = publisher
        self._marks = marks
        self._clock = ReceiptClock()
        # Known once the broker is.
        self.repeats: WaitingRepeats | None = None
        self._idle = threading.Condition()
        self._under_way = 0
        self._closing = False
        self.counts: Counter[str] = Counter()

    def take(self, instance: Instance) -> int:
        """Store one instance and return its DIMSE status; success means that Kafka has it."""
        with self._idle:
            if self._closing:
                return OUT_OF_RESOURCES
            self._under_way += 1
        source = source_for_ae(self._settings, instance.calling)
        receipt = _Receipt(source.name, self._clock.next(source.name))
        try:
            status = self._take(instance, source, receipt)
            self._audit(instance, receipt, status)
        finally:
            with self._idle:
                self._under_way -= 1
                self._idle.notify_all()
        with self._idle:
            self.counts[f"answered {status:04X}"] += 1
        return status

    def connection(self, kind: Kind, peer: str) -> None:
        """A peer, host:port, came or went."""
        self._trail.write(kind, now(), peer=peer, transport="dicom")

    def close(self, timeout_s: float) -> bool:
        """Take nothing more and wait for what is under way; whether all of it was answered."""
        with self._idle:
            self._closing = True
            return self._idle.wait_for(lambda: self._under_way == 0, timeout_s)

    def _audit(self, instance: Instance, receipt: _Receipt, status: int) -> None:
        self._trail.write(
            Kind.RECEIPT,
            receipt.at,
            receipt.source,
            instance.peer,
            transport="dicom",
            message_type=instance.sop_class_uid,
            control_id=instance.sop_instance_uid,
            content_hash=receipt.content,
            answer=f"{status:04X}",
            raw_partition=receipt.position.partition,
            raw_offset=receipt.position.offset,
            repeat=receipt.repeat,
            code=receipt.code or ("unavailable" if status == OUT_OF_RESOURCES else ""),
        )

    def _take(self, instance: Instance, source: SourceSettings, receipt: _Receipt) -> int:
        deadline = time.monotonic() + ANSWER_DEADLINE_S
        peer = Peer(instance.peer, address_of(instance.peer.rpartition(":")[0]), "dicom")
        if not self._admission.may_send(source, peer):
            receipt.code = PEER_NOT_ALLOWED
            log.warning("%s: refused: %s is in none of its peers", source.name, instance.peer)
            return NOT_AUTHORISED
        body = _body(instance)
        if not self._wait_open(deadline):
            return OUT_OF_RESOURCES
        assert self.repeats is not None
        at = receipt.at
        content = receipt.content = content_hash(body)
        key = repeat_key(source.name, content)
        try:
            if (answer := self.repeats.claim(key, at, deadline)) is not None:
                receipt.repeat = True
                return int(answer, 16)
        except TimeoutError as error:
            log.warning("%s %s: not stored: %s", source.name, instance.sop_instance_uid, error)
            return OUT_OF_RESOURCES
        raw = RawMessage(
            source=source.name,
            control_id=instance.sop_instance_uid,
            message_type=instance.sop_class_uid,
            received_at=at,
            transport="dicom",
            peer=instance.peer,
            called=instance.called,
            transfer_syntax=instance.transfer_syntax,
            content_hash=content,
            answer=f"{SUCCESS:04X}",
            body=body,
        )
        refused = SUCCESS if source.on_reject == "AA" else CANNOT_UNDERSTAND
        try:
            if len(body) > self._settings.kafka.max_message_bytes:
                receipt.code = "too_large"
                self._publish(self._publications.event(self._too_large(raw, refused)), deadline)
                self.repeats.fail(key, at)
                return refused
            status = self._store(raw, refused, deadline, receipt)
        except PublishError as error:
            log.warning("%s %s: not stored: %s", raw.source, raw.control_id, error)
            self.repeats.fail(key, at)
            return OUT_OF_RESOURCES
        self.repeats.end(key, at, f"{status:04X}")
        return status

    def _wait_open(self, deadline: float) -> bool:
        """Whether what is stored now is looked after until it has its event; the broker may just be coming."""
        until = min(deadline, time.monotonic() + OPEN_WAIT_S)
        while not (self._marks.is_open and self.repeats is not None):
            if time.monotonic() > until or self._closing:
                return False
            time.sleep(0.05)
        return True

    def _store(self, raw: RawMessage, refused: int, deadline: float, receipt: _Receipt) -> int:
        """Raw record first, then what it says. Raises PublishError."""
        # Read before it is stored: the key is the patient's, and the raw record says the answer.
        arrival = self._publications.read(raw, NOWHERE)
        status = SUCCESS
        if isinstance(arrival, Rejection):
            status = refused
            raw = replace(raw, answer=f"{status:04X}")
            arrival = replace(arrival, answer=raw.answer)
            receipt.code = arrival.code
            log.warning("%s %s: rejected: %s %s", raw.source, raw.control_id, arrival.code, arrival.location)
        begun = self._marks.begin()
        try:
            position = self._publish(self._publications.raw(raw, arrival, self._marks.instance), deadline)
            receipt.position = position
            arrival = replace(arrival, raw_partition=position.partition, raw_offset=position.offset)
            self._publish(self._publications.event(arrival), deadline)
        except BaseException:
            self._marks.failed(begun, raw.content_hash)
            raise
        self._marks.finished(begun)
        return status

    def _publish(self, record: Publication, deadline: float) -> Position:
        """Publish and wait until the deadline. Raises PublishError."""
        future: Future[Position | PublishError] = Future()
        self._publisher.publish(*record, future.set_result)
        try:
            result = future.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            raise PublishError(f"{record.topic}: no answer from the broker in time", retriable=True) from None
        if isinstance(result, PublishError):
            raise result
        return result

    def _too_large(self, raw: RawMessage, status: int) -> Rejection:
        cap = self._settings.kafka.max_message_bytes
        return Rejection(
            event_id=event_id(f"{raw.source}\0too_large", raw.body, 0),
            source=raw.source,
            control_id=raw.control_id,
            received_at=raw.received_at,
            message_type=raw.message_type,
            transport=raw.transport,
            peer=raw.peer,
            code="too_large",
            reason=f"{len(raw.body)} bytes without pixel data, and the cap is {cap}: "
            f"only the first {KEPT_OF_TOO_LARGE} are kept here; raise kafka.max_message_bytes and send it again",
            answer=f"{status:04X}",
            body=raw.body[:KEPT_OF_TOO_LARGE],
        )


def _body(instance: Instance) -> bytes:
    """The instance as a DICOM file: a report whole, anything else without pixel data."""
    data_set = instance.data_set
    if not instance.sop_class_uid.startswith(STRUCTURED_REPORTS):
        # What cannot be read is kept as it came: the rejection says what is wrong with it.
        with suppress(DataSetError):
            data_set = header_only(data_set, instance.transfer_syntax)
    return join(instance.sop_class_uid, instance.sop_instance_uid, instance.transfer_syntax, data_set)
