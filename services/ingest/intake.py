"""The way of one message: read it, store it raw, publish what it says, and only then answer.

Runs on the event loop. Kafka's answers come from the publisher's poll thread and are handed over in batches.
"""

import asyncio
import hashlib
import logging
from collections import Counter, deque
from collections.abc import Callable
from functools import partial

from dosestream.events.receipt import ReceiptClock
from dosestream.events.records import RawMessage
from dosestream.hl7.acceptance import TOO_LARGE, UNAVAILABLE, Refusal, Severity
from dosestream.hl7.acknowledgement import acknowledge, codes
from dosestream.hl7.framing import FramingError
from dosestream.hl7.header import Header, read_header
from dosestream.kafka.normalised_up_to import NormalisedUpTo
from dosestream.kafka.publisher import Position, Publication, Publisher, PublishError
from dosestream.mapping.normalise import Interpretation, interpret, rejected
from dosestream.settings import Settings, source_for_hl7
from services.ingest.heard import Heard
from services.ingest.publications import Publications, raw_message

log = logging.getLogger("dosestream.ingest")

# The answers to one message, unframed, in order; none where the sender asked for none.
Answer = Callable[[list[bytes]], None]
Result = Position | PublishError

FRAMING_REFUSALS: dict[str, Refusal] = {
    "too_large": TOO_LARGE,
    "junk": Refusal("junk", 100, "Bytes came outside an MLLP frame."),
    "frame_restart": Refusal("frame_restart", 100, "A start byte came inside a frame."),
    "truncated": Refusal("truncated", 100, "The connection ended inside a frame."),
    "frame_timeout": Refusal("frame_timeout", 100, "The frame was not complete in time."),
}


class Intake:
    """Takes messages and framing errors of all connections."""

    def __init__(
        self,
        settings: Settings,
        publications: Publications,
        publisher: Publisher,
        marks: NormalisedUpTo,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._settings = settings
        self._publications = publications
        self._publisher = publisher
        self._marks = marks
        self._loop = loop
        self._clock = ReceiptClock()
        self._heard = Heard()
        self._results: deque[tuple[Callable[[Result], None], Result]] = deque()
        self._wakened = False
        self.under_way = 0
        self.counts: Counter[str] = Counter()

    def take(self, body: bytes, peer: str, answer: Answer) -> None:
        """One message, unframed. `answer` is called exactly once, from the event loop."""
        found = interpret(body, self._settings)
        refusal = self._told(found)
        now = self._clock.next(found.source.name)
        key = hashlib.sha256(found.source.name.encode() + b"\0" + body).digest()
        tell = partial(self._tell, found.header, answer, now)
        if (entry := self._heard.find(key, now)) is not None:
            self.counts["heard before"] += 1
            if entry.done:
                tell(entry.refusal)
            else:
                entry.waiting.append(tell)
            return
        self._heard.begin(key, now)
        due = codes(found.header, refusal)
        raw = raw_message(found, body, now, peer, due[0] if due else "")
        self.under_way += 1
        self._count(found)
        self._publish(
            self._publications.raw(found, raw), partial(self._stored, found, raw, refusal, key, tell)
        )

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
        self.counts[f"rejected {error.code}"] += 1

        def stored(result: Result) -> None:
            self.under_way -= 1
            if answer is not None:
                self._tell(header, answer, now, UNAVAILABLE if isinstance(result, PublishError) else refusal)

        self._publish(self._publications.rejection(rejected(refusal, raw, None)), stored)

    def refuse(self, header: Header | None, answer: Answer) -> None:
        """Answer a message that could not be stored in time."""
        self._tell(header, answer, self._clock.next(""), UNAVAILABLE)

    def _told(self, found: Interpretation) -> Refusal | None:
        """The refusal the sender hears: a message that cannot be mapped follows the source's `on_reject`."""
        refusal = found.refusal
        if refusal is None or refusal.severity is Severity.REJECT or refusal.code in ALWAYS_TOLD:
            return refusal
        on_reject = found.source.on_reject or self._settings.mllp.on_reject
        return None if on_reject == "AA" else refusal

    def _stored(
        self,
        found: Interpretation,
        raw: RawMessage,
        refusal: Refusal | None,
        key: bytes,
        tell: Callable[[Refusal | None], None],
        result: Result,
    ) -> None:
        """The raw record has its position, or an error."""
        if isinstance(result, PublishError):
            self.under_way -= 1
            self._failed(raw, key, tell, result)
            return
        position = result
        self._marks.stored(position)
        records = self._publications.normalised(found, raw, position)
        left = len(records)
        failure: PublishError | None = None

        def finished() -> None:
            self.under_way -= 1
            if failure is None:
                self._marks.finished(position)
                self._heard.end(key, refusal)
                tell(refusal)
            else:
                self._marks.failed(position)
                self._failed(raw, key, tell, failure)

        def published(result: Result) -> None:
            nonlocal left, failure
            left -= 1
            if isinstance(result, PublishError):
                failure = result
            if not left:
                finished()

        if not records:
            finished()
        for record in records:
            self._publish(record, published)

    def _failed(
        self, raw: RawMessage, key: bytes, tell: Callable[[Refusal | None], None], error: PublishError
    ) -> None:
        self.counts["not stored"] += 1
        log.warning("%s %s: not stored: %s", raw.source, raw.control_id, error)
        self._heard.fail(key, UNAVAILABLE)
        tell(UNAVAILABLE)

    def _tell(self, header: Header | None, answer: Answer, now: int, refusal: Refusal | None) -> None:
        due = codes(header, refusal)
        for code in due:
            self.counts[f"answered {code}"] += 1
        answer([acknowledge(header, code, refusal, now) for code in due])

    def _count(self, found: Interpretation) -> None:
        if found.refusal is not None:
            self.counts[f"rejected {found.refusal.code}"] += 1
        elif found.ignored:
            self.counts["ignored"] += 1
        for draft in found.drafts:
            self.counts[f"events {draft.topic}"] += 1

    def _publish(self, record: Publication, done: Callable[[Result], None]) -> None:
        self._publisher.publish(*record, partial(self._hand_over, done))

    def _hand_over(self, done: Callable[[Result], None], result: Result) -> None:
        """On the poll thread: queue the result, wake the loop once for all that are queued."""
        self._results.append((done, result))
        if not self._wakened:
            self._wakened = True
            self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        # Cleared first: what is queued from here on wakes the loop again, or is drained right now.
        self._wakened = False
        while self._results:
            done, result = self._results.popleft()
            done(result)


# Refusals of the message itself, whatever `on_reject` says: the sender must send it otherwise.
ALWAYS_TOLD = frozenset({"charset", "no_control_id"})
