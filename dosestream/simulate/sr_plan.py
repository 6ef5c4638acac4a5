"""The content of a dose report as a plan: each item says what it writes and what must be read from it.

An `Item` is one content item (DICOM PS3.3 C.17.3). Where it carries a value of the dose database it names the column
and the answer, so the answer of a report is gathered from its plan and never from the encoded report.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final

from dosestream.simulate.sr_codes import Code, dcm, snomed

# Roles of items that open a group of the answer.
TOTAL, EVENT, SOURCE, FILTER, CHECK = "totals", "events", "sources", "filters", "dose_checks"
ADMINISTRATION, ORGAN = "administrations", "organ_doses"
# Columns that an event may state once a tube or pulse group (`dose.xray_source`).
PER_SOURCE: Final = (
    "kvp",
    "tube_current_ma",
    "exposure_uas",
    "exposure_time_ms",
    "pulse_width_ms",
    "measured.tube_current_max_ma",
    "measured.rotation_time_ms",
    "measured.focal_spot_mm",
    "measured.filter_aluminium_mm",
)
# The last word of a column to its unit; those without are pure numbers.
UNITS: Final[Mapping[str, str]] = {
    "kvp": "kV", "ma": "mA", "uas": "uA.s", "ms": "ms", "s": "s", "mm": "mm", "deg": "deg", "mgycm": "mGy.cm",
    "mgy": "mGy", "gym2": "Gy.m2", "gy": "Gy", "n": "N", "m2": "m2", "msv": "mSv", "rate": "/s", "mbq": "MBq",
    "ml": "mL",
}  # fmt: skip
# What one of a stored unit is in the unit of a column, where the template's unit is another one.
WORTH: Final[Mapping[tuple[str, str], Decimal]] = {("ms", "s"): Decimal(1000)}

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Item:
    """One content item.

    Attributes:
        kind: Value Type (0040,A040).
        value: a Decimal, a Code, a text, a UID, or microseconds since 1970 UTC, as the kind asks; a tuple of Decimals
            writes them into one element, which is illegal; None writes no value.
        unit: of a number, UCUM or what its scanner takes for it.
        column: what the answer calls the value, empty where the dose database does not keep it. A column with a
            point lies in a map of its group: `measured.grid_mm`.
        also: a further column with the same answer.
        answer: what must be read; None where nothing is.
        role: opens a group of the answer; the columns below belong to it.
        labels: what the group says besides its columns.
    """

    kind: str
    concept: Code
    value: Any = None
    unit: str = ""
    children: tuple["Item", ...] = ()
    relationship: str = "CONTAINS"
    column: str = ""
    also: str = ""
    answer: Any = None
    role: str = ""
    labels: Mapping[str, Any] = field(default_factory=dict)

    def under(self, relationship: str) -> "Item":
        """The same item in another relationship with its parent."""
        return replace(self, relationship=relationship)


def _concept(concept: Code | str) -> Code:
    return dcm(concept) if isinstance(concept, str) else concept


def container(concept: Code | str, *children: Item, role: str = "", **labels: Any) -> Item:
    """A CONTAINER; with a role it opens a group of the answer."""
    return Item("CONTAINER", _concept(concept), children=children, role=role, labels=labels)


def unit_of(column: str) -> str:
    """The unit of a column; `1` of a pure number."""
    return UNITS.get(column.rsplit("_", 1)[-1], "1")


def num(
    concept: Code | str,
    value: Decimal | int | str,
    unit: str,
    *children: Item,
    column: str = "",
    also: str = "",
) -> Item:
    """A NUM. The answer is the value in the column's unit."""
    amount = Decimal(value)
    answer = float(amount * WORTH.get((unit_of(column), unit), Decimal(1))) if column else None
    return Item("NUM", _concept(concept), amount, unit, children, column=column, also=also, answer=answer)


def total(
    concept: Code | str,
    value: Decimal,
    unit: str,
    quantity: str,
    *children: Item,
    also: str = "",
    **labels: str,
) -> Item:
    """A stated total: a group of the answer with its quantity, and mode, plane, phantom and laterality where said."""
    said = {"mode": "total", "plane": "", "phantom": "", "laterality": ""} | labels
    return Item(
        "NUM", _concept(concept), value, unit, children,
        column="value", also=also, answer=float(value), role=TOTAL,
        labels={"quantity": quantity} | said | {"unit": unit},
    )  # fmt: skip


def code(
    concept: Code | str, value: Code | str, *children: Item, column: str = "", answer: Any = None
) -> Item:
    """A CODE. The answer is the code's meaning unless another is given."""
    chosen = _concept(value)
    said = (chosen.meaning if answer is None else answer) if column else None
    return Item("CODE", _concept(concept), chosen, children=children, column=column, answer=said)


def text(concept: Code | str, value: str, column: str = "") -> Item:
    """A TEXT."""
    return Item("TEXT", _concept(concept), value, column=column, answer=value if column else None)


def composite(concept: Code | str, sop_class: str, sop_uid: str) -> Item:
    """A COMPOSITE: a reference to an instance."""
    return Item("COMPOSITE", _concept(concept), (sop_class, sop_uid))


def person(concept: Code | str, value: str, *children: Item, column: str = "") -> Item:
    """A PNAME."""
    return Item(
        "PNAME", _concept(concept), value, children=children, column=column, answer=value if column else None
    )


def uid(concept: Code | str, value: str, *children: Item, column: str = "") -> Item:
    """A UIDREF."""
    return Item(
        "UIDREF", _concept(concept), value, children=children, column=column, answer=value if column else None
    )


def moment(concept: Code | str, at: int, column: str = "") -> Item:
    """A DATETIME, `at` in microseconds since 1970 UTC."""
    return Item("DATETIME", _concept(concept), at, column=column, answer=at if column else None)


def modifier(
    concept: Code | str, value: Code | str, *children: Item, column: str = "", answer: Any = None
) -> Item:
    """A CODE that modifies its parent (HAS CONCEPT MOD)."""
    return code(concept, value, *children, column=column, answer=answer).under("HAS CONCEPT MOD")


def yes_no(concept: str, said: bool, column: str = "") -> Item:
    """A CODE of CID 230."""
    return code(concept, snomed("yes" if said else "no", "SCT"), column=column, answer=said)


def walk(items: Sequence[Item]) -> Iterator[Item]:
    """Every item, parents before their children."""
    for item in items:
        yield item
        yield from walk(item.children)


def changed(items: Sequence[Item], change: Callable[[Item], Item | None]) -> tuple[Item, ...]:
    """The items with `change` applied to each, children first; one that becomes None is left out."""
    kept = []
    for item in items:
        below = changed(item.children, change)
        # The very same item where nothing below it changed, so that a change may know it by identity.
        same = len(below) == len(item.children) and all(
            a is b for a, b in zip(below, item.children, strict=True)
        )
        made = change(item if same else replace(item, children=below))
        if made is not None:
            kept.append(made)
    return tuple(kept)


def swapped(items: Sequence[Item], old: Item, new: Item | None) -> tuple[Item, ...]:
    """The items with one of them exchanged, or left out."""
    return changed(items, lambda item: new if item is old else item)
