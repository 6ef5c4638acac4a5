"""A site's message profile: HL7 v2 conformance profile XML to the structures that hl7apy validates against.

hl7apy's own converter (`hl7apy_profile_parser`) needs a package of its own and hands over pickles, which run
code when they are loaded; the XML (HL7 v2.5.1 section 2.12.6, what Messaging Workbench exports) is read here.
"""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from typing import Any

from hl7apy import SUPPORTED_LIBRARIES, load_library

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
        version = root.get("HL7Version") or ""
        types = load_library(version).DATATYPES_STRUCTS if version in SUPPORTED_LIBRARIES else {}
        return {structure: ("sequence", _Reader(structure, types).children(static))}
    except ValueError as error:
        raise MessageProfileError(f"no message profile: {error}") from error


class _Reader:
    """Makes references of one message; a field whose components it leaves out has those of its data type."""

    def __init__(self, structure: str, types: Mapping[str, Any]) -> None:
        self._structure = structure
        self._types = types

    def children(self, parent: ElementTree.Element) -> tuple[Any, ...]:
        """The segments and groups of a message or group."""
        made: list[Any] = []
        for child in parent:
            name = child.get("Name") or ""
            if child.tag == "Segment":
                made.append((name, ("sequence", self._fields(child, name)), _cardinality(child), "SEG"))
            elif child.tag == "SegGroup":
                reference = ("sequence", self.children(child))
                made.append((f"{self._structure}_{name}", reference, _cardinality(child), "GRP"))
        return tuple(made)

    def _fields(self, segment: ElementTree.Element, name: str) -> tuple[Any, ...]:
        fields = enumerate(segment.findall("Field"), 1)
        return tuple(
            (f"{name}_{n}", self._reference(field), _cardinality(field), "FIE") for n, field in fields
        )

    def _components(self, parent: ElementTree.Element) -> tuple[Any, ...]:
        kind = parent.get("Datatype") or ""
        found = [*parent.findall("Component"), *parent.findall("SubComponent")]
        return tuple(
            (f"{kind}_{n}", self._reference(part), (int(part.get("Usage") == "R"), 1), "CMP")
            for n, part in enumerate(found, 1)
        )

    def _reference(self, element: ElementTree.Element) -> tuple[Any, ...]:
        """Kind, children, data type, long name, table, longest length; -1 for no limit."""
        kind = (element.get("Datatype") or "").upper()
        children = self._components(element) or self._types.get(kind)
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
