"""What scanners get wrong in dose reports, each as a named fault that can be done to any planned report it fits.

A fault changes the plan and, in the same breath, what must be read from it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from dosestream.simulate.sr_codes import SNOMED, Code
from dosestream.simulate.sr_document import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT, Head, Plan
from dosestream.simulate.sr_plan import (
    EVENT,
    PER_SOURCE,
    TOTAL,
    Item,
    changed,
    container,
    num,
    swapped,
    text,
    walk,
)

Change = Callable[[Plan], Plan | None]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong.

    Attributes:
        says: what is wrong, for people.
        apply: the plan with the fault, or None where the report has nothing that it could be done to.
    """

    says: str
    apply: Change


def faulty(plan: Plan, name: str) -> Plan | None:
    """The plan with a fault of `FAULTS`; None where the fault does not fit."""
    if not (plan.content or name in OF_ANY or (plan.head.kind == "image" and name in OF_IMAGES)):
        return None
    made = FAULTS[name].apply(plan)
    return None if made is None else replace(made, faults=(*plan.faults, name))


# Finding what to spoil.


def _event_number(plan: Plan) -> Item | None:
    """The first number of an irradiation event that an event states once only."""
    events = [item for item in walk(plan.content) if item.role == EVENT]
    numbers = (i for i in walk(events) if i.kind == "NUM" and i.column and i.column not in PER_SOURCE)
    return next(numbers, None)


def _total(plan: Plan) -> Item | None:
    return next((item for item in walk(plan.content) if item.role == TOTAL and item.answer), None)


def _with(plan: Plan, old: Item, new: Item | None, **more: Any) -> Plan:
    return replace(plan, content=swapped(plan.content, old, new), **more)


def _of_number(change: Callable[[Plan, Item], Plan | None]) -> Change:
    """A fault of an event's number, else of a total."""

    def apply(plan: Plan) -> Plan | None:
        item = _event_number(plan) or _total(plan)
        return None if item is None else change(plan, item)

    return apply


def _listed(plan: Plan, item: Item) -> tuple[str, ...]:
    return (*plan.unread, item.concept.value)


# Faults of numbers.


def _empty(plan: Plan) -> Plan | None:
    """An event's number and a total with an empty Measured Value Sequence (0040,A300)."""
    spoiled = plan
    for find in (_event_number, _total):
        if (item := find(spoiled)) is not None:
            spoiled = _with(spoiled, item, replace(item, value=None, answer=None))
    return None if spoiled is plan else spoiled


def _digit_off(plan: Plan, item: Item) -> Plan:
    wrong = item.concept._replace(value=item.concept.value[0] + "7" + item.concept.value[2:])
    spoiled = replace(item, concept=wrong, column="", also="", answer=None)
    return _with(plan, item, spoiled, unread=_listed(plan, spoiled))


def _several(plan: Plan, item: Item) -> Plan:
    spoiled = replace(item, value=(item.value, item.value + 1))
    return _with(plan, item, spoiled, unread=_listed(plan, item))


def _several_voltages(plan: Plan) -> Plan | None:
    """Two tube voltages in one element: they are two pulse groups."""
    for event in (item for item in walk(plan.content) if item.role == EVENT):
        stated = [item for item in walk([event]) if item.column == "kvp"]
        if len(stated) == 1 and not any(item.role == "sources" for item in walk([event])):
            values = (stated[0].value, stated[0].value + 11)
            spoiled = replace(stated[0], value=values, answer=tuple(map(float, values)))
            return _with(plan, stated[0], spoiled)
    return None


def _unknown_unit(plan: Plan, item: Item) -> Plan | None:
    if item.unit in ("1", "{ratio}"):
        return None
    return _with(plan, item, replace(item, unit="furlong", answer=None), unread=_listed(plan, item))


def _no_number(plan: Plan, item: Item) -> Plan:
    return _with(plan, item, replace(item, value="n/a", answer=None), unread=_listed(plan, item))


def _other_scheme(plan: Plan, item: Item) -> Plan:
    spoiled = replace(item, concept=item.concept._replace(scheme="99MAKER"), column="", answer=None)
    return _with(plan, item, spoiled)


def _differs(plan: Plan) -> Plan | None:
    item = _total(plan)
    if item is None or _event_number(plan) is None:
        return None
    value = item.value * Decimal("1.25")
    return _with(plan, item, replace(item, value=value, answer=float(value)))


