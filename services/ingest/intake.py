"""The way of one message: read it, store it raw, publish what it says, and only then answer.

Everything runs on the event loop, Kafka's answers too.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from dosestream.admission import Admission, Peer
from dosestream.admission import refusal as not_allowed
from dosestream.events.codec import NotRegisteredError
from dosestream.events.identity import content_hash
from dosestream.events.receipt import ReceiptClock
from dosestream.events.records import RawMessage
from dosestream.hl7.acceptance import TOO_LARGE, UNAVAILABLE, Refusal, Severity
from dosestream.hl7.acknowledgement import acknowledge, codes
from dosestream.hl7.framing import FramingError
from dosestream.hl7.header import Header, read_header
from dosestream.kafka.loop_publisher import LoopPublisher
from dosestream.kafka.normalised_up_to import NormalisedUpTo
from dosestream.kafka.publisher import Position, PublishError
from dosestream.kafka.topics import Topic
from dosestream.mapping.normalise import Interpretation, interpret, rejected, unread
from dosestream.metrics.heard import Heard
from dosestream.repeats.store import repeat_key
from dosestream.repeats.turns import Repeats
from dosestream.settings import Settings, SourceSettings, source_for_hl7
from services.ingest.audit import NOWHERE, Audit
from services.ingest.control_ids import ControlIds
from services.ingest.limits import STOPPED
from services.ingest.publications import Publications, Unplaced, raw_message
from services.ingest.watch import Watch

log = logging.getLogger("dosestream.ingest")

# The answers to one message, unframed, in order (none where the sender asked for none), and whether what it
# sent is stored; returns whether this is what the sender hears, False where it was refused before for lateness.
Answer = Callable[[list[bytes], bool], bool]
Result = Position | PublishError

FRAMING_REFUSALS: dict[str, Refusal] = {
    "too_large": TOO_LARGE,
    "junk": Refusal("junk", 100, "Bytes came outside an MLLP frame."),
    "frame_restart": Refusal("frame_restart", 100, "A start byte came inside a frame."),
    "truncated": Refusal("truncated", 100, "The connection ended inside a frame."),
    "batch_count": Refusal("batch_count", 100, "A batch trailer counts other messages than came."),
    "frame_timeout": Refusal("frame_timeout", 100, "The frame was not complete in time."),
}


# What events are counted as.
EVENTS = {topic: f"events {topic}" for topic in Topic}

# What follows a raw record is made while that is under way, unless it is so large that it would be held for long.
PREPARED_BYTES = 1 << 16

# A message that comes while the broker is not there yet is tried so often, for so long.
HOLD_S = 0.25
OPEN_WAIT_S = 4.5

# What a repeat hears whose first was refused, where the settings would take it now.
AS_BEFORE = {
    severity: Refusal(
        "as_before",
        207,
        "The message was refused when it was first heard; send it with a new control id to be taken now.",
        severity=severity,
    )
    for severity in Severity
}

# Refusals of the message itself, whatever `on_reject` says: the sender must send it otherwise.
ALWAYS_TOLD = frozenset({"charset", "no_control_id"})


class Answers(NamedTuple):
    """The codes that are due for a message, and an acknowledgement with each, unframed."""

    codes: tuple[str, ...]
    bodies: list[bytes]


def answers_of(header: Header | None, refusal: Refusal | None, at: int) -> Answers:
    """What a sender hears of a message received at `at` (microseconds)."""
    due = codes(header, refusal)
    return Answers(due, [acknowledge(header, code, refusal, at) for code in due])


class Receipt:
    """One message on its way from the wire to its answer."""

    __slots__ = (
        *("_answer", "_failure", "_intake", "_left"),
        *("answers", "at", "begun", "body", "content", "found", "key", "peer", "position", "prepared", "raw"),
        *("refusal", "refused", "since"),
    )

    def __init__(
        self,
        intake: "Intake",
        found: Interpretation,
        body: bytes,
        peer: Peer,
        answer: Answer,
        at: int,
        refused: str,
    ) -> None:
        self._intake = intake
        self._answer = answer
        self.body = body
        self.peer = peer
        self.content = content_hash(body)
        # What a stranger sends does not decide what the source hears that sends the same.
        self.key = repeat_key(
            f"{found.source.name}\0{refused}" if refused else found.source.name, self.content
        )
        self.refused = refused
        self.position = NOWHERE
        self.begun = 0
        self._left = 0
        self._failure: PublishError | None = None
        self.found = found
        self.at = at
        self.since = time.monotonic()
        self.raw: RawMessage | None = None
        self.refusal: Refusal | None = None
        self.prepared: list[Unplaced] | None = None
        self.answers: Answers | None = None

    def prepare(self) -> None:
        """While the raw record is under way, make what is to follow it: nobody waits for that then."""
        assert self.raw is not None
        if self.position is NOWHERE:
            self.prepared = self._intake.publications.prepared(self.found, self.raw)
            self.answers = answers_of(self.found.header, self.refusal, self.at)

    def tell(self, refusal: Refusal | None, *, repeat: bool = False) -> None:
        """Answer, and put it on the audit trail."""
        intake, found = self._intake, self.found
        source, kind = found.source.name, found.message_type
        made = self.answers if refusal is self.refusal else None
        answer = intake.tell(found.header, self._answer, self.at, refusal, made)
        intake.heard.add(source, kind, answer, time.monotonic() - self.since)
        intake.audit.receipt(
            source,
            kind,
            found.control_id,
            self.peer,
            self.content,
            self.at,
            answer,
            refusal or found.refusal,
            self.position,
            repeat=repeat,
        )

    def new(self) -> None:
        """It is no repeat."""
        self._intake.begin(self)

    def again(self, answer: str | None) -> None:
        """It was heard before and got this answer; None where it could not be stored."""
        self._intake.repeated(self, answer)

    def stored(self, result: Result) -> None:
        """The raw record has its position, or an error."""
        intake = self._intake
        assert self.raw is not None
        if isinstance(result, PublishError):
            intake.failed(self, result)
            return
        self.position = result
        records = intake.publications.normalised(self.found, self.raw, result, self.prepared)
        self._left = len(records)
        if not records:
            self._finished()
        for record in records:
            intake.publisher.publish(record, self.published)

    def published(self, result: Result) -> None:
        """One of the records made from it has its position, or an error."""
        self._left -= 1
        if isinstance(result, PublishError):
            self._failure = result
        if not self._left:
            self._finished()

    def _finished(self) -> None:
        if self._failure is not None:
            self._intake.failed(self, self._failure)
        else:
            self._intake.done(self)


class Intake:
    """Takes messages and framing errors of all connections.

    Attributes:
        under_way: messages between receipt and answer.
        bytes_under_way: their bytes.
        counts: what happened, for a person.
        heard: the same by source, type and answer, with how long the answers took.
    """

    def __init__(
        self,
        settings: Settings,
        publications: Publications,
        publisher: LoopPublisher,
        marks: NormalisedUpTo,
        loop: asyncio.AbstractEventLoop,
        clock: ReceiptClock,
        audit: Audit,
    ) -> None:
        self._settings = settings
        self.admission = Admission(settings)
        self.audit = audit
        self._clock = clock
        self._loop = loop
        # Known once the broker is.
        self.repeats: Repeats | None = None
        self._control_ids = ControlIds()
        self.watch = Watch(settings, loop)
        self.publications = publications
        self.publisher = publisher
        self.marks = marks
        self.under_way = 0
        self.bytes_under_way = 0
        self.counts: Counter[str] = Counter()
        self.heard = Heard()
        self._preparing: list[Receipt] = []

    def take(self, body: bytes, peer: Peer, answer: Answer) -> None:
        """One message, unframed. `answer` is called exactly once, from the event loop."""
        if not self.is_open:
            self._hold(body, peer, answer, time.monotonic() + OPEN_WAIT_S)
            return
        assert self.repeats is not None
        found = interpret(body, self._settings, self._source_of(peer, body))
        now = self._clock.next(found.source.name)
        refused = ""
        if not self.admission.may_send(found.source, peer):
            refusal = not_allowed(found.source.name)
            found, refused = unread(found.header, found.source, refusal), refusal.code
        receipt = Receipt(self, found, body, peer, answer, now, refused)
        self.under_way += 1
        self.bytes_under_way += len(body)
        self.repeats.hear(receipt.key, now, receipt.new, receipt.again)

    def begin(self, receipt: Receipt) -> None:
        """Store a message that is no repeat."""
        found, body = receipt.found, receipt.body
        source, control_id = found.source.name, found.control_id
        if control_id and self._control_ids.reused(source, control_id, receipt.key):
            self.counts["control_id_reused"] += 1
            log.warning("%s %s: control_id_reused: it named another message before", source, control_id)
        found, held = self.watch.hear(found, body)
        receipt.found = found
        receipt.refusal = held or self._told(found)
        due = codes(found.header, receipt.refusal)
        answer = due[0] if due else ""
        receipt.raw = raw_message(
            found, body, receipt.content, receipt.at, receipt.peer.name, answer, receipt.refused
        )
        self._count(found)
        receipt.begun = self.marks.begin()
        final = held is None and not receipt.refused
        record = self.publications.raw(found, receipt.raw, self.marks.instance, final=final)
        self.publisher.publish(record, receipt.stored)
        if len(body) <= PREPARED_BYTES:
            self._preparing.append(receipt)
            if len(self._preparing) == 1:
                # In the next turn of the loop the record is sent; in the one behind it there is time.
                self._loop.call_soon(self._loop.call_soon, self._prepare)

    def repeated(self, receipt: Receipt, answer: str | None) -> None:
        """Answer a message that was heard before, as the first was."""
        self.counts["heard before"] += 1
        self._over(receipt.body)
        refusal = self._told(receipt.found)
        if answer is None:
            refusal = UNAVAILABLE
        elif answer:
            severity = answer[1:]
            if severity == "A":
                refusal = None
            elif refusal is None or refusal.severity != severity:
                refusal = AS_BEFORE[Severity(severity)]
        receipt.tell(refusal, repeat=True)

    def take_error(self, error: FramingError, peer: Peer, answer: Answer | None) -> None:
        """Bytes that are no message: to the rejected topic, with an `AR` where the sender waits for one."""
        refusal = FRAMING_REFUSALS[error.code]
        if error.reason:
            refusal = Refusal(refusal.code, refusal.error, error.reason, severity=Severity.REJECT)
        header = read_header(error.body)
        application, facility = (header.party(3), header.party(4)) if header is not None else ("", "")
        source = source_for_hl7(self._settings, application, facility)
        now = self._clock.next(source.name)
        due = codes(header, refusal) if answer is not None else ()
        found = unread(header, source, refusal)
        content = content_hash(error.body)
        raw = raw_message(found, error.body, content, now, peer.name, due[0] if due else "")
        self.under_way += 1
        self.bytes_under_way += len(error.body)
        self.counts[f"rejected {error.code}"] += 1

        def stored(result: Result) -> None:
            self._over(error.body)
            told = UNAVAILABLE if isinstance(result, PublishError) else refusal
            heard = self.tell(header, answer, now, told) if answer is not None else ""
            self.heard.add(raw.source, raw.message_type, heard, None)
            self.audit.receipt(
                *(raw.source, raw.message_type, raw.control_id, peer, content, now, heard, told)
            )

        try:
            record = self.publications.rejection(rejected(refusal, raw, None))
        except NotRegisteredError as unregistered:
            stored(PublishError(str(unregistered), retriable=True))
            return
        self.publisher.publish(record, stored)

    def refuse(self, header: Header | None, answer: Answer) -> None:
        """Answer a message that could not be stored in time."""
        self.tell(header, answer, self._clock.next(""), UNAVAILABLE)

    def tell(
        self,
        header: Header | None,
        answer: Answer,
        now: int,
        refusal: Refusal | None,
        made: Answers | None = None,
    ) -> str:
        """Answer with the codes that are due; the first the sender heard, empty where none was due."""
        due, answers = made or answers_of(header, refusal, now)
        for code in due:
            self.counts[f"answered {code}"] += 1
        if not answer(answers, refusal is not UNAVAILABLE):
            due = codes(header, UNAVAILABLE)
        return due[0] if due else ""

    def done(self, receipt: Receipt) -> None:
        """Everything made from the message is in Kafka."""
        assert receipt.raw is not None
        assert self.repeats is not None
        self._over(receipt.body)
        self.marks.finished(receipt.begun)
        receipt.tell(receipt.refusal)
        if receipt.refusal is not None and receipt.refusal.code == STOPPED:
            self.repeats.fail(receipt.key)  # sent again, it is tried again
        else:
            self.repeats.end(receipt.key, receipt.at, receipt.raw.answer)

    def failed(self, receipt: Receipt, error: PublishError) -> None:
        """Something of the message is not known to be in Kafka: the sender has to send it again."""
        assert receipt.raw is not None
        assert self.repeats is not None
        self._over(receipt.body)
        self.marks.failed(receipt.begun, receipt.content)
        self.counts["not stored"] += 1
        log.warning("%s %s: not stored: %s", receipt.raw.source, receipt.raw.control_id, error)
        receipt.tell(UNAVAILABLE)
        self.repeats.fail(receipt.key)

    def reload(self, settings: Settings) -> None:
        """From the next message on these settings hold."""
        self._settings = settings
        self.admission = Admission(settings)
        self.publications = replace(self.publications, settings=settings)
        self.watch.reload(settings)

    @property
    def is_open(self) -> bool:
        """Whether what is stored now is looked after until it has its events."""
        return self.repeats is not None and self.marks.is_open

    def _source_of(self, peer: Peer, body: bytes) -> SourceSettings | None:
        """The source that the peer's certificate says; None where MSH alone does."""
        if not peer.names or not self.admission.maps_certificates or (header := read_header(body)) is None:
            return None
        return self.admission.source_of(peer, header.party(3), header.party(4))

    def _hold(self, body: bytes, peer: Peer, answer: Answer, until: float) -> None:
        """The broker may just be coming: try again in a while."""
        self.under_way += 1
        self.bytes_under_way += len(body)

        def again() -> None:
            self._over(body)
            if self.is_open:
                self.take(body, peer, answer)
            elif time.monotonic() > until:
                self.counts["not stored"] += 1
                self._could_not_store(body, peer, answer)
            else:
                self._hold(body, peer, answer, until)

        self._loop.call_later(HOLD_S, again)

    def _could_not_store(self, body: bytes, peer: Peer, answer: Answer) -> None:
        found = interpret(body, self._settings, self._source_of(peer, body))
        now = self._clock.next(found.source.name)
        source, kind = found.source.name, found.message_type
        told = self.tell(found.header, answer, now, UNAVAILABLE)
        self.heard.add(source, kind, told, None)
        content = content_hash(body)
        self.audit.receipt(source, kind, found.control_id, peer, content, now, told, UNAVAILABLE)

    def _prepare(self) -> None:
        preparing, self._preparing = self._preparing, []
        for receipt in preparing:
            receipt.prepare()

    def _over(self, body: bytes) -> None:
        self.under_way -= 1
        self.bytes_under_way -= len(body)

    def _told(self, found: Interpretation) -> Refusal | None:
        """The refusal the sender hears: a message that cannot be mapped follows the source's `on_reject`."""
        refusal = found.refusal
        if refusal is None or refusal.severity is Severity.REJECT or refusal.code in ALWAYS_TOLD:
            return refusal
        on_reject = found.source.on_reject or self._settings.mllp.on_reject
        return None if on_reject == "AA" else refusal

    def _count(self, found: Interpretation) -> None:
        if found.refusal is not None:
            self.counts[f"rejected {found.refusal.code}"] += 1
        elif found.ignored:
            self.counts["ignored"] += 1
        for draft in found.drafts:
            self.counts[EVENTS[draft.topic]] += 1
