"""Z segments as governed contracts: what a vendor's own segment holds, in which version, and how that is known.

A contract is a TOML file: those of `schemas/z` come with the project, a site adds its own. It says what a
field is; it never says more than its source does. Segments without a contract are counted and kept raw.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from dosestream.hl7.finding import Finding
from dosestream.hl7.profile import FORMATS, SEGMENT, ProfileSettings
from dosestream.hl7.reader import Message

_NAME = re.compile(r"Z[A-Z0-9]{2}")
STATUSES = ("standard", "documented", "observed")


@dataclass(frozen=True, slots=True)
class ZField:
    """One field of a Z segment.

    Attributes:
        number: from 1.
        name: what it holds.
        type: HL7 data type, such as RP or ST.
        required: whether it is valued wherever the segment is.
        format: data type of the first component that is checked: DT, TM, DTM, TS, NM, SI, UID, or empty.
        description: more about it.
        component: which component the event field is read from; 0 for the whole field.
        event_field: the field of an order event it may give, such as `study_instance_uid`; empty for none.
    """

    number: int = 0
    name: str = ""
    type: str = "ST"
    required: bool = False
    format: str = ""
    description: str = ""
    component: int = 0
    event_field: str = ""


@dataclass(frozen=True, slots=True)
class ZContract:
    """One Z segment of one vendor's product.

    Attributes:
        segment: its name, such as ZDS.
        vendor, product, version: whose it is; product and version may be empty.
        status: `standard` (a published framework), `documented` (the vendor's own document), `observed`
            (met in messages, its meaning not known from a document).
        source: where that is written, or where it was met.
        senders: the sources it holds for; empty for all.
        description: what the segment is for.
        field: its fields.
    """

    segment: str = ""
    vendor: str = ""
    product: str = ""
    version: str = ""
    status: str = "observed"
    source: str = ""
    senders: tuple[str, ...] = ()
    description: str = ""
    field: tuple[ZField, ...] = ()


def mistakes(contract: ZContract) -> list[tuple[tuple[str, ...], str]]:
    """What is wrong with a contract: where (keys from its top) and a sentence for each mistake."""
    found: list[tuple[tuple[str, ...], str]] = []
    if not _NAME.fullmatch(contract.segment):
        found.append((("segment",), f"{contract.segment!r} is no Z segment: three characters, Z first"))
    found += [
        ((key,), f"{key!r} is missing: say {asked}")
        for key, asked in _ASKED.items()
        if not getattr(contract, key)
    ]
    if contract.status not in STATUSES:
        found.append((("status",), f"{contract.status!r} must be one of {', '.join(STATUSES)}"))
    numbers: set[int] = set()
    for index, field in enumerate(contract.field):
        at = ("field", str(index))
        if field.number < 1 or field.number in numbers:
            found.append(((*at, "number"), f"{field.number} is no number of its own, from 1"))
        numbers.add(field.number)
        if not field.name:
            found.append(((*at, "name"), "a field has no name"))
        if field.format and field.format not in FORMATS:
            found.append(
                ((*at, "format"), f"{field.format!r} must be one of {', '.join(FORMATS)}, or left out")
            )
        if field.event_field and contract.status == "observed":
            found.append(
                ((*at, "event_field"), "an observed segment maps nothing: name a document as its source")
            )
    return found


_ASKED = {"vendor": "whose segment it is", "source": "where its meaning is written, or where it was met"}


def profiles(contracts: Iterable[ZContract]) -> tuple[ProfileSettings, ...]:
    """What the contracts ask of messages, as profiles that flag."""
    made = []
    for contract in contracts:
        required = tuple(_place(contract, field) for field in contract.field if field.required)
        formats = {_place(contract, field): field.format for field in contract.field if field.format}
        name = f"{contract.segment} {contract.vendor}"
        made += [
            ProfileSettings(name=name, source=sender, when_present=required, format=formats)
            for sender in contract.senders or ("",)
            if required or formats
        ]
    return tuple(made)


def event_fields(contracts: Iterable[ZContract]) -> tuple[tuple[str, str, str], ...]:
    """What contracts give to events: source (empty for all), field of the event, path."""
    return tuple(
        (sender, field.event_field, _path(contract, field))
        for contract in contracts
        for field in contract.field
        if field.event_field
        for sender in contract.senders or ("",)
    )


def known(contracts: Iterable[ZContract], source: str) -> frozenset[str]:
    """The segments a source's messages may hold."""
    return frozenset(c.segment for c in contracts if not c.senders or source in c.senders)


def unknown(message: Message, contracted: frozenset[str]) -> list[Finding]:
    """The Z segments of a message that no contract names, each name once."""
    return [_unknown(name) for name in message.names() if name.startswith("Z") and name not in contracted]


def _unknown(name: str) -> Finding:
    # What is no name of a segment may be anything, a patient's name too.
    told = name if _NAME.fullmatch(name) else "Z??"
    text = f"No contract says what segment {told} holds."
    return Finding(f"unknown {told}", SEGMENT, told if told == name else "", text, "warning")


def _place(contract: ZContract, field: ZField) -> str:
    return f"{contract.segment}-{field.number}.1"


def _path(contract: ZContract, field: ZField) -> str:
    component = f".{field.component}" if field.component else ""
    return f"{contract.segment}-{field.number}{component}"
