"""One HL7 message to its events: what live ingest, the repair at start and a replay from raw all call.

Two steps, both pure: `interpret` reads the message and decides, before anything is stored; `finish` makes the
events once the raw record has its position. `normalise` is one after the other.
"""

from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, NamedTuple, Protocol

from dosestream import admission
from dosestream.events.identity import event_id
from dosestream.events.records import (
    Appointment,
    Event,
    Identifier,
    Order,
    Patient,
    RawMessage,
    Rejection,
    Report,
)
from dosestream.hl7.acceptance import NEVER_ANSWERED, NO_MSH, Refusal, Severity
from dosestream.hl7.charset import Undecodable
from dosestream.hl7.finding import Finding
from dosestream.hl7.header import Header, read_header
from dosestream.hl7.reader import Message, read
from dosestream.hl7.times import to_micros
from dosestream.kafka.topics import Topic
from dosestream.mapping import appointment, report
from dosestream.mapping.appointment import draft_appointments
from dosestream.mapping.defaults import IDENTIFIERS, MESSAGE_TIME
from dosestream.mapping.draft import Draft, read_time
from dosestream.mapping.order import NO_ORDER, NO_ORDER_NUMBER, draft_orders
from dosestream.mapping.patient import ACTIONS, draft_patients
from dosestream.mapping.plan import NOTHING, Overlays, plan_of
from dosestream.mapping.report import draft_reports
from dosestream.mapping.rules import rules_of
from dosestream.mapping.sender import Sender, senders_of
from dosestream.mapping.values import identifiers
from dosestream.settings import Settings, SourceSettings, source_for_hl7

# Message type and event that become orders.
ORDERS = frozenset({"ORM^O01", "OMG^O19", "OMI^O23", "OML^O21"})
# Answers to orders: their order numbers are taken where they hold any.
ORDER_RESPONSES = frozenset({"ORR", "ORG", "ORI", "ORL"})

REPORTS = report.RESULTS | report.DOCUMENTS

CLASSES: dict[Topic, type[Patient] | type[Order] | type[Appointment] | type[Report]] = {
    Topic.PATIENT: Patient,
    Topic.ORDER: Order,
    Topic.APPOINTMENT: Appointment,
    Topic.REPORT: Report,
}


class At(Protocol):
    """Where the raw record lies."""

    @property
    def partition(self) -> int: ...

    @property
    def offset(self) -> int: ...


class Interpretation(NamedTuple):
    """What a message says, before it is stored.

    Attributes:
        header: MSH; None where there is none to read.
        source: who sent it.
        control_id: MSH-10; empty where there is none to read.
        message_type: MSH-9 as CODE^EVENT; empty where there is none to read.
        drafts: the events to be.
        refusal: why it, or a part of it, cannot be normalised.
        ignored: why a good message makes no event; empty where it makes some.
        identifiers: of the patient named first, for the raw record's key.
        message_time: MSH-7, microseconds since 1970 UTC.
        findings: what of the source's profiles and contracts it breaks, refused or not.
    """

    header: Header | None
    source: SourceSettings
    control_id: str
    message_type: str
    drafts: tuple[Draft, ...] = ()
    refusal: Refusal | None = None
    ignored: str = ""
    identifiers: tuple[Identifier, ...] = ()
    message_time: int | None = None
    sequence_number: int | None = None
    findings: tuple[Finding, ...] = ()


def unread(header: Header | None, source: SourceSettings, refusal: Refusal) -> Interpretation:
    """The interpretation of a message that is refused for what stands before its content."""
    return Interpretation(header, source, *_named(header), refusal=refusal)


def _named(header: Header | None) -> tuple[str, str]:
    """MSH-10 and MSH-9."""
    if header is None:
        return "", ""
    return header.field(10).decode("latin-1").strip(), header.message_type


@dataclass(frozen=True, slots=True)
class Normalised:
    """What one raw record becomes; `ignored` says why nothing, where nothing is right."""

    events: tuple[tuple[Topic, Event], ...] = ()
    rejection: Rejection | None = None
    ignored: str = ""


def normalise(raw: RawMessage, position: At, settings: Settings) -> Normalised:
    """The events of one raw record, or its rejection, or the reason why there is nothing to say.

    Source and first receipt are the raw record's own; nothing of the past is decided anew but the mapping.
    """
    known = next((source for source in settings.source if source.name == raw.source), None)
    found = interpret(raw.body, settings, known)
    if raw.refused:
        # It was refused for what its bytes do not say, and stays so whatever the configuration says today.
        found = unread(found.header, found.source, admission.refusal(raw.source))
    return finish(found, raw, position)


