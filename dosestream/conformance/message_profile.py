"""A site's message profile: HL7 v2 conformance profile XML to the structures that hl7apy validates against.

hl7apy's own converter (`hl7apy_profile_parser`) needs a package of its own and hands over pickles, which run
code when they are loaded; the XML (HL7 v2.5.1 section 2.12.6, what Messaging Workbench exports) is read here.
"""

import re
import xml.etree.ElementTree as ElementTree
from typing import Any

# Message structure to its reference: `("sequence", children)`, as `hl7apy.parser.parse_message` takes it.
MessageProfile = dict[str, Any]


class MessageProfileError(ValueError):
    """The text is no HL7 v2 message profile."""


def parse(text: str) -> MessageProfile:
    """The structures of a profile.

    Raises:
        MessageProfileError: the text is no XML, or no message profile.
    """
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise MessageProfileError(f"no XML: {error}") from error
    static = root if root.tag == "HL7v2xStaticDef" else root.find("HL7v2xStaticDef")
    structure = static.get("MsgStructID") if static is not None else None
    if static is None or not structure:
        raise MessageProfileError("no message profile: it has no HL7v2xStaticDef with a MsgStructID")
    try:
        return {structure: ("sequence", _children(static, structure))}
    except ValueError as error:
        raise MessageProfileError(f"no message profile: {error}") from error


def _children(parent: ElementTree.Element, structure: str) -> tuple[Any, ...]:
    made: list[Any] = []
    for child in parent:
        name = child.get("Name") or ""
        if child.tag == "Segment":
            made.append((name, ("sequence", _fields(child, name)), _cardinality(child), "SEG"))
        elif child.tag == "SegGroup":
            children = _children(child, structure)
            made.append((f"{structure}_{name}", ("sequence", children), _cardinality(child), "GRP"))
    return tuple(made)


def _fields(segment: ElementTree.Element, name: str) -> tuple[Any, ...]:
    fields = enumerate(segment.findall("Field"), 1)
    return tuple((f"{name}_{n}", _reference(field), _cardinality(field), "FIE") for n, field in fields)


def _components(parent: ElementTree.Element) -> tuple[Any, ...]:
    kind = parent.get("Datatype") or ""
    found = [*parent.findall("Component"), *parent.findall("SubComponent")]
    return tuple(
        (f"{kind}_{n}", _reference(part), (int(part.get("Usage") == "R"), 1), "CMP")
        for n, part in enumerate(found, 1)
    )


def _reference(element: ElementTree.Element) -> tuple[Any, ...]:
    """Kind, children, data type, long name, table, longest length; -1 for no limit."""
    children = _components(element) or None
    kind = (element.get("Datatype") or "").upper()
    table = f"HL7{element.get('Table')}" if element.get("Table") else None
    long_name = re.sub(r"\W+", "_", (element.get("Name") or "").strip().upper()).strip("_")
    return (
        "sequence" if children else "leaf",
        children,
        "varies" if kind == "VARIES" else kind,
        long_name,
        table,
        int(element.get("Length") or -1),
    )


def _cardinality(element: ElementTree.Element) -> tuple[int, int]:
    """Fewest and most; -1 for any number (Min, Max and Usage of HL7 v2.5.1 section 2.12.6)."""
    if element.get("Usage") == "X":
        return 0, 0
    most = element.get("Max") or "*"
    least = 1 if element.get("Usage") == "R" else int(element.get("Min") or 0)
    return least, -1 if most == "*" else int(most)
