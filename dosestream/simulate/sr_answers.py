"""What must be read from a planned report, gathered from the plan as plain data."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from dosestream.simulate.sr_content import plain
from dosestream.simulate.sr_plan import (
    ADMINISTRATION,
    EVENT,
    FILTER,
    ORGAN,
    PER_SOURCE,
    SOURCE,
    TOTAL,
    Answer,
    Item,
    unit_of,
)

# A stated total that differs by more from the sum of its events is flagged.
TOLERANCE: Final = Decimal("0.005")
# Label of a sub-total.
PART: Final = "part_of"
# Quantity to the column of an event that adds to it.
ADDS: Final = {"ct_dlp": "dlp_mgycm", "dap": "dap_gym2", "dose_rp": "dose_rp_gy", "agd": "agd_mgy"}


def answers(items: Sequence[Item]) -> Answer:
    """`totals`, `events`, `administrations`, `organ_doses`, and the columns of the report itself."""
    found: Answer = {TOTAL: [], EVENT: [], ADMINISTRATION: [], ORGAN: []}
    _gather(items, found, found, found, None)
    # Sub-totals are part of a total: they count only where none is stated.
    whole = {total["quantity"] for total in found[TOTAL] if PART not in total}
    kept = [total for total in found[TOTAL] if PART not in total or total["quantity"] not in whole]
    found[TOTAL] = [{name: said for name, said in total.items() if name != PART} for total in kept]
    return found


def differing(dose: Answer) -> bool:
    """Whether a stated total lies off the sum of what the report's own events say."""
    for total in dose[TOTAL]:
        column = ADDS.get(total["quantity"], "")
        added = [Decimal(str(e[column])) for e in dose[EVENT] if column in e and _counts(e, total)]
        stated, summed = Decimal(str(total["value"])), sum(added, Decimal(0))
        if added and abs(stated - summed) > TOLERANCE * max(abs(stated), abs(summed)):
            return True
    return False


def _counts(event: Answer, total: Answer) -> bool:
    fluoroscopy = bool(event.get("fluoroscopy"))
    return (
        (total["mode"] == "total" or (total["mode"] == "fluoro") == fluoroscopy)
        and total["plane"] in ("", event.get("plane"))
        and total["laterality"] in ("", event.get("laterality"))
        and total["phantom"] in ("", event.get("ctdi_phantom"))
    )


def _gather(items: Sequence[Item], group: Answer, owner: Answer, whole: Answer, event: Answer | None) -> None:
    """Gather the columns of items.

    Args:
        group: takes the columns.
        owner: the event or administration around the group, else the report.
        event: the event, while the items are its own or of one of its tubes.
    """
    for item in items:
        if item.role == TOTAL:
            _total(item, group, whole)
            continue
        inner, around, within = group, owner, event
        if item.role:
            inner = dict(item.labels)
            (whole if item.role == EVENT else owner).setdefault(item.role, []).append(inner)
            within = {EVENT: inner, SOURCE: event}.get(item.role)
        if item.role in (EVENT, ADMINISTRATION):
            around = inner
        _column(item, inner, around, within)
        _gather(item.children, inner, around, whole, within)
        if item.role == EVENT:
            _settle(inner)


def _total(item: Item, group: Answer, whole: Answer) -> None:
    if item.answer is None:
        return
    first = item.value[0] if isinstance(item.value, tuple) else item.value
    stored = {"stored_value": plain(first), "stored_unit": item.unit}
    whole[TOTAL].append({**item.labels, item.column: item.answer, **stored})
    if item.also:
        group[item.also] = item.answer


def _column(item: Item, group: Answer, owner: Answer, event: Answer | None) -> None:
    if item.kind == "NUM" and item.column and item.value is not None and event is not None:
        _stored(item, event)
    if item.answer is None:
        return
    for column in filter(None, (item.column, item.also)):
        if column in PER_SOURCE:
            said = item.answer if isinstance(item.answer, tuple) else (item.answer,)
            group.setdefault(column, []).extend(said)
            continue
        taker = owner if column.startswith("described.") else group
        kept, _, name = column.rpartition(".")
        kept_in = taker.setdefault(kept, {}) if kept else taker
        if kept == "described" and item.answer not in kept_in.get(name, item.answer).split("; "):
            kept_in[name] += f"; {item.answer}"
        kept_in.setdefault(name, item.answer)


def _stored(item: Item, event: Answer) -> None:
    """What was stored in another unit than its column's, or is no number, as it was stored."""
    unit = unit_of(item.column)
    if item.answer is not None and (item.unit == unit or unit == "1"):
        return
    values = item.value if isinstance(item.value, tuple) else (item.value,)
    texts = [f"{plain(one) if isinstance(one, Decimal) else one} {item.unit}".strip() for one in values]
    kept = event.setdefault("stored", {})
    column = item.column.rpartition(".")[2]
    kept[column] = "; ".join([kept[column], *texts] if column in kept else texts)


def _settle(event: Answer) -> None:
    """What is stated once stands with the event; what is stated several times is a row a tube or pulse group each,
    and stands with the event only where all agree."""
    filters: list[Answer] = event.pop(FILTER, [])
    event["filters"] = "; ".join(map(_filter, filters))
    tubes: list[Answer] = event.pop(SOURCE, [])
    columns: dict[str, list[Any]] = {
        name: event.pop(name, []) or [next(iter(tube.get(name, ())), None) for tube in tubes]
        for name in PER_SOURCE
    }
    for name, values in columns.items():
        stated = {value for value in values if value is not None}
        if len(stated) == 1 and name != "pulse_width_ms":
            kept, _, column = name.rpartition(".")
            (event.setdefault(kept, {}) if kept else event)[column] = stated.pop()
    count = max(len(tubes), *map(len, columns.values()))
    event[SOURCE] = [
        _row(number, columns, tubes, filters if len(filters) == count else [])
        for number in range(count if count > 1 else 0)
    ]


def _row(number: int, columns: dict[str, list[Any]], tubes: list[Answer], filters: list[Answer]) -> Answer:
    row: Answer = {"number": number + 1}
    for name, values in columns.items():
        if len(values) > 1 and number < len(values) and values[number] is not None:
            kept, _, column = name.rpartition(".")
            (row.setdefault(kept, {}) if kept else row)[column] = values[number]
    if number < len(tubes):
        row["identification"] = tubes[number]["identification"]
    if filters:
        row |= {f"filter_{name}": value for name, value in filters[number].items()}
    return row


def _filter(one: Answer) -> str:
    bounds = [f"{one[name]:g}" for name in ("thickness_min_mm", "thickness_max_mm") if name in one]
    return f"{one['material']} {'-'.join(bounds)} mm" if bounds else one["material"]
