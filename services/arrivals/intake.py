"""The way of one instance: read it, store it raw, publish what it says, and only then answer.

Runs on the association's thread, which waits for Kafka; several associations go side by side. Messages about
performed procedure steps go the same way, one after the other, since each depends on the one before.
"""

import logging
import threading
import time
from collections import Counter
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from dosestream.admission import PEER_NOT_ALLOWED, Admission, Peer, address_of
from dosestream.audit.trail import Kind, Trail, now
from dosestream.dose.part10 import join
from dosestream.dose.step_header import PERFORMED_STEP
from dosestream.events.identity import content_hash
from dosestream.events.receipt import ReceiptClock
from dosestream.events.records import RawMessage, Rejection, Study
from dosestream.kafka.normalised_up_to import NormalisedUpTo
from dosestream.kafka.publisher import Position, Publication, Publisher, PublishError
from dosestream.metrics.heard import Heard, Key
from dosestream.repeats.store import repeat_key
from dosestream.repeats.waiting import WaitingRepeats
from dosestream.settings import Settings, SourceSettings, source_for_ae
from services.arrivals.known import Known
from services.arrivals.publications import Arrival, Publications, refusal, rejection_of
from services.arrivals.steps import INVALID_VALUE, Ruling, ruling

log = logging.getLogger("dosestream.arrivals")

SUCCESS: Final = 0x0000
# PS3.7 annex C: refused, not authorised.
NOT_AUTHORISED: Final = 0x0124


class Statuses(NamedTuple):
    """How a service says that it cannot store now, and that it will not."""

    out_of_resources: int
    refused: int


# PS3.4 table B.2-1; PS3.7 annex C.
STORE: Final = Statuses(0xA700, 0xC000)
NORMALISED: Final = Statuses(0x0213, INVALID_VALUE)

# The contract's ten seconds, less what the answer needs to get out.
ANSWER_DEADLINE_S: Final = 9.0
# How long an instance waits for a broker that is away at the start.
OPEN_WAIT_S: Final = 4.5
# Of an instance over the cap so much is kept with its rejection.
KEPT_OF_TOO_LARGE: Final = 64 * 1024

NOWHERE: Final = Position(-1, -1)
# Kinds of which Kafka holds every byte.
WHOLE: Final = frozenset({"dose_report", "structured_report", "rejection_note"})


