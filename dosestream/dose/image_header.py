"""Dose in the headers of images (PS3.3: CT, DX, CR, MG, XA, RF; NM and PET), for rooms without dose reports.

Each image tells its acquisition; the images of one acquisition name the same event and are brought together where the
study is derived. What a header does not say is not computed: there is no DLP from slices.
"""

import hashlib
from typing import Any, Final

from dosestream.dose import concepts
from dosestream.dose.attributes import Attribute, Attributes
from dosestream.dose.content import code_of, items, leaf
from dosestream.dose.moments import Moment, from_date_and_time, from_date_time
from dosestream.events.records import Administration, DoseReport, IrradiationEvent

MODALITY: Final = 0x00080060
IRRADIATION_EVENT_UID: Final = 0x00083010
ACQUISITION_NUMBER: Final = 0x00200012
STUDY_INSTANCE, SERIES_INSTANCE, SOP_INSTANCE = 0x0020000D, 0x0020000E, 0x00080018

# Modality to the template family whose reports tell the same.
FAMILIES: Final[dict[str, str]] = {
    "CT": "10011",
    **dict.fromkeys(("DX", "CR", "MG", "XA", "RF", "PX", "IO"), "10001"),
    **dict.fromkeys(("NM", "PT"), "10021"),
}

Table = dict[str, tuple[str, tuple[Attribute, ...]]]


def _ds(tag: int, unit: str) -> Attribute:
    return Attribute(tag, "DS", unit)


def _fd(tag: int, unit: str) -> Attribute:
    return Attribute(tag, "FD", unit)


# Field of IrradiationEvent: unit, and the attributes it is read from, the first valued one wins.
FIELDS: Final[Table] = {
    "kvp": ("kV", (_ds(0x00180060, "kV"),)),
    "tube_current_ma": (
        "mA",
        (_fd(0x00189330, "mA"), _ds(0x00188151, "uA"), _ds(0x00181151, "mA")),
    ),
    "source_detector_mm": ("mm", (_ds(0x00181110, "mm"),)),
    "source_patient_mm": ("mm", (_ds(0x00181111, "mm"),)),
}
CT_FIELDS: Final[Table] = {
    "ctdivol_mgy": ("mGy", (_fd(0x00189345, "mGy"),)),
    "pitch": ("1", (_fd(0x00189311, "1"),)),
}
# Of a whole exposure; a CT image's own are those of one rotation.
PROJECTION_FIELDS: Final[Table] = {
    "exposure_uas": (
        "uA.s",
        (_fd(0x00189332, "mA.s"), _ds(0x00181153, "uA.s"), _ds(0x00181152, "mA.s")),
    ),
    "exposure_time_ms": ("ms", (_fd(0x00189328, "ms"), _ds(0x00188150, "us"), _ds(0x00181150, "ms"))),
    "dap_gym2": ("Gy.m2", (_ds(0x0018115E, "dGy.cm2"),)),
    "primary_angle_deg": ("deg", (_ds(0x00181510, "deg"),)),
    "secondary_angle_deg": ("deg", (_ds(0x00181511, "deg"),)),
    "hvl_mm": ("mm", (_ds(0x00400314, "mm"),)),
    "exposure_index": ("1", (_ds(0x00181411, "1"),)),
    "deviation_index": ("1", (_ds(0x00181413, "1"),)),
}
# Organ Dose is in dGy (PS3.3 C.8.11.7); of a breast it is the average glandular dose.
MAMMOGRAPHY_FIELDS: Final[Table] = {
    "agd_mgy": ("mGy", (_ds(0x00400316, "dGy"),)),
    "compressed_thickness_mm": ("mm", (_ds(0x001811A0, "mm"),)),
}
# Column of IrradiationEvent.measured.
MEASURED: Final[Table] = {
    "focal_spot_mm": ("mm", (_ds(0x00181190, "mm"),)),
    "entrance_dose_mgy": ("mGy", (_ds(0x00408302, "mGy"), Attribute(0x00400302, "US", "dGy"))),
    "target_exposure_index": ("1", (_ds(0x00181412, "1"),)),
    "compression_force_n": ("N", (_ds(0x001811A2, "N"),)),
    "single_collimation_mm": ("mm", (_fd(0x00189306, "mm"),)),
    "total_collimation_mm": ("mm", (_fd(0x00189307, "mm"),)),
    "rotation_time_ms": ("ms", (_fd(0x00189305, "s"),)),
    "water_equivalent_diameter_mm": ("mm", (_fd(0x00181271, "mm"),)),
}
# Without one of these an image says nothing of its exposure.
TELLING: Final = (
    "kvp",
    "tube_current_ma",
    "exposure_uas",
    "ctdivol_mgy",
    "dap_gym2",
    "agd_mgy",
    "exposure_index",
)

