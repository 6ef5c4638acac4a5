"""The way of one message: read it, store it raw, publish what it says, and only then answer.

Everything runs on the event loop, Kafka's answers too.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable

from dosestream.events.receipt import ReceiptClock
from dosestream.events.records import RawMessage
from dosestream.hl7.acceptance import TOO_LARGE, UNAVAILABLE, Refusal, Severity
from dosestream.hl7.acknowledgement import acknowledge, codes
from dosestream.hl7.framing import FramingError
from dosestream.hl7.header import Header, read_header
from dosestream.kafka.loop_publisher import LoopPublisher
from dosestream.kafka.normalised_up_to import NormalisedUpTo
from dosestream.kafka.publisher import Position, PublishError
from dosestream.mapping.normalise import Interpretation, interpret, rejected
from dosestream.settings import Settings, source_for_hl7
from services.ingest.control_ids import ControlIds
from services.ingest.heard import Heard
from services.ingest.publications import Publications, raw_message

log = logging.getLogger("dosestream.ingest")

# The answers to one message, unframed, in order (none where the sender asked for none), and whether what it
# sent is stored.
Answer = Callable[[list[bytes], bool], None]
Result = Position | PublishError

FRAMING_REFUSALS: dict[str, Refusal] = {
    "too_large": TOO_LARGE,
    "junk": Refusal("junk", 100, "Bytes came outside an MLLP frame."),
    "frame_restart": Refusal("frame_restart", 100, "A start byte came inside a frame."),
    "truncated": Refusal("truncated", 100, "The connection ended inside a frame."),
    "batch_count": Refusal("batch_count", 100, "A batch trailer counts other messages than came."),
    "frame_timeout": Refusal("frame_timeout", 100, "The frame was not complete in time."),
}


# Refusals of the message itself, whatever `on_reject` says: the sender must send it otherwise.
ALWAYS_TOLD = frozenset({"charset", "no_control_id"})


class Receipt:
    """One message on its way from the wire to its answer."""

    __slots__ = (
        *("_answer", "_failure", "_intake", "_left", "_position"),
        *("at", "found", "key", "raw", "refusal"),
    )

    def __init__(self, intake: "Intake", found: Interpretation, answer: Answer, at: int, key: bytes) -> None:
        self._intake = intake
        self._answer = answer
        self._left = 0
        self._failure: PublishError | None = None
        self._position: Position | None = None
        self.found = found
        self.at = at
        self.key = key
        self.raw: RawMessage | None = None
        self.refusal: Refusal | None = None

    def tell(self, refusal: Refusal | None) -> None:
        """Answer."""
        self._intake.tell(self.found.header, self._answer, self.at, refusal)

    def stored(self, result: Result) -> None:
        """The raw record has its position, or an error."""
        intake = self._intake
        assert self.raw is not None
        if isinstance(result, PublishError):
            intake.failed(self, result)
            return
        self._position = result
        intake.marks.stored(result)
        records = intake.publications.normalised(self.found, self.raw, result)
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
        assert self._position is not None
        if self._failure is not None:
            self._intake.marks.failed(self._position)
            self._intake.failed(self, self._failure)
            return
        self._intake.marks.finished(self._position)
        self._intake.done(self)


class Intake:
    """Takes messages and framing errors of all connections.

    Attributes:
        under_way: messages between receipt and answer.
        bytes_under_way: their bytes.
        counts: what happened, for a person.
    """

    def __init__(
        self,
        settings: Settings,
        publications: Publications,
        publisher: LoopPublisher,
        marks: NormalisedUpTo,
    ) -> None:
        self._settings = settings
        self._clock = ReceiptClock()
        self._heard = Heard()
        self._control_ids = ControlIds()
        self.publications = publications
        self.publisher = publisher
        self.marks = marks
        self.under_way = 0
        self.bytes_under_way = 0
        self.counts: Counter[str] = Counter()

    def take(self, body: bytes, peer: str, answer: Answer) -> None:
        """One message, unframed. `answer` is called exactly once, from the event loop."""
        found = interpret(body, self._settings)
        source = found.source.name
        now = self._clock.next(source)
        key = hashlib.sha256(source.encode() + b"\0" + body).digest()
        receipt = Receipt(self, found, answer, now, key)
        if (entry := self._heard.find(key, now)) is not None:
            self.counts["heard before"] += 1
            if entry.done:
                receipt.tell(entry.refusal)
            else:
                entry.waiting.append(receipt.tell)
            return
        self._heard.begin(key, now)
        control_id = found.control_id
        if control_id and self._control_ids.reused(source, control_id, key):
            self.counts["control_id_reused"] += 1
            log.warning("%s %s: control_id_reused: it named another message before", source, control_id)
        receipt.refusal = self._told(found)
        due = codes(found.header, receipt.refusal)
        receipt.raw = raw_message(found, body, now, peer, due[0] if due else "")
        self.under_way += 1
        self.bytes_under_way += len(body)
        self._count(found)
        self.publisher.publish(self.publications.raw(found, receipt.raw), receipt.stored)

    def take_error(self, error: FramingError, peer: str, answer: Answer | None) -> None:
        """Bytes that are no message: to the rejected topic, with an `AR` where the sender waits for one."""
        refusal = FRAMING_REFUSALS[error.code]
        if error.reason:
            refusal = Refusal(refusal.code, refusal.error, error.reason, severity=Severity.REJECT)
        header = read_header(error.body)
        application, facility = (header.party(3), header.party(4)) if header is not None else ("", "")
        source = source_for_hl7(self._settings, application, facility)
        now = self._clock.next(source.name)
        due = codes(header, refusal) if answer is not None else ()
        found = Interpretation(header, source, refusal=refusal)
        raw = raw_message(found, error.body, now, peer, due[0] if due else "")
        self.under_way += 1
        self.bytes_under_way += len(error.body)
        self.counts[f"rejected {error.code}"] += 1

        def stored(result: Result) -> None:
            self._over(error.body)
            if answer is not None:
                self.tell(header, answer, now, UNAVAILABLE if isinstance(result, PublishError) else refusal)

        self.publisher.publish(self.publications.rejection(rejected(refusal, raw, None)), stored)

    def refuse(self, header: Header | None, answer: Answer) -> None:
        """Answer a message that could not be stored in time."""
        self.tell(header, answer, self._clock.next(""), UNAVAILABLE)

    def tell(self, header: Header | None, answer: Answer, now: int, refusal: Refusal | None) -> None:
        """Answer with the codes that are due."""
        due = codes(header, refusal)
        for code in due:
            self.counts[f"answered {code}"] += 1
        answer([acknowledge(header, code, refusal, now) for code in due], refusal is not UNAVAILABLE)

    def done(self, receipt: Receipt) -> None:
        """Everything made from the message is in Kafka."""
        assert receipt.raw is not None
        self._over(receipt.raw.body)
        self._heard.end(receipt.key, receipt.refusal)
        receipt.tell(receipt.refusal)

    def failed(self, receipt: Receipt, error: PublishError) -> None:
        """Something of the message is not known to be in Kafka: the sender has to send it again."""
        assert receipt.raw is not None
        self._over(receipt.raw.body)
        self.counts["not stored"] += 1
        log.warning("%s %s: not stored: %s", receipt.raw.source, receipt.raw.control_id, error)
        self._heard.fail(receipt.key, UNAVAILABLE)
        receipt.tell(UNAVAILABLE)

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
            self.counts[f"events {draft.topic}"] += 1
