"""HL7 data types to the values of events. Each reads one path; empty says nothing, `""` says cleared."""

from decimal import Decimal, InvalidOperation
from functools import lru_cache

from dosestream.events.records import Identifier
from dosestream.hl7.escapes import unescape
from dosestream.hl7.header import Delimiters
from dosestream.hl7.path import CLEARED, Path, part
from dosestream.hl7.reader import Group, Segment
from dosestream.hl7.times import to_date

# HL7 table 0001 to DICOM (0010,0040): ambiguous and not applicable are other; unknown says nothing.
SEX = {"M": "M", "F": "F", "O": "O", "A": "O", "N": "O", CLEARED: CLEARED}

# HL7 table 0485 (TQ1-9, ORC-7.6) to DICOM (0040,1003), IHE Radiology TF-2 table 4.5.
PRIORITY = {
    **dict.fromkeys(("S", "STAT"), "STAT"),
    **dict.fromkeys(("A", "P", "C", "HIGH"), "HIGH"),
    **dict.fromkeys(("R", "ROUTINE"), "ROUTINE"),
    **dict.fromkeys(("T", "MEDIUM"), "MEDIUM"),
    **dict.fromkeys(("L", "LOW"), "LOW"),
    CLEARED: CLEARED,
}

# OBX-3 (LOINC, or the words) to the field; OBX-6 (UCUM and what is met) to the factor.
WEIGHT_CODES = frozenset({"29463-7", "3141-9", "body weight", "weight", "patient weight"})
HEIGHT_CODES = frozenset({"8302-2", "3137-7", "body height", "height", "patient height"})
KILOGRAMS = {
    **dict.fromkeys(("kg", "kgs", "kilogram", ""), Decimal(1)),
    "g": Decimal("0.001"),
    **dict.fromkeys(("lb", "lbs", "[lb_av]"), Decimal("0.45359237")),
}
METRES = {
    "m": Decimal(1),
    "cm": Decimal("0.01"),
    "mm": Decimal("0.001"),
    **dict.fromkeys(("in", "[in_i]", "[in_us]"), Decimal("0.0254")),
}


def text(value: str, delimiters: Delimiters) -> str:
    """Free text with its escapes resolved; a delimiter that should have been escaped stays."""
    return value if value == CLEARED else unescape(value, delimiters).strip()


def as_sent(value: str, delimiters: Delimiters) -> str:
    """The value with escapes and inner delimiters."""
    return value.strip()


def first(value: str, delimiters: Delimiters) -> str:
    """The first subcomponent of the first component, escapes resolved: what a plain field means, whatever a
    sender adds behind it.
    """
    if value == CLEARED:
        return value
    if delimiters.component in value:
        value = value.split(delimiters.component, 1)[0]
    if delimiters.subcomponent in value:
        value = value.split(delimiters.subcomponent, 1)[0]
    if delimiters.escape in value:
        value = unescape(value, delimiters)
    return value.strip()


def issuer(value: str, delimiters: Delimiters) -> str:
    """EI.2, else EI.3: namespace id, else universal id."""
    component = delimiters.component
    if value == CLEARED or component not in value:
        return ""
    return first(part(value, component, 2), delimiters) or first(part(value, component, 3), delimiters)


def entity(value: str, delimiters: Delimiters) -> str:
    """An EI by its identifier; where it has none, as documents are met, by what stands in for it (EI.3)."""
    return first(value, delimiters) or first(part(value, delimiters.component, 3), delimiters)


def authority(value: str, delimiters: Delimiters) -> str:
    """CX.4.1, else CX.4.2: namespace id, else universal id."""
    assigner = part(value, delimiters.component, 4)
    if not assigner or assigner == CLEARED:
        return ""
    between = delimiters.subcomponent
    return (
        unescape(part(assigner, between, 1), delimiters).strip()
        or unescape(part(assigner, between, 2), delimiters).strip()
    )


def identifiers(path: Path, group: Group) -> tuple[Identifier, ...]:
    """Every repetition of a CX field that has a value."""
    segment = group.first(path.segment)
    return cx_repetitions(segment, path.field) if segment is not None else ()


def cx_repetitions(segment: Segment, field: int) -> tuple[Identifier, ...]:
    """Every repetition of a CX field of one segment; a cleared identifier is none."""
    value = segment.field(field)
    if not value or value == CLEARED:
        return ()
    delimiters = segment.delimiters
    found = (cx(repetition, delimiters) for repetition in value.split(delimiters.repetition))
    return tuple([identifier for identifier in found if identifier is not None])


def cx(repetition: str, delimiters: Delimiters) -> Identifier | None:
    """One repetition of a CX field; None where it has no value, or a cleared one."""
    return (_cx if len(repetition) <= REMEMBERED else _cx.__wrapped__)(repetition, delimiters)


