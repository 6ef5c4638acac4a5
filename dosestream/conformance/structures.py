"""Which message structure an event has (HL7 table 0354), where the version has none of its own name."""

from collections.abc import Collection

# Structure to the events that share it; an event in two of them has the first that its version knows.
_SHARED = {
    "ADT_A01": "A04 A08 A13",
    "ADT_A05": "A14 A28 A31",
    "ADT_A06": "A07",
    "ADT_A09": "A10 A11 A12",
    "ADT_A21": "A22 A23 A25 A26 A27 A29 A32 A33",
    "ADT_A30": "A34 A35 A36 A46 A47 A48 A49",
    "ADT_A39": "A40 A41 A42",
    "ADT_A43": "A44",
    "ADT_A45": "A47",
    "ADT_A50": "A47 A49 A51",
    "ADT_A54": "A55",
    "ADT_A61": "A62",
    "MDM_T01": "T03 T05 T07 T09 T11",
    "MDM_T02": "T04 T06 T08 T10",
    "SIU_S12": "S13 S14 S15 S16 S17 S18 S19 S20 S21 S22 S23 S24 S26",
}
# Before 2.4 these were still A01's.
_BEFORE_2_4 = {"ADT_A01": "A05 A14 A28 A31", "ADT_A30": "A46", "ADT_A09": "A22 A23 A25 A26 A27 A29 A32 A33"}


def structure_of(code: str, event: str, declared: str, known: Collection[str]) -> str:
    """The name of the structure among those `known`; empty where there is none.

    `declared` is MSH-9.3, which many senders leave out or fill with the event's own name.
    """
    for name in (declared, f"{code}_{event}" if event else code):
        if name in known:
            return name
    for table in (_SHARED, _BEFORE_2_4):
        for name, events in table.items():
            if name in known and name.startswith(f"{code}_") and event in events.split():
                return name
    return ""