def interpret(body: bytes, settings: Settings, source: SourceSettings | None = None) -> Interpretation:
    """Read a message and decide about it. `source` is looked up from MSH-3 and MSH-4 where not given."""
    header = read_header(body)
    if header is None:
        return unread(None, source or source_for_hl7(settings, "", ""), NO_MSH)
    sender = senders_of(settings).of(header, source)
    source = sender.source
    if sender.refusal is not None:
        return unread(header, source, sender.refusal)
    message = read(body, header, source.charset)
    if isinstance(message, Undecodable):
        refused = Refusal("charset", 102, f"{message.reason}.", "MSH-18", Severity.ERROR)
        return unread(header, source, refused)
    return _map(message, sender, settings)


def finish(found: Interpretation, raw: RawMessage, position: At) -> Normalised:
    """The events of an interpretation, now that its raw record has a position."""
    shared = envelope(found, raw)
    events = tuple(
        (
            draft.topic,
            CLASSES[draft.topic](
                event_id=event_id(raw.source, raw.body, draft.number),
                raw_partition=position.partition,
                raw_offset=position.offset,
                **shared,
                **draft.fields,
            ),
        )
        for draft in found.drafts
    )
    rejection = None
    if found.refusal is not None:
        rejection = rejected(found.refusal, raw, position)
    return Normalised(events, rejection, found.ignored)


def envelope(found: Interpretation, raw: RawMessage) -> dict[str, Any]:
    """What all events of a message say of it, but for the position of its raw record."""
    return {
        "source": raw.source,
        "control_id": raw.control_id,
        "received_at": raw.received_at,
        "message_type": raw.message_type,
        "message_time": found.message_time,
        "sequence_number": found.sequence_number,
    }


def rejected(refusal: Refusal, raw: RawMessage, position: At | None) -> Rejection:
    """The rejection of a message; `position` is None where its bytes are not in the raw topic."""
    return Rejection(
        event_id=event_id(raw.source, refusal.code.encode() + b"\0" + raw.body, 0),
        source=raw.source,
        control_id=raw.control_id,
        received_at=raw.received_at,
        raw_partition=position.partition if position is not None else -1,
        raw_offset=position.offset if position is not None else -1,
        message_type=raw.message_type,
        transport=raw.transport,
        peer=raw.peer,
        code=refusal.code,
        reason=refusal.reason,
        location=refusal.location,
        answer=raw.answer,
        body=raw.body,
    )


def _map(message: Message, sender: Sender, settings: Settings) -> Interpretation:
    header, (source, code, _, kind, local, _) = message.header, sender
    sequence = header.word(13)
    broken: Refusal | None = None
    findings: tuple[Finding, ...] = ()
    if code not in NEVER_ANSWERED:
        broken, findings = rules_of(settings).check(message, source.name, kind)
    site, drafts, ignored = NOTHING, list[Draft](), ""
    refusal = broken
    if broken is None:
        site = plan_of(settings).overlays(source.name, kind)
        drafts, refusal, ignored = _drafts(message, sender, site)
    if site and drafts:
        # The raw record lies with its events, also where the site reads the patient from elsewhere.
        patient = drafts[0].identifiers
        findings = (*findings, *[one.finding for draft in drafts for one in draft.unmapped])
    else:
        patient = (drafts[0].identifiers if drafts else ()) or next(
            (ids for path in IDENTIFIERS if (ids := identifiers(path, message))), ()
        )
    return Interpretation(
        header,
        source,
        *_named(header),
        tuple(drafts),
        refusal,
        ignored,
        patient,
        _message_time(message, local),
        int(sequence) if sequence.isdecimal() and len(sequence) < 19 else None,
        findings,
    )


def _message_time(message: Message, local: tzinfo) -> int | None:
    """MSH-7; its segment is taken apart only for a time that is more than digits."""
    time = message.header.word(7)
    return to_micros(time, local) if time.isdigit() else read_time(MESSAGE_TIME, message, local)[0]


def _drafts(message: Message, sender: Sender, site: Overlays) -> tuple[list[Draft], Refusal | None, str]:
    """The events to be, the first thing that could not be mapped, and why a good message makes none."""
    _, code, trigger, kind, local, _ = sender
    if code == "ADT" and trigger in ACTIONS:
        return *draft_patients(message, trigger, site.get("patient"), local), ""
    if kind in ORDERS:
        return *draft_orders(message, site.get("order"), local), ""
    if code in ORDER_RESPONSES:
        drafts, refusal = draft_orders(message, site.get("order"), local)
        if refusal in (NO_ORDER, NO_ORDER_NUMBER):
            refusal = None  # a response need not repeat the order
        if not drafts:
            return [], None, "a response without order numbers"
        return drafts, refusal, ""
    if kind in REPORTS:
        return *draft_reports(message, kind, site.get("report"), local), ""
    if code == "SIU" and trigger in appointment.TRIGGERS:
        return *draft_appointments(message, trigger, site.get("appointment"), local), ""
    if code in NEVER_ANSWERED:
        return [], None, "an acknowledgement"
    return [], None, f"{kind} is not mapped"