# Enhanced CT: frames' functional groups and what they hold (PS3.3 C.8.15.3).
FUNCTIONAL_GROUPS: Final = (0x52009229, 0x52009230)
CT_GROUPS: Final = (0x00189301, 0x00189304, 0x00189308, 0x00189321, 0x00189325)
CTDI_PHANTOM: Final = 0x00189346

ADMINISTRATIONS: Final = 0x00540016
ACTIVITY: Final = 0x00181074
# PS3.3 C.8.4.10: MBq in nuclear medicine; C.8.9.2: Bq in PET.
ACTIVITY_UNITS: Final[dict[str, str]] = {"NM": "MBq", "PT": "Bq"}


def image_dose(attributes: Attributes) -> DoseReport | None:
    """What an image's header says of dose; None where it says nothing."""
    data_set = attributes.data_set
    modality = attributes.word(MODALITY)
    template = FAMILIES.get(modality)
    if template is None:
        return None
    if template == "10021":
        administrations = tuple(
            _administration(attributes, attributes.item(item), modality)
            for item in items(data_set, ADMINISTRATIONS)
        )
        given = next((one for one in administrations if one.activity_mbq is not None), None)
        if given is None:
            return None
        return DoseReport(
            template=template,
            source="image",
            administrations=administrations,
            radionuclide=given.radionuclide,
            radiopharmaceutical=given.agent,
            unread=tuple(attributes.reading.unread),
        )
    event = _event(attributes, modality)
    if event is None:
        return None
    return DoseReport(
        template=template,
        source="image",
        mammography=modality == "MG",
        fluoroscopy=modality in ("RF", "XA"),
        events=(event,),
        unread=tuple(attributes.reading.unread),
    )


def _event(attributes: Attributes, modality: str) -> IrradiationEvent | None:
    tables = [FIELDS, CT_FIELDS if modality == "CT" else PROJECTION_FIELDS]
    if modality == "MG":
        tables.append(MAMMOGRAPHY_FIELDS)
    values: dict[str, Any] = {
        name: attributes.number(choices, unit) for table in tables for name, (unit, choices) in table.items()
    }
    measured = {
        name: number
        for name, (unit, choices) in MEASURED.items()
        if (number := attributes.number(choices, unit)) is not None
    }
    phantom = attributes.data_set
    if modality == "CT":
        for group in _frame_groups(attributes):
            phantom = group.data_set if items(group.data_set, CTDI_PHANTOM) else phantom
            for table, found in ((FIELDS | CT_FIELDS, values), (MEASURED, measured)):
                for name, (unit, choices) in table.items():
                    if found.get(name) is None and (number := group.number(choices, unit)) is not None:
                        found[name] = number
    if all(values.get(name) is None for name in TELLING) and "entrance_dose_mgy" not in measured:
        return None
    started = _started(attributes)
    uid = _event_uid(attributes)
    side = attributes.word(0x00200062, 0x00200060)
    described = {"grid": attributes.word(0x00181166), "modulation": attributes.word(0x00189323)}
    return IrradiationEvent(
        irradiation_event_uid=uid or _acquisition_uid(attributes, modality, started),
        no_event_uid=not uid,
        started_at=started.at if started else None,
        protocol=attributes.word(0x00181030),
        target_region=attributes.meaning(0x00082218) or attributes.word(0x00180015),
        acquisition_type=attributes.word(0x00189302),
        ctdi_phantom=_phantom(attributes.item(phantom)),
        filters=_filters(attributes),
        target=attributes.word(0x00181191),
        laterality=side if side in ("L", "R", "B") else "",
        view=attributes.meaning(0x00540220) or attributes.word(0x00185101),
        measured=measured,
        described={name: word for name, word in described.items() if word},
        **values,
    )