# A patient's messages come again and again: what was read of short values is kept for the next one.
REMEMBERED = 128


@lru_cache(maxsize=16384)
def _cx(repetition: str, delimiters: Delimiters) -> Identifier | None:
    identifier = first(repetition, delimiters)
    if not identifier or identifier == CLEARED:
        return None
    type_code = first(part(repetition, delimiters.component, 5), delimiters)
    return Identifier(authority=authority(repetition, delimiters), value=identifier, type_code=type_code)


def person(value: str, delimiters: Delimiters) -> str:
    """XPN as DICOM PN: HL7 says family, given, middle, suffix, prefix; DICOM says prefix before suffix.

    Repetitions that say so in XPN-8 are the name's ideographic and phonetic groups.
    """
    return _person(value, delimiters, 1, 8)


def practitioner(value: str, delimiters: Delimiters) -> str:
    """XCN as DICOM PN: its first component is an id, and the representation stands in XCN-15."""
    return _person(value, delimiters, 2, 15)


def named_practitioner(value: str, delimiters: Delimiters) -> str:
    """NDL as DICOM PN: its first component holds the id and the name in subcomponents; XCN is met as well."""
    name = part(value, delimiters.component, 1)
    if delimiters.subcomponent not in name:
        return practitioner(value, delimiters)
    parts = name.split(delimiters.subcomponent)
    return pn([unescape(piece, delimiters) for piece in parts[1:6]])


def birth_date(value: str, delimiters: Delimiters) -> str:
    """`YYYY-MM-DD` of the first eight digits; what is no date says nothing."""
    return value if value == CLEARED else to_date(value)


def sex(value: str, delimiters: Delimiters) -> str:
    """M, F or O; unknown says nothing."""
    return SEX.get(first(value, delimiters).upper(), "")


def priority(value: str, delimiters: Delimiters) -> str:
    """DICOM's word for the priority; one that is not listed says nothing."""
    return PRIORITY.get(first(value, delimiters).upper(), "")


def quantity(group: Group, codes: frozenset[str], factors: dict[str, Decimal]) -> str:
    """OBX-5 of the first observation with one of the codes, times the factor of its unit; empty where none.

    A unit that is not listed says nothing: half a guess would be a wrong weight.
    """
    own = group.all("OBX")
    outer = group.outer.all("OBX") if group.outer is not None else ()
    for segment in own if outer is own else (*own, *outer):
        delimiters = segment.delimiters
        observed = segment.field(3)
        if not observed:
            continue
        if not any(piece.strip().casefold() in codes for piece in observed.split(delimiters.component)[:2]):
            continue
        value = first(segment.field(5), delimiters)
        if value == CLEARED:
            return CLEARED
        factor = factors.get(first(segment.field(6), delimiters).casefold())
        try:
            number = Decimal(value) * factor if factor is not None else None
        except InvalidOperation:
            number = None
        if number is not None and number.is_finite() and 0 < number < 1000:
            return f"{number.normalize():f}"
    return ""


# HL7 table 0465 (name representation) in the order of the groups of a DICOM PN (PS3.5 section 6.2.1.1).
REPRESENTATIONS = "AIP"


def _person(value: str, delimiters: Delimiters, family: int, representation: int) -> str:
    """The name of the first repetition, with the groups that other repetitions give it.

    A repetition without a representation is alphabetic where it is the first, else another name of the person.
    """
    if value == CLEARED:
        return value
    groups: dict[str, str] = {}
    for number, repetition in enumerate(value.split(delimiters.repetition)):
        parts = repetition.split(delimiters.component)
        code = parts[representation - 1].strip() if len(parts) >= representation else ""
        code = code if code in REPRESENTATIONS else ""
        if not code and number:
            continue
        name = pn([first(piece, delimiters) for piece in parts[family - 1 : family + 4]])
        if name:
            groups.setdefault(code or REPRESENTATIONS[0], name)
    return "=".join(groups.get(code, "") for code in REPRESENTATIONS).rstrip("=")


# A component of a DICOM PN cannot hold these.
_NOT_IN_PN = str.maketrans("^=\\", "   ")


def pn(parts: list[str]) -> str:
    """Family, given, middle, suffix, prefix as DICOM PN without trailing carets (PS3.5 section 6.2.1)."""
    clean = ["" if piece == CLEARED else piece.translate(_NOT_IN_PN).strip() for piece in parts]
    family, given, middle, suffix, prefix = [*clean, "", "", "", "", ""][:5]
    return "^".join((family, given, middle, prefix, suffix)).rstrip("^")
