"""Dose of a Modality Performed Procedure Step (PS3.3 table C.4-16, Radiation Dose Module): its totals and exposures."""

import hashlib
from typing import Any, Final

from dosestream.dose.attributes import Attribute, Attributes
from dosestream.dose.content import items, leaf
from dosestream.dose.image_header import CT_FIELDS, FAMILIES, FIELDS, IRRADIATION_EVENT_UID, MODALITY
from dosestream.events.records import DoseReport, DoseTotal, IrradiationEvent

EXPOSURES: Final = 0x0040030E
RADIATION_MODE: Final = 0x0018115A
FLUOROSCOPY: Final = "CONTINUOUS"
PERFORMED_SERIES: Final = 0x00400340
PROTOCOL: Final = 0x00181030
COMMENTS: Final = 0x00400310
# Quantity of dose.dose_total: its unit and the attribute with the unit PS3.3 gives it.
TOTALS: Final[dict[str, tuple[str, Attribute]]] = {
    "dap": ("Gy.m2", Attribute(0x0018115E, "DS", "dGy.cm2")),
    "fluoro_time": ("s", Attribute(0x00400300, "US", "s")),
}
EXPOSURE_TIME: Final = (Attribute(0x00181150, "DS", "ms"),)
EXPOSURE_DAP: Final = (Attribute(0x0018115E, "DS", "dGy.cm2"),)
ENTRANCE_DOSE: Final = (Attribute(0x00408302, "DS", "mGy"), Attribute(0x00400302, "US", "dGy"))


def performed_dose(attributes: Attributes, sop_instance_uid: str) -> DoseReport | None:
    """What a performed step says of dose; None where it says nothing.

    Args:
        attributes: of the step, as created or as set.
        sop_instance_uid: of the step, which names its exposures where they have no event UID.
    """
    data_set = attributes.data_set
    modality = attributes.word(MODALITY)
    template = FAMILIES.get(modality)
    totals = tuple(
        DoseTotal(
            quantity=quantity,
            value=value,
            unit=unit,
            stored_value=leaf(data_set, attribute.tag) if attribute.vr == "DS" else f"{value:g}",
            stored_unit=attribute.unit,
        )
        for quantity, (unit, attribute) in TOTALS.items()
        if (value := attributes.number((attribute,), unit)) is not None
    )
    protocol = next((attributes.item(one).word(PROTOCOL) for one in items(data_set, PERFORMED_SERIES)), "")
    events = tuple(
        _exposure(attributes.item(item), f"{sop_instance_uid}\0{number}", modality, protocol)
        for number, item in enumerate(items(data_set, EXPOSURES), start=1)
    )
    if template is None or not (totals or events):
        return None
    if attributes.word(COMMENTS):
        attributes.reading.note("(0040,0310)", "a comment on the dose is text; no number is taken from it")
    return DoseReport(
        template=template,
        source="mpps",
        mammography=modality == "MG",
        fluoroscopy=any(event.fluoroscopy for event in events)
        or any(total.quantity == "fluoro_time" and total.value > 0 for total in totals),
        totals=totals,
        events=events,
        unread=tuple(attributes.reading.unread),
    )


def _exposure(item: Attributes, key: str, modality: str, protocol: str) -> IrradiationEvent:
    values: dict[str, Any] = {
        name: item.number(choices, unit) for name, (unit, choices) in (FIELDS | CT_FIELDS).items()
    }
    entrance = item.number(ENTRANCE_DOSE, "mGy")
    uid = item.word(IRRADIATION_EVENT_UID)
    mode = item.word(RADIATION_MODE)
    digest = hashlib.sha256(key.encode()).digest()[:16]
    return IrradiationEvent(
        irradiation_event_uid=uid or f"2.25.{int.from_bytes(digest, 'big')}",
        no_event_uid=not uid,
        protocol=protocol,
        exposure_time_ms=item.number(EXPOSURE_TIME, "ms"),
        dap_gym2=None if modality == "CT" else item.number(EXPOSURE_DAP, "Gy.m2"),
        filters="; ".join(item.words(0x00187050)),
        fluoroscopy=mode == FLUOROSCOPY if mode else None,
        described={"fluoro_mode": mode} if mode else {},
        measured={} if entrance is None else {"entrance_dose_mgy": entrance},
        **values,
    )