def _frame_groups(attributes: Attributes) -> list[Attributes]:
    return [
        attributes.item(macro)
        for sequence in FUNCTIONAL_GROUPS
        for group in items(attributes.data_set, sequence)
        for tag in CT_GROUPS
        for macro in items(group, tag)
    ]


def _phantom(attributes: Attributes) -> str:
    code = next((code_of(item) for item in items(attributes.data_set, CTDI_PHANTOM)), None)
    if code is None:
        return ""
    return concepts.PHANTOMS.get(code) or attributes.meaning(CTDI_PHANTOM)


def _filters(attributes: Attributes) -> str:
    materials = attributes.words(0x00187050)
    low = attributes.numbers(_ds(0x00187052, "mm"), "mm")
    high = attributes.numbers(_ds(0x00187054, "mm"), "mm")
    texts = []
    for index, material in enumerate(materials):
        bounds = [
            f"{bound:g}"
            for column in (low, high)
            if index < len(column) and (bound := column[index]) is not None
        ]
        texts.append(f"{material} {'-'.join(bounds)} mm" if bounds else material)
    return "; ".join(texts)


def _started(attributes: Attributes) -> Moment | None:
    """Acquisition DateTime, else Acquisition Date and Time, else Content Date and Time."""
    data_set, zone = attributes.data_set, attributes.reading.zone
    return (
        from_date_time(leaf(data_set, 0x0008002A), zone)
        or from_date_and_time(leaf(data_set, 0x00080022), leaf(data_set, 0x00080032), zone)
        or from_date_and_time(leaf(data_set, 0x00080023), leaf(data_set, 0x00080033), zone)
    )


def _event_uid(attributes: Attributes) -> str:
    uids = attributes.words(IRRADIATION_EVENT_UID)
    if len(uids) > 1:
        # An image of several exposures: whose values it tells is not said.
        attributes.reading.note("(0008,3010)", f"{len(uids)} events in one image; the first is taken")
    return uids[0] if uids else ""


def _acquisition_uid(attributes: Attributes, modality: str, started: Moment | None) -> str:
    """A UID that all images of one acquisition share (PS3.5 B.2 form).

    CT: the acquisition number, since each slice may have a time of its own and one acquisition many series. A
    projection: its time, since an image for presentation and one for processing are two series of one exposure.
    """
    data_set = attributes.data_set
    number = leaf(data_set, ACQUISITION_NUMBER)
    if modality == "CT":
        key = number or leaf(data_set, SERIES_INSTANCE)
    else:
        key = started.local if started else leaf(data_set, SOP_INSTANCE)
    text = "\0".join((leaf(data_set, STUDY_INSTANCE), modality, key))
    return f"2.25.{int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], 'big')}"


def _administration(image: Attributes, item: Attributes, modality: str) -> Administration:
    """One item of the Radiopharmaceutical Information Sequence (PS3.3 C.8.4.10, C.8.9.2)."""
    zone = image.reading.zone
    day = leaf(image.data_set, 0x00080021) or leaf(image.data_set, 0x00080020)
    started = from_date_time(leaf(item.data_set, 0x00181078), zone) or from_date_and_time(
        day, leaf(item.data_set, 0x00181072), zone
    )
    numbers = {
        "volume_ml": (_ds(0x00181071, "mL"), "mL"),
        "half_life_s": (_ds(0x00181075, "s"), "s"),
    }
    return Administration(
        administration_uid=leaf(item.data_set, 0x00083012),
        agent=item.meaning(0x00540304) or item.word(0x00180031),
        radionuclide=item.meaning(0x00540300),
        route=item.meaning(0x00540302) or item.word(0x00181070),
        started_at=started.at if started else None,
        activity_mbq=item.number((_ds(ACTIVITY, ACTIVITY_UNITS[modality]),), "MBq"),
        measured={
            name: number
            for name, (attribute, unit) in numbers.items()
            if (number := item.number((attribute,), unit)) is not None
        },
    )