# Unit as a template asks to what scanners write instead, and how many of it make one of the former.
SPELLINGS: Final[tuple[Mapping[str, tuple[str, str]], ...]] = (
    {"Gy.m2": ("Gym2", "1"), "mGy.cm": ("mGycm", "1"), "uA.s": ("uAs", "1"), "{pulse}/s": ("/s", "1")},
    {
        "Gy.m2": ("dGy.cm2", "1e5"), "Gy": ("mGy", "1e3"), "mGy.cm": ("cGy.cm", "0.1"), "mm": ("cm", "0.1"),
        "uA.s": ("mA.s", "1e-3"), "mGy": ("cGy", "0.1"), "MBq": ("GBq", "1e-3"), "mSv": ("Sv", "1e-3"),
    },
    {
        "Gy.m2": ("uGym2", "1e6"), "Gy": ("cGy", "100"), "mGy.cm": ("Gy.cm", "1e-3"), "mA": ("A", "1e-3"),
        "kV": ("V", "1e3"), "mm": ("m", "1e-3"), "s": ("ms", "1e3"), "ms": ("s", "1e-3"), "mGy": ("uGy", "1e3"),
        "MBq": ("kBq", "1e3"),
    },
)  # fmt: skip


def _spelled(spelling: Mapping[str, tuple[str, str]]) -> Change:
    def change(item: Item) -> Item:
        if item.kind != "NUM" or item.unit not in spelling or not isinstance(item.value, Decimal):
            return item
        unit, many = spelling[item.unit]
        return replace(item, unit=unit, value=item.value * Decimal(many))

    def apply(plan: Plan) -> Plan | None:
        content = changed(plan.content, change)
        return (
            replace(plan, content=content)
            if any(a is not b for a, b in zip(content, plan.content, strict=True))
            else None
        )

    return apply


# Faults of codes and of structure.

RETIRED: Final[Mapping[str, str]] = {sct: srt for srt, sct, _ in SNOMED.values()}


def _retired(scheme: str) -> Change:
    """Codes of SNOMED-RT, as older scanners write them."""

    def old(code: Any) -> Any:
        retired = isinstance(code, Code) and code.scheme == "SCT" and code.value in RETIRED
        return Code(RETIRED[code.value], scheme, code.meaning) if retired else code

    def apply(plan: Plan) -> Plan:
        return replace(
            plan,
            content=changed(plan.content, lambda i: replace(i, concept=old(i.concept), value=old(i.value))),
        )

    return apply


def _meanings(plan: Plan) -> Plan:
    """Meanings in another language: a concept is known by code and scheme."""
    return replace(
        plan,
        content=changed(
            plan.content, lambda i: replace(i, concept=i.concept._replace(meaning="Bezeichnung"))
        ),
    )


def _extra(plan: Plan) -> Plan:
    """Items of the maker's own, with numbers, at the end."""
    own = Code("77001", "99MAKER", "Own value")
    return replace(plan, content=(*plan.content, container(own, num(own, 3, "mGy"), text(own, "x"))))


def _without_uid(plan: Plan) -> Plan | None:
    item = next((i for i in walk(plan.content) if i.column == "irradiation_event_uid"), None)
    return None if item is None else _with(plan, item, None, issues=(*plan.issues, "no_event_uid"))


def _illegal_uids(plan: Plan) -> Plan:
    """UIDs with leading zeros, letters, too long: kept as they are."""
    head = replace(plan.head, study_uid="1.2.00.-5", series_uid="1.2.3." + "9" * 70)

    def change(item: Item) -> Item:
        wrong = item.column == "irradiation_event_uid"
        return replace(item, value=f"{item.value}.0a", answer=f"{item.value}.0a") if wrong else item

    return replace(plan, head=head, content=changed(plan.content, change))


# Faults of the header.


def _head(**changes: Any) -> Change:
    return lambda plan: replace(plan, head=replace(plan.head, **changes))


def _headed(issue: str, **changes: Any) -> Change:
    return lambda plan: replace(plan, head=replace(plan.head, **changes), issues=(*plan.issues, issue))


def _accession_differs(plan: Plan) -> Plan | None:
    head = plan.head
    if head.request is None:
        return None
    request = replace(head.request, accession=f"{head.accession}9")
    return replace(plan, head=replace(head, request=request), issues=(*plan.issues, "accession_differs"))


