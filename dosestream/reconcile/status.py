"""Order status from ORC-1 and ORC-5 (HL7 tables 0119 and 0038), as a table a site may override."""

from collections.abc import Mapping

SCHEDULED, ARRIVED, STARTED = "SCHEDULED", "ARRIVED", "STARTED"
COMPLETED, CANCELED, DISCONTINUED, ON_HOLD = "COMPLETED", "CANCELED", "DISCONTINUED", "ON_HOLD"

# What ORC-5 reports (table 0038). ER (order not found) and an empty ORC-5 report nothing.
REPORTED: Mapping[str, str] = {
    "SC": SCHEDULED,
    "IP": STARTED,
    "A": COMPLETED,
    "CM": COMPLETED,
    "CA": CANCELED,
    "DC": DISCONTINUED,
    "HD": ON_HOLD,
    "RP": CANCELED,
}
# Codes with which an order begins: new, sent by the filler, replacing another, child of another. Nothing is done
# yet, so IP means that the order is being worked on, not the patient.
BEGINNING = ("NW", "SN", "RO", "CH")
# Codes that only carry ORC-5: status changed, order changed, accepted, observations follow, number assigned,
# parent, response to a status request.
CARRYING = ("SC", "XO", "XX", "XR", "OK", "RE", "NA", "PA", "SR")
# Codes that say the status themselves, whatever ORC-5 says.
DECLARING: Mapping[str, str] = {
    "CA": CANCELED,
    "OC": CANCELED,
    "CR": CANCELED,
    "UA": CANCELED,
    "RP": CANCELED,
    "RU": CANCELED,
    "RQ": CANCELED,
    "DC": DISCONTINUED,
    "OD": DISCONTINUED,
    "DR": DISCONTINUED,
    "HD": ON_HOLD,
    "OH": ON_HOLD,
    "HR": ON_HOLD,
    "RL": SCHEDULED,
    "OE": SCHEDULED,
    "OR": SCHEDULED,
    "SN": SCHEDULED,
}
# A refusal and the requests it refuses: older ones never were. Its ORC-5 may say besides how the order stands.
REFUSING: Mapping[str, tuple[str, ...]] = {
    "UC": ("CA",),
    "UD": ("DC",),
    "UH": ("HD",),
    "UM": ("RP",),
    "UR": ("RL",),
}
STANDING = ("SC", "IP", "A", "CM", "HD")

# "ORC-1_ORC-5" to status. `*` stands for any ORC-5 that has no row of its own.
STATUS_TABLE: Mapping[str, str] = {
    **{f"{code}_{word}": to for code in (*BEGINNING, *CARRYING) for word, to in REPORTED.items()},
    **{f"{code}_{word}": SCHEDULED for code in BEGINNING for word in ("", "SC", "IP")},
    **{f"{code}_{word}": REPORTED[word] for code in REFUSING for word in STANDING},
    **{f"{code}_*": to for code, to in DECLARING.items()},
}

# From a status to those that may follow it; itself always may. The first word heard of an order may be any: a
# site begins to listen in the middle of things. What is over stays over: it takes a new order to do it again.
TRANSITIONS: Mapping[str, tuple[str, ...]] = {
    SCHEDULED: (ARRIVED, STARTED, COMPLETED, ON_HOLD, CANCELED, DISCONTINUED),
    ON_HOLD: (SCHEDULED, CANCELED, DISCONTINUED),
    ARRIVED: (SCHEDULED, STARTED, COMPLETED, ON_HOLD, CANCELED, DISCONTINUED),
    STARTED: (COMPLETED, DISCONTINUED, ON_HOLD),
    COMPLETED: (),
    CANCELED: (),
    DISCONTINUED: (),
}

# Later in an order's life wins where times tie.
LIFECYCLE: Mapping[str, int] = {
    SCHEDULED: 0,
    ON_HOLD: 1,
    ARRIVED: 2,
    STARTED: 3,
    COMPLETED: 4,
    DISCONTINUED: 5,
    CANCELED: 6,
}
# How far an order got with a status; one that was discontinued had been started.
PROGRESS: Mapping[str, int] = {
    SCHEDULED: 0,
    ON_HOLD: 0,
    CANCELED: 0,
    ARRIVED: 1,
    STARTED: 2,
    DISCONTINUED: 2,
    COMPLETED: 3,
}
# What is not begun and not over.
OPEN = frozenset({None, SCHEDULED, ARRIVED, ON_HOLD})


def status_of(table: Mapping[str, str], control_code: str, order_status: str) -> str | None:
    """The status an ORC asks for, None where the table has no row: the message then changes no status."""
    order_status = "" if order_status == '""' else order_status
    return table.get(f"{control_code}_{order_status}") or table.get(f"{control_code}_*")