@dataclass(frozen=True, slots=True)
class Instance:
    """A request to store: `data_set` is encoded as received, without pixel data; `peer` is host:port.

    `command` is N-CREATE or N-SET, empty for what is stored as it is. `over_cap` says that `data_set` is only the
    beginning; `fetched` that it came through a feed of ours, whose place the configuration names.
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax: str
    data_set: bytes
    calling: str
    called: str
    peer: str
    command: str = ""
    over_cap: bool = False
    fetched: bool = False

    @property
    def message_type(self) -> str:
        return f"{self.sop_class_uid}^{self.command}" if self.command else self.sop_class_uid

    @property
    def statuses(self) -> Statuses:
        return NORMALISED if self.command else STORE


@dataclass(slots=True)
class _Receipt:
    """What the audit trail says of an instance, as it becomes known."""

    source: str
    at: int
    content: str = ""
    position: Position = NOWHERE
    repeat: bool = False
    code: str = ""


class _Answered(NamedTuple):
    """What came of an instance: its arrival, and the status of its answer."""

    arrival: Arrival
    status: int


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
        self.known = Known(None)
        self._steps = threading.Lock()
        self._idle = threading.Condition()
        self._under_way = 0
        self._closing = False
        self.counts: Counter[str] = Counter()
        self.heard = Heard()

    def take(self, instance: Instance) -> int:
        """Store one instance and return its DIMSE status; success means that Kafka has it."""
        with self._idle:
            if self._closing:
                return instance.statuses.out_of_resources
            self._under_way += 1
        begun = time.monotonic()
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
            self.heard.add(source.name, instance.message_type, f"{status:04X}", time.monotonic() - begun)
        return status

    def read(self) -> tuple[dict[Key, int], int]:
        """Answers by source, SOP class and status, and how many are under way."""
        with self._idle:
            return dict(self.heard.counts), self._under_way

    @property
    def is_open(self) -> bool:
        """Whether what is stored now is looked after until it has its event."""
        return self._marks.is_open and self.repeats is not None

    def connection(self, kind: Kind, peer: str, code: str = "", detail: str = "") -> None:
        """A peer, host:port, came or went; or a host was refused, with its reason as `code` and `detail`."""
        self._trail.write(kind, now(), peer=peer, transport="dicom", code=code, detail=detail)

    def close(self, timeout_s: float) -> bool:
        """Take nothing more and wait for what is under way; whether all of it was answered."""
        with self._idle:
            self._closing = True
            return self._idle.wait_for(lambda: self._under_way == 0, timeout_s)

    def _audit(self, instance: Instance, receipt: _Receipt, status: int) -> None:
        away = status == instance.statuses.out_of_resources
        self._trail.write(
            Kind.RECEIPT,
            receipt.at,
            receipt.source,
            instance.peer,
            transport="dicom",
            message_type=instance.message_type,
            control_id=instance.sop_instance_uid,
            content_hash=receipt.content,
            answer=f"{status:04X}",
            raw_partition=receipt.position.partition,
            raw_offset=receipt.position.offset,
            repeat=receipt.repeat,
            code=receipt.code or ("unavailable" if away else ""),
        )

    def _take(self, instance: Instance, source: SourceSettings, receipt: _Receipt) -> int:
        deadline = time.monotonic() + ANSWER_DEADLINE_S
        peer = Peer(instance.peer, address_of(instance.peer.rpartition(":")[0]), "dicom")
        if not (instance.fetched or self._admission.may_send(source, peer)):
            receipt.code = PEER_NOT_ALLOWED
            log.warning("%s: refused: %s is in none of its peers", source.name, instance.peer)
            return NOT_AUTHORISED
        if instance.sop_class_uid != PERFORMED_STEP:
            return self._take_in_turn(instance, source, receipt, deadline)
        if not self._steps.acquire(timeout=ANSWER_DEADLINE_S):
            return instance.statuses.out_of_resources
        try:
            # Messages about steps are received in the order in which they count.
            receipt.at = self._clock.next(source.name)
            return self._take_in_turn(instance, source, receipt, deadline)
        finally:
            self._steps.release()

    def _take_in_turn(
        self, instance: Instance, source: SourceSettings, receipt: _Receipt, deadline: float
    ) -> int:
        body = join(
            instance.sop_class_uid, instance.sop_instance_uid, instance.transfer_syntax, instance.data_set
        )
        if not self._wait_open(deadline):
            return instance.statuses.out_of_resources
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
            return instance.statuses.out_of_resources
        raw = RawMessage(
            source=source.name,
            control_id=instance.sop_instance_uid,
            message_type=instance.message_type,
            received_at=at,
            transport="dicom",
            peer=instance.peer,
            called=instance.called,
            transfer_syntax=instance.transfer_syntax,
            content_hash=content,
            answer=f"{SUCCESS:04X}",
            body=body,
        )
        refused = SUCCESS if source.on_reject == "AA" else instance.statuses.refused
        try:
            if instance.over_cap or len(body) > self._settings.kafka.max_message_bytes:
                receipt.code = "too_large"
                self._publish(self._publications.event(self._too_large(raw, refused)), deadline)
                self.repeats.fail(key, at)
                return refused
            done = self._store(raw, instance, refused, deadline, receipt)
        except PublishError as error:
            log.warning("%s %s: not stored: %s", raw.source, raw.control_id, error)
            self.repeats.fail(key, at)
            return instance.statuses.out_of_resources
        if isinstance(done.arrival, Study) and done.arrival.kind in WHOLE:
            self.known.hold(instance.sop_instance_uid, instance.sop_class_uid, at)
        self.repeats.end(key, at, f"{done.status:04X}")
        return done.status

    def _wait_open(self, deadline: float) -> bool:
        """Whether what is stored now is looked after until it has its event; the broker may just be coming."""
        until = min(deadline, time.monotonic() + OPEN_WAIT_S)
        while not self.is_open:
            if time.monotonic() > until or self._closing:
                return False
            time.sleep(0.05)
        return True

    def _store(
        self, raw: RawMessage, instance: Instance, refused: int, deadline: float, receipt: _Receipt
    ) -> _Answered:
        """Raw record first, then what it says. Raises PublishError."""
        # Read before it is stored: the key is the patient's, and the raw record says the answer.
        arrival = self._publications.read(raw, NOWHERE)
        status = SUCCESS
        step: Ruling | None = None
        if isinstance(arrival, Study) and arrival.kind == "performed_step":
            step = ruling(self.known.state(raw.control_id), instance.command, arrival.step_status)
            status = SUCCESS if refused == SUCCESS else step.status
            if not step.counts:
                arrival = refusal(raw, step)
        elif isinstance(arrival, Rejection):
            status = refused
        raw = replace(raw, answer=f"{status:04X}")
        if isinstance(arrival, Rejection):
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
        if step is not None and step.state:
            self.known.set_state(raw.control_id, step.state, raw.received_at)
        return _Answered(arrival, status)

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
        reason = (
            f"more than {cap} bytes without pixel data: "
            f"only the first {KEPT_OF_TOO_LARGE} are kept here; raise kafka.max_message_bytes and send it again"
        )
        rejection = rejection_of(raw, "too_large", reason)
        return replace(rejection, answer=f"{status:04X}", body=raw.body[:KEPT_OF_TOO_LARGE])