def _no_accession(plan: Plan) -> Plan:
    head: Head = replace(plan.head, accession="", request=None)
    return replace(plan, head=head, issues=(*plan.issues, "no_accession"))


def _no_procedure(plan: Plan) -> Plan:
    """Neither the header nor an event names a procedure or protocol."""
    head = replace(plan.head, description="", procedure=None)
    content = changed(plan.content, lambda item: None if item.column == "protocol" else item)
    return replace(plan, head=head, content=content)


def _no_template(plan: Plan) -> Plan | None:
    return _head(stated_template=False)(plan) if plan.head.template else None


# Faults of the encoding.


def _syntax(uid: str) -> Change:
    return lambda plan: replace(plan, syntax=uid)


def _illegal_vr(plan: Plan) -> Plan | None:
    """VRs that the standard does not know, of the accession number and of every Text Value."""
    if plan.syntax != EXPLICIT:
        return None
    return replace(plan, edits=(*plan.edits, _vr(b"\x08\x00\x50\x00SH", b"SX")))


def _vr(element: bytes, vr: bytes) -> Callable[[bytes], bytes]:
    return lambda body: body.replace(element, element[:4] + vr, 1)


# Faults of what has no content items; of images, and of performed steps too.
OF_ANY: Final = frozenset(
    ("japanese name", "ideographic name alone", "implicit vr", "big endian", "deflated", "no birth date")
)
OF_IMAGES: Final = frozenset(("illegal uids", "no patient", "no accession", "illegal vr"))

FAULTS: Final[Mapping[str, Fault]] = {
    "empty value": Fault("Measured Value Sequence is empty: measured, but no value", _empty),
    "code off by a digit": Fault("a number under a code that no template knows", _of_number(_digit_off)),
    "several values": Fault("two values in one element where one is meant", _of_number(_several)),
    "several voltages": Fault("two tube voltages in one element", _several_voltages),
    "unknown unit": Fault("a unit that means nothing", _of_number(_unknown_unit)),
    "no number": Fault("text where a number must be", _of_number(_no_number)),
    "scheme of the maker": Fault(
        "the right code under a scheme of the maker's own", _of_number(_other_scheme)
    ),
    "total differs": Fault("a stated total that is not the sum of the events", _differs),
    "units without separator": Fault("units as scanners spell them", _spelled(SPELLINGS[0])),
    "larger and smaller units": Fault(
        "units other than the template's, deci and centi", _spelled(SPELLINGS[1])
    ),
    "metric prefixes": Fault("units other than the template's, other prefixes", _spelled(SPELLINGS[2])),
    "retired codes": Fault("anatomy and findings in SNOMED-RT", _retired("SRT")),
    "retired codes of 99SDM": Fault("the same under the designator 99SDM", _retired("99SDM")),
    "other meanings": Fault("meanings in another language", _meanings),
    "items of the maker": Fault("a container of the maker's own", _extra),
    "no event uid": Fault("an event without Irradiation Event UID", _without_uid),
    "illegal uids": Fault("UIDs that break every rule for UIDs", _illegal_uids),
    "no template sequence": Fault("Content Template Sequence is absent", _no_template),
    "no birth date": Fault("Patient's Birth Date is empty", _head(birth_date="")),
    "no patient": Fault(
        "nobody was entered at the scanner",
        _headed("no_patient_id", patient_id="", name="", read_name="", birth_date="", sex=""),
    ),
    "japanese name": Fault(
        "three groups of a person name in ISO 2022",
        _head(
            name="Yamada^Tarou=山田^太郎=やまだ^たろう", read_name="Yamada^Tarou", charset="\\ISO 2022 IR 87"
        ),
    ),
    "ideographic name alone": Fault(
        "a person name without alphabetic group",
        _head(name="=山田^太郎", read_name="山田^太郎", charset="\\ISO 2022 IR 87"),
    ),
    "accession differs": Fault("another accession in the Referenced Request", _accession_differs),
    "no accession": Fault("no accession anywhere", _no_accession),
    "no procedure": Fault("no procedure information at all", _no_procedure),
    "illegal vr": Fault("a VR that the standard does not know", _illegal_vr),
    "implicit vr": Fault("Implicit VR Little Endian", _syntax(IMPLICIT)),
    "big endian": Fault("Explicit VR Big Endian", _syntax(BIG_ENDIAN)),
    "deflated": Fault("Deflated Explicit VR Little Endian", _syntax(DEFLATED)),
}
